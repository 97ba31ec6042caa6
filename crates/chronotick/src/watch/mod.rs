//! `chronotick watch`: what an operator keeps an eye on, live in a terminal, or as lines of text where there is none.
//!
//! Once an interval a `Look` goes through the [`Door`] (the clock page and the status beside it, nothing else), a
//! `Past` remembers what it saw, and a `Picture` of both is drawn. Nothing is asked of the daemon, so nothing here can
//! hold it up; when it dies or restarts the page tells. Whatever came over the network passes `words::clean` first.

mod charts;
mod lines;
mod look;
mod picture;
mod sources;
mod terminal;
mod words;

pub use sources::Column;
pub(crate) use words::{clean, short};

use crate::daemon::Machine;
use crate::door::Door;
use chronotick_clock::State;
use look::{Look, Past};
use picture::{Picture, View};
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

/// How to watch.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// Time between looks.
    pub interval: Duration,
    /// What the sources are sorted by.
    pub sort: Column,
}

/// Watches until whoever watches has seen enough: on the terminal if standard output is one, else line by line.
///
/// # Errors
/// If the terminal cannot be used, or standard output cannot be written.
pub fn follow(door: &Door, machine: &dyn Machine, manner: Manner) -> io::Result<()> {
    let dumb = std::env::var("TERM").is_ok_and(|term| term == "dumb");
    if io::stdout().is_terminal() && !dumb {
        terminal::follow(door, machine, manner)
    } else {
        lines::follow(door, machine, manner.interval)
    }
}

/// Prints one picture as text, without charts, as wide as the terminal or `$COLUMNS`; the result is the state it shows.
///
/// # Errors
/// If standard output cannot be written.
pub fn once(door: &Door, machine: &dyn Machine, sort: Column) -> io::Result<State> {
    let look = Look::through(door, machine);
    let by_name = || std::env::var("COLUMNS").ok()?.parse().ok();
    let by_terminal = || io::stdout().is_terminal().then(ratatui::crossterm::terminal::size)?.ok();
    let width = by_terminal().map(|(width, _)| width).or_else(by_name).unwrap_or(100);
    let text = Picture::new(&look, &Past::default(), &View::sorted_by(sort)).as_text(width.clamp(40, 500));
    io::stdout().lock().write_all(text.as_bytes())?;
    Ok(look.reading.state)
}
