//! The settings of the door for agents (`mcp`): which tools are listed, how often they may be called, what is written
//! down, and the port for the one-line probe of an older system.

use super::read::{count, file, switch};
use super::settings::{Setting, setting};
use std::path::PathBuf;

/// The door for agents (`mcp`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mcp {
    /// Whether the tools are listed that are left out by default to spare context.
    pub all_tools: bool,
    /// Calls a second that each tool takes, over all callers; 0 for as many as one processor can answer.
    pub calls_per_second: u32,
    /// The file to which one line is appended for each call; none for a log message at the level `debug`.
    pub audit_file: Option<PathBuf>,
    /// The port of loopback on which the daemon answers one-line probes; 0 for none.
    pub probe_port: u32,
}

pub(super) static SETTINGS: [Setting; 4] = [
    setting!(
        "mcp.all_tools",
        None,
        mcp.all_tools,
        switch,
        "Whether agents are shown the rarer tools too: hlc_now and hlc_merge."
    ),
    setting!(
        "mcp.calls_per_second",
        None,
        mcp.calls_per_second,
        |node| count(node, 0..=1_000_000),
        "Calls a second that each tool takes; 0 for as many as one processor can answer."
    ),
    setting!(
        "mcp.audit_file",
        None,
        mcp.audit_file,
        file,
        "The file to which one line of JSON is appended for each call of a tool; none for debug messages in the log."
    ),
    setting!(
        "mcp.probe_port",
        None,
        mcp.probe_port,
        |node| count(node, 0..=65_535),
        "The port of 127.0.0.1 on which lines such as {\"tool\": \"get_daemon_status\"} are answered; 0 for none."
    ),
];
