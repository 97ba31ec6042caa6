//! Profiles: by what metric a clock is judged, where its levels begin, when an alert is raised, and which limit is kept.

use crate::{Level, Metric, Sample};
use chronotick_clock::Span;
use serde::Serialize;

/// What is expected of a clock.
///
/// ```
/// use chronotick_clock::Span;
/// use chronotick_monitor::{Level, Profile};
/// let profile = Profile::named("leadville").unwrap();
/// assert_eq!(profile.level(Span::from_nanos(4_999_999)), Level::Excellent);
/// assert_eq!(profile.level(Span::from_millis(5)), Level::Good); // half-open: an edge belongs to the worse level
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Profile {
    /// Its name.
    pub name: String,
    /// What the levels are judged by.
    pub metric: Metric,
    /// Where good, fair, poor and critical begin; each belongs to the worse level. Ascending.
    #[serde(skip)]
    pub edges: [Span; 4],
    /// An alert is raised above this, strictly: a limit includes itself.
    #[serde(skip)]
    pub alert: Span,
    /// The limit that reports and attestations are about; an excursion is strictly beyond it.
    #[serde(skip)]
    pub limit: Span,
    /// Fewer agreeing sources than this are worth a warning, and are no quorum for a correction.
    pub min_agreeing: u32,
}

impl Profile {
    /// The names that [`Profile::named`] knows.
    pub const NAMES: [&str; 5] = ["default", "leadville", "ib-stream", "1ms", "us"];

    /// A profile by its name.
    ///
    /// `default` puts an edge wherever one of two older systems had a limit: 20 ms alert, 50 ms at the most. `leadville` and
    /// `ib-stream` are the levels of those systems. `1ms` and `us` (100 µs) are for limits as regulators of trading set them.
    pub fn named(name: &str) -> Option<Profile> {
        let (edges, alert, limit) = match name {
            "default" => ([1_000, 5_000, 20_000, 50_000], 20_000, 50_000),
            "leadville" => ([5_000, 10_000, 25_000, 50_000], 20_000, 50_000),
            "ib-stream" => ([1_000, 5_000, 50_000, 500_000], 50_000, 50_000),
            "1ms" => ([100, 250, 500, 1_000], 500, 1_000),
            "us" => ([10, 25, 50, 100], 50, 100),
            _ => return None,
        };
        Some(Profile {
            name: name.into(),
            metric: Metric::Bound,
            edges: edges.map(Span::from_micros),
            alert: Span::from_micros(alert),
            limit: Span::from_micros(limit),
            min_agreeing: 2,
        })
    }

    /// The level of an error, whichever sign it has.
    pub fn level(&self, error: Span) -> Level {
        let beyond = self.edges.iter().filter(|&&edge| error.abs() >= edge).count();
        Level::ALL[beyond]
    }

    /// The metric of a sample; none where nothing is known.
    pub fn metric_of(&self, sample: &Sample) -> Option<Span> {
        let error = sample.error?;
        Some(match self.metric {
            Metric::Bound => error.bound(),
            Metric::Offset => error.offset.abs(),
        })
    }
}

impl Default for Profile {
    fn default() -> Profile {
        Profile::named("default").expect("there is a default profile")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_named_profile_is_half_open_and_ascends() {
        for name in Profile::NAMES {
            let profile = Profile::named(name).unwrap();
            assert!(profile.edges.windows(2).all(|w| w[0] < w[1]), "{name}");
            assert_eq!(profile.level(Span::ZERO), Level::Excellent);
            for (i, edge) in profile.edges.into_iter().enumerate() {
                assert_eq!(profile.level(edge - Span::from_nanos(1)), Level::ALL[i], "{name}");
                assert_eq!(profile.level(edge), Level::ALL[i + 1], "{name}");
                assert_eq!(profile.level(-edge), Level::ALL[i + 1], "{name}");
            }
        }
        assert_eq!(Profile::named("loose"), None);
    }

    proptest! {
        #[test]
        fn more_error_is_never_better(a: i64, b: i64) {
            let profile = Profile::default();
            let (a, b) = (Span::from_nanos(a).abs(), Span::from_nanos(b).abs());
            prop_assert!(profile.level(a.min(b)) <= profile.level(a.max(b)));
        }
    }
}
