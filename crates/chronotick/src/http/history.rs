//! `/v1/history`: the clock over the last hour from memory, and before that from the history file, if one is kept.

use super::Shared;
use super::chronicle::{EVERY, Point};
use super::problem::{Problem, asked};
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use chronotick_clock::Timestamp;
use chronotick_record::{History as Record, HistoryError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::path::PathBuf;
use tokio::sync::Semaphore;

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
    let wanted = asked(wanted, "limit and since")?;
    let limit = wanted.limit.as_deref().map_or(Ok(POINTS), limit)?;
    let since = wanted.since.as_deref().map_or(Ok(i64::MIN), since)?;
    let mut points = served.chronicle.points(since, limit);
    let missing = limit - points.len();
    if let (Some(dir), Some(_), 1..) = (served.subject.door.state_dir(), &wanted.since, missing) {
        let until = points.first().map_or(i64::MAX, |point| point.utc_ns);
        let (reading, pair) = served.subject.door.now_and_system();
        let now = if reading.is_known() { reading.estimate } else { pair.system };
        let mut older = recorded(dir.to_owned(), since..until, now, missing).await?;
        older.append(&mut points);
        points = older;
    }
    Ok(Json(History { resolution_seconds: EVERY, points }))
}

/// The newest `limit` points of the history file in `dir` between two instants. It is read on a thread for slow things, by
/// so many callers at a time that a crowd cannot load the disk.
async fn recorded(
    dir: PathBuf,
    Range { start: since, end: until }: Range<i64>,
    now: Timestamp,
    limit: usize,
) -> Result<Vec<Point>, Problem> {
    static READERS: Semaphore = Semaphore::const_new(2);
    let _seat = READERS.acquire().await;
    let read = tokio::task::spawn_blocking(move || {
        // Of what is old there is a point a minute: so far back is enough, and no more is taken into memory.
        let furthest = until.min(now.as_nanos()).saturating_sub(limit as i64 * MINUTE);
        let from = Timestamp::from_nanos(since.saturating_add(1).max(furthest));
        Record::open_read_only(&dir)?.samples_by_utc(from, Timestamp::from_nanos(until))
    });
    match read.await {
        Ok(Ok(samples)) => {
            let points = samples.iter().map(Point::recorded).filter(|p| p.utc_ns > since && p.utc_ns < until);
            let mut points: Vec<Point> = points.collect();
            Ok(points.split_off(points.len().saturating_sub(limit)))
        }
        // Nothing was written yet.
        Ok(Err(HistoryError::Missing { .. })) => Ok(Vec::new()),
        Ok(Err(e)) => Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, e.to_string())),
        Err(e) => {
            Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, format!("reading the history failed: {e}")))
        }
    }
}

const MINUTE: i64 = 60_000_000_000;

/// As many points as without a limit.
const POINTS: usize = 360;

pub(super) fn limit(text: &str) -> Result<usize, Problem> {
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
