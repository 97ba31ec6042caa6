//! Reference clocks as sources of the daemon, beside its links to servers: what their threads hand over is put into a
//! known second, filtered, and becomes a `Measurement` once in a poll.

mod chronyd;
mod filter;
mod follow;

use super::Machine;
use super::recorded::Recorded;
use crate::config::ReferenceClock;
use chronotick_core::{Leap, Measurement, RawInstant, Solution, SourceId, Span, Stamps};
use chronotick_os::refclock::Sample;
use filter::{Filter, Numbered};
use follow::{Follow, News};
use std::sync::Arc;

/// A reference clock in use.
pub(super) struct Reference {
    pub(super) clock: ReferenceClock,
    pub(super) source: SourceId,
    follow: Option<Follow>,
    filter: Filter,
    /// The newest sample in a known second, for pulses that this clock numbers.
    newest: Option<Numbered>,
    leap: Leap,
    heard: bool,
    next_poll: RawInstant,
    pub(super) interval: Span,
    pub(super) reach: u8,
    pub(super) polls: u64,
    pub(super) answers: u64,
    pub(super) trouble: Option<String>,
    /// Whether its measurements count: those of the last resort do while no other source answers.
    pub(super) counts: bool,
}

/// A pulse is told from the next within this, and the rest is margin (chrony's limit).
const TOLD_APART: Span = Span::from_millis(400);
const SECOND: i64 = 1_000_000_000;

impl Reference {
    /// Starts the thread of a clock.
    pub(super) fn start(
        clock: &ReferenceClock,
        source: SourceId,
        now: RawInstant,
        wake: Arc<dyn Fn() + Send + Sync>,
    ) -> Reference {
        let started = Follow::start(&clock.name(), follow::driver(clock), wake);
        let trouble = started.as_ref().err().map(|e| format!("no thread for it: {e}"));
        Reference {
            clock: clock.clone(),
            source,
            follow: started.ok(),
            filter: Filter::new(clock.filter.into()),
            newest: None,
            leap: Leap::None,
            heard: false,
            next_poll: now,
            interval: Span::from_secs(1),
            reach: 0,
            polls: 0,
            answers: 0,
            trouble,
            counts: !clock.is_last_resort(),
        }
    }

    /// Whether what it says counts from now on. What it said before is forgotten where it does not: it would have a vote beside
    /// those of whom it stood in for.
    pub(super) fn let_count(&mut self, counts: bool, engine: &mut Recorded) {
        if self.counts && !counts {
            engine.remove_source(self.source);
            self.source = engine.add_source(self.clock.name());
            engine.set_role(self.source, self.clock.role);
        }
        self.counts = counts;
    }

    /// When it wants to be looked at next.
    pub(super) fn next_event(&self) -> RawInstant {
        self.next_poll
    }

    /// The raw clock was disturbed: what was sampled before does not compare.
    pub(super) fn restart(&mut self) {
        self.filter.clear();
        self.newest = None;
    }

    /// The next sample that its thread has handed over, on the raw clock of `machine`.
    fn sample(&mut self, machine: &dyn Machine) -> Option<Sample> {
        loop {
            match self.follow.as_ref()?.next()? {
                News::Sample(sample) => return Some(Sample { at: machine.local(sample.at), ..sample }),
                News::Opened => self.trouble = None,
                News::Trouble(why) => {
                    if self.trouble.as_ref() != Some(&why) {
                        log::warn!("reference clock {}: {why}", self.clock.name());
                    }
                    self.trouble = Some(why);
                }
            }
        }
    }

    /// Takes in a sample; `coarse` is what time it was, by somebody else, if it is a pulse.
    fn take(&mut self, sample: &Sample, coarse: Result<Numbered, String>) {
        let error = sample.error + self.clock.precision.unwrap_or(sample.precision);
        let said = Numbered { at: sample.at, utc: sample.utc + self.clock.offset, error };
        let numbered =
            if sample.is_pulse { coarse.and_then(|coarse| number(said, coarse)) } else { Ok(said) };
        match numbered {
            Ok(numbered) => {
                self.leap = sample.leap.unwrap_or(Leap::None);
                self.heard = true;
                self.newest = Some(numbered);
                self.filter.add(numbered);
                self.trouble = None;
            }
            Err(why) => self.trouble = Some(why),
        }
    }

    /// What time it was at a pulse according to this clock, which numbers it; a sample is good for so many pulses.
    fn numbers(&self, at: RawInstant, lockage: u8) -> Result<Numbered, String> {
        let name = self.clock.name();
        let newest =
            self.newest.ok_or_else(|| format!("{name}, which numbers its pulses, has said nothing yet"))?;
        let age = at - newest.at;
        if age.abs() > Span::from_secs(lockage.into()) + TOLD_APART {
            return Err(format!("{name}, which numbers its pulses, has said nothing for {}", age.abs()));
        }
        let error = newest.error + self.clock.delay.half();
        Ok(Numbered { at, utc: newest.utc + age, error })
    }

    /// The measurement of a poll that has ended by `now`, if there was any sample in it. `wanted` is how often the engine
    /// wishes to measure; the clock's own interval is the longest.
    pub(super) fn poll(&mut self, now: RawInstant, wanted: Span, solution: &Solution) -> Option<Measurement> {
        if now < self.next_poll {
            return None;
        }
        let own = Span::from_secs_f64(f64::from(self.clock.poll).exp2());
        self.interval = own.min(wanted.max(Span::from_secs(1).min(own)));
        self.next_poll = (self.next_poll + self.interval).max(now);
        self.polls += 1;
        self.reach = self.reach << 1 | u8::from(self.heard);
        self.heard = false;
        let said = self.filter.take(solution.rate, solution.bound_growth)?;
        self.answers += 1;
        Some(Measurement {
            source: self.source,
            at: said.at,
            received: now,
            utc: said.utc,
            // What a receiver takes is all one way: no part of it may count as a symmetric path.
            delay: Span::ZERO,
            root_delay: Span::ZERO,
            root_dispersion: said.error + self.clock.delay.half(),
            stratum: self.clock.stratum,
            leap: self.leap,
            stamps: Stamps::User,
        })
    }
}

/// Starts all that are configured.
pub(super) fn start_all(
    clocks: &[ReferenceClock],
    engine: &mut Recorded,
    now: RawInstant,
    wake: &Arc<dyn Fn() + Send + Sync>,
) -> Vec<Reference> {
    let start = |clock: &ReferenceClock| {
        let source = engine.add_source(clock.name());
        engine.set_role(source, clock.role);
        Reference::start(clock, source, now, wake.clone())
    };
    clocks.iter().map(start).collect()
}

/// Puts a pulse into the second that is nearest to what time it was by somebody else.
fn number(pulse: Numbered, coarse: Numbered) -> Result<Numbered, String> {
    let apart = (coarse.utc - pulse.utc).as_nanos();
    let seconds = (apart + SECOND / 2).div_euclid(SECOND);
    let utc = pulse.utc + Span::from_nanos(seconds.saturating_mul(SECOND));
    let margin = (coarse.utc - utc).abs() + coarse.error + pulse.error;
    if margin > TOLD_APART {
        return Err(format!(
            "which second its pulse begins cannot be told: the time beside it is {} off and uncertain by {}",
            (coarse.utc - utc).abs(),
            coarse.error
        ));
    }
    Ok(Numbered { utc, ..pulse })
}

/// What time it was at a pulse by corrected time.
fn by_corrected_time(at: RawInstant, solution: &Solution) -> Result<Numbered, String> {
    let reading = solution.reading(at);
    if !reading.is_trustworthy() {
        return Err("nothing tells which second its pulses begin: corrected time is not synced, and no `lock` is configured".into());
    }
    Ok(Numbered { at, utc: reading.estimate, error: reading.max_error() })
}

/// Takes in what the clocks' threads have handed over; clocks number each other's pulses.
pub(super) fn listen(references: &mut [Reference], machine: &dyn Machine, solution: &Solution) {
    for index in 0..references.len() {
        while let Some(sample) = references[index].sample(machine) {
            let coarse = coarse(references, index, sample.at, solution);
            references[index].take(&sample, coarse);
        }
    }
}

/// What time it was at a pulse by whoever numbers those of this clock.
fn coarse(
    references: &[Reference],
    index: usize,
    at: RawInstant,
    solution: &Solution,
) -> Result<Numbered, String> {
    let fine = &references[index].clock;
    match &fine.lock {
        None => by_corrected_time(at, solution),
        Some(name) => match references.iter().find(|r| r.clock.name() == *name) {
            Some(reference) => reference.numbers(at, fine.maxlockage),
            None => Err(format!("there is no reference clock {name} to number its pulses")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chronotick_core::Timestamp;

    fn at(nanos: i64, error_ms: i64) -> Numbered {
        let utc = Timestamp::from_nanos(nanos);
        Numbered { at: RawInstant::from_nanos(0), utc, error: Span::from_millis(error_ms) }
    }

    #[test]
    fn a_pulse_is_put_into_the_nearest_second() {
        let pulse = at(600, 0);
        for (coarse, want) in
            [(0, 0), (39 * SECOND / 100, 0), (-SECOND / 10, 0), (7 * SECOND - SECOND / 25, 7)]
        {
            assert_eq!(number(pulse, at(coarse, 0)).unwrap().utc, at(want * SECOND + 600, 0).utc, "{coarse}");
        }
    }

    #[test]
    fn what_may_be_either_second_is_none() {
        let why = number(at(0, 0), at(5 * SECOND + SECOND / 5, 250)).unwrap_err();
        assert!(why.contains("200.000 ms off") && why.contains("250.000 ms"), "{why}");
        assert!(number(at(0, 0), at(SECOND / 2, 0)).is_err());
        // What the seconds are told by was 40 ms late and uncertain by 200 ms.
        assert!(number(at(0, 0), at(9 * SECOND + SECOND / 25, 200)).is_ok());
    }
}
