//! What a stretch of time was like: statistics, excursions, coverage, trend, and the table of service levels.
//!
//! Every sample counts for the time until the next one, but never for longer than [`Report::of`] is told: what nobody
//! watched is not covered, and is neither within a limit nor beyond it.

use crate::{Backing, ClockError, Metric, Profile, Trend};
use chronotick_clock::{Span, Timestamp};
use serde::Serialize;

/// The clock at one instant of the past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// When.
    pub utc: Timestamp,
    /// Whether evidence backed it.
    pub state: Backing,
    /// The clock's error; none where nothing was known.
    pub error: Option<ClockError>,
}

/// A stretch in which the metric was beyond the limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Excursion {
    /// When it was first seen, ns since 1970.
    pub from_ns: i64,
    /// When it was over; none if it was not by the end.
    pub to_ns: Option<i64>,
    /// How long it was, as far as seen.
    pub duration_ns: i64,
    /// The largest metric.
    pub peak_ns: i64,
}

/// One promise about the service, and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ServiceLevel {
    /// What is promised.
    pub name: &'static str,
    /// The promise.
    pub target: String,
    /// What was measured, if that is known.
    pub measured: Option<String>,
    /// Whether it was kept; none where that is not known.
    pub met: Option<bool>,
}

/// A stretch of time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The profile that it is judged by.
    pub profile: String,
    /// What the limit is about.
    pub metric: Metric,
    /// The limit.
    pub limit_ns: i64,
    /// Whether any of it was simulated.
    pub simulation: bool,
    /// Its begin, ns since 1970.
    pub from_ns: i64,
    /// Its end.
    pub to_ns: i64,
    /// Samples in it.
    pub samples: usize,
    /// Share of the time in which the clock's error was known, 0–1.
    pub coverage: f64,
    /// Share of the known time within the limit, 0–1; none where nothing was known.
    pub within: Option<f64>,
    /// Share of all time in which a majority of the sources stood behind it, 0–1.
    pub synced: f64,
    /// Mean offset with its sign, true − local.
    pub mean_ns: Option<i64>,
    /// Mean size of the offset.
    pub mean_abs_ns: Option<i64>,
    /// Median of the metric over time.
    pub p50_ns: Option<i64>,
    /// Its 95th percentile.
    pub p95_ns: Option<i64>,
    /// Its 99th percentile.
    pub p99_ns: Option<i64>,
    /// The largest metric.
    pub max_ns: Option<i64>,
    /// The largest size of the offset.
    pub max_abs_ns: Option<i64>,
    /// The longest time between two samples, or to the ends.
    pub longest_gap_ns: i64,
    /// The longest time between two samples that were backed by a majority, or to the ends.
    pub longest_unsynced_ns: i64,
    /// Stretches beyond the limit.
    pub excursions: Vec<Excursion>,
    /// How the offset grows.
    pub trend: Option<Trend>,
    /// The promises.
    pub service_levels: Vec<ServiceLevel>,
}

/// A sample and how long it stands.
struct Weighed {
    point: Point,
    span: Span,
}

impl Report {
    /// The report of `points` (ascending) within `from..to`. No sample stands for longer than `longest`.
    ///
    /// ```
    /// use chronotick_clock::{Span, Timestamp};
    /// use chronotick_monitor::{Backing, ClockError, Point, Profile, Report};
    /// let second = |s| Timestamp::from_nanos(0) + Span::from_secs(s);
    /// let error = ClockError { offset: Span::from_millis(2), early: Span::ZERO, late: Span::ZERO };
    /// let points: Vec<_> = (0..60)
    ///     .map(|s| Point { utc: second(s), state: Backing::Synced, error: Some(error) })
    ///     .collect();
    /// let (profile, longest) = (Profile::default(), Span::from_secs(10));
    /// let report = Report::of(&points, second(0)..second(120), &profile, longest);
    /// assert_eq!((report.mean_ns, report.within), (Some(2_000_000), Some(1.0)));
    /// assert_eq!(report.coverage, 69.0 / 120.0); // the last sample stands for ten seconds
    /// ```
    pub fn of(
        points: &[Point],
        period: std::ops::Range<Timestamp>,
        profile: &Profile,
        longest: Span,
    ) -> Report {
        let (from, to) = (period.start, period.end);
        let inside: Vec<Point> = points.iter().copied().filter(|p| p.utc >= from && p.utc < to).collect();
        let weighed = weigh(&inside, to, longest);
        let metric = |p: &Point| p.error.map(|error| metric_of(profile, error));
        let known: Vec<&Weighed> = weighed.iter().filter(|w| w.point.error.is_some()).collect();
        let time = |w: &mut dyn Iterator<Item = &Weighed>| w.fold(Span::ZERO, |sum, w| sum + w.span);
        let (all, seen) = (to - from, time(&mut known.iter().copied()));
        let share =
            |part: Span, of: Span| if of > Span::ZERO { part.as_secs_f64() / of.as_secs_f64() } else { 0.0 };
        let good = known.iter().copied().filter(|w| metric(&w.point).is_some_and(|m| m <= profile.limit));
        let backed = weighed.iter().filter(|w| w.point.state == Backing::Synced);
        let mut sorted: Vec<(Span, Span)> =
            known.iter().filter_map(|w| Some((metric(&w.point)?, w.span))).collect();
        sorted.sort();
        let offsets = || known.iter().filter_map(|w| Some((w.point.error?.offset, w.span)));
        let synced_at = |p: &&Point| p.state == Backing::Synced;
        let mut report = Report {
            profile: profile.name.clone(),
            metric: profile.metric,
            limit_ns: profile.limit.as_nanos(),
            simulation: false,
            from_ns: from.as_nanos(),
            to_ns: to.as_nanos(),
            samples: inside.len(),
            coverage: share(seen, all),
            within: (seen > Span::ZERO).then(|| share(time(&mut good.into_iter()), seen)),
            synced: share(time(&mut backed.into_iter()), all),
            mean_ns: mean(&mut offsets()),
            mean_abs_ns: mean(&mut offsets().map(|(offset, span)| (offset.abs(), span))),
            p50_ns: percentile(&sorted, 0.50),
            p95_ns: percentile(&sorted, 0.95),
            p99_ns: percentile(&sorted, 0.99),
            max_ns: sorted.last().map(|(metric, _)| metric.as_nanos()),
            max_abs_ns: offsets().map(|(offset, _)| offset.abs().as_nanos()).max(),
            longest_gap_ns: longest_gap(inside.iter().map(|p| p.utc), &period).as_nanos(),
            longest_unsynced_ns: longest_gap(inside.iter().filter(synced_at).map(|p| p.utc), &period)
                .as_nanos(),
            excursions: excursions(&weighed, profile),
            trend: trend(&inside, from),
            service_levels: Vec::new(),
        };
        report.service_levels = report.promises();
        report
    }

    /// The service levels that an operator of the trading system behind profile `ib-stream` was promised.
    fn promises(&self) -> Vec<ServiceLevel> {
        let span = |ns: i64| Span::from_nanos(ns);
        let at_most = |name, target: Span, measured: Option<i64>, itself: bool| ServiceLevel {
            name,
            target: format!("{} {target}", if itself { "at most" } else { "below" }),
            measured: measured.map(|ns| span(ns).to_string()),
            met: measured.map(|ns| if itself { span(ns) <= target } else { span(ns) < target }),
        };
        let watched = |ns: i64| (self.samples > 0).then_some(ns);
        let longest = self.excursions.iter().map(|e| e.duration_ns).max().unwrap_or(0);
        vec![
            at_most("mean drift", Span::from_millis(10), self.mean_abs_ns, false),
            at_most("largest drift", Span::from_millis(50), self.max_abs_ns, false),
            at_most(
                "time between synchronisations",
                Span::from_secs(300),
                watched(self.longest_unsynced_ns),
                true,
            ),
            ServiceLevel {
                name: "availability",
                target: "at least 99.9 %".into(),
                measured: (self.samples > 0).then(|| format!("{:.3} %", self.synced * 100.0)),
                met: (self.samples > 0).then_some(self.synced >= 0.999),
            },
            at_most(
                "detection (time between looks)",
                Span::from_secs(300),
                watched(self.longest_gap_ns),
                false,
            ),
            at_most("recovery (longest excursion)", Span::from_secs(60), watched(longest), false),
        ]
    }
}

fn metric_of(profile: &Profile, error: ClockError) -> Span {
    match profile.metric {
        Metric::Bound => error.bound(),
        Metric::Offset => error.offset.abs(),
    }
}

fn weigh(points: &[Point], to: Timestamp, longest: Span) -> Vec<Weighed> {
    let ends = points.iter().skip(1).map(|p| p.utc).chain([to]);
    let span = |(point, end): (&Point, Timestamp)| Weighed {
        point: *point,
        span: (end - point.utc).max(Span::ZERO).min(longest),
    };
    points.iter().zip(ends).map(span).collect()
}

/// The mean by time.
fn mean(values: &mut dyn Iterator<Item = (Span, Span)>) -> Option<i64> {
    let (sum, time) = values.fold((0i128, 0i128), |(sum, time), (value, span)| {
        let span = i128::from(span.as_nanos());
        (sum + i128::from(value.as_nanos()) * span, time + span)
    });
    // A mean lies between its values.
    (time > 0).then(|| i64::try_from(sum / time).expect("it was made of such numbers"))
}

/// The value below which the metric was for this share of the time.
fn percentile(sorted: &[(Span, Span)], share: f64) -> Option<i64> {
    let all: f64 = sorted.iter().map(|(_, span)| span.as_secs_f64()).sum();
    let mut below = 0.0;
    let beyond = sorted.iter().find(|(_, span)| {
        below += span.as_secs_f64();
        below >= share * all
    });
    Some(beyond.or(sorted.last())?.0.as_nanos())
}

fn longest_gap(instants: impl Iterator<Item = Timestamp>, period: &std::ops::Range<Timestamp>) -> Span {
    let mut before = period.start;
    let mut longest = Span::ZERO;
    for instant in instants.chain([period.end]) {
        longest = longest.max(instant - before);
        before = instant;
    }
    longest
}

fn excursions(weighed: &[Weighed], profile: &Profile) -> Vec<Excursion> {
    let mut found: Vec<Excursion> = Vec::new();
    let mut open = false;
    for Weighed { point, span } in weighed {
        let Some(metric) = point.error.map(|error| metric_of(profile, error)) else { continue };
        let beyond = metric > profile.limit;
        match (open, beyond) {
            (false, true) => found.push(Excursion {
                from_ns: point.utc.as_nanos(),
                to_ns: None,
                duration_ns: span.as_nanos(),
                peak_ns: metric.as_nanos(),
            }),
            (true, true) => {
                let excursion = found.last_mut().expect("one is open");
                excursion.duration_ns = (point.utc + *span).as_nanos() - excursion.from_ns;
                excursion.peak_ns = excursion.peak_ns.max(metric.as_nanos());
            }
            (true, false) => {
                let excursion = found.last_mut().expect("one is open");
                excursion.to_ns = Some(point.utc.as_nanos());
                excursion.duration_ns = point.utc.as_nanos() - excursion.from_ns;
            }
            (false, false) => {}
        }
        open = beyond;
    }
    found
}

fn trend(points: &[Point], from: Timestamp) -> Option<Trend> {
    let place = |p: &Point| Some(((p.utc - from).as_secs_f64(), p.error?.offset.as_secs_f64()));
    Trend::of(&points.iter().filter_map(place).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn second(s: i64) -> Timestamp {
        Timestamp::from_nanos(1_700_000_000_000_000_000) + Span::from_secs(s)
    }

    fn point(s: i64, offset_ms: i64) -> Point {
        let error = ClockError { offset: Span::from_millis(offset_ms), early: Span::ZERO, late: Span::ZERO };
        Point { utc: second(s), state: Backing::Synced, error: Some(error) }
    }

    fn report(points: &[Point], seconds: i64) -> Report {
        Report::of(points, second(0)..second(seconds), &Profile::default(), Span::from_secs(60))
    }

    #[test]
    fn errors_of_either_sign_do_not_cancel_in_the_mean_size() {
        let points: Vec<_> = (0..100).map(|i| point(i * 10, if i % 2 == 0 { 40 } else { -40 })).collect();
        let found = report(&points, 1_000);
        assert_eq!((found.mean_ns, found.mean_abs_ns), (Some(0), Some(40_000_000)));
        assert_eq!((found.max_ns, found.p50_ns, found.samples), (Some(40_000_000), Some(40_000_000), 100));
        assert_eq!((found.within, found.coverage), (Some(1.0), 1.0));
    }

    #[test]
    fn an_excursion_has_its_peak_and_its_length() {
        let at = |i: i64| match i {
            30..=32 => point(i * 10, 51 + i),
            _ => point(i * 10, 1),
        };
        let found = report(&(0..100).map(at).collect::<Vec<_>>(), 1_000);
        let expected = Excursion {
            from_ns: second(300).as_nanos(),
            to_ns: Some(second(330).as_nanos()),
            duration_ns: Span::from_secs(30).as_nanos(),
            peak_ns: 83_000_000,
        };
        assert_eq!(found.excursions, [expected]);
        assert_eq!(found.within, Some(0.97));
        assert_eq!(found.p95_ns, Some(1_000_000));
        assert_eq!(found.p99_ns, Some(82_000_000));
    }

    #[test]
    fn exactly_the_limit_is_within_and_an_open_excursion_has_no_end() {
        assert_eq!(report(&[point(0, 50), point(10, 50)], 20).excursions, []);
        let open = report(&[point(0, 1), point(10, 60)], 20);
        assert_eq!((open.excursions[0].to_ns, open.within), (None, Some(0.5)));
    }

    #[test]
    fn what_nobody_watched_is_not_covered() {
        let found = report(&[point(0, 1), point(600, 1)], 1_200);
        assert_eq!((found.coverage, found.within), (0.1, Some(1.0)));
        assert_eq!(found.longest_gap_ns, Span::from_secs(600).as_nanos());
        let detection = found.service_levels.iter().find(|s| s.name.starts_with("detection")).unwrap();
        assert_eq!(detection.met, Some(false));
    }

    #[test]
    fn nothing_known_is_no_zero_and_no_promise_kept() {
        let found = report(&[], 100);
        assert_eq!((found.mean_ns, found.within, found.coverage), (None, None, 0.0));
        assert!(found.service_levels.iter().all(|level| level.met.is_none()));
    }

    #[test]
    fn the_table_of_promises_is_complete() {
        let found = report(&(0..100).map(|i| point(i * 10, 1)).collect::<Vec<_>>(), 1_000);
        let names: Vec<_> = found.service_levels.iter().map(|level| level.name).collect();
        assert_eq!(names.len(), 6, "{names:?}");
        assert!(found.service_levels.iter().all(|level| level.met == Some(true)), "{found:#?}");
    }

    proptest! {
        #[test]
        fn shares_are_shares_and_percentiles_ascend(
            points in prop::collection::vec((0i64..1_000, -100i64..100, any::<bool>()), 0..60),
        ) {
            let mut points: Vec<_> = points.into_iter().map(|(s, offset, known)| {
                let point = point(s, offset);
                Point { error: point.error.filter(|_| known), ..point }
            }).collect();
            points.sort_by_key(|p| p.utc);
            let found = report(&points, 1_000);
            prop_assert!((0.0..=1.0).contains(&found.coverage) && (0.0..=1.0).contains(&found.synced));
            prop_assert!(found.within.is_none_or(|w| (0.0..=1.0).contains(&w)));
            prop_assert!(found.p50_ns <= found.p95_ns && found.p95_ns <= found.p99_ns && found.p99_ns <= found.max_ns);
        }
    }
}
