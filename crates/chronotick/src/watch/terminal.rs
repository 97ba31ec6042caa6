//! The live view: looks once an interval, draws, and does what the keys say.

use super::Manner;
use super::look::{Look, Past};
use super::picture::{Ink, Picture, View};
use super::sources::Column;
use crate::daemon::Machine;
use crate::door::Door;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::{DefaultTerminal, Terminal};
use signal_hook::consts::{SIGTERM, SIGTSTP};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How soon a request to end is noticed.
const ATTENTION: Duration = Duration::from_millis(250);

/// What a key asks for, beside a change of the view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Nothing,
    Look,
    Suspend,
    Quit,
}

/// Shows the live view until a key or SIGTERM ends it; the terminal is then as it was.
pub(super) fn follow(door: &Door, machine: &dyn Machine, manner: Manner) -> io::Result<()> {
    let ended = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(SIGTERM, ended.clone())?;
    let mut terminal = ratatui::try_init()?;
    let outcome = live(&mut terminal, &ended, door, machine, manner);
    ratatui::restore();
    outcome
}

fn live(
    terminal: &mut DefaultTerminal,
    ended: &AtomicBool,
    door: &Door,
    machine: &dyn Machine,
    manner: Manner,
) -> io::Result<()> {
    let (mut past, mut view) = (Past::default(), View { ink: ink(), ..View::sorted_by(manner.sort) });
    let mut look = Look::through(door, machine);
    past.remember(&look);
    let mut next = Instant::now() + manner.interval;
    while !ended.load(Ordering::Relaxed) {
        terminal.draw(|frame| {
            Picture::new(&look, &past, &view).draw(frame.area(), frame.buffer_mut());
        })?;
        let wish = wait(next, ended, &mut view)?;
        match wish {
            Wish::Quit => break,
            Wish::Suspend => suspend(terminal)?,
            Wish::Nothing | Wish::Look => {}
        }
        let now = Instant::now();
        if now >= next || wish != Wish::Nothing {
            look = Look::through(door, machine);
            past.remember(&look);
            next = now + manner.interval;
        }
    }
    Ok(())
}

/// Waits for a key, a change of size, or the next look.
fn wait(next: Instant, ended: &AtomicBool, view: &mut View) -> io::Result<Wish> {
    loop {
        let left = next.saturating_duration_since(Instant::now());
        if event::poll(left.min(ATTENTION))? {
            match event::read()? {
                Event::Key(key) if key.kind != KeyEventKind::Release => return Ok(press(key, view)),
                Event::Resize(..) => return Ok(Wish::Nothing),
                _ => {}
            }
        }
        if Instant::now() >= next || ended.load(Ordering::Relaxed) {
            return Ok(Wish::Nothing);
        }
    }
}

fn press(key: KeyEvent, view: &mut View) -> Wish {
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return match key.code {
            KeyCode::Char('c') => Wish::Quit,
            KeyCode::Char('z') => Wish::Suspend,
            KeyCode::Char('l') => Wish::Look,
            _ => Wish::Nothing,
        };
    }
    if std::mem::take(&mut view.help) {
        return if key.code == KeyCode::Char('q') { Wish::Quit } else { Wish::Nothing };
    }
    match key.code {
        KeyCode::Char('q') | KeyCode::Esc => return Wish::Quit,
        KeyCode::Char(' ') => return Wish::Look,
        KeyCode::Char('?' | 'h') | KeyCode::F(1) => view.help = true,
        KeyCode::Char('r') => view.reversed = !view.reversed,
        KeyCode::Char('s') => view.sort = view.sort.next(),
        KeyCode::Char('w') => view.window = view.window.next(),
        KeyCode::Up | KeyCode::Char('k') => view.scroll = view.scroll.saturating_sub(1),
        KeyCode::Down | KeyCode::Char('j') => view.scroll = view.scroll.saturating_add(1),
        KeyCode::PageUp => view.scroll = view.scroll.saturating_sub(10),
        KeyCode::PageDown => view.scroll = view.scroll.saturating_add(10),
        KeyCode::Home => view.scroll = 0,
        KeyCode::Char(digit @ '1'..='9') => {
            let column = Column::ALL[digit as usize - '1' as usize];
            view.reversed = view.sort == column && !view.reversed;
            view.sort = column;
        }
        _ => {}
    }
    Wish::Nothing
}

/// Gives the terminal back to the shell until the person comes back.
fn suspend(terminal: &mut DefaultTerminal) -> io::Result<()> {
    ratatui::restore();
    signal_hook::low_level::emulate_default_handler(SIGTSTP)?;
    *terminal = ratatui::try_init()?;
    Terminal::clear(terminal)
}

/// Colours unless the person wants none (no-color.org).
fn ink() -> Ink {
    Ink { coloured: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_do_what_the_help_says() {
        let mut view = View::default();
        let mut press = |code: KeyCode| {
            let wish = press(KeyEvent::new(code, KeyModifiers::NONE), &mut view);
            (wish, view)
        };
        assert_eq!(press(KeyCode::Char('3')).1.sort, Column::Offset);
        assert!(press(KeyCode::Char('3')).1.reversed);
        assert!(!press(KeyCode::Char('4')).1.reversed);
        assert_eq!(press(KeyCode::Char('s')).1.sort, Column::Interval);
        assert!(press(KeyCode::Char('r')).1.reversed);
        assert_eq!(press(KeyCode::Down).1.scroll, 1);
        assert!(press(KeyCode::Char('?')).1.help);
        assert!(!press(KeyCode::Char('x')).1.help);
        assert_eq!(press(KeyCode::Char(' ')).0, Wish::Look);
        assert_eq!(press(KeyCode::Char('q')).0, Wish::Quit);
        let control = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(super::press(control, &mut View::default()), Wish::Quit);
    }
}
