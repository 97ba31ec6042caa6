//! Brings tables and logs of a host into a folder of its name here. Files that only grow are gone on with where the last
//! copy ended; a file here that is newer and different is left alone.

use super::script::{LIST, script};
use super::ssh::{Limits, SHELL};
use super::{Fleet, Outcome};
use crate::config::FleetHost;
use chronotick_record::digest;
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// The largest file that is brought here.
const MOST: u64 = 4 << 30;

/// What is collected: its word in the answer, and its path below the folder of the host, there and here.
type Wanted = (&'static str, String);

/// A file on the host.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct There {
    bytes: u64,
    changed: SystemTime,
    /// Of as many of its first bytes as there are here.
    digest: String,
}

/// What is to be done with one file.
#[derive(Debug, PartialEq, Eq)]
enum Copying {
    /// It is here.
    Not,
    /// What is here was not copied from there, and is newer.
    Never,
    /// What comes after what is here.
    Rest,
    /// All of it, in place of what is here.
    All,
}

impl Copying {
    fn of(here: u64, here_digest: &str, here_changed: Option<SystemTime>, there: &There) -> Copying {
        let same = here <= there.bytes && here_digest == there.digest;
        match here_changed {
            _ if same && here == there.bytes => Copying::Not,
            _ if same => Copying::Rest,
            Some(changed) if changed > there.changed => Copying::Never,
            _ => Copying::All,
        }
    }
}

impl Fleet {
    fn wanted(&self, host: &FleetHost) -> Vec<Wanted> {
        let mut all =
            vec![("config.yaml", "config.yaml".to_owned()), ("daemon.log", "daemon.log".to_owned())];
        if let Some(experiment) = &self.inventory.experiment {
            all.push(("validate.log", format!("{}/validate.log", experiment.name)));
            all.push(("table", format!("{}/{}.csv", experiment.name, host.name)));
        }
        all
    }

    /// The folder of a host here.
    fn home(&self, host: &FleetHost) -> PathBuf {
        self.inventory.results.join(&host.name)
    }

    /// The table that a host's experiment has here, if it was collected.
    pub fn table(&self, host: &FleetHost) -> Option<PathBuf> {
        let experiment = self.inventory.experiment.as_ref()?;
        let path = self.home(host).join(&experiment.name).join(format!("{}.csv", host.name));
        path.exists().then_some(path)
    }

    fn listing(&self, host: &FleetHost) -> String {
        let have: Vec<String> =
            self.wanted(host).iter().map(|(_, path)| size(&self.home(host).join(path)).to_string()).collect();
        let have = |index: usize| have.get(index).map_or("0", String::as_str);
        let experiment = self.inventory.experiment.as_ref().map_or("", |e| &e.name);
        script(
            &[
                ("dir", &self.folder(host)),
                ("name", &host.name),
                ("experiment", experiment),
                ("config", have(0)),
                ("daemon", have(1)),
                ("validate", have(2)),
                ("table", have(3)),
            ],
            LIST,
        )
    }

    /// The login shell of the other side reads this: a constant around numbers and a path that means the same to all.
    fn sending(&self, host: &FleetHost, path: &str, from: u64, bytes: u64) -> String {
        format!("tail -c +{} '{}/{path}' | head -c {bytes}", from + 1, self.folder(host))
    }

    pub(super) fn collect(&self, host: &FleetHost) -> Outcome<String> {
        let answer = self.ssh.script(host, &self.listing(host))?;
        let there =
            |word: &str| answer.lines().find_map(|line| listed(line.strip_prefix(word)?.strip_prefix(' ')?));
        let mut words = Vec::new();
        for (word, path) in self.wanted(host) {
            let Some(there) = there(word) else { continue };
            let here = self.home(host).join(&path);
            let told = self.bring(host, &path, &here, &there).map_err(|why| format!("{path}: {why}"))?;
            words.extend(told);
        }
        Ok(if words.is_empty() { "nothing is new".to_owned() } else { words.join(", ") })
    }

    fn bring(&self, host: &FleetHost, path: &str, here: &Path, there: &There) -> Outcome<Option<String>> {
        if there.bytes > MOST {
            return Err(format!("it has {} bytes, which is more than any table", there.bytes));
        }
        let named = |e: std::io::Error| format!("{}: {e}", here.display());
        let (have, changed) = match fs::metadata(here) {
            Ok(found) => (fs::read(here).map_err(named)?, found.modified().ok()),
            Err(_) => (Vec::new(), None),
        };
        let begin = match Copying::of(have.len() as u64, &digest(&have), changed, there) {
            Copying::Not if changed.is_some() => return Ok(None),
            Copying::Never => return Ok(Some(format!("{path} is newer here and was left alone"))),
            Copying::Not | Copying::Rest => have.len() as u64,
            Copying::All => 0,
        };
        let bytes = there.bytes - begin;
        fs::create_dir_all(here.parent().unwrap_or(here)).map_err(named)?;
        let replacing = begin == 0 && !have.is_empty();
        let target = if replacing { here.with_extension("new") } else { here.to_owned() };
        let mut file = open(&target, begin == 0).map_err(named)?;
        if bytes > 0 {
            self.ssh.call(
                host,
                &self.sending(host, path, begin, bytes),
                &[],
                Limits::copying(bytes),
                &mut file,
            )?;
        }
        let came = file.metadata().map_err(named)?.len();
        if came != there.bytes {
            return Err(format!("{came} of {} bytes have come; collect again", there.bytes));
        }
        file.set_modified(there.changed).map_err(named)?;
        if replacing {
            fs::rename(&target, here).map_err(named)?;
        }
        Ok(Some(format!("{path} +{} KiB", bytes.div_ceil(1024))))
    }

    /// The calls of [`Fleet::collect`], as they would be.
    pub(super) fn collecting(&self, host: &FleetHost) -> Vec<(String, String, Option<String>)> {
        let mut calls = vec![("what is there".to_owned(), SHELL.to_owned(), Some(self.listing(host)))];
        for (_, path) in self.wanted(host) {
            let here = self.home(host).join(&path);
            let have = size(&here);
            let what = format!("to {}, from byte {have}, if there is more", here.display());
            calls.push((what, self.sending(host, &path, have, MOST), None));
        }
        calls
    }
}

fn open(path: &Path, anew: bool) -> std::io::Result<File> {
    if anew { File::create(path) } else { OpenOptions::new().append(true).open(path) }
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |found| found.len())
}

/// A line of the listing, without its first word.
pub(crate) fn listed(line: &str) -> Option<There> {
    let mut parts = line.split(' ');
    let (bytes, changed, digest) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?);
    let changed = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(changed))?;
    Some(There { bytes, changed, digest: digest.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grows_is_gone_on_with_and_what_is_newer_is_left_alone() {
        let at = |s| SystemTime::UNIX_EPOCH + Duration::from_secs(s);
        let there = |bytes, digest: &str| There { bytes, changed: at(100), digest: digest.into() };
        let of = |here, changed, there: &There| Copying::of(here, "d", changed, there);
        assert_eq!(of(10, Some(at(50)), &there(10, "d")), Copying::Not);
        assert_eq!(of(10, Some(at(500)), &there(20, "d")), Copying::Rest);
        assert_eq!(of(10, Some(at(50)), &there(20, "other")), Copying::All);
        assert_eq!(of(10, Some(at(500)), &there(20, "other")), Copying::Never);
        assert_eq!(of(30, Some(at(50)), &there(20, "d")), Copying::All);
        assert_eq!(of(0, None, &there(20, "d")), Copying::Rest);
    }

    #[test]
    fn a_listing_of_strangers_is_read_or_left() {
        let there = There {
            bytes: 12,
            changed: SystemTime::UNIX_EPOCH + Duration::from_secs(7),
            digest: "ab".into(),
        };
        assert_eq!(listed("12 7 ab"), Some(there));
        for wrong in
            ["", "12", "-1 7 ab", "x 7 ab", "12 99999999999999999999 ab", "12 18446744073709551615 ab"]
        {
            assert_eq!(listed(wrong), None, "{wrong}");
        }
    }
}
