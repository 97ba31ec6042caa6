//! Where clock pages live: which directories are searched, and how the file is made so that nobody else can put
//! another in its place.

use crate::page::{MAGIC, Page, VERSION};
use std::ffi::{CString, OsString};
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use thiserror::Error;

const RUNTIME_DIR: &str = "CHRONOTICK_RUNTIME_DIR";
const SYSTEM_DIR: &str = if cfg!(target_os = "macos") { "/var/run/chronotick" } else { "/run/chronotick" };
const FILE_NAME: &str = "clock.page";

/// Why no clock page could be read.
#[derive(Debug, Error)]
pub enum OpenError {
    /// No directory of the search has a page.
    #[error(
        "no clock page in {}; start the daemon with `chronotick run`, or set {RUNTIME_DIR} to the directory it uses",
        list(.looked)
    )]
    Missing {
        /// Where a page was looked for, in this order.
        looked: Vec<PathBuf>,
    },
    /// The file is something else.
    #[error("{}: not a clock page; remove it and restart the daemon", .path.display())]
    NotAPage {
        /// The file.
        path: PathBuf,
    },
    /// The page has another layout.
    #[error(
        "{}: the clock page has version {found}, this program reads version {VERSION}; update the older of this program and the daemon",
        .path.display()
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u64,
    },
    /// The file cannot be opened or mapped.
    #[error("{}: cannot read the clock page: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Why no clock page could be made.
#[derive(Debug, Error)]
pub enum CreateError {
    /// Another daemon publishes there.
    #[error(
        "{}: a daemon with process id {pid} already publishes this clock page; stop it, or set {RUNTIME_DIR} to another directory",
        .path.display()
    )]
    Busy {
        /// The page.
        path: PathBuf,
        /// The other daemon, as it sees itself; 0 if it has not got that far.
        pid: u32,
    },
    /// Somebody else could put another page in the place of this one.
    #[error("{}: {why}; set {RUNTIME_DIR} to a directory that only the daemon's user can write", .dir.display())]
    Unsafe {
        /// The directory of the page.
        dir: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The system refused a step.
    #[error("{}: cannot create the clock page: {source}", .path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

fn list(places: &[PathBuf]) -> String {
    places.iter().map(|place| place.display().to_string()).collect::<Vec<_>>().join(", ")
}

fn user() -> u32 {
    // SAFETY: it has no preconditions and cannot fail.
    unsafe { libc::geteuid() }
}

/// The directories that may hold a page, best first.
///
/// `$CHRONOTICK_RUNTIME_DIR` alone if it is set: who names a place does not want another. Otherwise the system's
/// (`/run/chronotick`), the user's (`$XDG_RUNTIME_DIR/chronotick`), and one in `$TMPDIR` or `/tmp` with the user's
/// number in its name.
fn runtime_dirs() -> Vec<PathBuf> {
    runtime_dirs_in(|name| std::env::var_os(name))
}

fn runtime_dirs_in(environment: impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let set = |name| environment(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(dir) = set(RUNTIME_DIR) {
        return vec![dir];
    }
    let temporary = set("TMPDIR").unwrap_or_else(|| "/tmp".into()).join(format!("chronotick-{}", user()));
    let own = set("XDG_RUNTIME_DIR").map(|dir| dir.join("chronotick"));
    [Some(SYSTEM_DIR.into()), own, Some(temporary)].into_iter().flatten().collect()
}

/// The directory in which a daemon of this user publishes: the first of the search that it can write or create.
///
/// `$CHRONOTICK_RUNTIME_DIR` alone if that is set; else `/run/chronotick` (`/var/run/chronotick` on macOS),
/// `$XDG_RUNTIME_DIR/chronotick`, and `chronotick-UID` in `$TMPDIR` or `/tmp`.
pub fn runtime_dir() -> PathBuf {
    let writable = |dir: &Path| {
        let Ok(name) = CString::new(dir.as_os_str().as_bytes()) else { return false };
        // SAFETY: the name ends with NUL and outlives the call.
        unsafe { libc::access(name.as_ptr(), libc::W_OK) == 0 }
    };
    let usable = |dir: &PathBuf| writable(dir) || (!dir.exists() && dir.parent().is_some_and(writable));
    let mut dirs = runtime_dirs();
    let first = dirs.iter().position(usable).unwrap_or(dirs.len() - 1);
    dirs.swap_remove(first)
}

/// The page in a runtime directory.
pub fn page_path(runtime_dir: &Path) -> PathBuf {
    runtime_dir.join(FILE_NAME)
}

/// The files that may be the page, best first.
pub(crate) fn pages() -> Vec<PathBuf> {
    runtime_dirs().iter().filter(|dir| is_trusted(dir)).map(|dir| page_path(dir)).collect()
}

/// Anybody can make a directory in `/tmp`: one that carries this user's number must also be this user's.
fn is_trusted(dir: &Path) -> bool {
    let named_for_user = dir.ends_with(format!("chronotick-{}", user()));
    !named_for_user || fs::symlink_metadata(dir).map_or(true, |meta| meta.is_dir() && meta.uid() == user())
}

/// Opens the file of a page for reading, and looks whether it is one that this version understands.
pub(crate) fn open(path: &Path) -> Result<File, OpenError> {
    let io = |source| OpenError::Io { path: path.into(), source };
    // A FIFO in its place would otherwise hold us up.
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let mut file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(io)?;
    let meta = file.metadata().map_err(io)?;
    let mut head = [0; 16];
    if !meta.is_file() || file.read_exact(&mut head).is_err() {
        return Err(OpenError::NotAPage { path: path.into() });
    }
    let word = |i: usize| u64::from_ne_bytes(head[8 * i..8 * i + 8].try_into().expect("eight bytes are cut"));
    if word(0) != MAGIC {
        return Err(OpenError::NotAPage { path: path.into() });
    }
    if word(1) != VERSION {
        return Err(OpenError::Version { path: path.into(), found: word(1) });
    }
    if meta.len() < size_of::<Page>() as u64 {
        return Err(OpenError::NotAPage { path: path.into() });
    }
    Ok(file)
}

/// A page file that nobody can see yet, with the lock that makes this process its only publisher.
#[derive(Debug)]
pub(crate) struct NewFile {
    pub(crate) file: File,
    pub(crate) lock: File,
    hidden: PathBuf,
    path: PathBuf,
}

impl NewFile {
    /// Makes the directory if need be, takes the lock beside the page, and makes an empty file of a page's size.
    pub(crate) fn create(path: &Path) -> Result<NewFile, CreateError> {
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        prepare(dir)?;
        let lock = lock(path)?;
        let hidden = path.with_extension("new");
        let io = |source| CreateError::Io { path: hidden.clone(), source };
        // Left by a daemon that was killed: nobody else makes one while we hold the lock.
        match fs::remove_file(&hidden) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io(error)),
            _ => {}
        }
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&hidden)
            .map_err(io)?;
        // Written, not only lengthened: a full file system is to be noticed here and not by a signal later.
        file.write_all(&[0; size_of::<Page>()]).map_err(io)?;
        file.set_permissions(Permissions::from_mode(0o644)).map_err(io)?;
        Ok(NewFile { file, lock, hidden: hidden.clone(), path: path.into() })
    }

    /// Puts the file where readers look, in place of an older one, in one step.
    pub(crate) fn reveal(self) -> Result<File, CreateError> {
        fs::rename(&self.hidden, &self.path)
            .map_err(|source| CreateError::Io { path: self.path.clone(), source })?;
        Ok(self.lock)
    }
}

/// Makes the directory with mode 0755 if there is none, and refuses one in which others could exchange files.
fn prepare(dir: &Path) -> Result<(), CreateError> {
    let io = |source| CreateError::Io { path: dir.into(), source };
    let make = || match DirBuilder::new().mode(0o755).create(dir) {
        // The umask may have taken bits away.
        Ok(()) => fs::set_permissions(dir, Permissions::from_mode(0o755)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    };
    match (make(), dir.parent()) {
        (Err(error), Some(parent)) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(parent).and_then(|()| make())
        }
        (made, _) => made,
    }
    .map_err(io)?;
    let meta = fs::symlink_metadata(dir).map_err(io)?;
    let refuse = |why| Err(CreateError::Unsafe { dir: dir.into(), why });
    match (meta.is_dir(), meta.mode() & 0o002 != 0, meta.uid()) {
        (false, _, _) => refuse("not a directory, or a symbolic link"),
        (_, true, _) => refuse("everybody may write there and could exchange the clock page"),
        (_, _, owner) if owner != user() && owner != 0 => refuse("it belongs to another user"),
        _ => Ok(()),
    }
}

/// The lock on the file beside the page. Its mode is 0600: whoever can open a file can also lock it.
fn lock(path: &Path) -> Result<File, CreateError> {
    let beside = path.with_extension("lock");
    let io = |source| CreateError::Io { path: beside.clone(), source };
    let lock = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(&beside)
        .map_err(io)?;
    // SAFETY: the descriptor is open for as long as `lock` lives.
    if unsafe { libc::flock(lock.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0 {
        return Ok(lock);
    }
    match io::Error::last_os_error() {
        error if error.kind() == io::ErrorKind::WouldBlock => {
            let pid = open(path).ok().and_then(|file| crate::mapping::Mapping::file(&file, false).ok());
            Err(CreateError::Busy { path: path.into(), pid: pid.map_or(0, |page| page.pid()) })
        }
        error => Err(io(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_named_by_the_user_is_the_only_one() {
        let named = runtime_dirs_in(|_| Some("/somewhere".into()));
        assert_eq!(named, [PathBuf::from("/somewhere")]);
    }

    #[test]
    fn otherwise_the_system_comes_before_the_user_and_that_before_the_temporary() {
        let own = format!("/tmp/chronotick-{}", user());
        let names = |set: &'static [(&str, &str)]| {
            runtime_dirs_in(|name| set.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into()))
        };
        assert_eq!(names(&[(RUNTIME_DIR, "")]), [SYSTEM_DIR, own.as_str()].map(PathBuf::from));
        let all = names(&[("XDG_RUNTIME_DIR", "/run/user/7"), ("TMPDIR", "/var/tmp")]);
        assert_eq!(all[1..], ["/run/user/7/chronotick".into(), Path::new("/var").join(&own[1..])]);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_directory_that_cannot_be_made_is_an_error() {
        // There the parent exists, and making a directory fails as if it did not.
        assert!(prepare(Path::new("/proc/chronotick-nowhere")).is_err());
        assert!(prepare(Path::new("/proc/self/chronotick/nowhere")).is_err());
    }

    #[test]
    fn a_temporary_directory_of_somebody_else_is_not_trusted() {
        let scratch = std::env::temp_dir().join(format!("chronotick-test-trust-{}", std::process::id()));
        let mine = scratch.join(format!("chronotick-{}", user()));
        assert!(is_trusted(&mine), "what is not there does no harm");
        fs::create_dir_all(&scratch).unwrap();
        std::os::unix::fs::symlink("/", &mine).unwrap();
        assert!(!is_trusted(&mine));
        fs::remove_file(&mine).unwrap();
        fs::create_dir(&mine).unwrap();
        assert!(is_trusted(&mine));
        fs::remove_dir_all(&scratch).unwrap();
    }
}
