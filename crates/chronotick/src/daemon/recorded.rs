//! The engine with a debug trace of everything that goes into it, where one is wanted.

use crate::trace::{Line, Tape};
use chronotick_core::estimate::Saved;
use chronotick_core::{
    Conditions, Disruption, Engine, Measurement, RawInstant, Role, Settings, Solution, SourceId, Span,
};
#[cfg(feature = "models")]
use chronotick_core::{Expected, Forecast, Implausible, Member};
use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};

/// An engine. Whatever changes it goes through a method of this type, which tells the trace; what only asks it goes
/// straight to the [`Engine`].
pub(super) struct Recorded {
    engine: Engine,
    tape: Option<Tape>,
    /// How often each source is polled: the trace is told of changes only.
    polled: BTreeMap<SourceId, Span>,
}

impl Recorded {
    pub(super) fn new(settings: Settings, now: RawInstant, tape: Option<Tape>) -> Recorded {
        let line = Line::start(&settings, now);
        let recorded = Recorded { engine: Engine::new(settings, now), tape, polled: BTreeMap::new() };
        recorded.note(|| line);
        recorded
    }

    /// Tells the trace, if there is one.
    pub(super) fn note(&self, line: impl FnOnce() -> Line) {
        if let Some(tape) = &self.tape {
            tape.tell(line());
        }
    }

    pub(super) fn restore(&mut self, saved: &Saved) {
        self.note(|| Line::Restored { rate: saved.rate, rate_sigma: saved.rate_sigma });
        self.engine.restore(saved);
    }

    #[cfg(feature = "models")]
    pub(super) fn expect(&mut self, member: Member, expected: &[Expected]) {
        self.note(|| Line::expected(member, expected));
        self.engine.expect(member, expected);
    }

    pub(super) fn add_source(&mut self, name: String) -> SourceId {
        let id = self.engine.add_source(name.clone());
        self.note(|| Line::Source { id: id.0, name });
        id
    }

    pub(super) fn set_role(&mut self, id: SourceId, role: Role) {
        if role != Role::default() {
            let Role { noselect, prefer, trust, require } = role;
            self.note(|| Line::Role { id: id.0, noselect, prefer, trust, require });
            self.engine.set_role(id, role);
        }
    }

    pub(super) fn remove_source(&mut self, id: SourceId) {
        self.note(|| Line::SourceRemoved { id: id.0 });
        self.polled.remove(&id);
        self.engine.remove_source(id);
    }

    pub(super) fn polled_every(&mut self, id: SourceId, interval: Span) {
        if self.polled.insert(id, interval) != Some(interval) {
            self.note(|| Line::Polled { id: id.0, interval_ns: interval.as_nanos() });
            self.engine.polled_every(id, interval);
        }
    }

    pub(super) fn expect_floor(&mut self, id: SourceId, floor: Span, now: RawInstant) {
        let (raw_ns, floor_ns) = (now.as_nanos(), floor.as_nanos());
        self.note(|| Line::Floor { id: id.0, raw_ns, floor_ns });
        self.engine.expect_floor(id, floor, now);
    }

    pub(super) fn measure(&mut self, measurement: &Measurement) {
        self.note(|| Line::measurement(measurement));
        self.engine.measure(measurement);
    }

    pub(super) fn disrupted(&mut self, disruption: Disruption, now: RawInstant) {
        self.note(|| Line::disruption(disruption, now));
        self.engine.disrupted(disruption, now);
    }

    pub(super) fn sense(&mut self, conditions: &Conditions) {
        self.note(|| Line::conditions(conditions));
        self.engine.sense(conditions);
    }

    #[cfg(feature = "models")]
    pub(super) fn foresee(&mut self, forecast: &Forecast) -> Result<(), Implausible> {
        let taken = self.engine.foresee(forecast);
        self.note(|| Line::forecast(forecast, taken.err().map(|why| why.to_string())));
        taken
    }

    pub(super) fn solution(&mut self, now: RawInstant) -> Solution {
        let solution = self.engine.solution(now);
        self.note(|| Line::solution(&solution));
        solution
    }
}

impl Deref for Recorded {
    type Target = Engine;

    fn deref(&self) -> &Engine {
        &self.engine
    }
}

/// For questions that let the engine remember their answer.
impl DerefMut for Recorded {
    fn deref_mut(&mut self) -> &mut Engine {
        &mut self.engine
    }
}
