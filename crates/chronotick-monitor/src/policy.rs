//! One policy for correcting a clock: what is to be done about an error, or why nothing may be.

use crate::ClockError;
use chronotick_clock::{RawInstant, Span};
use serde::Serialize;
use std::fmt;

/// When a clock may be corrected, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// At least so many sources have to agree. Default 2.
    pub min_agreeing: u32,
    /// A larger error is stepped, a smaller one slewed. Default 100 ms.
    pub step_threshold: Span,
    /// No action moves the clock by more than this; what remains is left to the next one. Default 1 s.
    pub max_step: Span,
    /// A larger error is not corrected at all: somebody has to look first. Default 1000 s.
    pub panic: Span,
    /// From one action to the next. Default 300 s.
    pub cooldown: Span,
    /// Whether the clock may be set back. Slewing never does that. Default no.
    pub backwards: bool,
    /// Whether the clock may be stepped at the first action only. Default no.
    pub step_at_start_only: bool,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            min_agreeing: 2,
            step_threshold: Span::from_millis(100),
            max_step: Span::from_secs(1),
            panic: Span::from_secs(1_000),
            cooldown: Span::from_secs(300),
            backwards: false,
            step_at_start_only: false,
        }
    }
}

/// What is to be done. Amounts are what to add to the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing: the clock may be right as far as is known.
    Leave {
        /// The error is not known better than this.
        bound: Span,
    },
    /// Let the clock run faster or slower until this is made up for.
    Slew {
        /// What to add.
        by: Span,
        /// What the next action has to see to.
        remaining: Span,
    },
    /// Set the clock.
    Step {
        /// What to add.
        by: Span,
        /// What the next action has to see to.
        remaining: Span,
    },
    /// Nothing may be done.
    Refuse(Refusal),
}

/// Why nothing may be done, in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case", tag = "refusal")]
pub enum Refusal {
    /// There is no majority that says how wrong the clock is.
    #[error("it is not known how wrong the clock is: no majority of the sources agrees")]
    Unknown,
    /// Too few sources agree.
    #[error("{agreeing} sources agree and the policy asks for {wanted}; name more servers")]
    Quorum {
        /// So many agree.
        agreeing: u32,
        /// So many are wanted.
        wanted: u32,
    },
    /// The error is beyond the panic limit.
    #[error("the clock is off by {} s, beyond the panic limit of {} s: look at it and set it by hand", .offset_ns / 1_000_000_000, .limit_ns / 1_000_000_000)]
    Panic {
        /// True time minus the clock.
        offset_ns: i64,
        /// The limit.
        limit_ns: i64,
    },
    /// The clock was corrected just now.
    #[error("the clock was corrected {} s ago and the policy waits {} s between corrections", .since_ns / 1_000_000_000, .cooldown_ns / 1_000_000_000)]
    Cooldown {
        /// Since the newest action.
        since_ns: i64,
        /// What the policy waits.
        cooldown_ns: i64,
    },
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rest = |f: &mut fmt::Formatter<'_>, remaining: &Span| match *remaining {
            Span::ZERO => Ok(()),
            remaining => write!(f, ", and leave {remaining} to the next action"),
        };
        match self {
            Decision::Leave { bound } => write!(f, "leave the clock alone: it is right to within {bound}"),
            Decision::Slew { by, remaining } => {
                write!(f, "slew the clock by {by}")?;
                rest(f, remaining)
            }
            Decision::Step { by, remaining } => {
                write!(f, "step the clock by {by}")?;
                rest(f, remaining)
            }
            Decision::Refuse(why) => write!(f, "refused: {why}"),
        }
    }
}

impl Policy {
    /// What is to be done about an error that `agreeing` sources stand behind; `last` is the instant of the newest action,
    /// if there was one.
    ///
    /// ```
    /// use chronotick_clock::{RawInstant, Span};
    /// use chronotick_monitor::{ClockError, Decision, Policy};
    /// let now = RawInstant::from_nanos(0);
    /// let behind = ClockError { offset: Span::from_millis(25), early: Span::ZERO, late: Span::ZERO };
    /// let slew = Decision::Slew { by: Span::from_millis(25), remaining: Span::ZERO };
    /// assert_eq!(Policy::default().decide(Some(behind), 3, None, now), slew);
    /// ```
    pub fn decide(
        &self,
        error: Option<ClockError>,
        agreeing: u32,
        last: Option<RawInstant>,
        now: RawInstant,
    ) -> Decision {
        let Some(error) = error else { return Decision::Refuse(Refusal::Unknown) };
        if agreeing < self.min_agreeing.max(1) {
            return Decision::Refuse(Refusal::Quorum { agreeing, wanted: self.min_agreeing.max(1) });
        }
        let (offset, size) = (error.offset, error.offset.abs());
        if size > self.panic {
            let (offset_ns, limit_ns) = (offset.as_nanos(), self.panic.as_nanos());
            return Decision::Refuse(Refusal::Panic { offset_ns, limit_ns });
        }
        if offset - error.early <= Span::ZERO && Span::ZERO <= offset + error.late {
            return Decision::Leave { bound: error.bound() };
        }
        let since = last.map(|last| now - last).filter(|since| *since < self.cooldown);
        if let Some(since) = since {
            let (since_ns, cooldown_ns) = (since.as_nanos(), self.cooldown.as_nanos());
            return Decision::Refuse(Refusal::Cooldown { since_ns, cooldown_ns });
        }
        let by = offset.max(-self.max_step).min(self.max_step);
        let remaining = offset - by;
        let may_step = (self.backwards || by > Span::ZERO) && (!self.step_at_start_only || last.is_none());
        match size > self.step_threshold && may_step {
            true => Decision::Step { by, remaining },
            false => Decision::Slew { by, remaining },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn off(millis: i64) -> Option<ClockError> {
        let known = Span::from_micros(10);
        Some(ClockError { offset: Span::from_millis(millis), early: known, late: known })
    }

    fn decide(millis: i64) -> Decision {
        Policy::default().decide(off(millis), 3, None, RawInstant::from_nanos(0))
    }

    #[test]
    fn small_errors_are_slewed_large_ones_stepped_and_absurd_ones_refused() {
        let ms = Span::from_millis;
        assert!(matches!(decide(0), Decision::Leave { .. }));
        assert_eq!(decide(-25), Decision::Slew { by: ms(-25), remaining: Span::ZERO });
        assert_eq!(decide(100), Decision::Slew { by: ms(100), remaining: Span::ZERO });
        assert_eq!(decide(101), Decision::Step { by: ms(101), remaining: Span::ZERO });
        assert_eq!(decide(37_000), Decision::Step { by: ms(1_000), remaining: ms(36_000) });
        assert!(matches!(decide(1_000_001), Decision::Refuse(Refusal::Panic { .. })));
        assert!(matches!(decide(17 * 3_600_000), Decision::Refuse(Refusal::Panic { .. })));
    }

    #[test]
    fn a_clock_is_never_set_back_unless_that_is_allowed() {
        assert_eq!(decide(-500), Decision::Slew { by: Span::from_millis(-500), remaining: Span::ZERO });
        let back = Policy { backwards: true, ..Policy::default() };
        let step = Decision::Step { by: Span::from_millis(-500), remaining: Span::ZERO };
        assert_eq!(back.decide(off(-500), 3, None, RawInstant::from_nanos(0)), step);
    }

    #[test]
    fn without_a_quorum_or_within_the_cooldown_nothing_is_done() {
        let (policy, start) = (Policy::default(), RawInstant::from_nanos(0));
        let quorum = Refusal::Quorum { agreeing: 1, wanted: 2 };
        assert_eq!(policy.decide(off(25), 1, None, start), Decision::Refuse(quorum));
        assert_eq!(policy.decide(None, 9, None, start), Decision::Refuse(Refusal::Unknown));
        let soon = policy.decide(off(25), 2, Some(start), start + Span::from_secs(299));
        assert!(matches!(soon, Decision::Refuse(Refusal::Cooldown { .. })), "{soon}");
        let later = policy.decide(off(25), 2, Some(start), start + Span::from_secs(300));
        assert!(matches!(later, Decision::Slew { .. }), "{later}");
    }

    #[test]
    fn stepping_can_be_confined_to_the_start() {
        let policy = Policy { step_at_start_only: true, ..Policy::default() };
        let start = RawInstant::from_nanos(0);
        assert!(matches!(policy.decide(off(500), 2, None, start), Decision::Step { .. }));
        let later = policy.decide(off(500), 2, Some(start), start + Span::from_secs(9_999));
        assert!(matches!(later, Decision::Slew { .. }), "{later}");
    }

    proptest! {
        /// An action never overshoots, never exceeds the limit, and always goes towards true time.
        #[test]
        fn every_action_brings_the_clock_nearer(millis in -2_000_000i64..2_000_000, backwards: bool) {
            let policy = Policy { backwards, ..Policy::default() };
            match policy.decide(off(millis), 3, None, RawInstant::from_nanos(0)) {
                Decision::Slew { by, remaining } | Decision::Step { by, remaining } => {
                    prop_assert!(by.abs() <= policy.max_step);
                    prop_assert_eq!(by + remaining, Span::from_millis(millis));
                    prop_assert!(remaining.abs() < Span::from_millis(millis).abs());
                }
                Decision::Leave { .. } => prop_assert_eq!(millis, 0),
                Decision::Refuse(_) => prop_assert!(millis.abs() > 1_000_000),
            }
        }
    }
}
