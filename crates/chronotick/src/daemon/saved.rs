//! What a daemon learned that its successor can use: the frequency of the raw clock and the delay floors of the paths. One small JSON file in the state
//! directory, replaced atomically; a file that cannot be understood is as good as none. It is written by the measuring thread, which waits
//! for no disk.

use super::link::Link;
use crate::replace::replace;
use chronotick_clock::boot;
use chronotick_core::estimate::Saved;
use chronotick_core::{Engine, Rate, Span};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// What is kept. Rates are in units of 2⁻⁴⁸ s/s.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Memory {
    /// In which boot of the machine it was learned.
    boot: u64,
    rate: i64,
    /// Zero: nothing was learned yet.
    rate_sigma: i64,
    /// The smallest round trip of each address's path, in ns.
    floors: BTreeMap<SocketAddr, i64>,
}

impl Memory {
    /// A booting kernel measures its counter against another clock, and what it calls the raw clock's second differs
    /// by some parts per million from boot to boot.
    const RECALIBRATED: Rate = Rate::from_bits(10 * (1 << 48) / 1_000_000);

    fn file(dir: &Path) -> PathBuf {
        dir.join("learned.json")
    }

    /// What the last daemon left in `dir`. Nothing, with a line in the log, if that cannot be understood.
    pub(super) fn load(dir: &Path) -> Memory {
        let path = Memory::file(dir);
        let read = fs::read(&path).map(|bytes| Memory::of_bytes(&bytes));
        match read {
            Ok(Ok(memory)) => memory,
            Ok(Err(e)) => {
                log::warn!("{} is not understood and starts anew: {e}", path.display());
                Memory::default()
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => Memory::default(),
            Err(e) => {
                log::warn!("{} cannot be read, so nothing is known from before: {e}", path.display());
                Memory::default()
            }
        }
    }

    /// What a file of these bytes holds.
    pub(crate) fn of_bytes(bytes: &[u8]) -> serde_json::Result<Memory> {
        serde_json::from_slice(bytes)
    }

    /// What an engine that has measured nothing yet can take over.
    pub(crate) fn saved(&self) -> Option<Saved> {
        if self.rate_sigma <= 0 {
            return None;
        }
        let anew = if self.boot == boot() { Rate::ZERO } else { Memory::RECALIBRATED };
        let rate_sigma = self.rate_sigma.max(anew.to_bits());
        Some(Saved { rate: self.rate, rate_sigma })
    }

    /// The floor that an address's path had.
    pub(super) fn floor(&self, address: &SocketAddr) -> Option<Span> {
        self.floors.get(address).copied().map(Span::from_nanos)
    }

    /// Takes over what the engine knows better by now; of the paths it keeps those in use.
    pub(super) fn learn(&mut self, engine: &Engine, links: &[Link]) {
        if let Some(Saved { rate, rate_sigma }) = engine.estimator().saved() {
            (self.boot, self.rate, self.rate_sigma) = (boot(), rate, rate_sigma);
        }
        let floor =
            |link: &Link| Some((link.address, engine.estimator().path(link.source)?.floor.as_nanos()));
        let floors: BTreeMap<_, _> = links.iter().filter_map(floor).collect();
        if !floors.is_empty() {
            self.floors = floors;
        }
    }

    /// # Errors
    /// Those of making the directory and of writing and renaming a file in it.
    pub(super) fn store(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)?;
        replace(&Memory::file(dir), &serde_json::to_vec_pretty(self)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_survives_a_round_trip_and_rubbish_counts_as_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        assert_eq!(Memory::load(dir.path()), Memory::default());
        let floors = BTreeMap::from([("[::1]:123".parse().expect("an address"), 12_345)]);
        let memory = Memory { boot: u64::MAX, rate: -123, rate_sigma: 7, floors };
        memory.store(&dir.path().join("deeper")).expect("stored");
        memory.store(&dir.path().join("deeper")).expect("stored again");
        assert_eq!(Memory::load(&dir.path().join("deeper")), memory);
        assert_eq!(fs::read_dir(dir.path().join("deeper")).expect("listed").count(), 1);
        for rubbish in ["", "{", "[]", "{\"rate\": \"much\"}"] {
            fs::write(Memory::file(dir.path()), rubbish).expect("written");
            assert_eq!(Memory::load(dir.path()), Memory::default());
        }
    }
}
