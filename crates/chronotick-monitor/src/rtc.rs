//! What ails a battery-backed clock: set to local time, drifting, jumping, forgotten.

use crate::trend::{Trend, median};
use chronotick_clock::Span;
use serde::Serialize;
use std::fmt;

/// What a battery-backed clock counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "timescale")]
pub enum Timescale {
    /// UTC, as it should.
    Utc,
    /// The local time of a zone, and possibly a wrong date: somebody or some firmware wrote it so.
    Local {
        /// The zone, east of Greenwich, in minutes.
        zone_minutes: i64,
        /// Days by which the date is off beside that; positive: it is behind.
        days: i64,
    },
    /// Neither.
    Wrong,
}

impl fmt::Display for Timescale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Timescale::Utc => f.pad("utc"),
            Timescale::Local { .. } => f.pad("local"),
            Timescale::Wrong => f.pad("wrong"),
        }
    }
}

/// What is thought of the battery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Battery {
    /// Too little is known: fewer than five readings over a day.
    Unknown,
    /// It keeps a steady rate.
    Good,
    /// It jumped, or its rate is far from that of a crystal: replace the battery soon.
    Weak,
    /// It lost the date: replace the battery.
    Dead,
}

impl fmt::Display for Battery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Battery::Unknown => "unknown",
            Battery::Good => "good",
            Battery::Weak => "weak",
            Battery::Dead => "dead",
        })
    }
}

/// One comparison of the battery-backed clock with true time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtcReading {
    /// True time, seconds since 1970.
    pub utc_secs: i64,
    /// True time minus what the clock reads as UTC: positive if it is behind.
    pub offset: Span,
}

/// The diagnosis.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct RtcDiagnosis {
    /// What it counts.
    #[serde(flatten)]
    pub timescale: Timescale,
    /// What its offset is beside that of the zone.
    #[serde(skip)]
    pub residual: Span,
    /// How fast it falls behind, in parts per million, with its confidence.
    pub drift: Option<Trend>,
    /// What is thought of the battery.
    pub battery: Battery,
}

const DAY: i64 = 86_400;
const QUARTER: i64 = 900;

impl RtcDiagnosis {
    /// An offset below this is a right clock: what a crystal loses in a day or two, and the reading to the second.
    pub const TOLERANCE: Span = Span::from_secs(10);
    /// How near to a multiple of 15 minutes is no chance.
    const NEAR: Span = Span::from_secs(60);
    /// A step beside the drift that no crystal does.
    const JUMP: f64 = 2.0;
    /// A crystal that is driven well is within this.
    const PLAUSIBLE_PPM: f64 = 200.0;

    /// The diagnosis of the newest reading, with what is known of the past in ascending order.
    ///
    /// Readings of the past that are further apart from the newest one than ten minutes tell of settings in between and are
    /// left out of the drift.
    pub fn of(newest: RtcReading, past: &[RtcReading]) -> RtcDiagnosis {
        let (timescale, residual) = timescale(newest.offset);
        let alike = |r: &&RtcReading| (r.offset - newest.offset).abs() < Span::from_secs(600);
        let points: Vec<(f64, f64)> = past
            .iter()
            .filter(alike)
            .chain([&newest])
            .map(|r| ((r.utc_secs - newest.utc_secs) as f64, (r.offset - newest.offset).as_secs_f64()))
            .collect();
        let long_enough = points.first().is_some_and(|first| -first.0 >= DAY as f64);
        let drift = if long_enough { Trend::of(&points) } else { None };
        let battery = battery(newest, drift, &points);
        RtcDiagnosis { timescale, residual, drift, battery }
    }
}

fn timescale(offset: Span) -> (Timescale, Span) {
    let seconds = (offset.as_nanos() + offset.as_nanos().signum() * 500_000_000) / 1_000_000_000;
    let quarters = (seconds + seconds.signum() * QUARTER / 2) / QUARTER;
    let residual = offset - Span::from_secs(quarters * QUARTER);
    if quarters == 0 {
        let right = offset.abs() <= RtcDiagnosis::TOLERANCE;
        return (if right { Timescale::Utc } else { Timescale::Wrong }, offset);
    }
    // A clock in a zone east of Greenwich is ahead, and zones reach from UTC−12 to UTC+14.
    let minutes = -quarters * 15;
    let days = if (-12 * 60..=14 * 60).contains(&minutes) { 0 } else { -minutes.signum() };
    let zone_minutes = minutes + days * 24 * 60;
    let zone = (-12 * 60..=14 * 60).contains(&zone_minutes);
    match zone && zone_minutes != 0 && residual.abs() <= RtcDiagnosis::NEAR {
        true => (Timescale::Local { zone_minutes, days }, residual),
        false => (Timescale::Wrong, offset),
    }
}

fn battery(newest: RtcReading, drift: Option<Trend>, points: &[(f64, f64)]) -> Battery {
    // Years behind: it began anew at its own epoch.
    if newest.offset > Span::from_secs(365 * DAY) {
        return Battery::Dead;
    }
    let Some(drift) = drift else { return Battery::Unknown };
    let rate = drift.slope_ppm * 1e-6;
    let level = median(points.iter().map(|p| p.1 - rate * p.0).collect());
    let jumped = points.iter().any(|p| (p.1 - rate * p.0 - level).abs() > RtcDiagnosis::JUMP);
    let absurd = drift.slope_ppm.abs() > RtcDiagnosis::PLAUSIBLE_PPM;
    if jumped || absurd { Battery::Weak } else { Battery::Good }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_700_000_000;

    fn reading(days_ago: i64, offset_s: f64) -> RtcReading {
        RtcReading { utc_secs: NOW - days_ago * DAY, offset: Span::from_secs_f64(offset_s) }
    }

    fn scale(offset_s: f64) -> Timescale {
        RtcDiagnosis::of(reading(0, offset_s), &[]).timescale
    }

    #[test]
    fn local_time_is_told_by_its_quarter_hours() {
        let local = |zone_minutes, days| Timescale::Local { zone_minutes, days };
        assert_eq!(scale(0.4), Timescale::Utc);
        assert_eq!(scale(-9.0), Timescale::Utc);
        assert_eq!(scale(11.0), Timescale::Wrong);
        assert_eq!(scale(7.0 * 3_600.0 + 3.0), local(-420, 0));
        assert_eq!(scale(-5.5 * 3_600.0), local(330, 0));
        assert_eq!(scale(-12.75 * 3_600.0), local(765, 0));
        assert_eq!(scale(1_234.0), Timescale::Wrong);
        assert_eq!(scale(2e9), Timescale::Wrong);
    }

    #[test]
    fn seventeen_hours_are_a_zone_and_a_wrong_day() {
        assert_eq!(scale(17.0 * 3_600.0), Timescale::Local { zone_minutes: 420, days: 1 });
        assert_eq!(scale(-17.0 * 3_600.0), Timescale::Local { zone_minutes: -420, days: -1 });
    }

    #[test]
    fn the_drift_of_a_steady_crystal_is_found_and_its_battery_is_good() {
        let past: Vec<_> = (1..30).rev().map(|d| reading(d, -(d as f64) * 0.864 + 5.0)).collect();
        let found = RtcDiagnosis::of(reading(0, 5.0), &past);
        let drift = found.drift.unwrap();
        assert!((drift.slope_ppm - 10.0).abs() < 0.1, "{drift:?}");
        assert_eq!((found.battery, found.timescale), (Battery::Good, Timescale::Utc));
    }

    #[test]
    fn jumps_and_lost_dates_are_the_battery() {
        let mut past: Vec<_> = (1..30).rev().map(|d| reading(d, -(d as f64) * 0.1)).collect();
        past[20].offset = Span::from_secs(40);
        assert_eq!(RtcDiagnosis::of(reading(0, 0.0), &past).battery, Battery::Weak);
        assert_eq!(RtcDiagnosis::of(reading(0, NOW as f64), &past).battery, Battery::Dead);
        assert_eq!(RtcDiagnosis::of(reading(0, 0.0), &past[..2]).battery, Battery::Unknown);
    }

    #[test]
    fn what_was_before_it_was_set_does_not_count_as_drift() {
        let mut past: Vec<_> = (5..30).rev().map(|d| reading(d, 17.0 * 3_600.0)).collect();
        past.extend((1..5).rev().map(|d| reading(d, 0.0)));
        let found = RtcDiagnosis::of(reading(0, 0.0), &past);
        assert_eq!(found.battery, Battery::Good);
        assert!(found.drift.unwrap().slope_ppm.abs() < 0.1);
    }
}
