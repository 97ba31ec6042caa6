//! What later knowledge says of earlier samples.
//!
//! A later bound confines truth at an earlier instant as well: carried back along the raw clock, and widened by the envelope of
//! the rate. Of the rates that were known within the hour after, the one with the narrowest envelope counts: it is never
//! narrower than what the frequency changes by within an hour. The estimate is the engine's smoothed one,
//! where it has one. Samples of the last [`WINDOW`] are rewritten again and again, older ones have settled.

use chronotick_clock::{Offset, Rate, RawInstant, Span, Timestamp};
use rusqlite::{Connection, params};

/// So far back later measurements change what is known of a sample.
pub(crate) const WINDOW: Span = Span::from_secs(3600);

/// True time at raw instants, which ascend, and its standard deviation; none where the engine cannot tell.
pub type Smoothed<'a> = dyn Fn(&[RawInstant]) -> Vec<Option<(Timestamp, Span)>> + 'a;

/// A sample, as far as carrying it back concerns.
struct Held {
    id: i64,
    epoch: u32,
    raw: RawInstant,
    system: Timestamp,
    offset: Span,
    sigma: Span,
    early: Span,
    late: Span,
    rate: Rate,
    growth: Rate,
}

/// A rate, and by how much it may be another.
#[derive(Clone, Copy)]
struct Pace {
    rate: Rate,
    growth: Rate,
}

impl Pace {
    fn narrower(self, other: Pace) -> Pace {
        if self.growth <= other.growth { self } else { other }
    }
}

/// A sample with what is known of it by now.
struct Known<'a> {
    sample: &'a Held,
    confined: Confined,
    pace: Pace,
}

/// Where true time − raw clock is at an instant.
#[derive(Clone, Copy)]
struct Confined {
    low: Span,
    high: Span,
}

impl Held {
    fn lag(&self) -> Span {
        Span::from_nanos(self.system.as_nanos()) - Span::from_nanos(self.raw.as_nanos())
    }

    fn pace(&self) -> Pace {
        Pace { rate: self.rate, growth: self.growth }
    }

    fn confined(&self) -> Confined {
        let estimate = self.lag() + self.offset;
        Confined { low: estimate - self.early, high: estimate + self.late }
    }
}

/// Rewrites what is known of a run's newest samples; how many.
pub(crate) fn settle(
    connection: &mut Connection,
    run: i64,
    smoothed: &Smoothed<'_>,
) -> rusqlite::Result<usize> {
    let transaction = connection.transaction()?;
    let held = newest_first(&transaction, run)?;
    let instants: Vec<RawInstant> = held.iter().rev().map(|sample| sample.raw).collect();
    let estimates = smoothed(&instants).into_iter().rev().chain(std::iter::repeat(None));
    let mut after: Option<Known<'_>> = None;
    {
        let mut update = transaction.prepare_cached(
            "UPDATE samples SET later_offset_ns = ?2, later_sigma_ns = ?3, later_early_ns = ?4, later_late_ns = ?5,
             later_rate = ?6, later_growth = ?7 WHERE id = ?1",
        )?;
        for (sample, smoothed) in held.iter().zip(estimates) {
            let next = after.take().filter(|next| next.sample.epoch == sample.epoch);
            let pace = next.as_ref().map_or(sample.pace(), |next| next.pace.narrower(sample.pace()));
            let confined = confine(sample, next.as_ref());
            after = Some(Known { sample, confined, pace });
            let (offset, sigma) = estimate(sample, confined, smoothed);
            let (low, high) = (confined.low - sample.lag(), confined.high - sample.lag());
            let sides = ((offset - low).as_nanos(), (high - offset).as_nanos());
            let (rate, growth) = (pace.rate.to_bits(), pace.growth.to_bits());
            let (offset, sigma) = (offset.as_nanos(), sigma.as_nanos());
            update.execute(params![sample.id, offset, sigma, sides.0, sides.1, rate, growth])?;
        }
    }
    transaction.commit()?;
    Ok(held.len())
}

/// By its own bound, and by what is known of the sample after it. Where the two exclude each other its own holds.
fn confine(sample: &Held, after: Option<&Known<'_>>) -> Confined {
    let own = sample.confined();
    let Some(next) = after else { return own };
    let back = next.sample.raw - sample.raw;
    let (rate, growth) = (next.pace.rate.over(back), next.pace.growth.over(back));
    let both = Confined {
        low: own.low.max(next.confined.low - rate - growth),
        high: own.high.min(next.confined.high - rate + growth),
    };
    if both.low <= both.high { both } else { own }
}

/// The offset and its spread: smoothed where that is known, and never outside of the bound.
fn estimate(sample: &Held, confined: Confined, smoothed: Option<(Timestamp, Span)>) -> (Span, Span) {
    let (offset, sigma) = smoothed.map_or((sample.offset, sample.sigma), |(utc, sigma)| {
        (Offset::between(utc, sample.system).correction(), sigma)
    });
    let inside = offset.clamp(confined.low - sample.lag(), confined.high - sample.lag());
    (inside, sigma + (inside - offset).abs())
}

fn newest_first(connection: &Connection, run: i64) -> rusqlite::Result<Vec<Held>> {
    let mut query = connection.prepare_cached(
        "SELECT id, epoch, raw_ns, system_ns, offset_ns, sigma_ns, early_ns, late_ns, rate, growth FROM samples
         WHERE run = ?1 AND id > (SELECT coalesce(max(id), 0) FROM samples WHERE run = ?1) - ?2
         ORDER BY id DESC",
    )?;
    // A sample is taken every ten seconds at most.
    let most = WINDOW.as_nanos() / 10_000_000_000;
    let span = |row: &rusqlite::Row<'_>, i| row.get(i).map(Span::from_nanos);
    let rows = query.query_map(params![run, most], |row| {
        Ok(Held {
            id: row.get(0)?,
            epoch: row.get(1)?,
            raw: RawInstant::from_nanos(row.get(2)?),
            system: Timestamp::from_nanos(row.get(3)?),
            offset: span(row, 4)?,
            sigma: span(row, 5)?,
            early: span(row, 6)?,
            late: span(row, 7)?,
            rate: Rate::from_bits(row.get(8)?),
            growth: Rate::from_bits(row.get(9)?),
        })
    })?;
    rows.collect()
}
