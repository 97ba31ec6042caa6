//! `/v1/status` and `/v1/sources`: the daemon's own account of what it does, judged by the clock page, which alone can
//! tell that nobody publishes any more.

use super::Shared;
use super::problem::Problem;
use crate::snapshot::{Snapshot, SourceView};
use axum::Json;
use axum::extract::State;
use chronotick_clock::raw_now;
use schemars::JsonSchema;
use serde::Serialize;

/// Everything that explains the clock: the daemon's status snapshot.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Status {
    #[serde(flatten)]
    snapshot: Snapshot,
    /// since the snapshot was made
    snapshot_age_seconds: f64,
}

/// The time sources.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct SourceTable {
    /// corrected time of the account (RFC 3339, UTC)
    time: String,
    /// warmup, synced, holdover, unsynced, error
    state: &'static str,
    /// why the state is what it is
    reason: String,
    /// the clock and its servers are simulated
    simulation: bool,
    /// every server address in use; offsets are true - local
    sources: Vec<SourceView>,
    /// configured names that do not resolve, with the resolver's reason
    unresolved: Vec<String>,
}

pub(super) async fn status(State(served): State<Shared>) -> Result<Json<Status>, Problem> {
    let snapshot = served.subject.door.snapshot().map_err(|e| Problem::too_early(&e))?;
    let checked = served.subject.door.clock.now_checked();
    let (state, reason) = (checked.state.name().to_owned(), checked.reason.to_string());
    let snapshot_age_seconds = snapshot.age(raw_now()).as_secs_f64();
    let snapshot = Snapshot { state, reason, ..(*snapshot).clone() };
    Ok(Json(Status { snapshot, snapshot_age_seconds }))
}

pub(super) async fn sources(State(served): State<Shared>) -> Result<Json<SourceTable>, Problem> {
    let snapshot = served.subject.door.snapshot().map_err(|e| Problem::too_early(&e))?;
    let checked = served.subject.door.clock.now_checked();
    Ok(Json(SourceTable {
        time: snapshot.written.clone(),
        state: checked.state.name(),
        reason: checked.reason.to_string(),
        simulation: snapshot.simulation,
        sources: snapshot.sources.clone(),
        unresolved: snapshot.unresolved.clone(),
    }))
}
