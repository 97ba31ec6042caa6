//! Ways for the fuzz targets (`fuzz/`) into what is private otherwise; for nobody else.

use crate::cli::mcp::install::with_entry;
use crate::daemon::saved::Memory;
use crate::door::Door;
#[cfg(feature = "nats")]
use crate::fleet::bus::view::Heard;
use crate::fleet::{Seen, collect::listed};
use crate::mcp::Server;
#[cfg(feature = "models")]
use crate::models::endpoint;
use crate::monitor::service::{Word, chrony, mode6, timesyncd};
use crate::relay::exchange::{Forwarded, Request};
use crate::{config, http};
use axum::Router;
use chronotick_clock::Timestamp;
use chronotick_core::{Engine, RawInstant, Settings, Solution, Span};
#[cfg(feature = "models")]
use chronotick_tsfm::{Abilities, Forecast, Task};
use std::io::{self, Read, Write};
use std::sync::Arc;

/// What an engine says that takes over what a file of these bytes holds; `None` if that cannot be understood.
pub fn saved_state(bytes: &[u8]) -> Option<Solution> {
    let saved = Memory::of_bytes(bytes).ok()?.saved()?;
    let start = RawInstant::from_nanos(0);
    let mut engine = Engine::new(Settings::default(), start);
    engine.restore(&saved);
    Some(engine.solution(start + Span::from_secs(3600)))
}

/// The answer to one line of the older system's probe.
pub fn probe(server: &Server, line: &str) -> String {
    server.respond(line).to_string()
}

/// What is understood of a chronyd's answer to how it tracks, when it has so many sources and so many of them answer.
pub fn chronyd(answer: &[u8], (sources, reachable): (u32, u32), now: Timestamp) -> io::Result<Word> {
    chrony::word(chrony::body(answer, chrony::TRACKING, 0)?, sources, reachable, now)
}

/// What is understood of an ntpd's answer to a control message.
pub fn ntpd(answer: &[u8]) -> io::Result<Word> {
    mode6::word(answer, 0)
}

/// What is understood of everything that a system bus says in the conversation about timesyncd.
pub fn timesyncd(said: &[u8]) -> io::Result<Word> {
    timesyncd::converse(Bus(said))
}

/// A connection on which the other side has said everything already, and hears nothing.
struct Bus<'a>(&'a [u8]);

impl Read for Bus<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Bus<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What an endpoint says of itself, if these bytes are that.
#[cfg(feature = "models")]
pub fn endpoint_description(text: &str) -> Result<(String, Abilities), String> {
    endpoint::describe(text)
}

/// An endpoint's forecasts, if these bytes are those to a question, or else how its refusal would be told.
#[cfg(feature = "models")]
pub fn endpoint_answer(
    bytes: &[u8],
    (tasks, horizon, levels): (&[Task], usize, &[f64]),
) -> Result<Vec<Vec<Forecast>>, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| endpoint::complaint(bytes))?;
    endpoint::understand(text, tasks, horizon, levels).map_err(|_| endpoint::complaint(bytes))
}

/// What a relay makes of a client's request, and of an upstream's reply to it.
pub fn relayed(request: &[u8], reply: &[u8]) -> Option<Vec<u8>> {
    match Request::read(request, 0xfeed)?.0.reply(reply) {
        Forwarded::Reply(reply) => Some(reply),
        Forwarded::Nothing | Forwarded::Refused => None,
    }
}

/// A host of a fleet in words, after its answers to how it is and to what it has.
pub fn host(answer: &str) -> Result<String, String> {
    let files = answer.lines().filter(|line| listed(line).is_some()).count();
    Ok(format!("{}; {files} files", Seen::of(answer)?.in_words()))
}

/// The table that a watcher shows who heard these messages, one a line: the subject, a space, the payload, in which
/// `ASKED` is the number that the watcher asked with.
#[cfg(feature = "nats")]
pub fn heard(messages: &str) -> String {
    let mut heard = Heard::default();
    let instant = |second: i64| RawInstant::from_nanos(second * 1_000_000_000);
    let asked = heard.question(instant(0)).to_string();
    let mut second = 0;
    for message in messages.lines() {
        let (subject, payload) = message.split_once(' ').unwrap_or((message, ""));
        second += 1;
        heard.hear(subject, payload.replace("ASKED", &asked).as_bytes(), instant(second));
    }
    heard.picture(instant(second + 1), None).as_text()
}

/// The routes of the HTTP server, as they are when it starts.
pub fn http(door: Arc<Door>, settings: &config::Http) -> Router {
    http::quiet(settings, door).expect("there is no token to be read")
}

/// The configuration of an agent's host with the entry for this program.
pub fn installed(text: &str) -> Result<String, String> {
    with_entry(text, "mcpServers", "chronotick")
}
