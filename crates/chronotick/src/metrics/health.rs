//! The numbers of the clock's health, as its profile judges it.

use super::family::Family;
use chronotick_monitor::{Health, Status};

const STATUSES: [Status; 4] = [Status::Healthy, Status::Warning, Status::Unknown, Status::Critical];

pub(super) fn of(health: &Health) -> Vec<Family> {
    let help = "1 for the status of the clock by its profile, 0 for the others.";
    let mut status = Family::gauge("chronotick_health_status", help);
    for one in STATUSES {
        status.add(&[("status", one.name()), ("profile", &health.profile)], f64::from(one == health.status));
    }
    let coverage = "Share of the time since the start in which the clock's error was known.";
    vec![status, Family::gauge("chronotick_coverage_ratio", coverage).is(health.compliance.coverage)]
}
