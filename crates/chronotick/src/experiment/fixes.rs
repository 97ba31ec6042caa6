//! The ways of making a time of an answer, under the numbers that the original system's experiments gave them.
//!
//! With s the system clock now, o the correction and d the drift that were answered, p when the answer was made, A true
//! time at the observer's last query of its own servers, e what has passed since then, and o₀ the correction answered
//! then:
//!
//! | fix | time |
//! |---|---|
//! | 1 | s + o + d·(s − p) |
//! | 2 | A + e + d·e |
//! | 3 | s + o |
//! | 4, 5 | fix 1 less and plus its uncertainty (one standard deviation) |
//! | 6 | fix 2 with the drift of the model; the answer has one drift, so it is fix 2 |
//! | 7 | A + e + (o − o₀) + d·e |
//! | 11 | fix 3 if the drift's uncertainty has grown beyond 10 ms, else fix 6 |
//!
//! The definitions are the original's, its faults are not: o is the correction *as of p*, so that fix 1 counts the drift
//! since p once; every elapsed time is the raw clock's, which nobody steps or slews; d is in s/s. Fix 7 counts drift twice
//! wherever o follows it, by its definition.

use chronotick_clock::{Rate, Span, Timestamp};

/// What was answered, and when.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Answer {
    /// The system clock now.
    pub system: Timestamp,
    /// The correction as of the making of the answer: true − system.
    pub offset: Span,
    /// What true time gains on the raw clock.
    pub drift: Rate,
    /// Standard deviation of that.
    pub drift_sigma: Rate,
    /// Time since the answer was made.
    pub age: Span,
    /// Standard deviation of the answer now.
    pub sigma: Span,
}

/// The observer's last query of its own servers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Anchor {
    /// True time then, according to the servers.
    pub utc: Timestamp,
    /// The correction that was answered then.
    pub offset: Span,
    /// Time since then.
    pub elapsed: Span,
}

/// Times by their fix; those that need an anchor are absent before the first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fixes {
    /// The answer, moved on by its drift.
    pub fix1: Timestamp,
    /// Walked from the anchor with the drift.
    pub fix2: Option<Timestamp>,
    /// The correction alone.
    pub fix3: Timestamp,
    /// The answer less its uncertainty.
    pub fix4: Timestamp,
    /// The answer plus its uncertainty.
    pub fix5: Timestamp,
    /// Walked from the anchor with the model's drift.
    pub fix6: Option<Timestamp>,
    /// Walked from the anchor with the change of the correction, and the drift.
    pub fix7: Option<Timestamp>,
    /// The correction alone once the drift is too uncertain, else walked from the anchor.
    pub fix11: Option<Timestamp>,
}

/// An uncertainty of the drift beyond which fix 11 no longer walks.
const WALKABLE: Span = Span::from_millis(10);

impl Fixes {
    /// All fixes at this instant.
    pub fn of(answer: &Answer, anchor: Option<&Anchor>) -> Fixes {
        let fix3 = answer.system + answer.offset;
        let fix1 = fix3 + answer.drift.over(answer.age);
        let walked = |a: &Anchor| a.utc + a.elapsed + answer.drift.over(a.elapsed);
        let fix2 = anchor.map(walked);
        let fix11 = anchor.map(|a| {
            let too_far = answer.drift_sigma.over(a.elapsed) > WALKABLE;
            if too_far { fix3 } else { walked(a) }
        });
        Fixes {
            fix1,
            fix2,
            fix3,
            fix4: fix1 - answer.sigma,
            fix5: fix1 + answer.sigma,
            fix6: fix2,
            fix7: anchor.map(|a| walked(a) + (answer.offset - a.offset)),
            fix11,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: Timestamp = Timestamp::from_nanos(1_700_000_000_000_000_000);

    /// A machine whose clock is 3 ms behind and loses 10 µs a second, asked 5 s after the answer was made.
    fn answer() -> Answer {
        Answer {
            system: EPOCH,
            offset: Span::from_millis(3),
            drift: Rate::from_ppm(10.0),
            drift_sigma: Rate::from_ppm(1.0),
            age: Span::from_secs(5),
            sigma: Span::from_micros(200),
        }
    }

    #[test]
    fn drift_since_the_answer_is_counted_once() {
        let fixes = Fixes::of(&answer(), None);
        assert_eq!(fixes.fix1, EPOCH + Span::from_micros(3_050));
        assert_eq!(fixes.fix3, EPOCH + Span::from_millis(3));
        assert_eq!(
            (fixes.fix4, fixes.fix5),
            (EPOCH + Span::from_micros(2_850), EPOCH + Span::from_micros(3_250))
        );
        assert_eq!((fixes.fix2, fixes.fix6, fixes.fix7, fixes.fix11), (None, None, None, None));
    }

    #[test]
    fn walking_starts_at_the_anchor() {
        let anchor = Anchor { utc: EPOCH, offset: Span::from_millis(2), elapsed: Span::from_secs(60) };
        let fixes = Fixes::of(&answer(), Some(&anchor));
        let walked = EPOCH + Span::from_secs(60) + Span::from_micros(600);
        assert_eq!((fixes.fix2, fixes.fix6, fixes.fix11), (Some(walked), Some(walked), Some(walked)));
        assert_eq!(fixes.fix7, Some(walked + Span::from_millis(1)));
    }

    #[test]
    fn an_uncertain_drift_is_not_walked_with() {
        let anchor = Anchor { utc: EPOCH, offset: Span::ZERO, elapsed: Span::from_secs(10_001) };
        let fixes = Fixes::of(&answer(), Some(&anchor));
        assert_eq!(fixes.fix11, Some(fixes.fix3));
        assert_ne!(fixes.fix6, fixes.fix11);
    }
}
