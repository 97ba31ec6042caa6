//! What several servers say of one clock at one time: the majority's interval, as the engine takes it, and who is outside.

use crate::ClockError;
use chronotick_clock::{Leap, Span};
use chronotick_core::Interval;

/// One exchange with a server, freed of its round trip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Who answered.
    pub server: String,
    /// The server's time minus the clock, at the middle of the exchange.
    pub offset: Span,
    /// How wrong that may be if the server is honest: half of all round trips and the dispersions.
    pub max_error: Span,
    /// The round trip.
    pub delay: Span,
    /// Distance from a reference clock.
    pub stratum: u8,
    /// What the server announces.
    pub leap: Leap,
}

impl Answer {
    fn interval(&self) -> Interval {
        Interval { lo: self.offset - self.max_error, hi: self.offset + self.max_error }
    }
}

/// What a strict majority of the servers says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consensus {
    /// The clock's error: truth is inside, if fewer than half of the servers lie.
    pub error: ClockError,
    /// The servers that agree, in the order of their first answers.
    pub agreeing: Vec<String>,
    /// Those that contradict the majority.
    pub falsetickers: Vec<String>,
    /// Distance from a reference clock of the server that confines the error most.
    pub stratum: u8,
    /// Which server that is.
    pub best: String,
    /// The round trip to it.
    pub delay: Span,
    /// What most of the agreeing servers announce.
    pub leap: Leap,
}

/// Why there is no consensus.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoConsensus {
    /// Nobody answered.
    #[error("no server answered with the time")]
    NoAnswer,
    /// The servers contradict each other.
    #[error("{} servers answered and no majority agrees: {}; add a third that can decide, or remove the wrong one", .0.len(), .0.join(", "))]
    NoMajority(Vec<String>),
}

/// What a server's answers say together: the one with the least error, confined by the others as far as they agree with it.
fn best<'a>(answers: &[&'a Answer]) -> Option<(&'a Answer, Interval)> {
    let best = *answers.iter().min_by_key(|a| a.max_error)?;
    let confined = answers.iter().fold(best.interval(), |all, a| all.and(&a.interval()).unwrap_or(all));
    Some((best, confined))
}

impl Consensus {
    /// The consensus of all answers, several of one server or one of each.
    ///
    /// # Errors
    /// If there is none: that says nothing about the clock.
    pub fn of(answers: &[Answer]) -> Result<Consensus, NoConsensus> {
        let mut servers: Vec<&str> = Vec::new();
        for answer in answers {
            if !servers.contains(&answer.server.as_str()) {
                servers.push(&answer.server);
            }
        }
        let of = |server: &str| best(&answers.iter().filter(|a| a.server == server).collect::<Vec<_>>());
        let best: Vec<(&Answer, Interval)> = servers.into_iter().filter_map(of).collect();
        let intervals: Vec<Interval> = best.iter().map(|(_, interval)| *interval).collect();
        let named = |agree: bool, span: &Interval| -> Vec<String> {
            let side = best.iter().filter(|(_, interval)| interval.overlaps(span) == agree);
            side.map(|(answer, _)| answer.server.clone()).collect()
        };
        if best.is_empty() {
            return Err(NoConsensus::NoAnswer);
        }
        let Some((span, _)) = Interval::majority(&intervals) else {
            return Err(NoConsensus::NoMajority(best.iter().map(|(a, _)| a.server.clone()).collect()));
        };
        let agreeing: Vec<&(&Answer, Interval)> = best.iter().filter(|(_, i)| i.overlaps(&span)).collect();
        let narrowest = agreeing.iter().min_by_key(|(_, i)| i.hi - i.lo).expect("a majority is not empty").0;
        let offset = weighted(&agreeing).max(span.lo).min(span.hi);
        let announces = |leap| agreeing.iter().filter(|(a, _)| a.leap == leap).count() * 2 > agreeing.len();
        Ok(Consensus {
            error: ClockError { offset, early: offset - span.lo, late: span.hi - offset },
            falsetickers: named(false, &span),
            stratum: narrowest.stratum,
            best: narrowest.server.clone(),
            delay: narrowest.delay,
            leap: [Leap::Insert, Leap::Delete].into_iter().find(|l| announces(*l)).unwrap_or(Leap::None),
            agreeing: named(true, &span),
        })
    }
}

/// The mean of the middles, each weighted by the inverse square of its width.
fn weighted(agreeing: &[&(&Answer, Interval)]) -> Span {
    let weight = |i: &Interval| 1.0 / (i.hi - i.lo).as_secs_f64().max(1e-9).powi(2);
    let total: f64 = agreeing.iter().map(|(_, i)| weight(i)).sum();
    let origin = agreeing[0].0.offset;
    let sum: f64 = agreeing.iter().map(|(a, i)| (a.offset - origin).as_secs_f64() * weight(i)).sum();
    origin + Span::from_secs_f64(sum / total)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn answer(server: &str, offset_us: i64, max_error_us: i64) -> Answer {
        let span = Span::from_micros;
        Answer {
            server: server.into(),
            offset: span(offset_us),
            max_error: span(max_error_us),
            delay: span(max_error_us * 2),
            stratum: 2,
            leap: Leap::None,
        }
    }

    #[test]
    fn a_liar_is_named_and_does_not_count() {
        let answers = [answer("a", 0, 100), answer("b", 50, 200), answer("liar", 1_000_000, 10)];
        let found = Consensus::of(&answers).unwrap();
        assert_eq!(found.falsetickers, ["liar"]);
        assert_eq!(found.agreeing, ["a", "b"]);
        assert!(found.error.bound() <= Span::from_micros(250) && found.best == "a");
    }

    #[test]
    fn two_that_contradict_each_other_decide_nothing() {
        let split = [answer("a", 0, 100), answer("b", 10_000, 100)];
        let Err(NoConsensus::NoMajority(who)) = Consensus::of(&split) else { panic!("a majority of two?") };
        assert_eq!(who, ["a", "b"]);
        assert_eq!(Consensus::of(&[]), Err(NoConsensus::NoAnswer));
    }

    #[test]
    fn many_answers_of_one_server_are_one_voice() {
        let mut answers = vec![answer("honest", 0, 100), answer("second", 20, 100)];
        answers.extend((0..5).map(|_| answer("liar", 900_000, 10)));
        assert_eq!(Consensus::of(&answers).unwrap().falsetickers, ["liar"]);
    }

    #[test]
    fn an_exact_zero_is_an_answer() {
        let found = Consensus::of(&[answer("a", 0, 100), answer("b", 0, 100)]).unwrap();
        assert_eq!((found.error.offset, found.error.bound()), (Span::ZERO, Span::from_micros(100)));
    }

    proptest! {
        /// Truth (an offset of `truth`) is inside whenever fewer than half lie, whatever the liars say.
        #[test]
        fn truth_is_inside_unless_half_lie(
            truth in -1_000_000i64..1_000_000,
            honest in prop::collection::vec((-1_000i64..1_000, 0i64..1_000), 1..7),
            liars in prop::collection::vec((any::<i32>(), 0i64..1_000), 0..6),
        ) {
            prop_assume!(liars.len() < honest.len());
            let honest = honest.iter().enumerate()
                .map(|(i, &(off, extra))| answer(&format!("h{i}"), truth + off, off.abs() + extra));
            let liars = liars.iter().enumerate()
                .map(|(i, &(off, error))| answer(&format!("l{i}"), i64::from(off), error));
            let found = Consensus::of(&honest.chain(liars).collect::<Vec<_>>()).unwrap();
            let (error, truth) = (found.error, Span::from_micros(truth));
            prop_assert!(error.offset - error.early <= truth && truth <= error.offset + error.late);
            prop_assert!(error.early >= Span::ZERO && error.late >= Span::ZERO);
        }
    }
}
