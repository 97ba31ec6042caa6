//! `wait_until`: answers when corrected time has reached an instant, or when that instant is certainly past, which is
//! what a commit waits for (J. C. Corbett et al., "Spanner: Google's Globally-Distributed Database", OSDI 2012, §4.1.2).
//!
//! A common client gives a call up after a minute: after 50 s the answer is that it has not come to pass yet, and when
//! to ask again.

use super::arguments::{Arguments, Mend};
use super::time::{Present, seconds};
use crate::door::Door;
use crate::utc::rfc3339;
use chronotick_clock::{Reading, Span, Timestamp};
use schemars::JsonSchema;
use serde::Serialize;
use std::time::Duration;

/// The longest that one call waits, in seconds.
pub(super) const LONGEST: f64 = 50.0;
/// From one sign of life to the next.
pub(super) const TICK: Duration = Duration::from_secs(1);

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Target {
    until: Timestamp,
    certain: bool,
    patience: Span,
}

/// The answer of `wait_until`.
#[derive(Serialize, JsonSchema)]
pub(super) struct Waited {
    /// whether the instant has come (certainly, if asked so)
    reached: bool,
    // corrected time now, RFC 3339, UTC
    time: String,
    // the instant waited for
    until: String,
    /// by the bound
    certainly_past: bool,
    waited_seconds: f64,
    // not reached: what is left
    remaining_seconds: Option<f64>,
    /// from then on one more call suffices
    resume_at: Option<String>,
    corrected_time_ns: String,
    earliest_ns: String,
    latest_ns: String,
    state: &'static str,
    // whether to rely on it
    trustworthy: bool,
}

/// How it stands at one moment.
pub(super) enum Standing {
    Reached,
    /// So long, by what is known now.
    Left(Span),
}

impl Target {
    pub(super) fn parse(arguments: &mut Arguments) -> Result<Target, Mend> {
        let until = arguments.instant("time")?;
        let certain = arguments.switch("certain")?;
        let patience = arguments.number("max_seconds", 0.0..=LONGEST, "a number of seconds")?;
        Ok(Target { until, certain, patience: Span::from_secs_f64(patience.unwrap_or(LONGEST)) })
    }

    /// # Errors
    /// If there is no corrected time.
    pub(super) fn look(&self, door: &Door) -> Result<(Standing, Reading), Mend> {
        let present = Present::read(door);
        let reading = present.reading(Span::ZERO).ok_or_else(|| present.unknown())?;
        let mark = if self.certain { reading.earliest } else { reading.estimate };
        let left = self.until - mark;
        // "Certainly past" is past even if the bound is exact.
        let reached = if self.certain { left < Span::ZERO } else { left <= Span::ZERO };
        Ok((if reached { Standing::Reached } else { Standing::Left(left) }, reading))
    }

    pub(super) fn patience(&self) -> Span {
        self.patience
    }

    pub(super) fn answer(&self, door: &Door, waited: Duration) -> Result<Waited, Mend> {
        let (standing, reading) = self.look(door)?;
        let left = match standing {
            Standing::Reached => None,
            Standing::Left(left) => Some(left),
        };
        let resume = |left: Span| reading.estimate + (left - Span::from_secs_f64(LONGEST)).max(Span::ZERO);
        let simulated = door.snapshot().is_ok_and(|snapshot| snapshot.simulation);
        Ok(Waited {
            reached: left.is_none(),
            time: rfc3339(reading.estimate),
            until: rfc3339(self.until),
            certainly_past: reading.earliest > self.until,
            waited_seconds: waited.as_secs_f64(),
            remaining_seconds: left.map(seconds),
            resume_at: left.map(|left| rfc3339(resume(left))),
            corrected_time_ns: reading.estimate.as_nanos().to_string(),
            earliest_ns: reading.earliest.as_nanos().to_string(),
            latest_ns: reading.latest.as_nanos().to_string(),
            state: reading.state.name(),
            trustworthy: reading.is_trustworthy() && !simulated,
        })
    }

    /// Waits until it has come to pass or patience is at its end; `tell` hears once a second how much of how many
    /// seconds has passed. Dropping the future ends it at once.
    pub(super) async fn wait<F: Future<Output = ()>>(
        &self,
        door: &Door,
        tell: impl Fn(f64, f64) -> F,
    ) -> Result<Waited, Mend> {
        let begun = tokio::time::Instant::now();
        let mut total = None;
        while let (Standing::Left(left), _) = self.look(door)? {
            let patience = self.patience() - Span::from(begun.elapsed());
            if patience <= Span::ZERO {
                break;
            }
            let all = *total.get_or_insert(seconds(left.min(patience)));
            let next = Duration::from_nanos(left.min(patience).as_nanos().max(0) as u64).min(TICK);
            tokio::time::sleep(next).await;
            tell(begun.elapsed().as_secs_f64().min(all), all).await;
        }
        self.answer(door, begun.elapsed())
    }
}
