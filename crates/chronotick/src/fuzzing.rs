//! Ways for the fuzz targets (`fuzz/`) into what is private otherwise; for nobody else.

use crate::daemon::saved::Memory;
use crate::mcp::Server;
use chronotick_core::{Engine, RawInstant, Settings, Solution, Span};

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
