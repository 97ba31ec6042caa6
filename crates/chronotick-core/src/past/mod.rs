//! The past as it was measured, and what the measurements after an instant say of it besides those before.
//!
//! Kept are the measurements of trusted sources, their paths' offsets taken off, combined into one point each
//! [`Past::CELL`]. A Kalman filter for a correction whose rate walks at random runs forward over them, and
//! the recursion of Rauch, Tung and Striebel (1965) carries what came later back. No forecast is ever kept.

mod smoother;

use crate::{Outlook, RawInstant, Span, Timestamp};
use smoother::{Sight, Step, smooth};
use std::collections::VecDeque;

/// What was measured in the last hours, and the smoother over it.
///
/// ```
/// use chronotick_core::*;
/// let engine = Engine::new(Settings::default(), RawInstant::from_nanos(0));
/// assert_eq!(engine.past().smoothed(RawInstant::from_nanos(0)), None);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Past {
    /// Where zero correction is.
    origin: Option<(RawInstant, Timestamp)>,
    /// In ascending order of their instants.
    cells: VecDeque<Cell>,
}

/// True time at a past raw instant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Smoothed {
    /// True time then.
    pub utc: Timestamp,
    /// Standard deviation of that.
    pub sigma: Span,
}

/// How the rate of the raw clock went, on a regular grid: what a forecasting model sees.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// The rate at each grid point, oldest first: true time runs so much faster than the raw clock (s/s). NaN where
    /// nothing was measured near.
    pub rates: Vec<f64>,
    /// Standard deviations of the rates (s/s); NaN where the rate is.
    pub sigmas: Vec<f64>,
    /// The rate at the newest grid point, by all measurements until then, however long ago the newest was. Subtract it
    /// before single precision sees the series.
    pub newest: f64,
}

/// All that a forecasting model may see, from the newest measurement on: in numbers around zero, fit for single precision.
#[derive(Clone, Debug, PartialEq)]
pub struct Prospect {
    /// The line that the numbers refer to, and what the bank foresees beyond it at each step of the horizon.
    pub outlook: Outlook,
    /// By how much the measured rate was above the line's, in 10⁻⁹, oldest first; NaN where nothing was measured near.
    pub rates: Vec<f64>,
    /// Standard deviations of these, in 10⁻⁹; NaN where the rate is.
    pub rate_sigmas: Vec<f64>,
    /// Standard deviations that the bank states at each step of the horizon, ns.
    pub bank_sigmas: Vec<f64>,
}

/// The measurements of a short while, combined.
#[derive(Clone, Copy, Debug)]
struct Cell {
    begun: RawInstant,
    /// Sum of the inverse variances, 1/s².
    weight: f64,
    /// Weighted sums of instants since `begun` and of corrections since the origin, s.
    instants: f64,
    corrections: f64,
    /// What is wrong with all measurements of the time alike: its variance, s².
    common: f64,
}

impl Cell {
    fn at(&self) -> RawInstant {
        self.begun + Span::from_secs_f64(self.instants / self.weight)
    }
}

/// A grid point this far from every measurement has no rate of its own.
const NEAR: Span = Span::from_secs(150);

impl Past {
    /// Measurements within this time are kept as one.
    pub const CELL: Span = Span::from_secs(8);
    /// So many combined measurements are kept: at least four and a half hours.
    pub const CELLS: usize = 2048;

    /// A trusted measurement: true time was `utc` at `at`, with a variance of its own and one that it shares with all
    /// measurements of the time (s²). One that is older than those combined before the newest is ignored.
    pub(crate) fn observe(&mut self, at: RawInstant, utc: Timestamp, variance: f64, common: f64) {
        let (raw, origin) = *self.origin.get_or_insert((at, utc));
        let before = self.cells.len().checked_sub(2).map(|i| self.cells[i].at());
        if before.is_some_and(|before| at <= before) || variance.is_nan() || variance <= 0.0 {
            return;
        }
        let correction = ((utc - origin) - (at - raw)).as_secs_f64();
        if self.cells.back().is_none_or(|cell| at - cell.begun >= Past::CELL) {
            if self.cells.len() == Past::CELLS {
                self.cells.pop_front();
            }
            self.cells.push_back(Cell { begun: at, weight: 0.0, instants: 0.0, corrections: 0.0, common });
        }
        if let Some(cell) = self.cells.back_mut() {
            let weight = variance.recip();
            cell.weight += weight;
            cell.instants += weight * (at - cell.begun).as_secs_f64();
            cell.corrections += weight * correction;
            cell.common = common;
        }
    }

    /// What was measured until now says nothing of the time from now on.
    pub(crate) fn forget(&mut self) {
        *self = Past::default();
    }

    /// The oldest and the newest instant of which something is known.
    pub fn reach(&self) -> Option<(RawInstant, RawInstant)> {
        Some((self.cells.front()?.at(), self.cells.back()?.at()))
    }

    /// True time at an instant between the measurements that are kept, by those before and after it; `None` outside
    /// of [`reach`](Past::reach), and where fewer than three combined measurements are kept.
    pub fn smoothed(&self, at: RawInstant) -> Option<Smoothed> {
        self.smoothed_each(&[at]).pop().flatten()
    }

    /// The same at many instants, which ascend, for little more than at one.
    pub fn smoothed_each(&self, instants: &[RawInstant]) -> Vec<Option<Smoothed>> {
        let mut answers = vec![None; instants.len()];
        let (Some((oldest, newest)), Some((raw, utc))) = (self.reach(), self.origin) else { return answers };
        if self.cells.len() < 3 {
            return answers;
        }
        let first = instants.partition_point(|at| *at < oldest);
        let known = &instants[first..instants.partition_point(|at| *at <= newest).max(first)];
        for ((answer, at), state) in answers[first..].iter_mut().zip(known).zip(self.states(known)) {
            let common = self.around(*at).map(|cell| cell.common).fold(0.0, f64::max);
            let variance = state.cc + common;
            *answer = Some(Smoothed {
                utc: utc + (*at - raw) + Span::from_secs_f64(state.c),
                sigma: Span::from_secs_f64(variance.sqrt()),
            });
        }
        answers
    }

    /// The rate on a grid of `count` points, `step` apart, of which the last is `now`.
    ///
    /// # Panics
    /// If `step` is not positive.
    pub fn series(&self, step: Span, count: usize, now: RawInstant) -> Series {
        assert!(step > Span::ZERO, "a grid's step is positive");
        let grid: Vec<RawInstant> = (0..count).rev().map(|i| now - step.times(i as i64)).collect();
        let nothing = vec![f64::NAN; count];
        let mut series = Series { rates: nothing.clone(), sigmas: nothing, newest: 0.0 };
        let Some(first) = self.cells.front().map(Cell::at) else { return series };
        let begun = grid.partition_point(|at| *at < first);
        let states = self.states(&grid[begun..]);
        series.newest = states.last().map_or(0.0, |state| state.f);
        for (i, (at, state)) in (begun..).zip(grid[begun..].iter().zip(states)) {
            if self.around(*at).any(|cell| (cell.at() - *at).abs() <= NEAR) {
                series.rates[i] = state.f;
                series.sigmas[i] = state.ff.sqrt();
            }
        }
        series
    }

    /// The combined measurements next to an instant.
    fn around(&self, at: RawInstant) -> impl Iterator<Item = &Cell> {
        let after = self.cells.partition_point(|cell| cell.at() < at);
        self.cells.range(after.saturating_sub(1)..).take(2)
    }

    /// Where the clock was at these instants, which ascend.
    fn states(&self, instants: &[RawInstant]) -> Vec<smoother::State> {
        let Some((origin, _)) = self.origin else { return Vec::new() };
        let seconds = |at: RawInstant| (at - origin).as_secs_f64();
        let mut asked = instants.iter().map(|at| seconds(*at)).peekable();
        let mut steps = Vec::with_capacity(self.cells.len() + instants.len());
        for cell in &self.cells {
            let at = seconds(cell.at());
            while let Some(at) = asked.next_if(|asked| *asked < at) {
                steps.push(Step { at, sight: None });
            }
            let sight = Sight { c: cell.corrections / cell.weight, variance: cell.weight.recip() };
            steps.push(Step { at, sight: Some(sight) });
        }
        steps.extend(asked.map(|at| Step { at, sight: None }));
        let (states, _) = smooth(&steps);
        steps.iter().zip(states).filter(|(step, _)| step.sight.is_none()).map(|(_, state)| state).collect()
    }
}
