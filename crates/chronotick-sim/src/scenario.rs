//! Scenario files: a world as text (TOML), composed of an oscillator, temperatures, sources with their paths, episodes
//! of trouble, and what happens to the machine. Nothing is simulated here.

use crate::check;
use crate::distribution::Distribution;
use crate::episode::Episode;
use crate::machine::{Disturbance, Host};
use crate::oscillator::{Oscillator, Temperature};
use crate::quantity::Seconds;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// A world to be simulated, as its file describes it. `scenarios/README.md` explains all keys.
///
/// ```
/// use chronotick_sim::Scenario;
/// let scenario = Scenario::parse(r#"
///     name = "lan"
///     what = "One server on a local network."
///     duration = "1 h"
///     poll = "16 s"
///     [[sources]]
///     delays = ["0.1 ms"]
///     jitter = [{ exponential = { mean = "0.1 ms" } }]
/// "#)?;
/// assert_eq!(scenario.name(), "lan");
/// # Ok::<(), chronotick_sim::ScenarioError>(())
/// ```
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    pub(crate) name: String,
    pub(crate) what: String,
    pub(crate) duration: Seconds,
    /// Between two requests to a source, by the raw clock; without it the client decides.
    pub(crate) poll: Option<Seconds>,
    #[serde(default)]
    pub(crate) oscillator: Oscillator,
    #[serde(default)]
    pub(crate) temperatures: Vec<Temperature>,
    pub(crate) sources: Vec<Sources>,
    #[serde(default)]
    pub(crate) episodes: Vec<Episode>,
    #[serde(default)]
    pub(crate) machine: Vec<Disturbance>,
    pub(crate) host: Option<Host>,
}

/// Sources that differ only by how far away they are.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Sources {
    /// One source each: the time one way, without jitter.
    pub(crate) delays: Vec<Seconds>,
    /// What comes on top for each packet and way; several terms add up.
    #[serde(default)]
    pub(crate) jitter: Vec<Distribution>,
    /// (Way back − way there) / 2: measurements show so much too little.
    #[serde(default)]
    pub(crate) asymmetry: Seconds,
    /// The same drawn once for each source from a normal distribution with this deviation.
    #[serde(default)]
    pub(crate) asymmetry_deviation: Seconds,
    /// Probability that a packet gets lost, one way.
    #[serde(default)]
    pub(crate) loss: f64,
    /// Probability that an answer arrives twice.
    #[serde(default)]
    pub(crate) duplicate: f64,
    /// What the source says is so much more than true time.
    #[serde(default)]
    pub(crate) offset: Seconds,
    #[serde(default = "one")]
    pub(crate) stratum: u8,
    #[serde(default)]
    pub(crate) root_delay: Seconds,
    #[serde(default)]
    pub(crate) root_dispersion: Seconds,
}

fn one() -> u8 {
    1
}

/// Why a scenario cannot be used.
#[derive(Debug, Error)]
pub enum ScenarioError {
    /// The file cannot be read.
    #[error("scenario {}: {cause}; check the path", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        cause: std::io::Error,
    },
    /// The file can be read, but is not a scenario.
    #[error("{}: {cause}", path.display())]
    InFile {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        cause: Box<ScenarioError>,
    },
    /// There is no built-in scenario of this name.
    #[error("scenario {name:?} is not a file and not built in; built in are: {}", Scenario::BUILT_IN.map(|(n, _)| n).join(" "))]
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// It is not TOML, or has a key or a type that a scenario does not have; the text shows the place.
    #[error("scenario: {0}")]
    Malformed(#[from] toml::de::Error),
    /// A value is out of its range.
    #[error("scenario: {key}: {problem}; {mend}")]
    Value {
        /// The key, from the root of the file.
        key: String,
        /// What is wrong with its value.
        problem: String,
        /// What can be written instead.
        mend: String,
    },
}

macro_rules! built_in {
    ($($name:literal)*) => {
        /// The scenarios that come with the program: name and text of the file.
        pub const BUILT_IN: [(&str, &str); [$($name),*].len()] =
            [$(($name, include_str!(concat!("../scenarios/", $name, ".toml")))),*];
    };
}

impl Scenario {
    built_in! {
        "a" "b" "b2" "c" "c2" "d" "e1" "e2" "e4" "e5" "f" "g" "g2" "g3" "h" "h2" "i" "r" "w"
        "bufferbloat" "campus" "cheap-crystal" "constellation" "counter-jump" "everything" "flapping"
        "laptop" "liar-1-of-3" "liars-2-of-5" "liars-agree" "long-outage" "lost-reference"
        "misled-host" "mobile" "other-daemon" "quiet-oven" "rush-hour" "satellite" "six-sources"
        "smear" "split" "step-in-the-dark" "vanishing" "virtual-machine"
    }

    /// Reads a scenario from a file.
    ///
    /// # Errors
    /// The file cannot be read, or is not a scenario.
    pub fn load(path: impl AsRef<Path>) -> Result<Scenario, ScenarioError> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path)
            .map_err(|cause| ScenarioError::Unreadable { path: path.into(), cause })?;
        Scenario::parse(&text).map_err(|e| ScenarioError::InFile { path: path.into(), cause: Box::new(e) })
    }

    /// The built-in scenario of this name.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn built_in(name: &str) -> Result<Scenario, ScenarioError> {
        let (_, text) = Scenario::BUILT_IN
            .iter()
            .find(|(known, _)| *known == name)
            .ok_or_else(|| ScenarioError::Unknown { name: name.into() })?;
        Scenario::parse(text)
    }

    /// Reads a scenario from the text of a file.
    ///
    /// # Errors
    /// It is not TOML, has an unknown key, or a value is out of its range: the error says which and what to write.
    pub fn parse(text: &str) -> Result<Scenario, ScenarioError> {
        let scenario: Scenario = toml::from_str(text)?;
        check::scenario(&scenario)?;
        Ok(scenario)
    }

    /// Its name, which names the files made of it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What happens in it, in words.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// How many sources it has.
    pub fn source_count(&self) -> usize {
        self.sources.iter().map(|group| group.delays.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_explained_example_is_a_scenario_and_shows_the_defaults() {
        let page = include_str!("../scenarios/README.md");
        let text = page.split("```toml").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        let example = Scenario::parse(text).unwrap_or_else(|e| panic!("{e}"));
        let shown = Oscillator { steps: Vec::new(), ..example.oscillator };
        assert_eq!(shown, Oscillator::default());
        assert_eq!((example.episodes.len(), example.machine.len(), example.temperatures.len()), (3, 4, 3));
    }

    #[test]
    fn every_file_is_built_in_under_its_own_name_and_readable() {
        let mut files: Vec<String> = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios"))
            .unwrap()
            .filter_map(|entry| {
                entry.unwrap().file_name().to_string_lossy().strip_suffix(".toml").map(str::to_owned)
            })
            .collect();
        let mut names: Vec<&str> = Scenario::BUILT_IN.iter().map(|(name, _)| *name).collect();
        files.sort();
        names.sort_unstable();
        assert_eq!(files, names);
        for name in names {
            assert_eq!(Scenario::built_in(name).unwrap_or_else(|e| panic!("{name}: {e}")).name(), name);
        }
    }
}
