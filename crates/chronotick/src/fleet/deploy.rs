//! Brings the program and its configuration to a host, each only if the host's has another digest. A file arrives under
//! another name and takes its place once it is whole, so that a broken copy is never run.

use super::script::{LOOK, SETTLE, script};
use super::ssh::{Limits, SHELL};
use super::{Fleet, Outcome, facts, value};
use crate::config::FleetHost;
use chronotick_record::digest;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::{Path, PathBuf};

/// The names of what is deployed, there.
const NAMES: [&str; 2] = ["chronotick", "config.yaml"];

/// What is deployed, read once however many hosts it goes to.
#[derive(Debug, Default)]
pub(super) struct Files(HashMap<PathBuf, File>);

#[derive(Debug)]
struct File {
    bytes: Vec<u8>,
    digest: String,
}

impl Files {
    pub(super) fn read(hosts: &[FleetHost]) -> Result<Files, String> {
        let mut files = Files::default();
        for path in hosts.iter().flat_map(|host| [host.binary.as_deref(), Some(&host.config)]) {
            if let Entry::Vacant(place) = files.0.entry(source(path)?) {
                let bytes =
                    std::fs::read(place.key()).map_err(|e| format!("{}: {e}", place.key().display()))?;
                place.insert(File { digest: digest(&bytes), bytes });
            }
        }
        Ok(files)
    }

    fn of(&self, host: &FleetHost, name: &str) -> Outcome<&File> {
        let path = if name == NAMES[0] { host.binary.as_deref() } else { Some(host.config.as_path()) };
        self.0.get(&source(path)?).ok_or_else(|| format!("{name} was not read"))
    }
}

/// A file that is named, or this program.
fn source(path: Option<&Path>) -> Result<PathBuf, String> {
    let this = || {
        std::env::current_exe().map_err(|e| format!("this program cannot be found: {e}; name one as binary"))
    };
    path.map_or_else(this, |path| Ok(path.to_owned()))
}

impl Fleet {
    /// The login shell of the other side reads this: a constant around a path that means the same to all of them.
    fn receiving(&self, host: &FleetHost, name: &str) -> String {
        format!("exec cat >'{}/{name}.new'", self.folder(host))
    }

    fn settling(&self, host: &FleetHost, name: &str, want: &str) -> String {
        script(&[("dir", &self.folder(host)), ("file", name), ("want", want)], SETTLE)
    }

    pub(super) fn deploy(&self, host: &FleetHost, files: &Files) -> Outcome<String> {
        let answer = self.ssh.script(host, &self.scripted(host, LOOK))?;
        let there = facts(&answer)?;
        let mut words = Vec::new();
        for name in NAMES {
            let file = files.of(host, name)?;
            if value(&there, name) == Some(&file.digest) {
                words.push(format!("{name} was there"));
                continue;
            }
            let limits = Limits { answer: 0, ..Limits::copying(file.bytes.len() as u64) };
            self.ssh.call(host, &self.receiving(host, name), &file.bytes, limits, &mut std::io::sink())?;
            let settled = self.ssh.script(host, &self.settling(host, name, &file.digest))?;
            facts(&settled)?;
            words.push(format!("{name} copied ({} KiB)", file.bytes.len().div_ceil(1024)));
        }
        Ok(words.join(", "))
    }

    /// The calls of [`Fleet::deploy`], as they would be.
    pub(super) fn deploying(&self, host: &FleetHost, files: &Files) -> Vec<(String, String, Option<String>)> {
        let mut calls = vec![("what is there".to_owned(), SHELL.to_owned(), Some(self.scripted(host, LOOK)))];
        for name in NAMES {
            let Ok(file) = files.of(host, name) else { continue };
            let what = format!("{name}, {} bytes, unless {} is there", file.bytes.len(), file.digest);
            calls.push((what, self.receiving(host, name), None));
            calls.push(("then".to_owned(), SHELL.to_owned(), Some(self.settling(host, name, &file.digest))));
        }
        calls
    }
}
