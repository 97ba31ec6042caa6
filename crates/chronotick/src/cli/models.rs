//! `chronotick models`: what there is, where it comes from, whether it is right and how fast it is.

mod bench;
mod check;

use super::args::ModelsCommand;
use super::{Failure, say};
use crate::models::endpoint::plain;
use crate::models::{EMBEDDED, KNOWN, Known, Model, Reference};
use chronotick_tsfm::hub::{Cache, Hub, Progress, Repository, Snapshot};
use chronotick_tsfm::{Abilities, Family, Levels, Point};
use indicatif::{DecimalBytes, ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

/// So much is shown of a name that came with a checkpoint.
const LONGEST_NAME: usize = 80;

pub(super) fn execute(what: &ModelsCommand) -> Result<ExitCode, Failure> {
    match what {
        ModelsCommand::Check { models, json } => return check::execute(models, *json),
        ModelsCommand::List { json } => list(*json),
        ModelsCommand::Pull { reference, json } => pull(reference, *json),
        ModelsCommand::Show { reference, json } => show(reference, *json),
        ModelsCommand::Bench(options) => bench::execute(options),
        ModelsCommand::Remove { reference, json } => remove(reference, *json),
    }?;
    Ok(ExitCode::SUCCESS)
}

fn cache() -> Result<Cache, Failure> {
    Ok(Cache::standard().ok_or("there is no home directory to keep models in; set HF_HOME")?)
}

/// Only what is on a hub can be fetched and removed.
fn on_hub(model: &Reference) -> Result<&Repository, Failure> {
    match model {
        Reference::Hub(repository) => Ok(repository),
        Reference::Folder(folder) if folder.exists() => {
            Err(format!("{model} is a folder of your own, not a copy of what is on a hub: it is left alone")
                .into())
        }
        embedded if embedded.is_embedded() => {
            Err(format!("{model} comes with the program: there is nothing to fetch or to remove").into())
        }
        Reference::Folder(_) => {
            let names: Vec<&str> = KNOWN.iter().filter_map(|known| known.name).collect();
            let names = names.join(", ");
            Err(format!(
                "{model} is no repository of a hub; write OWNER/NAME, OWNER/NAME@REVISION or one of {names}"
            )
            .into())
        }
        Reference::Endpoint(_) => {
            Err(format!("{model} is an address: there is nothing to fetch or to remove").into())
        }
    }
}

/// A checkpoint of a supported family in the cache.
struct Cached {
    repository: Repository,
    family: Family,
    snapshot: Snapshot,
    bytes: u64,
}

/// What of the cache can be opened: it is shared with programs that keep other things there.
fn cached(cache: &Cache) -> Result<Vec<Cached>, Failure> {
    let unreadable = |e| format!("{}: {e}; HF_HOME names another place for the cache", cache.dir().display());
    let opened = |repository: Repository| {
        let snapshot = cache.find(&repository).ok()?;
        let family = Family::at(&snapshot.folder).ok()?;
        Some(Cached { repository, family, bytes: snapshot.bytes().ok()?, snapshot })
    };
    Ok(cache.repositories().map_err(unreadable)?.into_iter().filter_map(opened).collect())
}

fn list(json: bool) -> Result<(), Failure> {
    let cache = cache()?;
    let cached = cached(&cache)?;
    let of = |known: &Known| {
        cached.iter().filter(|here| here.repository.id() == known.repository).collect::<Vec<_>>()
    };
    let others: Vec<&Cached> = cached
        .iter()
        .filter(|here| KNOWN.iter().all(|known| known.repository != here.repository.id()))
        .collect();
    let copy = |here: &&Cached| {
        json!({ "revision": here.repository.revision(), "commit": here.snapshot.commit,
                "folder": here.snapshot.folder, "bytes": here.bytes })
    };
    if json {
        let known = KNOWN.iter().enumerate().map(|(i, known)| {
            json!({ "repository": known.repository, "name": known.name, "default": i == 0,
                    "family": known.family.to_string(), "parameters": u64::from(known.kilo_parameters) * 1_000,
                    "megabytes": known.megabytes, "licence": known.licence,
                    "cached": of(known).iter().map(copy).collect::<Vec<_>>() })
        });
        let others = others.iter().map(|here| {
            json!({ "repository": here.repository.id(), "family": here.family.to_string(), "cached": [copy(here)] })
        });
        let own = json!({ "repository": null, "name": EMBEDDED, "family": Family::Foresight.to_string(), "cached": [] });
        let models: Vec<Value> = known.chain(others).chain([own]).collect();
        return say(&format!("{}\n", json!({ "cache": cache.dir(), "models": models })));
    }
    let mut text = format!(
        "  {:9}  {:39}  {:12}  {:>10}  {:>7}  {:10}  here\n",
        "name", "repository", "family", "parameters", "size", "licence"
    );
    for (i, known) in KNOWN.iter().enumerate() {
        let here: Vec<&str> = of(known).iter().map(|here| here.repository.revision()).collect();
        let _ = writeln!(
            text,
            "{} {:9}  {:39}  {:12}  {:>8} M  {:>4} MB  {:10}  {}",
            if i == 0 { '*' } else { ' ' },
            known.name.unwrap_or(""),
            known.repository,
            known.family.to_string(),
            (f64::from(known.kilo_parameters) / 100.0).round() / 10.0,
            known.megabytes,
            known.licence.unwrap_or("see card"),
            if here.is_empty() { "-".to_owned() } else { here.join(", ") },
        );
    }
    for here in others {
        let (id, revision) = (here.repository.id(), here.repository.revision());
        let megabytes = here.bytes.div_ceil(1_000_000);
        let family = here.family.to_string();
        let _ = writeln!(
            text,
            "  {:9}  {id:39}  {family:12}  {:>10}  {megabytes:>4} MB  {:10}  {revision}",
            "", "", ""
        );
    }
    let _ = writeln!(text, "  {EMBEDDED:9}  {:39}  {}", "comes with the program", Family::Foresight);
    let _ = writeln!(
        text,
        "* the default; sizes and licences as published; the cache is {}",
        cache.dir().display()
    );
    say(&text)
}

fn pull(model: &Reference, json: bool) -> Result<(), Failure> {
    let (repository, cache, hub) = (on_hub(model)?, cache()?, Hub::standard());
    eprintln!("chronotick: {repository} from {} into {}", hub.endpoint(), cache.dir().display());
    let style =
        "{msg:20} [{bar:30}] {decimal_bytes}/{decimal_total_bytes}  {decimal_bytes_per_sec}  {eta} left";
    let style =
        ProgressStyle::with_template(style).expect("the template is a constant").progress_chars("=> ");
    // On a terminal only: indicatif draws nowhere else.
    let bar = ProgressBar::new(0).with_style(style);
    let mut show = |progress: Progress<'_>| {
        if bar.message() != progress.file {
            bar.reset();
            if bar.is_hidden() {
                eprintln!("chronotick: {}, {}", progress.file, DecimalBytes(progress.size));
            }
            bar.set_message(progress.file.to_owned());
            bar.set_length(progress.size);
            bar.set_position(progress.held);
            // What an earlier download left is not this one's speed.
            bar.reset_eta();
        }
        bar.set_position(progress.held);
    };
    let pulled = hub.pull(repository, &cache, &mut show);
    bar.finish_and_clear();
    let pulled = pulled?;
    let folder = &pulled.snapshot.folder;
    let family = Family::at(folder)?.to_string();
    if json {
        let file = |file: &chronotick_tsfm::hub::File| json!({ "name": file.name, "bytes": file.size, "checksum": file.checksum, "fetched": file.fetched });
        let files: Vec<Value> = pulled.files.iter().map(file).collect();
        let object = json!({ "repository": repository.id(), "revision": repository.revision(), "family": family,
                             "commit": pulled.snapshot.commit, "folder": folder, "files": files });
        return say(&format!("{object}\n"));
    }
    let mut text = String::new();
    for file in &pulled.files {
        let how = if file.fetched { "fetched" } else { "was here" };
        let sum = file.checksum.as_deref().unwrap_or("the hub gives no checksum");
        let _ =
            writeln!(text, "{:28}  {:>9}  {how:8}  {sum}", file.name, DecimalBytes(file.size).to_string());
    }
    let _ = writeln!(text, "{repository} ({family}) is complete in {}", folder.display());
    say(&text)
}

fn show(model: &Reference, json: bool) -> Result<(), Failure> {
    let opened = Model::open(model)?;
    let abilities = opened.abilities();
    let (folder, provenance) = match model {
        embedded if embedded.is_embedded() => (None, json!({ "folder": null, "name": EMBEDDED })),
        Reference::Folder(folder) => (Some(folder.clone()), json!({ "folder": folder })),
        Reference::Hub(repository) => {
            let snapshot = repository.find()?;
            let known = KNOWN.iter().find(|known| known.repository == repository.id());
            let licence = known.and_then(|known| known.licence);
            let origin = json!({ "repository": repository.id(), "revision": repository.revision(),
                                 "commit": snapshot.commit, "licence": licence, "folder": snapshot.folder });
            (Some(snapshot.folder), origin)
        }
        Reference::Endpoint(address) => (None, json!({ "address": address.to_string() })),
    };
    let config = folder.as_deref().map(sizes).transpose()?;
    let files = folder.as_deref().map(contents).transpose()?;
    if json {
        let mut object = json!({ "model": opened.name() });
        let parts = [
            ("origin", provenance),
            ("abilities", document(&abilities)),
            ("config", json!(config)),
            ("files", json!(files)),
        ];
        for (key, part) in parts {
            object[key] = part;
        }
        return say(&format!("{object}\n"));
    }
    let mut text = String::new();
    let mut line = |key: &str, value: &str| {
        let _ = writeln!(text, "{key:10}  {value}");
    };
    line("model", &opened.name());
    for (key, value) in provenance.as_object().into_iter().flatten() {
        match (key.as_str(), value.as_str()) {
            (_, Some(value)) => line(key, value),
            ("licence", None) => line(key, "see its card on the hub"),
            _ => {}
        }
    }
    line(
        "context",
        &abilities.context.map_or("no limit".to_owned(), |points| format!("{points} points at most")),
    );
    line(
        "horizon",
        &match abilities.horizon {
            usize::MAX => "no limit".to_owned(),
            steps => format!("{steps} steps in one pass"),
        },
    );
    line("point", point(abilities.point));
    line(
        "quantiles",
        &match &abilities.levels {
            Levels::None => "none".to_owned(),
            Levels::Trained(these) => format!("at {}", join(these)),
            Levels::Between(these) => format!("at any level, trained at {}", join(these)),
            Levels::Any => "at any level".to_owned(),
        },
    );
    line("targets", if abilities.joint { "inform each other" } else { "are forecast one by one" });
    line("covariates", if abilities.covariates { "used" } else { "not used" });
    if let Some(config) = config {
        let size = |(key, value): (&String, &Value)| format!("{} {value}", plain(key, LONGEST_NAME));
        let sizes: Vec<String> = config.iter().map(size).collect();
        line("config", &sizes.join(", "));
    }
    for file in files.into_iter().flatten() {
        let bytes = DecimalBytes(file["bytes"].as_u64().unwrap_or(0)).to_string();
        line("file", &format!("{}  {bytes}", plain(file["name"].as_str().unwrap_or(""), LONGEST_NAME)));
    }
    say(&text)
}

/// The numbers of `config.json`, those one level down included.
fn sizes(folder: &Path) -> Result<serde_json::Map<String, Value>, Failure> {
    let path = folder.join("config.json");
    let text = std::fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let config: serde_json::Map<String, Value> =
        serde_json::from_slice(&text).map_err(|e| format!("{}: {e}", path.display()))?;
    let flat = config.into_iter().flat_map(|(key, value)| match value {
        Value::Object(inner) => inner.into_iter().collect(),
        value => vec![(key, value)],
    });
    Ok(flat.filter(|(_, value)| value.is_number()).collect())
}

/// The files that make up the checkpoint, with their sizes.
fn contents(folder: &Path) -> Result<Vec<Value>, Failure> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let part = name == "config.json" || (name.starts_with("model") && name.contains(".safetensors"));
        if part {
            files.push((name, std::fs::metadata(entry.path())?.len()));
        }
    }
    files.sort();
    Ok(files.into_iter().map(|(name, bytes)| json!({ "name": name, "bytes": bytes })).collect())
}

fn document(abilities: &Abilities) -> Value {
    let levels = match &abilities.levels {
        Levels::None => json!([]),
        Levels::Trained(these) => json!(these),
        Levels::Between(_) | Levels::Any => json!("any"),
    };
    let horizon = Some(abilities.horizon).filter(|steps| *steps != usize::MAX);
    json!({ "context": abilities.context, "horizon": horizon, "point": point(abilities.point),
            "levels": levels, "joint": abilities.joint, "covariates": abilities.covariates })
}

fn point(point: Point) -> &'static str {
    match point {
        Point::Median => "median",
        Point::Mean => "mean",
        Point::Robust => "robust",
    }
}

fn join(levels: &[f64]) -> String {
    levels.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

fn remove(model: &Reference, json: bool) -> Result<(), Failure> {
    let (repository, cache) = (on_hub(model)?, cache()?);
    let unremoved = |e| format!("{}: {e}", cache.dir().display());
    let Some(bytes) = cache.remove(repository).map_err(unremoved)? else {
        return Err(format!(
            "{repository} is not in {}; `chronotick models list` shows what is",
            cache.dir().display()
        )
        .into());
    };
    match json {
        true => say(&format!(
            "{}\n",
            json!({ "repository": repository.id(), "revision": repository.revision(), "freed": bytes })
        )),
        false => say(&format!("removed {repository}: {} are free again\n", DecimalBytes(bytes))),
    }
}
