//! `/v1/history`: the clock over the last hour.

use super::Shared;
use super::chronicle::{EVERY, Point};
use super::problem::Problem;
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The most points in one answer.
pub(super) const MOST: usize = 10_000;

/// What of the past.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    limit: Option<String>,
    since: Option<String>,
}

/// The past, oldest point first.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct History {
    /// seconds between two points
    resolution_seconds: u64,
    points: Vec<Point>,
}

pub(super) async fn history(
    State(served): State<Shared>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Json<History>, Problem> {
    let Query(wanted) = wanted.map_err(|e| {
        let detail = format!("{}; the parameters are limit and since", e.body_text());
        Problem::new(StatusCode::BAD_REQUEST, detail)
    })?;
    let limit = wanted.limit.as_deref().map_or(Ok(POINTS), limit)?;
    let since = wanted.since.as_deref().map_or(Ok(i64::MIN), since)?;
    let points = served.chronicle.points(since, limit);
    Ok(Json(History { resolution_seconds: EVERY, points }))
}

/// As many points as without a limit.
const POINTS: usize = 360;

fn limit(text: &str) -> Result<usize, Problem> {
    text.parse().ok().filter(|n| (1..=MOST).contains(n)).ok_or_else(|| {
        Problem::new(StatusCode::BAD_REQUEST, format!("limit must be a whole number from 1 to {MOST}"))
    })
}

/// An instant, RFC 3339 or ns since 1970.
fn since(text: &str) -> Result<i64, Problem> {
    // What no 64 bits can hold is before or after every point.
    let clamped = |ns: i128| ns.clamp(i64::MIN.into(), i64::MAX.into()) as i64;
    let by_words = || Some(clamped(text.parse::<jiff::Timestamp>().ok()?.as_nanosecond()));
    text.parse().ok().map(clamped).or_else(by_words).ok_or_else(|| {
        let detail =
            "since must be an instant such as 2026-01-31T12:00:00Z (with + as %2B), or ns since 1970";
        Problem::new(StatusCode::BAD_REQUEST, detail)
    })
}
