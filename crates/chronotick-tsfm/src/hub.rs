//! Checkpoints by name: a [`Repository`] of a hub, and the [`Cache`] in which its files are found without network.
//!
//! The cache is the one that `huggingface_hub`, `transformers` and `hf-hub` share, in its published layout: below
//! `models--OWNER--NAME` the contents are in `blobs` under their checksums, each revision that was fetched is a folder
//! of links in `snapshots` under its commit, and `refs` says which commit a branch or tag was. What one program has
//! fetched the others find. The feature `pull` adds `Hub`, which fetches.

#[cfg(feature = "pull")]
mod pull;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::{OpenError, checkpoint};
#[cfg(feature = "pull")]
pub use pull::{Announced, File, Hub, Progress, PullError, Pulled};

/// The revision of a repository that is meant where none is named.
const MAIN: &str = "main";

/// A repository of a hub at one revision: `OWNER/NAME`, or `OWNER/NAME@REVISION` with a branch, a tag or a commit.
///
/// ```
/// use chronotick_tsfm::hub::Repository;
///
/// let latest: Repository = "amazon/chronos-bolt-tiny".parse()?;
/// assert_eq!((latest.id(), latest.revision()), ("amazon/chronos-bolt-tiny", "main"));
/// let other: Repository = "ibm-granite/granite-timeseries-ttm-r2@1024-96-r2".parse()?;
/// assert_eq!(other.revision(), "1024-96-r2");
/// # Ok::<(), chronotick_tsfm::hub::NoRepository>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Repository {
    id: String,
    revision: String,
}

impl Repository {
    /// `OWNER/NAME`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The branch, tag or commit; `main` where none was named.
    pub fn revision(&self) -> &str {
        &self.revision
    }

    /// Its checkpoint in the [standard cache](Cache::standard); nothing is fetched.
    ///
    /// # Errors
    ///
    /// [`OpenError::Absent`], which names the command that brings it; [`OpenError::NoCache`].
    pub fn find(&self) -> Result<Snapshot, OpenError> {
        let cache = Cache::standard().ok_or_else(|| OpenError::NoCache(self.clone()))?;
        cache.find(self).map_err(|absent| OpenError::Absent(Box::new(absent)))
    }

    /// The folder that holds it, below a cache.
    fn folder(&self) -> String {
        format!("models--{}", self.id.replace('/', "--"))
    }

    /// The repository of such a folder.
    fn of_folder(name: &str) -> Option<Self> {
        let (owner, name) = name.strip_prefix("models--")?.split_once("--")?;
        format!("{owner}/{name}").parse().ok()
    }

    fn at(&self, revision: &str) -> Self {
        Self { id: self.id.clone(), revision: revision.to_owned() }
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.revision.as_str() {
            MAIN => f.write_str(&self.id),
            revision => write!(f, "{}@{revision}", self.id),
        }
    }
}

/// Why a text names no repository.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no repository of a hub; write OWNER/NAME or OWNER/NAME@REVISION, or the path of a folder")]
pub struct NoRepository(String);

impl FromStr for Repository {
    type Err = NoRepository;

    /// Each part becomes part of a path and of an address, so it is letters, digits, `-`, `_` and `.`, as the hub
    /// allows.
    fn from_str(text: &str) -> Result<Self, NoRepository> {
        let (id, revision) = text.split_once('@').unwrap_or((text, MAIN));
        let named = |part: &str| is_name(part) && !part.contains("--") && part.len() <= 96;
        let known = id.split_once('/').is_some_and(|(owner, name)| named(owner) && named(name));
        match known && revision.len() <= 255 && revision.split('/').all(is_name) {
            true => Ok(Self { id: id.to_owned(), revision: revision.to_owned() }),
            false => Err(NoRepository(text.to_owned())),
        }
    }
}

/// Whether a text can be one component of a path without leading anywhere else.
fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !text.is_empty() && !text.starts_with(['.', '-']) && !text.contains("..") && text.chars().all(plain)
}

/// A cache of repositories in the standard layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    dir: PathBuf,
}

impl Cache {
    /// The cache that all programs share: `HF_HUB_CACHE`, or `hub` in `HF_HOME`, or in `huggingface` in `XDG_CACHE_HOME`
    /// or `~/.cache`. `None` where the environment has none of these and no home directory.
    pub fn standard() -> Option<Self> {
        let dir = named("HF_HUB_CACHE").map(PathBuf::from).or_else(|| Some(home()?.join("hub")))?;
        Some(Self { dir })
    }

    /// The cache in a folder, which need not exist yet.
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// Where it is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The folder with a repository's checkpoint, if all its files are there.
    ///
    /// # Errors
    ///
    /// [`Absent`], if the revision was never fetched, or not to its end.
    pub fn find(&self, repository: &Repository) -> Result<Snapshot, Absent> {
        let absent = |missing| Absent { repository: repository.clone(), cache: self.dir.clone(), missing };
        let commit = self.commit(repository).ok_or_else(|| absent(None))?;
        let folder = self.dir.join(repository.folder()).join("snapshots").join(&commit);
        let config = folder.join("config.json");
        let weights =
            checkpoint::weight_files(&folder).map_err(|_| absent(Some(checkpoint::INDEX.into())))?;
        let files: Vec<PathBuf> = std::iter::once(config).chain(weights).collect();
        match files.iter().find(|file| !file.is_file()) {
            Some(file) => Err(absent(Some(file.file_name().unwrap_or_default().to_owned()))),
            None => Ok(Snapshot { folder, commit, files }),
        }
    }

    /// Every repository of the cache at every revision that it knows by name, or by commit where none has a name;
    /// sorted. A cache that does not exist is empty.
    ///
    /// # Errors
    ///
    /// If the folder cannot be read.
    pub fn repositories(&self) -> io::Result<Vec<Repository>> {
        let mut found = BTreeSet::new();
        for name in names(&self.dir)? {
            let Some(repository) = Repository::of_folder(&name) else { continue };
            let refs = self.refs(&repository)?;
            let known: BTreeSet<String> =
                refs.iter().filter_map(|revision| self.commit(&repository.at(revision))).collect();
            let snapshots = names(&self.dir.join(&name).join("snapshots"))?;
            let bare = snapshots.into_iter().filter(|commit| is_name(commit) && !known.contains(commit));
            found.extend(refs.iter().cloned().chain(bare).map(|revision| repository.at(&revision)));
        }
        Ok(found.into_iter().collect())
    }

    /// Removes a revision, and of its contents what no other revision uses; with the last revision the whole
    /// repository goes, begun downloads included. Gives the bytes that became free, or `None` if there was nothing.
    ///
    /// # Errors
    ///
    /// If something cannot be read or removed.
    pub fn remove(&self, repository: &Repository) -> io::Result<Option<u64>> {
        let root = self.dir.join(repository.folder());
        let snapshots = root.join("snapshots");
        let before = occupied(&root)?;
        match self.commit(repository) {
            Some(commit) => {
                for revision in self.refs(repository)? {
                    if self.commit(&repository.at(&revision)).as_ref() == Some(&commit) {
                        fs::remove_file(root.join("refs").join(revision))?;
                    }
                }
                if snapshots.join(&commit).exists() {
                    fs::remove_dir_all(snapshots.join(&commit))?;
                }
            }
            None if !root.exists() || !names(&snapshots)?.is_empty() => return Ok(None),
            None => {}
        }
        let left = names(&snapshots)?;
        if left.is_empty() {
            fs::remove_dir_all(&root)?;
            return Ok(Some(before));
        }
        let mut used = BTreeSet::new();
        for commit in left {
            linked(&snapshots.join(commit), &mut used)?;
        }
        for blob in names(&root.join("blobs"))? {
            if !used.contains(&OsString::from(&blob)) {
                fs::remove_file(root.join("blobs").join(blob))?;
            }
        }
        Ok(Some(before.saturating_sub(occupied(&root)?)))
    }

    /// The commit that a revision was when it was fetched.
    fn commit(&self, repository: &Repository) -> Option<String> {
        let root = self.dir.join(repository.folder());
        let named = fs::read_to_string(root.join("refs").join(&repository.revision)).ok();
        let commit = named.map(|text| text.trim().to_owned()).filter(|commit| is_name(commit));
        let is_commit = || root.join("snapshots").join(&repository.revision).is_dir();
        commit.or_else(|| is_commit().then(|| repository.revision.clone()))
    }

    /// The branches and tags that a repository was fetched by.
    fn refs(&self, repository: &Repository) -> io::Result<Vec<String>> {
        let refs = self.dir.join(repository.folder()).join("refs");
        let (mut found, mut open) = (Vec::new(), vec![String::new()]);
        while let Some(below) = open.pop() {
            for name in names(&refs.join(&below))? {
                let revision = if below.is_empty() { name } else { format!("{below}/{name}") };
                if refs.join(&revision).is_dir() {
                    open.push(revision);
                } else if revision.split('/').all(is_name) {
                    found.push(revision);
                }
            }
        }
        Ok(found)
    }
}

/// The folder of a model: the path itself, or where it leads nowhere the folder of the repository that it names.
pub(crate) fn folder(model: &Path) -> Result<PathBuf, OpenError> {
    let repository = || model.to_str()?.parse::<Repository>().ok();
    match if model.exists() { None } else { repository() } {
        Some(repository) => Ok(repository.find()?.folder),
        None => Ok(model.to_owned()),
    }
}

/// An environment variable that says something.
fn named(variable: &str) -> Option<OsString> {
    std::env::var_os(variable).filter(|value| !value.is_empty())
}

/// Where the programs of the hub keep their things.
fn home() -> Option<PathBuf> {
    let caches =
        || named("XDG_CACHE_HOME").map(PathBuf::from).or_else(|| Some(std::env::home_dir()?.join(".cache")));
    named("HF_HOME").map(PathBuf::from).or_else(|| Some(caches()?.join("huggingface")))
}

/// The names in a folder; none if it does not exist.
fn names(dir: &Path) -> io::Result<Vec<String>> {
    match fs::read_dir(dir) {
        Ok(entries) => entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect(),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(e),
    }
}

/// The contents that the links of a folder lead to.
fn linked(dir: &Path, used: &mut BTreeSet<OsString>) -> io::Result<()> {
    for name in names(dir)? {
        let path = dir.join(name);
        let kind = fs::symlink_metadata(&path)?.file_type();
        if kind.is_dir() {
            linked(&path, used)?;
        } else if kind.is_symlink() {
            used.extend(fs::read_link(&path)?.file_name().map(OsString::from));
        }
    }
    Ok(())
}

/// The bytes in a folder's files, links not followed.
fn occupied(dir: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for name in names(dir)? {
        let metadata = fs::symlink_metadata(dir.join(&name))?;
        bytes += if metadata.is_dir() { occupied(&dir.join(name))? } else { metadata.len() };
    }
    Ok(bytes)
}

/// A checkpoint in a cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The folder, as [`Forecaster::open`](crate::Forecaster::open) takes it.
    pub folder: PathBuf,
    /// The commit that it is.
    pub commit: String,
    /// `config.json` and the weights; the folder may hold more.
    pub files: Vec<PathBuf>,
}

impl Snapshot {
    /// What its files occupy, in bytes.
    ///
    /// # Errors
    ///
    /// If a file is gone.
    pub fn bytes(&self) -> io::Result<u64> {
        self.files.iter().map(|file| Ok(fs::metadata(file)?.len())).sum()
    }
}

/// A repository that is not in the cache, or not all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Absent {
    /// The repository.
    pub repository: Repository,
    /// The folder of the cache.
    pub cache: PathBuf,
    /// The first file that is missing, where others are there.
    pub missing: Option<OsString>,
}

impl fmt::Display for Absent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { repository, cache, missing } = self;
        match missing {
            Some(file) => write!(f, "{repository} is in {} without its {}", cache.display(), file.display())?,
            None => write!(f, "{repository} is not in {}", cache.display())?,
        }
        write!(f, "; `chronotick models pull {repository}` brings it")
    }
}

impl std::error::Error for Absent {}
