//! The offset of the system clock between two samples, from both sides.
//!
//! Between samples two things move: true time against the raw clock, slowly and within the recorded envelope; and the
//! system clock against the raw clock, which its samples give exactly, but between them somebody may have slewed or stepped
//! it. So truth is confined from both sides along the raw clock, and the system clock is taken to have kept any of the rates
//! that it had before, between and after the two samples: the interval is the hull over these. Where nobody touched the
//! clock they are alike and the hull is narrow; where somebody did, it is as wide as that may matter.

use crate::NotKnown;
use chronotick_clock::{Offset, Rate, RawInstant, Span, State, Timestamp};

/// A sample, as it is known now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    pub(crate) boot: i64,
    /// Run and epoch: within one, true time against the raw clock has no break.
    pub(crate) life: (i64, i64),
    pub(crate) stepped: bool,
    pub(crate) system: Timestamp,
    pub(crate) raw: RawInstant,
    pub(crate) offset: Span,
    pub(crate) sigma: Span,
    pub(crate) early: Span,
    pub(crate) late: Span,
    pub(crate) rate: Rate,
    pub(crate) growth: Rate,
    pub(crate) state: State,
    pub(crate) settled: bool,
    /// By how much the offset moved within the minute that it stands for.
    pub(crate) spread: Span,
}

/// What the system clock lacked at a past reading. Truth was within `offset − early ..= offset + late` of the reading.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PastOffset {
    /// True time − system clock.
    pub offset: Offset,
    /// Standard deviation of that.
    pub sigma: Span,
    /// Truth was no more than this before `reading + offset`.
    pub early: Span,
    /// Truth was no more than this after `reading + offset`.
    pub late: Span,
    /// The worse of the states on both sides.
    pub state: State,
    /// What it rests on.
    pub how: How,
    /// The clock was stepped by this between the samples around the reading; positive is ahead.
    pub step: Option<Span>,
    /// How often the clock may have shown the reading; more than once after a step back.
    pub times: usize,
}

/// What a past offset rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// On samples before and after, both with what was measured later.
    Smoothed,
    /// On samples before and after.
    Interpolated,
    /// On samples on one side only.
    Edge,
}

impl How {
    /// In one word.
    pub fn name(self) -> &'static str {
        match self {
            How::Smoothed => "smoothed",
            How::Interpolated => "interpolated",
            How::Edge => "edge",
        }
    }
}

impl PastOffset {
    /// The longer side of the interval.
    pub fn max_error(&self) -> Span {
        self.early.max(self.late)
    }
}

/// Where the offset was at one of the instants that can be meant.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    offset: Span,
    low: Span,
    high: Span,
}

impl Mark {
    /// Samples with a reading this far away are looked at.
    pub(crate) const NEAR: Span = Span::from_secs(7200);
    /// Samples further apart on the raw clock have a gap between them.
    const GAP: Span = Span::from_secs(3600);
    /// A single sample tells of this long before and after it.
    const EDGE: Span = Span::from_secs(30);
    /// No kernel slews faster than by a tenth; with the frequency's 500 ppm.
    const FASTEST_SLEW: f64 = 0.1005;

    fn lag(&self) -> Span {
        Span::from_nanos(self.system.as_nanos()) - Span::from_nanos(self.raw.as_nanos())
    }

    /// True time − raw clock: lowest, estimate, highest, as known `after` the sample; before it where negative.
    fn confined(&self, after: Span) -> (Span, Span, Span) {
        let estimate = self.lag() + self.offset + self.rate.over(after);
        let widened = self.growth.over(after).abs();
        (estimate - self.early - widened, estimate, estimate + self.late + widened)
    }
}

/// The offset at a reading by all samples near, in the order in which they were taken.
pub(crate) fn resolve(marks: &[Mark], reading: Timestamp) -> Result<PastOffset, NotKnown> {
    let (Some(first), Some(last)) = (marks.first(), marks.last()) else { return Err(NotKnown::Empty) };
    let mut found: Vec<PastOffset> = Vec::new();
    let mut stepped_over = None;
    let mut gap = None;
    for i in 0..marks.len().saturating_sub(1) {
        let (a, b) = (&marks[i], &marks[i + 1]);
        let before = i.checked_sub(1).map(|i| &marks[i]);
        if a.boot == b.boot && b.raw - a.raw <= Mark::GAP && b.raw > a.raw {
            found.extend(between(before, a, b, marks.get(i + 2), reading));
            if a.system < reading && reading < b.system {
                stepped_over = Some(drift(before, a, b, marks.get(i + 2)).1);
            }
        } else {
            found.extend(edge(before, a, reading, Span::ZERO..=Mark::EDGE));
            found.extend(edge(marks.get(i + 2), b, reading, -Mark::EDGE..=Span::from_nanos(-1)));
            if a.system < reading && reading < b.system {
                gap = Some(NotKnown::Gap {
                    from_ns: a.system.as_nanos(),
                    until_ns: b.system.as_nanos(),
                    why: None,
                });
            }
        }
    }
    found.extend(edge(marks.get(1), first, reading, -Mark::EDGE..=Span::from_nanos(-1)));
    found.extend(edge(marks.iter().rev().nth(1), last, reading, Span::ZERO..=Mark::EDGE));
    match (hull(&found), stepped_over, gap) {
        (Some(past), ..) => Ok(past),
        (None, Some(by), _) => Err(NotKnown::SteppedOver { by }),
        (None, None, Some(gap)) => Err(gap),
        (None, None, None) if reading < first.system => {
            Err(NotKnown::Before { after: first.system - reading })
        }
        (None, None, None) => Err(NotKnown::After { before: reading - last.system }),
    }
}

/// How fast the system clock ran against the raw clock between two samples, if that can have been a slew.
fn slope(a: &Mark, b: &Mark) -> Option<f64> {
    let elapsed = (b.raw - a.raw).as_secs_f64();
    let slope = (b.lag() - a.lag()).as_secs_f64() / elapsed;
    (a.boot == b.boot && elapsed > 0.0 && slope.abs() <= Mark::FASTEST_SLEW).then_some(slope)
}

/// The rates that the system clock can have had between two samples, and by how much it jumped beyond what they explain.
fn drift(before: Option<&Mark>, a: &Mark, b: &Mark, after: Option<&Mark>) -> (Vec<f64>, Span) {
    let outer: Vec<f64> =
        [before.and_then(|p| slope(p, a)), after.and_then(|n| slope(b, n))].into_iter().flatten().collect();
    let moved = (b.lag() - a.lag()).as_secs_f64();
    let elapsed = (b.raw - a.raw).as_secs_f64();
    let unexplained = |k: &f64| moved - k * elapsed;
    let by = outer.iter().map(unexplained).min_by(|x, y| x.abs().total_cmp(&y.abs())).unwrap_or(moved);
    let mut rates = outer;
    rates.extend(slope(a, b));
    if rates.is_empty() {
        rates.push(0.0);
    }
    (rates, Span::from_secs_f64(by))
}

fn between(
    before: Option<&Mark>,
    a: &Mark,
    b: &Mark,
    after: Option<&Mark>,
    reading: Timestamp,
) -> Option<PastOffset> {
    let (rates, by) = drift(before, a, b, after);
    let elapsed = b.raw - a.raw;
    // More than anybody slews within the time, or known to be a step: it is said.
    let slewed = Span::from_secs_f64(1e-4 + 1e-3 * elapsed.as_secs_f64());
    let step = (b.stepped || by.abs() > slewed).then_some(by);
    if step.is_none() && !(a.system..b.system).contains(&reading) {
        return None;
    }
    let within = Span::ZERO..=elapsed;
    let mut candidates = Vec::new();
    for k in &rates {
        let since = Span::from_secs_f64((reading - a.system).as_secs_f64() / (1.0 + k));
        if within.contains(&since) {
            let lag = a.lag() + Span::from_secs_f64(k * since.as_secs_f64());
            candidates.push(candidate(a, b, since, lag, Side::Before));
        }
        let until = Span::from_secs_f64((b.system - reading).as_secs_f64() / (1.0 + k));
        if within.contains(&until) && until > Span::ZERO {
            let lag = b.lag() - Span::from_secs_f64(k * until.as_secs_f64());
            candidates.push(candidate(a, b, elapsed - until, lag, Side::After));
        }
    }
    let how = if a.settled && b.settled { How::Smoothed } else { How::Interpolated };
    let straight = slope(a, b).filter(|_| step.is_none()).and_then(|k| {
        let since = Span::from_secs_f64((reading - a.system).as_secs_f64() / (1.0 + k));
        let lag = a.lag() + Span::from_secs_f64(k * since.as_secs_f64());
        within.contains(&since).then(|| candidate(a, b, since, lag, Side::Before).offset)
    });
    let sigma = a.sigma.max(b.sigma);
    // A minute's sample stands for all that was within the minute.
    let spread = a.spread.max(b.spread);
    put_together(&candidates, straight, sigma, spread, worse(a.state, b.state), how, step)
}

enum Side {
    Before,
    After,
}

/// The offset `since` the first of two samples, where the system clock was `lag` ahead of the raw clock.
fn candidate(a: &Mark, b: &Mark, since: Span, lag: Span, side: Side) -> Candidate {
    let elapsed = b.raw - a.raw;
    let (from_a, from_b) = (a.confined(since), b.confined(since - elapsed));
    let (low, estimate, high) = if a.life == b.life {
        let share = since.as_secs_f64() / elapsed.as_secs_f64();
        let (ends_a, ends_b) = (a.confined(Span::ZERO).1, b.confined(Span::ZERO).1);
        let estimate = ends_a + Span::from_secs_f64(share * (ends_b - ends_a).as_secs_f64());
        let (low, high) = (from_a.0.max(from_b.0), from_a.2.min(from_b.2));
        // Two bounds that exclude each other leave their hull.
        if low <= high {
            (low, estimate, high)
        } else {
            (from_a.0.min(from_b.0), estimate, from_a.2.max(from_b.2))
        }
    } else {
        match side {
            Side::Before => from_a,
            Side::After => from_b,
        }
    };
    Candidate { offset: estimate.clamp(low, high) - lag, low: low - lag, high: high - lag }
}

/// The offset by a single sample, `beyond` being another on its far side.
fn edge(
    beyond: Option<&Mark>,
    mark: &Mark,
    reading: Timestamp,
    reach: std::ops::RangeInclusive<Span>,
) -> Option<PastOffset> {
    let k =
        beyond.and_then(|other| if other.raw < mark.raw { slope(other, mark) } else { slope(mark, other) });
    let since = Span::from_secs_f64((reading - mark.system).as_secs_f64() / (1.0 + k.unwrap_or(0.0)));
    if !reach.contains(&since) {
        return None;
    }
    // Somebody may have begun to slew as fast as kernels do by frequency alone.
    let slew = Span::from_secs_f64(500e-6 * since.as_secs_f64().abs());
    let lag = mark.lag() + Span::from_secs_f64(k.unwrap_or(0.0) * since.as_secs_f64());
    let (low, estimate, high) = mark.confined(since);
    let only = Candidate { offset: estimate - lag, low: low - lag - slew, high: high - lag + slew };
    put_together(&[only], None, mark.sigma, mark.spread, mark.state, How::Edge, None)
}

fn put_together(
    candidates: &[Candidate],
    straight: Option<Span>,
    sigma: Span,
    spread: Span,
    state: State,
    how: How,
    step: Option<Span>,
) -> Option<PastOffset> {
    let low = candidates.iter().map(|c| c.low).min()? - spread;
    let high = candidates.iter().map(|c| c.high).max()? + spread;
    let offset = straight.unwrap_or(candidates.first()?.offset).clamp(low, high);
    let apart = candidates.iter().map(|c| (c.offset - offset).abs()).max()?;
    Some(PastOffset {
        offset: Offset::between(Timestamp::from_nanos(offset.as_nanos()), Timestamp::from_nanos(0)),
        sigma: sigma + apart + spread,
        early: offset - low,
        late: high - offset,
        state,
        how,
        step,
        times: 1,
    })
}

/// All that can be meant by a reading that was shown more than once; the newest gives the estimate.
fn hull(found: &[PastOffset]) -> Option<PastOffset> {
    let newest = found.last()?;
    let offset = newest.offset.correction();
    let low = found.iter().map(|p| p.offset.correction() - p.early).min()?;
    let high = found.iter().map(|p| p.offset.correction() + p.late).max()?;
    let apart = found.iter().map(|p| (p.offset.correction() - offset).abs()).max()?;
    Some(PastOffset {
        sigma: newest.sigma + apart,
        early: offset - low,
        late: high - offset,
        state: found.iter().map(|p| p.state).reduce(worse)?,
        step: found.iter().find_map(|p| p.step),
        times: found.len(),
        ..*newest
    })
}

fn worse(a: State, b: State) -> State {
    let rank = |state: State| match state {
        State::Synced => 0,
        State::Holdover => 1,
        State::Warmup => 2,
        State::Unsynced => 3,
        State::Error => 4,
    };
    if rank(a) >= rank(b) { a } else { b }
}
