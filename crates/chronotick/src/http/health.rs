//! `/health` and `/ready`: whether to rely on this clock, for those who read a status code, a word, or all of it.

use super::problem::{Problem, asked};
use super::{Served, Shared};
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use chronotick_monitor::{Health, Status};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
    let door = &served.subject.door;
    let checked = door.clock.now_checked();
    let real = door.snapshot().is_ok_and(|snapshot| !snapshot.simulation);
    let ready = real && checked.is_trustworthy();
    let code = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(Ready { ready, state: checked.state.name(), reason: checked.reason.to_string() }))
}

/// How strictly.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    strict: Option<Switch>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
enum Switch {
    #[serde(rename = "0", alias = "false")]
    Off,
    #[serde(rename = "1", alias = "true")]
    On,
}

pub(super) async fn health(
    State(served): State<Shared>,
    query: Result<Query<Asked>, QueryRejection>,
) -> Result<(StatusCode, Json<Health>), Problem> {
    let Asked { strict } = asked(query, "strict (0 or 1)")?;
    let health = document(&served);
    let strict = strict.map_or(served.strict, |switch| matches!(switch, Switch::On));
    Ok((code(health.status, strict), Json(health)))
}

/// The health of the clock, with what was last seen of the machine's own clocks.
pub(super) fn document(served: &Served) -> Health {
    let mut health = served.subject.health();
    served.machine.complete(&mut health);
    health
}

pub(super) fn code(status: Status, strict: bool) -> StatusCode {
    StatusCode::from_u16(status.http_code(strict)).unwrap_or(StatusCode::SERVICE_UNAVAILABLE)
}
