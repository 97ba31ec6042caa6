//! Checkpoints from a hub that a test plays on loopback, and the cache that they are kept in.
#![cfg(feature = "pull")]

use chronotick_peers::http::{Reply, Request, Server};
use chronotick_tsfm::hub::{Cache, Hub, Progress, PullError, Pulled, Repository};
use chronotick_tsfm::{Family, Forecaster};
use sha1::Digest;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const ID: &str = "someone/a-model";

fn repository() -> Repository {
    ID.parse().unwrap()
}

fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sha256(bytes: &[u8]) -> String {
    hex(sha2::Sha256::digest(bytes))
}

/// The name that git gives to contents.
fn git(bytes: &[u8]) -> String {
    hex(sha1::Sha1::new_with_prefix(format!("blob {}\0", bytes.len())).chain_update(bytes).finalize())
}

fn fixture(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/chronos-bolt");
    fs::read(folder.join(name)).unwrap()
}

/// The files of a repository.
type Files = BTreeMap<String, Vec<u8>>;

fn checkpoint() -> Files {
    ["config.json", "model.safetensors"].map(|name| (name.to_owned(), fixture(name))).into()
}

/// What a hub answers: the file, or the asked part of it, with commit and checksum.
fn answer(files: &Files, request: &Request) -> Reply {
    let mut path = request.path.trim_start_matches('/').splitn(5, '/');
    let [owner, name, resolve, revision, file] = [(); 5].map(|()| path.next().unwrap_or_default());
    if format!("{owner}/{name}") != ID || resolve != "resolve" {
        return Reply::new(404, "Repository not found").header("X-Error-Code", "RepoNotFound");
    }
    if !["main", "v1", COMMIT].contains(&revision) {
        return Reply::new(404, "Invalid rev id").header("X-Error-Code", "RevisionNotFound");
    }
    let Some(bytes) = files.get(file) else {
        return Reply::new(404, "Entry not found").header("X-Error-Code", "EntryNotFound");
    };
    let etag = if file.ends_with(".safetensors") { sha256(bytes) } else { git(bytes) };
    part(bytes, request).header("X-Repo-Commit", COMMIT).header("ETag", format!("\"{etag}\""))
}

/// The asked part of some contents.
fn part(bytes: &[u8], request: &Request) -> Reply {
    let range = request.headers.get("range").and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
    let Some((first, last)) = range else { return Reply::new(200, bytes) };
    let (first, last): (usize, Option<usize>) = (first.parse().unwrap(), last.parse().ok());
    let end = last.map_or(bytes.len(), |last| (last + 1).min(bytes.len()));
    if first >= end {
        return Reply::new(416, "");
    }
    let range = format!("bytes {first}-{}/{}", end - 1, bytes.len());
    Reply::new(206, &bytes[first..end]).header("Content-Range", range)
}

/// A hub, the requests that it saw, and an empty cache.
struct Scene {
    server: Server,
    seen: Arc<Mutex<Vec<Request>>>,
    folder: TempDir,
}

impl Scene {
    fn new(answer: impl Fn(&Request) -> Reply + Send + 'static) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&seen);
        let server = Server::start(move |request| {
            kept.lock().unwrap().push(request.clone());
            answer(request)
        });
        Self { server, seen, folder: TempDir::new().unwrap() }
    }

    /// A hub that is as it should be.
    fn sound() -> Self {
        let files = checkpoint();
        Self::new(move |request| answer(&files, request))
    }

    /// A hub that is as it should be but for what `change` makes of the transfers of the weights.
    fn weights(change: impl Fn(Reply, &Request) -> Reply + Send + 'static) -> Self {
        let files = checkpoint();
        Self::new(move |request| {
            let transfer = request.headers.get("range").is_none_or(|range| range != "bytes=0-0");
            let reply = answer(&files, request);
            if transfer && request.path.ends_with("model.safetensors") {
                change(reply, request)
            } else {
                reply
            }
        })
    }

    fn cache(&self) -> Cache {
        Cache::at(self.folder.path())
    }

    fn pull(&self) -> Result<Pulled, PullError> {
        self.pull_as(&repository(), None)
    }

    fn pull_as(&self, repository: &Repository, token: Option<&str>) -> Result<Pulled, PullError> {
        Hub::at(&self.server.url(), token.map(str::to_owned)).pull(repository, &self.cache(), &mut |_| ())
    }

    /// What went wrong, and that nothing of it can be found under the name.
    fn refusal(&self) -> PullError {
        let error = self.pull().unwrap_err();
        assert!(self.cache().find(&repository()).is_err(), "found after {error}");
        assert_eq!(self.cache().repositories().unwrap().iter().filter(|r| r.revision() == "main").count(), 0);
        error
    }

    /// The ranges in which the weights were asked for, after their announcement.
    fn ranges(&self) -> Vec<Option<String>> {
        let seen = self.seen.lock().unwrap();
        let weights = seen.iter().filter(|request| request.path.ends_with("model.safetensors"));
        weights
            .map(|request| request.headers.get("range").cloned())
            .filter(|r| r.as_deref() != Some("bytes=0-0"))
            .collect()
    }

    /// What an earlier download left of the weights.
    fn leave(&self, bytes: &[u8]) {
        let blobs = self.folder.path().join("models--someone--a-model/blobs");
        fs::create_dir_all(&blobs).unwrap();
        fs::write(blobs.join(format!("{}.incomplete", sha256(&fixture("model.safetensors")))), bytes)
            .unwrap();
    }
}

#[test]
fn a_checkpoint_is_fetched_once_and_found_by_its_name() {
    let scene = Scene::sound();
    let absent = scene.cache().find(&repository()).unwrap_err().to_string();
    assert!(absent.contains("`chronotick models pull someone/a-model` brings it"), "{absent}");

    let mut steps: Vec<(String, u64, u64)> = Vec::new();
    let mut watch = |Progress { file, held, size }: Progress<'_>| steps.push((file.to_owned(), held, size));
    let pulled = Hub::at(&scene.server.url(), None).pull(&repository(), &scene.cache(), &mut watch).unwrap();
    let size = fixture("model.safetensors").len() as u64;
    assert_eq!(steps.last(), Some(&("model.safetensors".to_owned(), size, size)));
    let named: Vec<_> = pulled.files.iter().map(|file| (file.name.as_str(), file.fetched)).collect();
    assert_eq!(named, [("config.json", true), ("model.safetensors", true)]);
    assert_eq!(pulled.files[0].checksum, Some(format!("git:{}", git(&fixture("config.json")))));
    assert_eq!(pulled.files[1].checksum, Some(format!("sha256:{}", sha256(&fixture("model.safetensors")))));

    let found = scene.cache().find(&repository()).unwrap();
    assert_eq!((&found, found.commit.as_str()), (&pulled.snapshot, COMMIT));
    assert_eq!(found.bytes().unwrap(), size + fixture("config.json").len() as u64);
    assert_eq!(Family::at(&found.folder).unwrap(), Family::ChronosBolt);
    Forecaster::open(&found.folder).unwrap();
    assert_eq!(scene.cache().repositories().unwrap(), [repository()]);

    scene.seen.lock().unwrap().clear();
    let again = scene.pull().unwrap();
    assert!(again.files.iter().all(|file| !file.fetched));
    assert_eq!(scene.ranges(), []);
}

#[test]
fn a_forecaster_opens_by_name() {
    // The cache is the environment's, which no test can change for itself: it runs itself in another one.
    if std::env::var_os("OPENS_BY_NAME").is_some() {
        assert_eq!(Forecaster::open(ID).unwrap().family(), Family::ChronosBolt);
        let absent = Forecaster::open("someone/other").unwrap_err().to_string();
        assert!(absent.contains("`chronotick models pull someone/other` brings it"), "{absent}");
        return;
    }
    let scene = Scene::sound();
    scene.pull().unwrap();
    let mut again = std::process::Command::new(std::env::current_exe().unwrap());
    again.args(["--exact", "a_forecaster_opens_by_name"]).env("OPENS_BY_NAME", "1");
    let output = again.env("HF_HUB_CACHE", scene.folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn the_layout_is_the_one_that_other_programs_read() {
    let scene = Scene::sound();
    scene.pull().unwrap();
    let root = scene.folder.path().join("models--someone--a-model");
    assert_eq!(fs::read_to_string(root.join("refs/main")).unwrap(), COMMIT);
    let blob = sha256(&fixture("model.safetensors"));
    let link = fs::read_link(root.join("snapshots").join(COMMIT).join("model.safetensors")).unwrap();
    assert_eq!(link, Path::new("../../blobs").join(&blob));
    assert_eq!(fs::read(root.join("blobs").join(blob)).unwrap(), fixture("model.safetensors"));
    let left = fs::read_dir(root.join("blobs")).unwrap().count();
    assert_eq!(left, 2, "nothing but the contents");
}

#[test]
fn a_broken_connection_is_taken_up_where_it_ended() {
    let scene = Scene::weights(|reply, request| match request.headers.get("range").map(String::as_str) {
        None => reply.broken_after(1_000),
        Some("bytes=1000-") => reply.broken_after(500),
        _ => reply,
    });
    scene.pull().unwrap();
    assert_eq!(scene.ranges(), [None, Some("bytes=1000-".to_owned()), Some("bytes=1500-".to_owned())]);
}

#[test]
fn a_connection_that_brings_nothing_more_is_an_error_and_the_rest_comes_later() {
    let scene = Scene::weights(|reply, request| match request.headers.get("range") {
        None => reply.broken_after(1_000),
        Some(_) => reply.broken_after(0),
    });
    let error = scene.refusal();
    assert!(matches!(error, PullError::Network { .. }), "{error}");
    assert!(error.to_string().contains("the same command goes on with what was fetched"), "{error}");

    let files = checkpoint();
    let later = Scene { folder: scene.folder, ..Scene::new(move |request| answer(&files, request)) };
    later.pull().unwrap();
    assert_eq!(later.ranges(), [Some("bytes=1000-".to_owned())]);
}

#[test]
fn a_server_without_ranges_begins_anew() {
    let whole = fixture("model.safetensors");
    let scene = Scene::weights(move |_, _| Reply::new(200, whole.clone()));
    scene.leave(&fixture("model.safetensors")[..700]);
    scene.pull().unwrap();
    Forecaster::open(&scene.cache().find(&repository()).unwrap().folder).unwrap();
}

#[test]
fn what_another_program_left_is_used_only_if_it_is_right() {
    for left in [vec![7; 700], vec![7; fixture("model.safetensors").len()], vec![7; 1 << 20]] {
        let scene = Scene::sound();
        scene.leave(&left);
        scene.pull().unwrap();
        Forecaster::open(&scene.cache().find(&repository()).unwrap().folder).unwrap();
    }
    let scene = Scene::sound();
    scene.leave(&fixture("model.safetensors"));
    scene.pull().unwrap();
    assert_eq!(scene.ranges(), [], "it was complete");
}

#[test]
fn damaged_contents_of_the_cache_are_fetched_again() {
    let scene = Scene::sound();
    let snapshot = scene.pull().unwrap().snapshot;
    let mut bytes = fixture("model.safetensors");
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(snapshot.folder.join("model.safetensors"), bytes).unwrap();
    let again = scene.pull().unwrap();
    let fetched: Vec<_> = again.files.iter().map(|file| file.fetched).collect();
    assert_eq!(fetched, [false, true]);
    assert_eq!(fs::read(snapshot.folder.join("model.safetensors")).unwrap(), fixture("model.safetensors"));
}

#[test]
fn a_wrong_checksum_is_refused_and_thrown_away() {
    let scene = Scene::weights(|_, request| {
        let mut bytes = fixture("model.safetensors");
        bytes[900] ^= 1;
        part(&bytes, request)
    });
    let error = scene.refusal();
    assert!(matches!(&error, PullError::Checksum { .. }), "{error}");
    let blobs = scene.folder.path().join("models--someone--a-model/blobs");
    assert_eq!(fs::read_dir(blobs).unwrap().count(), 1, "the configuration alone");
}

#[test]
fn every_refusal_of_a_hub_names_its_mend() {
    let status = |status: u16, code: &'static str| {
        Scene::new(move |_| Reply::new(status, "").header("X-Error-Code", code))
    };
    for (scene, mend) in [
        (status(401, "GatedRepo"), "set HF_TOKEN to a token that may read it"),
        (status(403, "GatedRepo"), "accept its terms on"),
        (
            status(401, "RepoNotFound"),
            "check the spelling and the revision, and if it is private set HF_TOKEN",
        ),
        (status(404, "RepoNotFound"), "check the spelling"),
        (status(404, "RevisionNotFound"), "check the spelling and the revision"),
        (status(404, "EntryNotFound"), "has no config.json"),
        (status(503, ""), "check HF_ENDPOINT, or try again later"),
    ] {
        let error = scene.refusal().to_string();
        assert!(error.contains(mend) && error.contains(&scene.server.url()) | error.contains(ID), "{error}");
    }
    let config_alone: Files = [("config.json".to_owned(), fixture("config.json"))].into();
    let error = Scene::new(move |request| answer(&config_alone, request)).refusal().to_string();
    assert!(error.starts_with("someone/a-model has no model.safetensors;"), "{error}");

    let server = Server::start(|_| Reply::new(200, ""));
    let gone = Hub::at(&server.url(), None);
    drop(server);
    let error = gone.pull(&repository(), &Cache::at("/nowhere"), &mut |_| ()).unwrap_err();
    assert!(matches!(error, PullError::Network { .. }), "{error}");
}

#[test]
fn what_a_hostile_hub_says_never_becomes_a_path() {
    for (header, value) in [
        ("ETag", "\"../../../etag\""),
        ("ETag", "\"..\""),
        ("ETag", "\".hidden\""),
        ("ETag", "\"\""),
        ("X-Repo-Commit", "../../refs"),
        ("X-Repo-Commit", "a/b"),
        ("X-Repo-Commit", ""),
    ] {
        let files = checkpoint();
        let scene = Scene::new(move |request| {
            let sound = part(&files["config.json"], request);
            let other = if header == "ETag" { ("X-Repo-Commit", COMMIT) } else { ("ETag", "\"abc\"") };
            sound.header(header, value).header(other.0, other.1)
        });
        let error = scene.refusal();
        assert!(
            matches!(&error, PullError::Answer { reason, .. } if reason.contains(header)),
            "{header} {value}: {error}"
        );
        assert!(!scene.folder.path().join("models--someone--a-model").exists(), "{header} {value}");
    }
}

#[test]
fn an_answer_that_is_no_hubs_is_refused_by_name() {
    let reason = |scene: Scene| match scene.refusal() {
        PullError::Answer { reason, .. } => reason,
        other => panic!("{other}"),
    };
    let page = Scene::new(|_| Reply::new(200, "<html>please log in</html>"));
    assert_eq!(reason(page), "its answer has no X-Repo-Commit, as a hub's has");

    let circle = Scene::new(|request| Reply::new(302, "").header("Location", &request.path));
    assert_eq!(reason(circle), "it leads in circles");

    let more = Scene::weights(|reply, _| reply.header("Transfer-Encoding", "chunked"));
    let more = more.pull().unwrap_err();
    assert!(matches!(more, PullError::Network { .. }), "{more}");

    let files = checkpoint();
    let moved = Scene::new(move |request| {
        let commit = if request.path.ends_with("config.json") { COMMIT } else { "feed" };
        let bytes = &files[request.path.rsplit('/').next().unwrap()];
        part(bytes, request).header("X-Repo-Commit", commit).header("ETag", git(bytes))
    });
    assert_eq!(reason(moved), "it is of commit feed, and the rest is not");

    let longer = Scene::weights(|_, _| Reply::new(200, vec![0; 1 << 20]));
    assert!(reason(longer).starts_with("it announces "));

    let elsewhere = Scene::weights(|_, _| Reply::new(206, vec![0; 5]).header("Content-Range", "bytes 0-4/5"));
    elsewhere.leave(&[0; 10]);
    assert_eq!(reason(elsewhere), "it does not go on at byte 10");
}

#[test]
fn a_body_without_end_is_cut_at_what_was_announced() {
    let scene = Scene::weights(|_, _| {
        // 16 chunks of 64 KiB, and no length.
        let chunk = [b"10000\r\n".as_slice(), &[0; 1 << 16], b"\r\n"].concat();
        Reply::new(200, chunk.repeat(16)).header("Transfer-Encoding", "chunked")
    });
    match scene.refusal() {
        PullError::Answer { reason, .. } => {
            assert!(reason.starts_with("it sends more than the "), "{reason}")
        }
        other => panic!("{other}"),
    }
    let blobs = scene.folder.path().join("models--someone--a-model/blobs");
    let longest = fs::read_dir(blobs).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).max();
    assert!(longest <= Some(fixture("model.safetensors").len() as u64), "{longest:?}");
}

#[test]
fn the_token_goes_to_the_hub_and_not_to_its_storage() {
    let files = checkpoint();
    let storage = Server::start(move |request| {
        assert_eq!(request.headers.get("authorization"), None);
        part(&files["model.safetensors"], request)
    });
    let files = checkpoint();
    let elsewhere = format!("http://localhost:{}/signed", storage.port());
    let scene = Scene::new(move |request| {
        if request.headers.get("authorization").map(String::as_str) != Some("Bearer a-token") {
            return Reply::new(401, "").header("X-Error-Code", "GatedRepo");
        }
        // A repository that was renamed, and weights that are kept elsewhere.
        if let Some(rest) = request.path.strip_prefix("/someone/old-name") {
            return Reply::new(307, "").header("Location", format!("/{ID}{rest}"));
        }
        if !request.path.ends_with("model.safetensors") {
            return answer(&files, request);
        }
        let bytes = &files["model.safetensors"];
        Reply::new(302, "")
            .header("Location", &elsewhere)
            .header("X-Repo-Commit", COMMIT)
            .header("X-Linked-Etag", format!("\"{}\"", sha256(bytes)))
            .header("X-Linked-Size", bytes.len())
            .header("ETag", "\"of the redirection\"")
    });
    let renamed: Repository = "someone/old-name".parse().unwrap();
    assert!(matches!(scene.pull_as(&renamed, None), Err(PullError::Forbidden { .. })));
    scene.pull_as(&renamed, Some("a-token")).unwrap();
    Forecaster::open(&scene.cache().find(&renamed).unwrap().folder).unwrap();
}

#[test]
fn shards_come_with_their_index() {
    let index = |second: &str| {
        let map =
            format!(r#"{{"weight_map": {{"a": "model-00001-of-00002.safetensors", "b": "{second}"}}}}"#);
        map.into_bytes()
    };
    let sharded = |second: &str| {
        let mut files: Files = [("config.json".to_owned(), fixture("config.json"))].into();
        files.insert("model.safetensors.index.json".into(), index(second));
        files.insert("model-00001-of-00002.safetensors".into(), vec![1; 100]);
        files.insert("model-00002-of-00002.safetensors".into(), vec![2; 200]);
        Scene::new(move |request| answer(&files, request))
    };
    let scene = sharded("model-00002-of-00002.safetensors");
    let pulled = scene.pull().unwrap();
    assert_eq!(pulled.files.len(), 4);
    let found = scene.cache().find(&repository()).unwrap();
    assert_eq!(found.files.len(), 3, "{found:?}");
    fs::remove_file(&found.files[2]).unwrap();
    let absent = scene.cache().find(&repository()).unwrap_err().to_string();
    assert!(absent.contains("without its model-00002-of-00002.safetensors"), "{absent}");

    for hostile in ["../../../../x.safetensors", "/etc/passwd", "..", "a\\u0000b", "sub/model.safetensors"] {
        let error = sharded(hostile).refusal();
        assert!(matches!(error, PullError::Index(_) | PullError::NoCheckpoint { .. }), "{hostile}: {error}");
    }
}

#[test]
fn two_at_once_do_not_write_into_the_same_file() {
    let scene = Scene::sound();
    scene.leave(&[]);
    let blobs = scene.folder.path().join("models--someone--a-model/blobs");
    let name = format!("{}.incomplete", sha256(&fixture("model.safetensors")));
    let held = fs::File::open(blobs.join(name)).unwrap();
    rustix::fs::flock(&held, rustix::fs::FlockOperation::NonBlockingLockExclusive).unwrap();
    let error = scene.refusal();
    assert!(matches!(error, PullError::Busy(_)), "{error}");
    drop(held);
    scene.pull().unwrap();
}

#[test]
fn a_revision_goes_with_what_only_it_uses() {
    let scene = Scene::sound();
    scene.pull().unwrap();
    let tagged: Repository = format!("{ID}@v1").parse().unwrap();
    scene.pull_as(&tagged, None).unwrap();
    assert_eq!(scene.cache().repositories().unwrap(), [repository(), tagged.clone()]);
    // Another revision, as another program may have fetched it, that shares the configuration and nothing else.
    let root = scene.folder.path().join("models--someone--a-model");
    let other = root.join("snapshots/feed");
    fs::create_dir_all(&other).unwrap();
    let config = format!("../../blobs/{}", git(&fixture("config.json")));
    std::os::unix::fs::symlink(config, other.join("config.json")).unwrap();

    let freed = scene.cache().remove(&tagged).unwrap().unwrap();
    assert!(freed >= fixture("model.safetensors").len() as u64, "{freed}");
    assert!(scene.cache().find(&repository()).is_err(), "the same commit by another name");
    assert_eq!(fs::read(other.join("config.json")).unwrap(), fixture("config.json"));
    assert_eq!(scene.cache().remove(&repository()).unwrap(), None);
    let bare: Repository = format!("{ID}@feed").parse().unwrap();
    assert_eq!(scene.cache().repositories().unwrap(), vec![bare.clone()]);
    assert!(scene.cache().remove(&bare).unwrap().is_some());
    assert!(!root.exists());
    assert_eq!(scene.cache().remove(&bare).unwrap(), None);
    assert_eq!(scene.cache().repositories().unwrap(), []);

    scene.leave(&[1; 50]);
    assert_eq!(scene.cache().remove(&repository()).unwrap(), Some(50), "a begun download");
}

#[test]
fn a_name_never_leads_out_of_the_cache() {
    for text in [
        "",
        "model",
        "a/b/c",
        "/a",
        "a/",
        "../a",
        "a/..",
        "./a",
        "a/.b",
        "-a/b",
        "a/b@",
        "a/b@..",
        "a/b@../c",
        "a/b@c/../d",
        "a/b@/c",
        "a/b@c//d",
        "a b/c",
        "a/b?c",
        "a/b#c",
        "a/b%2e",
        "ä/b",
        "a--b/c",
        "a/b@c@d",
        "a\\b/c",
    ] {
        assert!(text.parse::<Repository>().is_err(), "{text:?}");
    }
    for text in ["a/b", "A-1/b_2.c@v1.0", "a/b@refs/pr/1", &format!("a/b@{COMMIT}")] {
        assert_eq!(text.parse::<Repository>().unwrap().to_string(), text);
    }
    assert_eq!("a/b@main".parse::<Repository>().unwrap().to_string(), "a/b");

    // A reference in a cache that leads elsewhere is none.
    let folder = TempDir::new().unwrap();
    let refs = folder.path().join("models--someone--a-model/refs");
    fs::create_dir_all(&refs).unwrap();
    fs::write(refs.join("main"), "../../../..").unwrap();
    assert!(Cache::at(folder.path()).find(&repository()).is_err());
}
