//! Steering the system clock: what to do in each second, or why nothing may be done. Pure: what is known goes in, with what
//! the kernel says; a course, a step, or a refusal comes out.
//!
//! Corrected time is estimated over the raw clock, which steering does not touch, so there is no loop that could become
//! unstable: the frequency follows the engine's rate, and what is left of the offset is handed to the kernel to slew, which
//! takes a quarter of it in each second. If the daemon dies, no more is slewed than was handed over last and what is left of
//! the quarter that the kernel was at then, by which the clock may come to be beyond true time; and the kernel's own account
//! widens until it says by itself that the clock is not synchronised.

use crate::{ClockError, Decision, Policy, Refusal};
use chronotick_clock::{Leap, Rate, RawInstant, Span, State, Timestamp};
use chronotick_core::{Claim, Course, KernelClock};
use std::fmt;

/// Whether and how the system clock is steered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Offsets are slewed, however large, up to the panic limit.
    Slew,
    /// Offsets beyond the threshold are stepped, as the policy allows it.
    Step,
}

/// What steering keeps to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Whether to step.
    pub manner: Manner,
    /// When the clock may be corrected, and by how much.
    pub policy: Policy,
    /// How fast an offset is slewed at most.
    pub slew_rate: Rate,
}

/// What is known of the system clock in one second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// The raw instant.
    pub at: RawInstant,
    /// True time then.
    pub utc: Timestamp,
    /// The state of corrected time.
    pub state: State,
    /// The system clock's error; none where nothing is known.
    pub error: Option<ClockError>,
    /// Standard deviation of the offset.
    pub sigma: Span,
    /// How much faster true time runs than the raw clock.
    pub rate: Rate,
    /// How many sources agree.
    pub agreeing: u32,
    /// What is announced for the end of the month.
    pub leap: Leap,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Let the clock run like this.
    Run(Course),
    /// Set the clock ahead by `by` at once, and let it run like this.
    Step {
        /// How far; negative sets it back.
        by: Span,
        /// What remains.
        remaining: Span,
        /// How it runs from then on.
        course: Course,
    },
    /// Leave the clock alone.
    Stand(Reluctance),
}

/// Why the clock is left alone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reluctance {
    /// The policy does not allow it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Time is not known well enough.
    #[error("corrected time is {0}: the clock is not steered by it")]
    NotSynced(State),
    /// Another program steers the clock.
    #[error("{0} steers the system clock: stop it, or set `discipline: off`")]
    Rival(String),
    /// The offset is large and not known better than its own bound.
    #[error("the clock seems to be off by {offset}, but that is not known better than to {bound}")]
    Unsure {
        /// True time minus the clock.
        offset: Span,
        /// How far it can be off.
        bound: Span,
    },
}

/// Steers a clock from second to second.
#[derive(Clone, Debug)]
pub struct Steering {
    terms: Terms,
    last_step: Option<RawInstant>,
    /// Whether the offset has once been below the step threshold: the start is over then.
    settled: bool,
    set: Option<KernelClock>,
    meddled: Option<RawInstant>,
    rival_until: Option<RawInstant>,
}

impl Steering {
    /// The kernel takes no frequency beyond this (adjtimex(2)).
    pub const MAX_FREQUENCY: Rate = Rate::from_bits(500 * (1 << 48) / 1_000_000);
    /// The kernel takes a quarter of what is handed over in each second.
    const SHARES: i64 = 4;
    /// Whoever changes the clock twice within this time steers it, and is given way for as long.
    const GIVE_WAY: Span = Span::from_secs(600);

    /// Steering by these terms that has done nothing yet.
    pub fn new(terms: Terms) -> Steering {
        Steering { terms, last_step: None, settled: false, set: None, meddled: None, rival_until: None }
    }

    /// What to do in this second. `kernel` is what the kernel says before it, `rival` the name of a program that is known to
    /// steer the clock.
    pub fn decide(&mut self, known: &Known, kernel: &KernelClock, rival: Option<&str>) -> Order {
        self.watch(known.at, kernel);
        match self.order(known, rival) {
            Ok(order) => {
                if let Order::Step { .. } = order {
                    self.last_step = Some(known.at);
                }
                order
            }
            Err(why) => {
                self.set = None;
                Order::Stand(why)
            }
        }
    }

    /// What the kernel says after the order was carried out: whoever changes it until the next is another.
    pub fn done(&mut self, kernel: &KernelClock) {
        self.set = Some(*kernel);
    }

    fn order(&mut self, known: &Known, rival: Option<&str>) -> Result<Order, Reluctance> {
        if let Some(name) = rival {
            return Err(Reluctance::Rival(name.to_owned()));
        }
        if self.rival_until.is_some_and(|until| known.at < until) {
            return Err(Reluctance::Rival("another program".to_owned()));
        }
        if !matches!(known.state, State::Synced | State::Holdover) {
            return Err(Reluctance::NotSynced(known.state));
        }
        let error = known.error.ok_or(Refusal::Unknown)?;
        // In holdover nothing new is known: the clock keeps to the rate and to what it was.
        let agreeing = if known.state == State::Holdover { u32::MAX } else { known.agreeing };
        let decision = self.policy().decide(Some(error), agreeing, self.last_step, known.at);
        let large = error.offset.abs() > self.terms.policy.step_threshold;
        self.settled |= !large;
        match decision {
            Decision::Refuse(Refusal::Cooldown { .. }) => Ok(Order::Run(self.course(known, error))),
            Decision::Refuse(why) => Err(why.into()),
            Decision::Leave { bound } if large => Err(Reluctance::Unsure { offset: error.offset, bound }),
            Decision::Step { by, remaining } if large && self.may_step(known.state) => {
                let error = ClockError { offset: remaining, ..error };
                Ok(Order::Step { by, remaining, course: self.course(known, error) })
            }
            _ => Ok(Order::Run(self.course(known, error))),
        }
    }

    /// The start lasts until the clock has once been near: then what came before does not count.
    fn policy(&self) -> Policy {
        Policy { step_at_start_only: false, ..self.terms.policy }
    }

    fn may_step(&self, state: State) -> bool {
        let started = self.terms.policy.step_at_start_only && self.settled;
        self.terms.manner == Manner::Step && !started && state == State::Synced
    }

    fn course(&self, known: &Known, error: ClockError) -> Course {
        let most = self.terms.slew_rate.over(Span::from_secs(1)).abs().times(Steering::SHARES);
        let bits = Steering::MAX_FREQUENCY.to_bits();
        Course {
            frequency: Rate::from_bits(known.rate.to_bits().clamp(-bits, bits)),
            slew: error.offset.max(-most).min(most),
            claim: claim(known, error),
        }
    }

    /// Notices that the clock does not run as it was told.
    fn watch(&mut self, at: RawInstant, kernel: &KernelClock) {
        let Some(set) = self.set else { return };
        let same = set.frequency == kernel.frequency
            && set.synchronised == kernel.synchronised
            && kernel.pending.abs() <= set.pending.abs()
            && kernel.max_error >= set.max_error;
        if same {
            return;
        }
        if self.meddled.is_some_and(|last| at - last < Steering::GIVE_WAY) {
            self.rival_until = Some(at + Steering::GIVE_WAY);
        }
        self.meddled = Some(at);
    }
}

/// What others may rely on: all that the clock can be off by, and half as much again as the newest second may add.
fn claim(known: &Known, error: ClockError) -> Claim {
    let spread = known.sigma.as_secs_f64().hypot(error.offset.as_secs_f64());
    Claim {
        max_error: error.bound(),
        estimated_error: Span::from_secs_f64(spread),
        synchronised: true,
        leap: leap_tonight(known.leap, known.utc),
    }
}

/// What the kernel is to be told of an announced leap second: they come at the end of a month, and it takes them at the end of
/// the day on which it is told.
pub fn leap_tonight(announced: Leap, utc: Timestamp) -> Leap {
    let day = utc.as_nanos().div_euclid(86_400_000_000_000);
    if month_of(day) == month_of(day + 1) { Leap::None } else { announced }
}

/// A number that is the same for the days of one month. Algorithm: days to civil, by Howard Hinnant
/// (<https://howardhinnant.github.io/date_algorithms.html>).
fn month_of(day: i64) -> i64 {
    let of_era = (day + 719_468).rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    (5 * of_year + 2) / 153
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Order::Run(course) => write!(f, "slew by {}", course.slew),
            Order::Step { by, remaining, .. } => write!(f, "step by {by}, {remaining} remain"),
            Order::Stand(why) => write!(f, "leave the clock alone: {why}"),
        }
    }
}
