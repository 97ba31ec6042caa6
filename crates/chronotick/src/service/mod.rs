//! ChronoTick as a service of the machine or of a user: what has to be written and run for that ([`Plan`]), under
//! [`systemd`] and [`launchd`], and what the daemon tells its service manager while it runs ([`notify`]).

pub mod launchd;
pub mod notify;
pub mod systemd;

use crate::replace::replace;
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use thiserror::Error;

/// What is to be installed, and for whom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// The program: an absolute path.
    pub program: PathBuf,
    /// The configuration file instead of those in the standard places: an absolute path.
    pub config: Option<PathBuf>,
    /// For the calling user instead of the machine; the user's home and configuration directories are found in here.
    pub user: Option<Home>,
    /// An image of a machine below this folder instead of the running machine: nothing is started.
    pub root: Option<PathBuf>,
    /// The processors that the daemon may use, as systemd's `CPUAffinity=` takes them.
    pub processors: Option<Processors>,
    /// Its priority, −20 (most) to 19.
    pub nice: Option<i8>,
}

/// Where a user's files are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Home {
    /// `$HOME`.
    pub home: PathBuf,
    /// `$XDG_CONFIG_HOME`, or `.config` in it.
    pub config: PathBuf,
    /// The number of the user.
    pub id: u32,
}

/// A list of processors: numbers and ranges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Processors(Vec<(u16, u16)>);

impl Processors {
    /// Whether all of them are among `online`.
    pub fn are_within(&self, online: &Processors) -> bool {
        let has = |n: u16| online.0.iter().any(|&(first, last)| (first..=last).contains(&n));
        self.0.iter().all(|&(first, last)| (first..=last).all(has))
    }
}

impl std::str::FromStr for Processors {
    type Err = String;

    fn from_str(text: &str) -> Result<Processors, String> {
        let range = |part: &str| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (first.parse().ok()?, last.parse().ok()?);
            (first <= last && last < 4096).then_some((first, last))
        };
        let parts = text.split([',', ' ']).map(str::trim).filter(|part| !part.is_empty());
        let ranges: Option<Vec<_>> = parts.map(range).collect();
        match ranges {
            Some(ranges) if !ranges.is_empty() => Ok(Processors(ranges)),
            _ => Err("a list of processors is expected, such as 2,3 or 2-3".into()),
        }
    }
}

impl fmt::Display for Processors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let range = |&(first, last): &(u16, u16)| {
            if first == last { first.to_string() } else { format!("{first}-{last}") }
        };
        f.write_str(&self.0.iter().map(range).collect::<Vec<_>>().join(" "))
    }
}

/// Why a service is not installed like that.
#[derive(Debug, Error)]
pub enum Refusal {
    /// The service would run a program that it cannot see.
    #[error(
        "{}: a service of the machine sees no file there; first `sudo install -m 755 {} /usr/local/bin/`, then \
         `sudo /usr/local/bin/chronotick service install`; or install it for yourself with --user", .0.display(), .0.display()
    )]
    Unreachable(PathBuf),
    /// A path that the manager's files cannot hold.
    #[error("{}: the path of the program has characters that a unit file cannot hold; install it elsewhere, such as /usr/local/bin", .0.display())]
    Unwritable(PathBuf),
    /// The same of the configuration file.
    #[error("{}: the service would not find this file, because its folder is hidden from a service of the machine or its path has characters \
        that a unit file cannot hold; make it /etc/chronotick/config.yaml, which needs no -f", .0.display())]
    Configuration(PathBuf),
    /// Processors that are not there.
    #[error("--cpu-affinity {asked}: this machine has the processors {online}; the service would not start")]
    Processors {
        /// What was asked for.
        asked: Processors,
        /// What there is.
        online: Processors,
    },
    /// A user may not go before others.
    #[error(
        "--nice {0}: a user's service cannot take priority over others; leave it out, or install for the machine without --user"
    )]
    Nice(i8),
    /// A service of the machine on macOS.
    #[error("on macOS the service is an agent of a user: install it with --user")]
    OnlyForUsers,
    /// An option that launchd does not have.
    #[error("{0} is not something that launchd can do; leave it out")]
    NotInLaunchd(&'static str),
}

/// Whether this file is a program.
///
/// # Errors
/// Why it is none.
pub(crate) fn runnable(path: &Path) -> io::Result<()> {
    let file = path.metadata()?;
    match file.is_file() && file.permissions().mode() & 0o111 != 0 {
        true => Ok(()),
        false => Err(io::Error::other("this is no file that can be run")),
    }
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Write a file, with the directories above it.
    Write {
        /// Where.
        path: PathBuf,
        /// What.
        text: String,
    },
    /// Remove a file, if it is there, and its directory if that is empty then and was ours.
    Remove {
        /// Which.
        path: PathBuf,
        /// The directory that goes with it.
        with_dir: bool,
    },
    /// Run a command; one that is allowed to fail does so in silence.
    Run {
        /// The program and its arguments.
        words: Vec<String>,
        /// Whether the rest goes on after a failure.
        may_fail: bool,
    },
}

impl Step {
    fn run(words: &[&str]) -> Step {
        Step::Run { words: words.iter().map(|&word| word.to_owned()).collect(), may_fail: false }
    }
}

/// Why a plan could not be carried out to its end.
#[derive(Debug, Error)]
pub enum Failed {
    /// A file.
    #[error("{}: {source}{}", .path.display(), hint(.source))]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A command that could not be started.
    #[error("`{command}` cannot be run: {source}; is this machine run by that service manager?")]
    Start {
        /// The command.
        command: String,
        /// What the system said.
        source: io::Error,
    },
    /// A command that failed.
    #[error("`{command}` failed: {said}")]
    Command {
        /// The command.
        command: String,
        /// What it said.
        said: String,
    },
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "; run it with sudo, or with --user for yourself alone",
        _ => "",
    }
}

/// What has to be done, in this order. Its text is what a dry run shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan(pub Vec<Step>);

impl Plan {
    /// Does it, up to the first failure; each step is told before it is done.
    ///
    /// # Errors
    /// [`Failed`] names the file or the command.
    pub fn carry_out(&self, mut tell: impl FnMut(&Step)) -> Result<(), Failed> {
        for step in &self.0 {
            tell(step);
            match step {
                Step::Write { path, text } => {
                    write(path, text).map_err(|source| Failed::File { path: path.clone(), source })?
                }
                Step::Remove { path, with_dir } => {
                    remove(path, *with_dir).map_err(|source| Failed::File { path: path.clone(), source })?
                }
                Step::Run { words, may_fail } => match run(words) {
                    Err(_) if *may_fail => {}
                    done => done?,
                },
            }
        }
        Ok(())
    }
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    let dir = path.parent().ok_or(io::ErrorKind::NotFound)?;
    fs::create_dir_all(dir)?;
    // In one step: the manager never reads half a file.
    replace(path, text.as_bytes())
}

fn remove(path: &Path, with_dir: bool) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    if with_dir && let Some(dir) = path.parent() {
        // Somebody else's files in it keep it.
        let _ = fs::remove_dir(dir);
    }
    Ok(())
}

fn run(words: &[String]) -> Result<(), Failed> {
    let command = words.join(" ");
    let output = Command::new(&words[0])
        .args(&words[1..])
        .output()
        .map_err(|source| Failed::Start { command: command.clone(), source })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Failed::Command { command, said: if said.is_empty() { output.status.to_string() } else { said } })
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Write { path, .. } => write!(f, "write  {}", path.display()),
            Step::Remove { path, .. } => write!(f, "remove {}", path.display()),
            Step::Run { words, .. } => write!(f, "run    {}", words.join(" ")),
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.0 {
            writeln!(f, "{step}")?;
            if let Step::Write { text, .. } = step {
                for line in text.lines() {
                    writeln!(f, "{}", format!("       | {line}").trim_end())?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn processors_are_numbers_and_ranges() {
        let parsed = |text: &str| text.parse::<Processors>().map(|p| p.to_string());
        assert_eq!(parsed("2,3").as_deref(), Ok("2 3"));
        assert_eq!(parsed("0-3 8").as_deref(), Ok("0-3 8"));
        for nonsense in ["", ",", "3-2", "-1", "two", "2;3", "99999"] {
            assert!(parsed(nonsense).unwrap_err().contains("2,3 or 2-3"), "{nonsense}");
        }
        let online: Processors = "0-1,4".parse().unwrap();
        assert!("0,4".parse::<Processors>().unwrap().are_within(&online));
        assert!(!"0-4".parse::<Processors>().unwrap().are_within(&online));
    }

    proptest! {
        #[test]
        fn no_list_of_processors_panics(text in "[0-9,\\- ]{0,30}") {
            if let Ok(processors) = text.parse::<Processors>() {
                prop_assert_eq!(processors.to_string().parse(), Ok(processors));
            }
        }
    }

    #[test]
    fn a_plan_is_carried_out_up_to_its_first_failure() {
        let dir = tempfile::tempdir().unwrap();
        let (unit, beside) = (dir.path().join("a/b/unit"), dir.path().join("a/other"));
        let write = |path: &Path| Step::Write { path: path.into(), text: "text\n".into() };
        let fails = |may_fail| Step::Run { words: vec!["false".into()], may_fail };
        let plan = Plan(vec![write(&unit), fails(true), fails(false), write(&beside)]);
        let mut told = Vec::new();
        let failed = plan.carry_out(|step| told.push(step.to_string())).unwrap_err();
        assert!(failed.to_string().starts_with("`false` failed"), "{failed}");
        assert_eq!((fs::read_to_string(&unit).unwrap().as_str(), told.len()), ("text\n", 3));
        assert!(!beside.exists());
        let remove = || Step::Remove { path: unit.clone(), with_dir: true };
        Plan(vec![remove(), remove()]).carry_out(|_| ()).unwrap();
        assert!(!unit.parent().unwrap().exists());
        let missing = Plan(vec![Step::run(&["/nowhere/systemctl", "enable"])]).carry_out(|_| ()).unwrap_err();
        assert!(missing.to_string().contains("is this machine run by that service manager?"), "{missing}");
    }
}
