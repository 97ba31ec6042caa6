//! `chronotick models` as a person runs it, and models behind an address; hub and servers are played on loopback.
#![cfg(feature = "models")]

use chronotick::models::{Address, Endpoint, ModelError, Problem, Reference};
use chronotick_peers::http::{Reply, Request, Server};
use chronotick_tsfm::{Covariate, Forecast, ForecastError, Levels, Point, Task};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../chronotick-tsfm/tests/fixtures").join(name)
}

/// The program with an empty home and nothing of this machine's environment.
struct Person {
    home: TempDir,
    hub: String,
}

impl Person {
    /// Someone who is offline: nobody listens on port 1.
    fn new() -> Person {
        Person { home: TempDir::new().expect("a directory"), hub: "http://127.0.0.1:1".into() }
    }

    fn models(&self, arguments: &[&str]) -> Output {
        self.models_with(arguments, &[])
    }

    fn models_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chronotick"));
        command.arg("models").args(arguments).current_dir(self.home.path());
        command.env_clear().env("HF_HOME", self.home.path()).env("HF_ENDPOINT", &self.hub);
        command.envs(variables.iter().copied()).output().expect("the program runs")
    }
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn object(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"))
}

fn path(path: &Path) -> &str {
    path.to_str().expect("the path is UTF-8")
}

/// A hub with one checkpoint in every repository, in whole files.
fn hub() -> Server {
    Server::start(|request| {
        let name = request.path.rsplit('/').next().unwrap_or_default();
        match fs::read(fixture("chronos-bolt").join(name)) {
            Ok(bytes) => Reply::new(200, bytes)
                .header("X-Repo-Commit", COMMIT)
                .header("ETag", format!("\"own-{name}\"")),
            Err(_) => Reply::new(404, ""),
        }
    })
}

#[test]
fn a_missing_checkpoint_names_the_command_that_brings_it_and_that_command_does() {
    let server = hub();
    let person = Person { hub: server.url(), ..Person::new() };
    let missing = person.models(&["show", "chronos"]);
    assert_eq!(missing.status.code(), Some(1));
    let sentence = err(&missing);
    let (_, command) = sentence.split_once("`chronotick models ").expect("a command is named");
    let command: Vec<&str> = command.split('`').next().expect("it ends").split(' ').collect();
    assert_eq!(command, ["pull", "amazon/chronos-bolt-tiny"]);

    let pulled = person.models(&command);
    assert_eq!(pulled.status.code(), Some(0), "{pulled:?}");
    assert!(out(&pulled).contains("amazon/chronos-bolt-tiny (Chronos-Bolt) is complete in "), "{pulled:?}");
    assert!(out(&pulled).contains("the hub gives no checksum"), "{pulled:?}");

    // What was fetched is found without the hub.
    drop(server);
    let shown = object(&person.models(&["show", "chronos", "--json"]));
    assert_eq!(shown["model"], "Chronos-Bolt");
    assert_eq!(shown["origin"]["commit"], COMMIT);
    assert_eq!(shown["origin"]["licence"], "Apache-2.0");
    assert_eq!(shown["abilities"]["point"], "median");
    assert!(shown["config"]["d_model"].is_number(), "{shown}");
    let text = out(&person.models(&["show", "amazon/chronos-bolt-tiny"]));
    assert!(text.contains("quantiles   at any level, trained at 0.1 "), "{text}");

    let listed = object(&person.models(&["list", "--json"]));
    let models = listed["models"].as_array().expect("a list");
    assert_eq!(models.iter().filter(|model| model["default"] == true).count(), 1);
    assert_eq!(
        (&models[0]["repository"], &models[0]["name"]),
        (&json!("amazon/chronos-bolt-tiny"), &json!("chronos"))
    );
    assert_eq!(models[0]["cached"][0]["commit"], COMMIT);
    let here: Vec<&Value> = models.iter().filter(|model| model["cached"] != json!([])).collect();
    assert_eq!(here.len(), 1, "{here:?}");

    let timed = object(&person.models(&["bench", "chronos", "--runs", "2", "--json"]));
    assert_eq!((&timed["latency"][1]["context"], &timed["latency"][1]["horizon"]), (&json!(300), &json!(60)));
    assert!(timed["latency"][0]["p95_us"].as_f64() >= timed["latency"][0]["p50_us"].as_f64(), "{timed}");

    assert_eq!(
        object(&person.models(&["remove", "chronos", "--json"]))["repository"],
        "amazon/chronos-bolt-tiny"
    );
    let again = person.models(&["remove", "chronos"]);
    assert!(
        again.status.code() == Some(1) && err(&again).contains("`chronotick models list` shows"),
        "{again:?}"
    );
}

#[test]
fn offline_is_said_and_nothing_is_asked() {
    let server = Server::start(|_| panic!("the hub was asked"));
    let person = Person { hub: server.url(), ..Person::new() };
    for value in ["1", "on", "YES", "true"] {
        let refused = person.models_with(&["pull", "chronos"], &[("HF_HUB_OFFLINE", value)]);
        assert_eq!(refused.status.code(), Some(1));
        assert!(err(&refused).contains("HF_HUB_OFFLINE is set"), "{refused:?}");
    }
    let unreachable = Person::new().models_with(&["pull", "chronos"], &[("HF_HUB_OFFLINE", "0")]);
    assert!(err(&unreachable).contains("the same command goes on with what was fetched"), "{unreachable:?}");
}

#[test]
fn the_token_is_the_environments_or_the_one_that_is_kept() {
    let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let kept = std::sync::Arc::clone(&seen);
    let server = Server::start(move |request| {
        kept.lock().expect("no panic").push(request.headers.get("authorization").cloned());
        Reply::new(401, "")
    });
    let person = Person { hub: server.url(), ..Person::new() };
    let asked = |variables: &[(&str, &str)]| {
        let refused = person.models_with(&["pull", "someone/gated"], variables);
        assert!(err(&refused).contains("set HF_TOKEN to a token that may read it"), "{refused:?}");
        seen.lock().expect("no panic").pop().expect("it was asked")
    };
    assert_eq!(asked(&[]), None);
    assert_eq!(asked(&[("HF_TOKEN", "from-environment\n")]).as_deref(), Some("Bearer from-environment"));
    fs::write(person.home.path().join("token"), "kept\n").expect("the home is ours");
    assert_eq!(asked(&[]).as_deref(), Some("Bearer kept"));
    assert_eq!(asked(&[("HF_TOKEN", "first")]).as_deref(), Some("Bearer first"));
    let other = person.home.path().join("other");
    fs::write(&other, "elsewhere").expect("the home is ours");
    assert_eq!(asked(&[("HF_TOKEN_PATH", path(&other))]).as_deref(), Some("Bearer elsewhere"));
}

#[test]
fn the_cache_is_where_every_program_of_the_hub_has_it() {
    let person = Person::new();
    let home = path(person.home.path());
    let caches = |variables: &[(&str, &str)]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chronotick"));
        let output =
            command.args(["models", "list", "--json"]).env_clear().envs(variables.iter().copied()).output();
        object(&output.expect("the program runs"))["cache"].as_str().expect("a path").to_owned()
    };
    assert_eq!(caches(&[("HOME", home)]), format!("{home}/.cache/huggingface/hub"));
    assert_eq!(caches(&[("HOME", "/x"), ("XDG_CACHE_HOME", home)]), format!("{home}/huggingface/hub"));
    assert_eq!(caches(&[("HOME", "/x"), ("HF_HOME", home)]), format!("{home}/hub"));
    assert_eq!(caches(&[("HF_HOME", "/x"), ("HF_HUB_CACHE", home)]), home);
}

#[test]
fn check_tells_right_from_wrong() {
    let person = Person::new();
    let right = fixture("chronos-bolt");
    let passing = person.models(&["check", path(&right)]);
    assert_eq!(passing.status.code(), Some(0), "{passing:?}");
    assert!(out(&passing).contains("cases, all within tolerance; worst 0."), "{passing:?}");

    let wrong = person.home.path().join("wrong");
    fs::create_dir(&wrong).expect("the home is ours");
    for name in ["config.json", "model.safetensors", "cases.json"] {
        fs::copy(right.join(name), wrong.join(name)).expect("the fixture is there");
    }
    let text = fs::read(wrong.join("cases.json")).expect("it is there");
    let mut cases: Value = serde_json::from_slice(&text).expect("it is JSON");
    let value = &mut cases["cases"][0]["expected"]["quantiles"][0][0][0];
    *value = json!(value.as_f64().expect("a number") + 1.0);
    fs::write(wrong.join("cases.json"), cases.to_string()).expect("the home is ours");
    let failing = person.models(&["check", path(&right), path(&wrong), "nowhere", "--json"]);
    assert_eq!(failing.status.code(), Some(1));
    let judged = object(&failing);
    let passes: Vec<&Value> =
        judged["folders"].as_array().expect("a list").iter().map(|one| &one["passes"]).collect();
    assert_eq!(
        (passes, &judged["passes"]),
        (vec![&json!(true), &json!(false), &json!(false)], &json!(false))
    );
    assert!(judged["folders"][1]["cases"][0]["deviation"].as_f64() > Some(1.0), "{judged}");
    let text = out(&person.models(&["check", path(&wrong)]));
    assert!(text.contains("  FAILS   ") && text.contains("element 0: got "), "{text}");
}

#[test]
fn only_what_is_a_copy_can_be_fetched_and_removed() {
    let person = Person::new();
    let own = fixture("ttm");
    for command in ["pull", "remove"] {
        let refused = person.models(&[command, path(&own)]);
        assert!(
            refused.status.code() == Some(1) && err(&refused).contains("it is left alone"),
            "{refused:?}"
        );
        let refused = person.models(&[command, "chronso"]);
        assert!(err(&refused).contains("one of chronos, timesfm, ttm, toto, time_moe"), "{refused:?}");
        let refused = person.models(&[command, "http://127.0.0.1:1/"]);
        assert!(err(&refused).contains("is an address"), "{refused:?}");
    }
    let refused = person.models(&["bench", "chronso"]);
    assert!(
        err(&refused).contains("chronso is no folder here; write the path of a checkpoint"),
        "{refused:?}"
    );
    assert!(own.join("model.safetensors").exists());
    let usage = person.models(&["show", "http://192.0.2.1/"]);
    assert!(usage.status.code() == Some(2) && err(&usage).contains("plain+http"), "{usage:?}");
}

#[test]
fn the_model_that_comes_with_the_program_is_known_to_every_command() {
    let person = Person::new();
    let shown = object(&person.models(&["show", "foresight", "--json"]));
    assert_eq!((&shown["model"], &shown["abilities"]["horizon"]), (&json!("Foresight"), &json!(60)));
    assert!(out(&person.models(&["show", "foresight"])).contains("horizon     60 steps"));
    let timed = object(&person.models(&["bench", "foresight", "--runs", "1", "--json"]));
    assert_eq!((&timed["latency"][0]["context"], &timed["latency"][0]["horizon"]), (&json!(300), &json!(60)));
    assert!(out(&person.models(&["list"])).contains("foresight  comes with the program"));
    assert!(err(&person.models(&["show", "chronso"])).contains("one of foresight, chronos"));
    assert!(err(&person.models(&["pull", "foresight"])).contains("nothing to fetch"));
}

#[test]
fn a_name_is_read_as_what_it_can_be() {
    let read = |text: &str| text.parse::<Reference>().expect("can be read");
    assert_eq!(read("time_moe").to_string(), "Maple728/TimeMoE-50M");
    assert!(matches!(read("amazon/chronos-2"), Reference::Hub(_)));
    assert!(matches!(read("ibm-granite/granite-timeseries-ttm-r2@1024-96-r2"), Reference::Hub(_)));
    for folder in ["/amazon/chronos-2", "./amazon", "chronso", "src/models"] {
        assert!(matches!(read(folder), Reference::Folder(_)), "{folder}");
    }
    for sound in [
        "http://127.0.0.1:8000",
        "http://[::1]:8/x",
        "http://localhost/x?y=1",
        "https://example.org/f",
        "plain+http://10.0.0.1/",
    ] {
        assert_eq!(read(sound).to_string(), sound);
    }
    for bad in [
        "http://10.0.0.1/",
        "http://127.0.0.1.example.org/",
        "http://localhost.example.org/",
        "ftp://127.0.0.1/",
        "plain+https://x/",
        "https://",
        "http://user:secret@127.0.0.1/",
        "http://127.0.0.1:99999/",
        "file:///etc/passwd",
        "http://[::2]/",
    ] {
        let refused = bad.parse::<Reference>().expect_err(bad).to_string();
        assert!(refused.contains("is no address of a model"), "{refused}");
    }
}

/// A server of one's own that keeps the contract: it repeats the last value, with a spread of 1.
fn repeating(request: &Request) -> Reply {
    if request.method == "GET" {
        return Reply::new(
            200,
            r#"{"chronotick_model": 1, "name": "repeating", "covariates": true, "joint": true}"#,
        );
    }
    let question: Value = serde_json::from_slice(&request.body).expect("a question is JSON");
    assert_eq!(
        (&question["chronotick_model"], &request.headers["content-type"][..]),
        (&json!(1), "application/json")
    );
    let horizon = question["horizon"].as_u64().expect("a number") as usize;
    let levels: Vec<f64> = serde_json::from_value(question["levels"].clone()).expect("levels");
    let one = |target: &Value| {
        let last = target.as_array().expect("a series").iter().rev().find_map(Value::as_f64).unwrap_or(0.0);
        let step: Vec<f64> = levels.iter().map(|level| last + level - 0.5).collect();
        json!({ "point": vec![last; horizon], "quantiles": vec![step; horizon] })
    };
    let task =
        |task: &Value| task["targets"].as_array().expect("targets").iter().map(one).collect::<Vec<_>>();
    let forecasts: Vec<_> = question["tasks"].as_array().expect("tasks").iter().map(task).collect();
    Reply::new(200, json!({ "forecasts": forecasts }).to_string())
}

fn open(server: &Server) -> Result<Endpoint, String> {
    let address: Address = format!("{}/forecast", server.url()).parse().expect("an address of this machine");
    Endpoint::open(&address).map_err(|e| e.to_string())
}

#[test]
fn an_endpoint_answers_as_any_model_does() {
    let server = Server::start(repeating);
    let endpoint = open(&server).expect("it keeps the contract");
    assert_eq!((endpoint.name(), endpoint.abilities().levels.clone()), ("repeating", Levels::Any));
    let task = Task {
        targets: vec![vec![1.0, f64::NAN, 3.5], vec![7.0, 8.0, f64::NAN]],
        covariates: vec![Covariate { past: vec![1.0, 2.0, f64::NAN], future: Some(vec![4.0, 5.0]) }],
    };
    let answers = endpoint.forecast(&[task, vec![-0.5].into()], 2, &[0.25, 0.5]).expect("an answer");
    let like = |last: f64| Forecast {
        point: vec![last; 2],
        mean: None,
        quantiles: vec![vec![last - 0.25, last]; 2],
    };
    assert_eq!(answers, [vec![like(3.5), like(8.0)], vec![like(-0.5)]]);
    assert_eq!(endpoint.forecast(&[], 1, &[]).expect("nothing was asked"), Vec::<Vec<Forecast>>::new());
    let nonsense = endpoint.forecast(&[vec![f64::INFINITY].into()], 1, &[]);
    assert!(matches!(nonsense, Err(ModelError::Forecast(ForecastError::Infinite { .. }))), "{nonsense:?}");
}

#[test]
fn what_a_checkpoint_calls_its_sizes_cannot_command_a_terminal() {
    let (person, folder) = (Person::new(), TempDir::new().expect("a directory"));
    let from = fixture("chronos-bolt");
    let text = fs::read(from.join("config.json")).expect("a configuration");
    let mut config: Value = serde_json::from_slice(&text).expect("JSON");
    config["\u{1b}]0;title\u{7}"] = json!(7);
    fs::write(folder.path().join("config.json"), config.to_string()).expect("a written file");
    fs::copy(from.join("model.safetensors"), folder.path().join("model.safetensors")).expect("a copy");
    let shown = out(&person.models(&["show", path(folder.path())]));
    assert!(shown.contains(" ]0;title  7"), "{shown:?}");
    assert!(!shown.contains(|c: char| c.is_control() && c != '\n'), "{shown:?}");
}

#[test]
fn the_program_shows_times_and_checks_an_endpoint() {
    let (person, server) = (Person::new(), Server::start(repeating));
    let address = format!("{}/forecast", server.url());
    let shown = object(&person.models(&["show", &address, "--json"]));
    assert_eq!((&shown["model"], &shown["abilities"]["levels"]), (&json!("repeating"), &json!("any")));
    let checked = person.models(&["check", &address]);
    assert!(
        checked.status.success() && out(&checked).contains("10 cases, all within tolerance"),
        "{checked:?}"
    );
    assert!(person.models(&["bench", &address, "--runs", "1"]).status.success());

    let forgetful = Server::start(|request| {
        let gaps = request.body.windows(4).any(|part| part == b"null");
        if gaps && request.method == "POST" {
            Reply::new(500, r#"{"error": "no\u001b[31m null please\n"}"#)
        } else {
            repeating(request)
        }
    });
    let checked = person.models(&["check", &forgetful.url()]);
    assert_eq!(checked.status.code(), Some(1));
    assert!(out(&checked).contains("answers 500: no [31m null please"), "{checked:?}");
}

#[test]
fn the_server_in_the_documentation_keeps_the_contract() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/models.md"))
        .expect("the page");
    let (_, rest) = page.split_once("```python\n").expect("it has a server");
    let (program, _) = rest.split_once("```").expect("which ends");
    let python = Command::new("python3").args(["-c", program, "0"]).stdout(Stdio::piped()).spawn();
    let Ok(mut server) = python else {
        eprintln!("skipped: there is no python3 on this machine");
        return;
    };
    let mut port = String::new();
    BufReader::new(server.stdout.take().expect("it is piped"))
        .read_line(&mut port)
        .expect("it says its port");
    let checked = Person::new().models(&["check", &format!("http://127.0.0.1:{}", port.trim())]);
    server.kill().and_then(|()| server.wait()).expect("it can be stopped");
    assert!(checked.status.success() && out(&checked).contains("(no change)"), "{checked:?}");
}

#[test]
fn what_an_endpoint_cannot_do_is_not_asked_of_it() {
    let server = Server::start(|request| match request.method.as_str() {
        "GET" => Reply::new(
            200,
            r#"{"chronotick_model": 1, "name": "plain", "levels": [0.5], "context": 64, "point": "mean"}"#,
        ),
        _ => panic!("it was asked"),
    });
    let endpoint = open(&server).expect("it keeps the contract");
    assert_eq!((endpoint.abilities().context, endpoint.abilities().point), (Some(64), Point::Mean));
    let informed =
        Task { covariates: vec![Covariate { past: vec![1.0], future: None }], ..Task::from(vec![1.0]) };
    for (task, levels, reason) in [
        (informed, vec![], "takes no covariates"),
        (vec![1.0].into(), vec![0.1], "no quantile at level 0.1"),
        (vec![1.0].into(), vec![1.5], "between 0 and 1"),
        (vec![1.0].into(), vec![f64::NAN], "between 0 and 1"),
    ] {
        let refused = endpoint.forecast(&[task], 1, &levels).expect_err("is refused").to_string();
        assert!(refused.contains(reason), "{refused}");
    }
}

#[test]
fn a_description_that_is_none_is_refused_by_name() {
    for (description, reason) in [
        ("<html>", "its description: expected value"),
        ("{}", "missing field `chronotick_model`"),
        (r#"{"chronotick_model": 2, "name": "n"}"#, "version 2 of the contract"),
        (r#"{"chronotick_model": 1, "name": "n", "context": 0}"#, "context is 0"),
        (r#"{"chronotick_model": 1, "name": "n", "horizon": -1}"#, "its description: invalid value"),
        (r#"{"chronotick_model": 1, "name": "n", "levels": [0.5, 1]}"#, "levels has 1"),
        (r#"{"chronotick_model": 1, "name": "n", "levels": "some"}"#, "levels is a list of numbers"),
    ] {
        let server = Server::start(move |_| Reply::new(200, description));
        let refused = open(&server).expect_err(description);
        assert!(refused.contains(reason) && refused.starts_with(&server.url()), "{refused}");
    }
    for (reply, reason) in [
        (Reply::new(404, "not here"), "answers 404: not here"),
        (Reply::new(302, "").header("Location", "http://192.0.2.1/"), "redirections are not followed"),
        (Reply::new(200, vec![b' '; 1 << 20]), "answers with more than 65536 bytes"),
        (Reply::new(200, b"\xff".repeat(9)), "is not UTF-8"),
        (Reply::new(200, "{}").broken_after(1), "cannot be reached"),
    ] {
        let server = Server::start(move |_| reply.clone());
        let refused = open(&server).expect_err(reason);
        assert!(refused.contains(reason), "{refused}");
    }
}

#[test]
fn a_hostile_answer_is_refused_by_name() {
    let good = json!({ "point": [1, 2], "mean": [1, 2], "quantiles": [[0, 1], [1, 2]] });
    let with = |key: &str, value: Value| {
        let mut answer = good.clone();
        answer[key] = value;
        json!({ "forecasts": [[answer]] }).to_string()
    };
    let cases = [
        ("[]".to_owned(), "its answer: "),
        (json!({ "forecasts": [] }).to_string(), "forecasts has 0 entries for 1 tasks"),
        (json!({ "forecasts": [[]] }).to_string(), "forecasts[0] has 0 entries for 1 targets"),
        (json!({ "forecasts": [[good, good]] }).to_string(), "forecasts[0] has 2 entries for 1 targets"),
        (with("point", json!([1])), "forecasts[0][0].point has 1 entries for 2 steps"),
        (with("point", json!([1, null])), "forecasts[0][0].point[1] is no number"),
        (with("point", json!([1, "NaN"])), "invalid type: string"),
        (with("point", json!([1, 2])).replace("[1,2]", "[1,1e999]"), "number out of range"),
        (with("mean", json!([1, 2, 3])), "forecasts[0][0].mean has 3 entries"),
        (with("quantiles", json!([[0, 1]])), "forecasts[0][0].quantiles has 1 entries for 2 steps"),
        (with("quantiles", json!([[0, 1], [0]])), "forecasts[0][0].quantiles[1] has 1 entries for 2 levels"),
        (with("quantiles", json!([[0, 1], [0, null]])), "quantiles[1][1] is no number"),
        ("[".repeat(1_000), "its answer: "),
        (" ".repeat(1 << 20), "nothing of it is used"),
    ];
    let answers: Vec<String> = cases.iter().map(|(answer, _)| answer.clone()).collect();
    let next = std::sync::atomic::AtomicUsize::new(0);
    let server = Server::start(move |request| match request.method.as_str() {
        "GET" => repeating(request),
        _ => Reply::new(200, answers[next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)].clone()),
    });
    let endpoint = open(&server).expect("its description is sound");
    for (answer, reason) in cases {
        match endpoint.forecast(&[vec![1.0].into()], 2, &[0.1, 0.9]) {
            Err(ModelError::Endpoint(error)) => {
                assert!(matches!(error.problem, Problem::Answer(_) | Problem::TooLong { .. }), "{error}");
                assert!(error.to_string().contains(reason), "{error}");
            }
            other => panic!("{other:?} for {:.80}", answer),
        }
    }
}
