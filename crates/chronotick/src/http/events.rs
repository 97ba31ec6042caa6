//! `/v1/events`: what happens, as it happens (server-sent events, WHATWG HTML §9.2).
//!
//! `event: status` is a point of the clock once a second; `event: happened` is an event of the daemon, with an id by
//! which a client that comes back (`Last-Event-ID`) gets what it missed; `event: missed` says how many were lost on a
//! client that reads too slowly.

use super::Shared;
use super::chronicle::Told;
use super::problem::Problem;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream::{self, Stream};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Listeners at the same time.
const LISTENERS: usize = 64;
/// A sign of life where there is no news.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

static SEATS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(LISTENERS)));

/// One who listens.
struct Listener {
    served: Shared,
    first: VecDeque<Told>,
    live: Receiver<Told>,
    _seat: OwnedSemaphorePermit,
}

pub(super) async fn events(
    State(served): State<Shared>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let full = format!("{LISTENERS} clients are listening already; ask /v1/status instead, or try again");
    let seat =
        SEATS.clone().try_acquire_owned().map_err(|_| Problem::new(StatusCode::SERVICE_UNAVAILABLE, full))?;
    let heard = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let (first, live) = served.chronicle.listen(heard);
    let listener = Listener { served, first: first.into(), live, _seat: seat };
    let told = stream::unfold(listener, |mut listener| async move {
        let event = listener.next().await?;
        Some((Ok(event), listener))
    });
    Ok(Sse::new(told).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

impl Listener {
    async fn next(&mut self) -> Option<Event> {
        let told = match self.first.pop_front() {
            Some(told) => Ok(told),
            None => self.live.recv().await,
        };
        match told {
            Ok(Told::Status(point)) => Some(Event::default().event("status").data(point)),
            Ok(Told::Happened(number, event)) => {
                let id = self.served.chronicle.name(number);
                Some(Event::default().event("happened").id(id).data(event))
            }
            Err(RecvError::Lagged(count)) => {
                Some(Event::default().event("missed").data(format!(r#"{{"missed":{count}}}"#)))
            }
            Ok(Told::End) | Err(RecvError::Closed) => None,
        }
    }
}
