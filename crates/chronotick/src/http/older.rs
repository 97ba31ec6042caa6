//! The paths of an older monitor, for the dashboards that ask them: `/time/status`, `/time/drift/history` and
//! `/system/health`. Types are fixed, unknown is null, and status codes are those of `/health`.
//!
//! Drift is as that monitor had it: system clock − true time, positive if the system clock is ahead. Everywhere else
//! offset is true − local.

use super::Shared;
use super::chronicle::Point;
use super::health::{code, document};
use super::problem::{Problem, asked};
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use chronotick_monitor::health::{RtcHealth, Service};
use chronotick_monitor::{Backing, Health, Level, Status};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How well the system clock keeps time.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct TimeSync {
    status: Status,
    /// system clock - true time, in ms; positive: the system clock is ahead
    drift_ms: Option<f64>,
    /// fast, slow or exact
    drift_direction: Option<&'static str>,
    /// the furthest that the system clock can be from true time, in ms
    precision_ms: Option<f64>,
    /// how good that is
    classification: Option<Level>,
    /// sources that agree
    servers_available: u32,
    total_servers: u32,
    frequency_ppm: Option<f64>,
    stratum: Option<u8>,
    /// why the status is not better
    message: Option<String>,
    /// who says so
    source: &'static str,
    /// RFC 3339, UTC
    timestamp: Option<String>,
}

impl TimeSync {
    fn of(health: &Health) -> TimeSync {
        let drift = health.offset_ns.map(i64::wrapping_neg);
        TimeSync {
            status: health.status,
            drift_ms: drift.map(ms),
            drift_direction: drift.map(|drift| match drift {
                0 => "exact",
                1.. => "fast",
                _ => "slow",
            }),
            precision_ms: health.bound_ns.map(ms),
            classification: health.quality,
            servers_available: health.sources.agreeing,
            total_servers: health.sources.configured,
            frequency_ppm: health.frequency_ppm,
            stratum: health.stratum,
            message: health.reasons.first().cloned(),
            source: "chronotick",
            timestamp: health.time.clone(),
        }
    }
}

fn ms(ns: i64) -> f64 {
    ns as f64 / 1e6
}

pub(super) async fn time_status(State(served): State<Shared>) -> (StatusCode, Json<TimeSync>) {
    let health = document(&served);
    (code(health.status, false), Json(TimeSync::of(&health)))
}

/// The health of everything that keeps this machine's time.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct SystemHealth {
    /// healthy, warning or degraded
    system_status: &'static str,
    timestamp: Option<String>,
    services: Services,
    summary: Summary,
    /// the system's own time service, if one answers
    ntp_service: Option<Service>,
    /// when time was last backed by a majority of the sources
    last_sync_utc: Option<String>,
    /// the battery-backed clock against true time
    hardware_clock: Option<RtcHealth>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Services {
    chronotick: Daemon,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Daemon {
    status: Status,
    state: Backing,
    time_sync: TimeSync,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Summary {
    healthy_services: u32,
    total_services: u32,
    /// what is not as it should be, worst first
    issues: Vec<String>,
}

pub(super) async fn system_health(State(served): State<Shared>) -> (StatusCode, Json<SystemHealth>) {
    let health = document(&served);
    let system_status = match health.status {
        Status::Healthy => "healthy",
        Status::Warning => "warning",
        Status::Unknown | Status::Critical => "degraded",
    };
    let time_sync = TimeSync::of(&health);
    let answer = SystemHealth {
        system_status,
        timestamp: health.time,
        services: Services { chronotick: Daemon { status: health.status, state: health.state, time_sync } },
        summary: Summary {
            healthy_services: u32::from(health.status == Status::Healthy),
            total_services: 1,
            issues: health.reasons,
        },
        ntp_service: health.service,
        last_sync_utc: health.last_sync_utc,
        hardware_clock: health.rtc,
    };
    (code(health.status, false), Json(answer))
}

/// How much of the past.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    limit: Option<String>,
}

/// The drift of the system clock over the last hour, oldest entry first.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct DriftHistory {
    /// what this is
    message: String,
    entries: Vec<DriftEntry>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct DriftEntry {
    /// RFC 3339, UTC
    timestamp: String,
    /// system clock - true time, in ms; positive: the system clock is ahead
    drift_ms: Option<f64>,
    /// the furthest that the system clock could be from true time, in ms
    precision_ms: Option<f64>,
    /// warmup, synced, holdover, unsynced, error
    state: String,
    servers_available: Option<usize>,
    total_servers: Option<usize>,
}

impl From<Point> for DriftEntry {
    fn from(point: Point) -> DriftEntry {
        let bound = |offset: i64| {
            let (early, late) =
                (offset.saturating_sub(point.early_ns?), offset.saturating_add(point.late_ns?));
            Some(ms(early.saturating_abs().max(late.saturating_abs())))
        };
        DriftEntry {
            drift_ms: point.system_offset_ns.map(|offset| ms(offset.wrapping_neg())),
            precision_ms: point.system_offset_ns.and_then(bound),
            timestamp: point.time,
            state: point.state,
            servers_available: point.sources_trusted,
            total_servers: point.sources_total,
        }
    }
}

pub(super) async fn drift_history(
    State(served): State<Shared>,
    query: Result<Query<Wanted>, QueryRejection>,
) -> Result<Json<DriftHistory>, Problem> {
    let wanted = asked(query, "limit")?;
    let limit = wanted.limit.as_deref().map_or(Ok(100), super::history::limit)?;
    let entries: Vec<DriftEntry> =
        served.chronicle.points(i64::MIN, limit).into_iter().map(DriftEntry::from).collect();
    let message =
        format!("the newest {} of the points that are kept of the last hour, one per 10 s", entries.len());
    Ok(Json(DriftHistory { message, entries }))
}
