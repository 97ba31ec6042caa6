//! Fetching: `config.json` and the weights of a [`Repository`] from a hub into a [`Cache`].
//!
//! A hub answers `GET /OWNER/NAME/resolve/REVISION/FILE` with the file, or with a redirection to where it is stored, and
//! says in headers which commit the revision is and what the checksum is. A download that broke off goes on where it
//! ended. Nothing becomes visible under the repository's name before all of it is there and every checksum is right.
//! What a hub says is hostile until it is checked: names become paths only if they cannot lead anywhere, no file grows
//! beyond its announced size, and no answer is waited for without end.

use std::fmt;
use std::fs;
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::FlockOperation;
use rustix::io::Errno;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use ureq::Agent;
use ureq::config::RedirectAuthHeaders;
use ureq::http::{HeaderMap, Response, StatusCode, Uri};
use ureq::tls::{RootCerts, TlsConfig};

use super::{Cache, Repository, Snapshot, home, is_name, named};
use crate::checkpoint::{self, INDEX};

/// How long a connection may take, and then the head of an answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a transfer may stand still.
const SILENCE: Duration = Duration::from_secs(60);
/// How many redirections within the hub are followed: a renamed repository takes one, its storage another.
const HOPS: usize = 5;

/// A hub, and how it is asked.
#[derive(Clone)]
pub struct Hub {
    endpoint: String,
    token: Option<String>,
    offline: bool,
    /// Stops at redirections, so that the hub's own headers are seen.
    asking: Agent,
    /// Follows them.
    fetching: Agent,
}

impl fmt::Debug for Hub {
    /// Without the token: it is a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub")
            .field("endpoint", &self.endpoint)
            .field("offline", &self.offline)
            .finish_non_exhaustive()
    }
}

/// How far the download of one file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress<'a> {
    /// The file.
    pub file: &'a str,
    /// The bytes that are there.
    pub held: u64,
    /// The bytes of the whole file.
    pub size: u64,
}

/// What was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// Where it is.
    pub snapshot: Snapshot,
    /// Each file of it.
    pub files: Vec<File>,
}

/// A file as it was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its name in the repository.
    pub name: String,
    /// Its length in bytes.
    pub size: u64,
    /// The checksum that it was found to have: `sha256:…`, or `git:…` for a small file, or `None` where the hub names
    /// none.
    pub checksum: Option<String>,
    /// Whether it came over the network now, rather than being there and right already.
    pub fetched: bool,
}

/// Why a repository could not be fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PullError {
    /// The environment forbids it.
    #[error(
        "HF_HUB_OFFLINE is set: {0} cannot be fetched; unset it, or copy the folder of the checkpoint here and name that"
    )]
    Offline(Repository),
    /// The hub has no such repository or no such revision, or does not show it.
    #[error(
        "{endpoint} has no {repository}; check the spelling and the revision, and if it is private set HF_TOKEN"
    )]
    Unknown {
        /// The hub.
        endpoint: String,
        /// The repository.
        repository: Repository,
    },
    /// The hub wants to know who is asking, or does not let them.
    #[error("{endpoint} does not give out {repository} ({status}); accept its terms on {endpoint}/{}, and set HF_TOKEN to a token that may read it", repository.id())]
    Forbidden {
        /// The hub.
        endpoint: String,
        /// The repository.
        repository: Repository,
        /// What it answered.
        status: StatusCode,
    },
    /// The repository lacks a file that a checkpoint has.
    #[error(
        "{repository} has no {file}; a checkpoint that can be opened has config.json, and model.safetensors or its index and shards"
    )]
    NoCheckpoint {
        /// The repository.
        repository: Repository,
        /// The file.
        file: String,
    },
    /// The hub cannot be reached, or the connection broke.
    #[error(
        "{url}: {reason}; check the connection and HF_ENDPOINT: the same command goes on with what was fetched"
    )]
    Network {
        /// The address.
        url: String,
        /// What happened.
        reason: String,
    },
    /// The hub answers, but not as a hub does.
    #[error("{url}: {reason}; check HF_ENDPOINT, or try again later")]
    Answer {
        /// The address.
        url: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// A file came whole and is not what the hub says it is.
    #[error(
        "{url}: the checksum of what came is {found}, not {wanted}; it was thrown away: try again, and if it stays so do not trust that hub"
    )]
    Checksum {
        /// The address.
        url: String,
        /// The checksum of the bytes that came.
        found: String,
        /// The checksum that was announced.
        wanted: String,
    },
    /// Another process is fetching the same file.
    #[error("{}: another process is fetching this file; wait for it", .0.display())]
    Busy(PathBuf),
    /// The cache cannot be written.
    #[error("{}: {source}; HF_HOME names another place for the cache", path.display())]
    Cache {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The index of the shards is none.
    #[error(transparent)]
    Index(#[from] crate::OpenError),
}

/// What a hub says about a file, in the headers of its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announced {
    /// The commit that the revision is.
    pub commit: String,
    /// The name of its contents: a checksum, unless the hub makes up its own.
    pub etag: String,
    /// Its length in bytes.
    pub size: Option<u64>,
}

impl Hub {
    /// The hub that the environment names: `HF_ENDPOINT`, the token of `HF_TOKEN` or of the file `HF_TOKEN_PATH` or
    /// `token` in `HF_HOME`, and none at all with `HF_HUB_OFFLINE`.
    pub fn standard() -> Self {
        let text = |variable| Some(named(variable)?.to_string_lossy().trim().to_owned());
        let file = || named("HF_TOKEN_PATH").map(PathBuf::from).or_else(|| Some(home()?.join("token")));
        let kept = || Some(fs::read_to_string(file()?).ok()?.trim().to_owned());
        let endpoint = text("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".into());
        let token = text("HF_TOKEN").or_else(kept).filter(|token| !token.is_empty());
        let offline = text("HF_HUB_OFFLINE").map(|value| value.to_ascii_lowercase());
        let offline = offline.is_some_and(|value| ["1", "on", "yes", "true"].contains(&value.as_str()));
        Self { offline, ..Self::at(&endpoint, token) }
    }

    /// The hub at an address, as someone with a token or as nobody.
    pub fn at(endpoint: &str, token: Option<String>) -> Self {
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::PlatformVerifier)
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let agent = |hops: u32| {
            Agent::config_builder()
                .tls_config(tls.clone())
                .user_agent(concat!("chronotick/", env!("CARGO_PKG_VERSION")))
                .http_status_as_error(false)
                .max_redirects(hops)
                .max_redirects_will_error(false)
                .redirect_auth_headers(RedirectAuthHeaders::SameHost)
                .timeout_connect(Some(PATIENCE))
                .timeout_recv_response(Some(PATIENCE))
                .timeout_per_read(Some(SILENCE))
                .build()
                .new_agent()
        };
        let endpoint = endpoint.trim_end_matches('/').to_owned();
        Self { endpoint, token, offline: false, asking: agent(0), fetching: agent(HOPS as u32) }
    }

    /// Where it is.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Brings `config.json` and the weights of a repository into a cache; what is there already is checked and kept.
    ///
    /// # Errors
    ///
    /// [`PullError`]. What was fetched by then stays, and a second call goes on from there.
    pub fn pull(
        &self,
        repository: &Repository,
        cache: &Cache,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Pulled, PullError> {
        if self.offline {
            return Err(PullError::Offline(repository.clone()));
        }
        let root = cache.dir().join(repository.folder());
        let missing =
            |file: &str| PullError::NoCheckpoint { repository: repository.clone(), file: file.into() };
        let mut pulling = Pulling {
            hub: self,
            repository: repository.clone(),
            root,
            commit: None,
            files: Vec::new(),
            progress,
        };

        let commit = pulling.file("config.json")?.ok_or_else(|| missing("config.json"))?;
        // Everything else is of the same commit, whatever happens on the hub meanwhile.
        pulling.repository = repository.at(&commit);
        pulling.commit = Some(commit.clone());
        let folder = pulling.root.join("snapshots").join(&commit);
        if pulling.file("model.safetensors")?.is_none() {
            pulling.file(INDEX)?.ok_or_else(|| missing("model.safetensors"))?;
            for shard in checkpoint::weight_files(&folder)? {
                let name = shard.file_name().and_then(|name| name.to_str()).filter(|name| is_name(name));
                let name = name.ok_or_else(|| missing(&shard.display().to_string()))?;
                pulling.file(name)?.ok_or_else(|| missing(name))?;
            }
        }
        if repository.revision() != commit {
            let reference = pulling.root.join("refs").join(repository.revision());
            write(&reference, |path| fs::write(path, &commit))?;
        }
        let files = pulling.files;
        let snapshot =
            Snapshot { files: files.iter().map(|file| folder.join(&file.name)).collect(), folder, commit };
        Ok(Pulled { snapshot, files })
    }

    /// Asks what the hub has under a name; `None` if the revision has no such file.
    fn announced(&self, repository: &Repository, file: &str) -> Result<Option<Announced>, PullError> {
        let mut url = self.url(repository, file);
        for _ in 0..HOPS {
            let answer = self.get(&self.asking, &url, Some("bytes=0-0".into()))?;
            let within = |location: &str| location.starts_with('/') && !location.starts_with("//");
            match header(answer.headers(), "location") {
                Some(location) if answer.status().is_redirection() && within(location) => {
                    url = format!("{}{location}", origin(&url));
                    continue;
                }
                _ => {}
            }
            let status = answer.status();
            let code = header(answer.headers(), "x-error-code");
            return match status.as_u16() {
                200..=399 => Announced::of(status, answer.headers())
                    .map(Some)
                    .map_err(|reason| PullError::Answer { url, reason }),
                401 | 403 if code != Some("RepoNotFound") => Err(PullError::Forbidden {
                    endpoint: self.endpoint.clone(),
                    repository: repository.clone(),
                    status,
                }),
                401 | 403 => Err(self.unknown(repository)),
                404 if matches!(code, Some("RepoNotFound" | "RevisionNotFound")) => {
                    Err(self.unknown(repository))
                }
                404 => Ok(None),
                _ => Err(PullError::Answer { url, reason: format!("it answers {status}") }),
            };
        }
        Err(PullError::Answer { url, reason: "it leads in circles".into() })
    }

    fn unknown(&self, repository: &Repository) -> PullError {
        PullError::Unknown { endpoint: self.endpoint.clone(), repository: repository.clone() }
    }

    fn url(&self, repository: &Repository, file: &str) -> String {
        let revision = repository.revision().replace('/', "%2F");
        format!("{}/{}/resolve/{revision}/{file}", self.endpoint, repository.id())
    }

    fn get(
        &self,
        agent: &Agent,
        url: &str,
        range: Option<String>,
    ) -> Result<Response<ureq::Body>, PullError> {
        let mut request = agent.get(url);
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if let Some(range) = range {
            request = request.header("range", range);
        }
        request.call().map_err(|e| {
            let reason = match e {
                ureq::Error::Io(e) => e.to_string(),
                e => e.to_string(),
            };
            PullError::Network { url: url.to_owned(), reason }
        })
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Scheme, host and port of an address.
fn origin(url: &str) -> String {
    let uri: Uri = url.parse().unwrap_or_default();
    format!("{}://{}", uri.scheme_str().unwrap_or("https"), uri.authority().map_or("", |a| a.as_str()))
}

/// First byte and length of the whole in `bytes 7-41/42`.
fn content_range(headers: &HeaderMap) -> Option<(u64, u64)> {
    let (range, size) = header(headers, "content-range")?.strip_prefix("bytes ")?.split_once('/')?;
    Some((range.split_once('-')?.0.parse().ok()?, size.parse().ok()?))
}

impl Announced {
    /// Reads the status and the headers of an answer; commit and name of contents can be parts of a path.
    ///
    /// # Errors
    /// What is missing, or cannot be what it is called.
    pub fn of(status: StatusCode, headers: &HeaderMap) -> Result<Self, String> {
        let named = |header_name| {
            let value = header(headers, header_name)?;
            Some(value.strip_prefix("W/").unwrap_or(value).trim_matches('"').to_owned())
        };
        let sound = |what, value: Option<String>| match value {
            Some(value) if is_name(&value) && value.len() <= 128 => Ok(value),
            Some(value) => Err(format!("its {what} {value:?} cannot be one")),
            None => Err(format!("its answer has no {what}, as a hub's has")),
        };
        let whole = || header(headers, "content-length")?.parse().ok();
        let size = match status {
            StatusCode::PARTIAL_CONTENT => content_range(headers).map(|(_, size)| size),
            StatusCode::OK => whole(),
            _ => None,
        };
        Ok(Self {
            commit: sound("X-Repo-Commit", named("x-repo-commit"))?,
            etag: sound("ETag", named("x-linked-etag").or_else(|| named("etag")))?,
            size: header(headers, "x-linked-size").and_then(|size| size.parse().ok()).or(size),
        })
    }
}

/// A repository while it is being fetched.
struct Pulling<'a> {
    hub: &'a Hub,
    repository: Repository,
    root: PathBuf,
    /// What the first file was of.
    commit: Option<String>,
    files: Vec<File>,
    progress: &'a mut dyn FnMut(Progress<'_>),
}

impl Pulling<'_> {
    /// Brings one file and gives its commit; `None` if the repository has no such file.
    fn file(&mut self, name: &str) -> Result<Option<String>, PullError> {
        let Some(announced) = self.hub.announced(&self.repository, name)? else { return Ok(None) };
        let url = self.hub.url(&self.repository, name);
        let Announced { commit, etag, size } = announced;
        if self.commit.as_ref().is_some_and(|first| *first != commit) {
            return Err(PullError::Answer {
                url,
                reason: format!("it is of commit {commit}, and the rest is not"),
            });
        }
        let blob = self.root.join("blobs").join(&etag);
        let kept = kept(&blob, &etag, size)?;
        let length = match kept {
            Some(length) => length,
            None => self.fetch(name, &url, &blob, &etag, size)?,
        };
        link(&self.root, &commit, name, &etag)?;
        let checksum = Sum::named(&etag, length).map(|sum| sum.label(&etag));
        self.files.push(File { name: name.into(), size: length, checksum, fetched: kept.is_none() });
        Ok(Some(commit))
    }

    /// Downloads into the blob's place, going on with what an earlier download left.
    fn fetch(
        &mut self,
        name: &str,
        url: &str,
        blob: &Path,
        etag: &str,
        size: Option<u64>,
    ) -> Result<u64, PullError> {
        let path = blob.with_file_name(format!("{etag}.incomplete"));
        let failed = |source| PullError::Cache { path: path.clone(), source };
        let open = |path: &Path| {
            fs::OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path)
        };
        let mut file = write(&path, open)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => return Err(PullError::Busy(path.clone())),
            locked => locked.map_err(|e| failed(e.into()))?,
        }
        // Whoever had the lock before may have brought it.
        if let Some(length) = kept(blob, etag, size)? {
            return Ok(length);
        }
        let mut resumed = file.seek(io::SeekFrom::End(0)).map_err(failed)? > 0;
        loop {
            let length = self.transfer(name, url, &mut file, &path, size)?;
            if matches_name(&path, etag, length)? {
                file.sync_all().and_then(|()| fs::rename(&path, blob)).map_err(failed)?;
                return Ok(length);
            }
            // What was there before may have been something else: once, the whole is fetched anew.
            if !resumed {
                let found = Sum::named(etag, length).map(|sum| sum.of(&path)).transpose().map_err(failed)?;
                let _ = fs::remove_file(&path);
                return Err(PullError::Checksum {
                    url: url.into(),
                    found: found.unwrap_or_default(),
                    wanted: etag.into(),
                });
            }
            resumed = false;
            restart(&mut file).map_err(failed)?;
        }
    }

    /// Appends what is missing, over as many connections as it takes while each brings something.
    fn transfer(
        &mut self,
        name: &str,
        url: &str,
        file: &mut fs::File,
        path: &Path,
        size: Option<u64>,
    ) -> Result<u64, PullError> {
        let mut best = None;
        loop {
            let held = file
                .seek(io::SeekFrom::End(0))
                .map_err(|source| PullError::Cache { path: path.into(), source })?;
            if size == Some(held) {
                return Ok(held);
            }
            match self.connection(name, url, file, path, held, size) {
                Ok(length) => return Ok(length),
                Err(e @ PullError::Network { .. }) => {
                    let reached = file.stream_position().unwrap_or(0);
                    if best.is_some_and(|best| reached <= best) || reached <= held {
                        return Err(e);
                    }
                    best = Some(reached);
                }
                Err(e) => return Err(e),
            }
        }
    }

    /// Appends what one connection brings.
    fn connection(
        &mut self,
        name: &str,
        url: &str,
        file: &mut fs::File,
        path: &Path,
        held: u64,
        size: Option<u64>,
    ) -> Result<u64, PullError> {
        let wrong = |reason: String| PullError::Answer { url: url.into(), reason };
        let failed = |source| PullError::Cache { path: path.into(), source };
        let answer = self.hub.get(&self.hub.fetching, url, (held > 0).then(|| format!("bytes={held}-")))?;
        let (mut held, told) = match (answer.status(), content_range(answer.headers())) {
            (StatusCode::PARTIAL_CONTENT, Some((start, whole))) if start == held => (held, Some(whole)),
            (StatusCode::PARTIAL_CONTENT, _) => {
                return Err(wrong(format!("it does not go on at byte {held}")));
            }
            // Whoever does not know ranges begins anew; so do we where there is nothing left to go on with.
            (StatusCode::OK, _) => {
                restart(file).map_err(failed)?;
                (0, header(answer.headers(), "content-length").and_then(|length| length.parse().ok()))
            }
            (StatusCode::RANGE_NOT_SATISFIABLE, _) if held > 0 => {
                restart(file).map_err(failed)?;
                return self.connection(name, url, file, path, 0, size);
            }
            (status, _) => return Err(wrong(format!("it answers {status}"))),
        };
        let size = match (size, told) {
            (Some(size), Some(told)) if size != told => {
                return Err(wrong(format!("it announces {size} bytes and then sends {told}")));
            }
            (size, told) => {
                size.or(told).ok_or_else(|| wrong("it does not say how long the file is".into()))?
            }
        };
        let mut body = answer.into_body().into_reader();
        let mut buffer = vec![0; 1 << 16];
        loop {
            (self.progress)(Progress { file: name, held, size });
            let broken = |reason: String| PullError::Network { url: url.into(), reason };
            let more =
                body.read(&mut buffer).map_err(|e| broken(format!("{e}, after {held} of {size} bytes")))?;
            if more == 0 && held < size {
                return Err(broken(format!("the connection ended after {held} of {size} bytes")));
            }
            if more == 0 {
                return Ok(held);
            }
            held += more as u64;
            if held > size {
                return Err(wrong(format!("it sends more than the {size} bytes that it announced")));
            }
            file.write_all(&buffer[..more]).map_err(failed)?;
        }
    }
}

/// The kinds of checksum that a hub names contents by.
enum Sum {
    /// SHA-256 of the contents: of a large file.
    Sha256,
    /// SHA-1 of the contents behind git's header with this length: of a small file.
    Git(u64),
}

impl Sum {
    /// The kind of checksum that a name is, if it is one.
    fn named(etag: &str, length: u64) -> Option<Self> {
        match (etag.len(), etag.chars().all(|c| c.is_ascii_hexdigit())) {
            (64, true) => Some(Self::Sha256),
            (40, true) => Some(Self::Git(length)),
            _ => None,
        }
    }

    fn label(&self, etag: &str) -> String {
        match self {
            Self::Sha256 => format!("sha256:{etag}"),
            Self::Git(_) => format!("git:{etag}"),
        }
    }

    fn of(&self, path: &Path) -> io::Result<String> {
        match self {
            Self::Sha256 => digest(Sha256::new(), path),
            Self::Git(length) => digest(Sha1::new_with_prefix(format!("blob {length}\0")), path),
        }
    }
}

/// The digest of a file, in hexadecimal.
fn digest(mut digest: impl Digest, path: &Path) -> io::Result<String> {
    let mut file = fs::File::open(path)?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            read => digest.update(&buffer[..read]),
        }
    }
    Ok(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Whether contents have the checksum that they are named by. A name that is none says nothing.
fn matches_name(path: &Path, etag: &str, length: u64) -> Result<bool, PullError> {
    let found = Sum::named(etag, length).map(|sum| sum.of(path)).transpose();
    let found = found.map_err(|source| PullError::Cache { path: path.into(), source })?;
    Ok(found.is_none_or(|found| found.eq_ignore_ascii_case(etag)))
}

/// The length of contents that are there and right.
fn kept(blob: &Path, etag: &str, size: Option<u64>) -> Result<Option<u64>, PullError> {
    let held = fs::metadata(blob).ok().map(|metadata| metadata.len());
    match held.filter(|held| size.is_none_or(|size| size == *held)) {
        Some(held) => Ok(matches_name(blob, etag, held)?.then_some(held)),
        None => Ok(None),
    }
}

fn restart(file: &mut fs::File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()
}

/// Writes a file, making the folders above it.
fn write<T>(path: &Path, write: impl FnOnce(&Path) -> io::Result<T>) -> Result<T, PullError> {
    let made = path.parent().map_or(Ok(()), fs::create_dir_all);
    made.and_then(|()| write(path)).map_err(|source| PullError::Cache { path: path.into(), source })
}

/// Makes contents visible under their name in a commit.
fn link(root: &Path, commit: &str, name: &str, etag: &str) -> Result<(), PullError> {
    let contents = Path::new("../../blobs").join(etag);
    write(&root.join("snapshots").join(commit).join(name), |path| {
        match fs::read_link(path) {
            Ok(there) if there == contents => return Ok(()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            _ => fs::remove_file(path)?,
        }
        std::os::unix::fs::symlink(&contents, path)
    })
}
