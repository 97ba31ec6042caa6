//! The view without a terminal: one line of text for each look, and one for each event.

use super::look::Look;
use super::words::{clean, short, short_signed};
use crate::daemon::Machine;
use crate::door::Door;
use crate::snapshot::{EventView, Snapshot};
use crate::utc::{rfc3339, since};
use std::io::{self, Write};
use std::time::{Duration, Instant};

const HEADINGS: &str = "time (UTC)                      state       system clock      bound      95 %   frequency  sources  reason";

/// Prints until whoever reads closes the pipe.
pub(super) fn follow(door: &Door, machine: &dyn Machine, interval: Duration) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let mut told = Told::default();
    writeln!(out, "{HEADINGS}")?;
    let mut next = Instant::now();
    loop {
        let look = Look::through(door, machine);
        for event in told.fresh(&look) {
            writeln!(out, "{event}")?;
        }
        writeln!(out, "{}", line(&look))?;
        out.flush()?;
        next += interval;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

/// Which events have been printed: none of those that happened before the watch began, and none twice.
#[derive(Default)]
struct Told {
    events: Option<Vec<EventView>>,
}

impl Told {
    fn fresh(&mut self, look: &Look) -> Vec<String> {
        let Some(snapshot) = look.snapshot() else { return Vec::new() };
        let Some(told) = self.events.replace(snapshot.events.clone()) else { return Vec::new() };
        let fresh = snapshot.events.iter().filter(|event| !told.contains(event));
        let line = |event: &EventView| {
            format!("{:<30}  EVENT     {}{}", clean(&event.time), clean(&event.text), label(look))
        };
        fresh.map(line).collect()
    }
}

fn line(look: &Look) -> String {
    let reading = &look.reading;
    let none = || "-".to_owned();
    let known = reading.is_known();
    let number = |ns: i64| if known { short(ns as f64) } else { none() };
    let clock = look.snapshot().and_then(|s| s.clock.as_ref());
    format!(
        "{:<30}  {:<9} {:>14} {:>10} {:>9} {:>11} {:>8}  {}{}{}",
        if known { rfc3339(reading.estimate) } else { "unknown".into() },
        reading.state.name(),
        look.system_offset().map_or_else(none, |offset| short_signed(offset.as_nanos() as f64)),
        number(reading.max_error().as_nanos()),
        number(reading.interval(0.95).as_nanos()),
        clock.map_or_else(none, |clock| format!("{:+.3} ppm", clock.rate_ppm)),
        look.snapshot().map_or_else(none, trusted),
        reading.reason,
        look.silent.map_or(String::new(), |age| format!("; OLD: silent for {}", since(age.as_secs_f64()))),
        label(look),
    )
}

fn trusted(snapshot: &Snapshot) -> String {
    let trusted = snapshot.sources.iter().filter(|s| s.is_trusted()).count();
    format!("{trusted}/{}", snapshot.sources.len())
}

fn label(look: &Look) -> &'static str {
    if look.is_simulated() { "  (simulation)" } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::picture::tests::look;
    use chronotick_clock::Span;
    use std::sync::Arc;

    #[test]
    fn a_line_has_what_the_headings_say_and_its_labels() {
        let mut look = look(Span::from_secs(3));
        let text = line(&look);
        for (heading, value) in [
            ("system clock", "+37.0 ms"),
            ("bound", "800 µs"),
            ("95 %", "19.6 µs"),
            ("frequency", "+20.125 ppm"),
            ("sources", "1/2"),
        ] {
            let end = |line: &str, part: &str| {
                line[..line.find(part).unwrap()].chars().count() + part.chars().count()
            };
            assert_eq!(end(HEADINGS, heading), end(&text, value), "{heading}:\n{HEADINGS}\n{text}");
        }
        look.simulated = true;
        look.silent = Some(Span::from_secs(7));
        assert!(line(&look).ends_with("agrees; OLD: silent for 7 s  (simulation)"), "{}", line(&look));
    }

    #[test]
    fn each_event_is_told_once_even_if_time_went_back() {
        let (mut told, mut look) = (Told::default(), look(Span::from_secs(3)));
        assert!(told.fresh(&look).is_empty());
        let mut later = look.snapshot().unwrap().clone();
        let event = EventView { utc_ns: -5, text: "a\u{1b}b".into(), ..later.events[0].clone() };
        later.events.push(event);
        look.status = Ok(Arc::new(later));
        let fresh = told.fresh(&look);
        assert!(fresh.len() == 1 && fresh[0].ends_with("EVENT     a\\u{1b}b"), "{fresh:?}");
        assert!(told.fresh(&look).is_empty());
    }
}
