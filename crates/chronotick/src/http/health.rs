//! `/health` and `/ready`: whether to rely on this clock, for those who only read a status code.

use super::Shared;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chronotick_clock::State as ClockState;
use schemars::JsonSchema;
use serde::Serialize;

/// Whether corrected time can be used.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Ready {
    /// synced or in holdover, and not simulated
    ready: bool,
    /// warmup, synced, holdover, unsynced, error
    state: &'static str,
    /// why the state is what it is
    reason: String,
}

pub(super) async fn ready(State(served): State<Shared>) -> (StatusCode, Json<Ready>) {
    let checked = served.door.clock.now_checked();
    let real = served.door.snapshot().is_ok_and(|snapshot| !snapshot.simulation);
    let ready =
        real && checked.is_known() && matches!(checked.state, ClockState::Synced | ClockState::Holdover);
    let code = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(Ready { ready, state: checked.state.name(), reason: checked.reason.to_string() }))
}

/// How the clock is.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Health {
    /// healthy, warning or critical
    status: &'static str,
    /// warmup, synced, holdover, unsynced, error
    state: &'static str,
    /// why the state is what it is
    reason: String,
}

pub(super) async fn health(State(served): State<Shared>) -> (StatusCode, Json<Health>) {
    let checked = served.door.clock.now_checked();
    let status = match checked.state {
        ClockState::Synced => "healthy",
        ClockState::Holdover => "warning",
        ClockState::Warmup | ClockState::Unsynced | ClockState::Error => "critical",
    };
    let refused = status == "critical" || served.strict && status != "healthy";
    let code = if refused { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    (code, Json(Health { status, state: checked.state.name(), reason: checked.reason.to_string() }))
}
