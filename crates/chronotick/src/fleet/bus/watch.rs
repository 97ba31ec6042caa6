//! The watcher: asks, listens, and shows once an interval who contradicts whom.

use super::judge::Claim;
use super::message::{ASK, READINGS};
use super::view::{Heard, MOST_NODES};
use super::{connect, runtime};
use crate::config::{Bus, NodeName};
use crate::door::Door;
use chronotick_clock::raw_now;
use chronotick_os::random_u64;
use futures_util::StreamExt;
use std::io::{IsTerminal, Write, stdout};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// How to watch.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// One JSON object on a line instead of the table.
    pub json: bool,
    /// Listen for some seconds, show once, and end.
    pub once: bool,
    /// Between two pictures.
    pub interval: Duration,
}

/// So long is listened before a single picture: two questions, and every node's own second.
const ONCE: Duration = Duration::from_secs(4);

/// Messages that wait to be read: one of each node.
const WAITING: usize = MOST_NODES;

/// Between two questions: two seconds, more or less, so that two watchers do not ask in step for ever.
fn pause() -> Duration {
    Duration::from_millis(1_500 + random_u64() % 1_000)
}

/// Watches until whoever watches has seen enough. With `once` the result is how many nodes are outvoted or in dispute;
/// none if no node was heard.
///
/// # Errors
/// If there is no server to be named, or its settings cannot be used. A server that is away is waited for.
pub fn watch(bus: &Bus, door: Option<&Door>, manner: Manner) -> Result<Option<usize>, String> {
    runtime().map_err(|e| e.to_string())?.block_on(listen(bus, door, manner))
}

async fn listen(bus: &Bus, door: Option<&Door>, manner: Manner) -> Result<Option<usize>, String> {
    let here = bus.node.clone().unwrap_or_else(NodeName::of_machine);
    let client = connect(bus, "chronotick watch", WAITING).await?;
    let mut readings = client.subscribe(READINGS).await.map_err(|e| e.to_string())?;
    let mut heard = Heard::default();
    let mut ask = Instant::now();
    let mut show = Instant::now() + if manner.once { ONCE } else { manner.interval };
    loop {
        tokio::select! {
            Some(message) = readings.next() => heard.hear(&message.subject, &message.payload, raw_now()),
            () = sleep_until(ask) => {
                ask = Instant::now() + pause();
                let number = heard.question(raw_now());
                let asked = client.publish(ASK, format!("{number:x}").into());
                // A server that is away asks nobody.
                let _ = tokio::time::timeout(Duration::from_millis(500), asked).await;
            }
            () = sleep_until(show) => {
                show = Instant::now() + manner.interval;
                let now = raw_now();
                let own = door.map(|door| door.clock.at(now)).filter(chronotick_clock::Reading::is_known);
                let own = own.map(|reading| Claim {
                    low: Some((now, reading.earliest.as_nanos())),
                    high: Some((now, reading.latest.as_nanos())),
                });
                let picture = heard.picture(now, own.map(|claim| (here.as_str(), claim)));
                let text = match manner.json {
                    true => serde_json::to_string(&picture).map_err(|e| e.to_string())? + "\n",
                    false => picture.as_text(),
                };
                if say(&text, manner).is_err() {
                    return Ok(Some(0));
                }
                if manner.once {
                    return Ok((!picture.nodes.is_empty()).then(|| picture.quarrelling()));
                }
            }
        }
    }
}

/// Shows a picture, in the place of the one before on a terminal. An error means that nobody looks any more.
fn say(text: &str, manner: Manner) -> std::io::Result<()> {
    let mut out = stdout().lock();
    if out.is_terminal() && !manner.json && !manner.once {
        out.write_all(b"\x1b[H\x1b[2J")?;
    }
    out.write_all(text.as_bytes())?;
    out.flush()
}
