//! Episodes: what is different for a while on the way to some sources, or in what they say. Bursts, detours, outages,
//! liars and smears are all episodes; only their effects differ.

use crate::distribution::Distribution;
use crate::quantity::{Frequency, Seconds};
use crate::random::Random;
use serde::Deserialize;

/// Something that is different for a while, once or again and again.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Episode {
    /// In words, for the list of events; "outage" where nothing can be reached.
    pub(crate) what: String,
    pub(crate) when: Schedule,
    /// Which sources, counted from 0 through the file; all if not given.
    pub(crate) sources: Option<Vec<usize>>,
    /// Which way is affected by `delay`, `jitter` and `loss`.
    #[serde(default)]
    pub(crate) way: Way,
    /// A longer way: drawn once for each occurrence and source.
    pub(crate) delay: Option<Distribution>,
    /// A queue: drawn for each packet.
    #[serde(default)]
    pub(crate) jitter: Vec<Distribution>,
    /// Probability that a packet gets lost, one way.
    #[serde(default)]
    pub(crate) loss: f64,
    /// What the source says is so much more than true time.
    #[serde(default)]
    pub(crate) offset: Seconds,
    /// And more so with the time since the episode began: a smear, or a server that has lost its reference.
    #[serde(default)]
    pub(crate) drift: Frequency,
}

/// Which way of a path.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Way {
    /// To the source and back.
    #[default]
    Both,
    /// To the source.
    Up,
    /// From the source.
    Down,
}

/// When an episode takes place.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Schedule {
    /// At these times, ascending and apart.
    Fixed { at: Vec<Seconds>, lasts: Seconds },
    /// Again and again.
    Periodic { first: Seconds, every: Seconds, lasts: Seconds },
    /// After exponentially distributed pauses, for exponentially distributed times, with these means.
    Random { pause: Seconds, lasts: Seconds },
}

impl Schedule {
    fn times(&self, duration: f64, random: &mut Random) -> Vec<(f64, f64)> {
        let mut times = Vec::new();
        match self {
            Schedule::Fixed { at, lasts } => times.extend(at.iter().map(|a| (a.0, a.0 + lasts.0))),
            Schedule::Periodic { first, every, lasts } => {
                let mut start = first.0;
                while start < duration {
                    times.push((start, start + lasts.0));
                    start += every.0;
                }
            }
            Schedule::Random { pause, lasts } => {
                let mut start = pause.0 * random.exponential();
                while start < duration {
                    let end = start + lasts.0 * random.exponential();
                    times.push((start, end));
                    start = end + pause.0 * random.exponential();
                }
            }
        }
        times.retain(|&(start, _)| start < duration);
        times
    }
}

/// An episode with the times and detours that one seed gives it.
#[derive(Clone, Debug)]
pub(crate) struct Course {
    pub(crate) episode: Episode,
    pub(crate) occurrences: Vec<Occurrence>,
}

/// One time that an episode takes place, in seconds of true time.
#[derive(Clone, Debug)]
pub(crate) struct Occurrence {
    pub(crate) start: f64,
    pub(crate) end: f64,
    /// The longer way to each source, in seconds.
    pub(crate) detours: Vec<f64>,
}

impl Course {
    pub(crate) fn of(episode: &Episode, index: usize, sources: usize, duration: f64, seed: u64) -> Course {
        let mut random = Random::new(seed, &format!("episode.{index}"));
        let times = episode.when.times(duration, &mut random);
        let occurrences = times
            .into_iter()
            .map(|(start, end)| {
                let mut detour = || episode.delay.as_ref().map_or(0.0, |d| d.draw(&mut random));
                Occurrence { start, end, detours: (0..sources).map(|_| detour()).collect() }
            })
            .collect();
        Course { episode: episode.clone(), occurrences }
    }

    /// The occurrence that concerns this source at this second of true time.
    pub(crate) fn at(&self, source: usize, t: f64) -> Option<&Occurrence> {
        if !self.concerns(source) {
            return None;
        }
        let after = self.occurrences.partition_point(|o| o.start <= t);
        self.occurrences[..after].last().filter(|o| t < o.end)
    }

    pub(crate) fn concerns(&self, source: usize) -> bool {
        self.episode.sources.as_ref().is_none_or(|s| s.contains(&source))
    }

    /// Whether it begins and ends with a jump of what is measured, rather than with more or less noise.
    pub(crate) fn shifts(&self) -> bool {
        self.episode.delay.is_some() || self.episode.offset.0 != 0.0 || self.episode.drift.0 != 0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random_course(seed: u64) -> Course {
        let episode = Episode {
            what: "detour".into(),
            when: Schedule::Random { pause: Seconds(300.0), lasts: Seconds(100.0) },
            sources: Some(vec![1]),
            way: Way::Up,
            delay: Some(Distribution::Uniform { from: Seconds(0.0), to: Seconds(0.05) }),
            jitter: Vec::new(),
            loss: 0.0,
            offset: Seconds(0.0),
            drift: Frequency(0.0),
        };
        Course::of(&episode, 0, 2, 1e6, seed)
    }

    #[test]
    fn random_episodes_take_their_share_of_the_time() {
        let course = random_course(4);
        let share = course.occurrences.iter().map(|o| o.end - o.start).sum::<f64>() / 1e6;
        assert!((share - 0.25).abs() < 0.02, "{share}");
        assert!(course.occurrences.windows(2).all(|w| w[0].end < w[1].start));
        assert!(course.at(0, course.occurrences[3].start).is_none(), "another source");
        assert!(course.at(1, course.occurrences[3].start).is_some());
        assert!(course.at(1, course.occurrences[3].end).is_none());
    }
}
