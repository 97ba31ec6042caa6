//! Forecasting patch by patch: what was read stays in memory, what was forecast is scaled by statistics that go on
//! through it, and several paths can continue the same context.

use candle_core::{Result, Tensor};

use super::mixture::Mixture;
use super::{Groups, Memory, Toto};

/// Added to the variance of a series.
const VARIANCE_FLOOR: f64 = 0.1;

/// Series of equal length, `[series][step]`, finite everywhere.
pub(crate) struct Context {
    pub(crate) values: Vec<Vec<f64>>,
    /// Which of the values were observed.
    pub(crate) observed: Vec<Vec<bool>>,
    /// The group of each series: only series of one group attend to each other.
    pub(crate) groups: Vec<usize>,
}

/// A forecast under way.
pub(crate) struct Decoding<'a> {
    toto: &'a Toto,
    groups: Groups,
    memories: Vec<Memory>,
    /// `[series · path]`.
    statistics: Vec<Statistics>,
    /// Least and largest scale of each series.
    bounds: Vec<(f64, f64)>,
    paths: usize,
    /// Patches read so far.
    position: usize,
}

impl<'a> Decoding<'a> {
    /// Reads a context; gives one path and the patch that follows it, `[series]`.
    pub(crate) fn start(toto: &'a Toto, context: &Context) -> Result<(Self, Vec<Patch>)> {
        let (patch, exponent) = (toto.config.patch_size, toto.config.scale_factor_exponent);
        let (mut z, mut statistics, mut bounds) = (Vec::new(), Vec::new(), Vec::new());
        let mut patches = 0;
        for (values, observed) in context.values.iter().zip(&context.observed) {
            let padding = values.len().next_multiple_of(patch) - values.len();
            let values = [vec![0.0; padding].as_slice(), values].concat();
            let observed = [vec![false; padding].as_slice(), observed].concat();
            let bound = bounds_of(&values, &observed, exponent);
            let mut running = Statistics::default();
            patches = values.len() / patch;
            for (values, observed) in values.chunks(patch).zip(observed.chunks(patch)) {
                values.iter().zip(observed).filter(|(_, seen)| **seen).for_each(|(x, _)| running.add(*x));
                let (location, scale) = running.scaling(bound);
                z.extend(values.iter().map(|x| ((x - location) / scale) as f32));
            }
            statistics.push(running);
            bounds.push(bound);
        }
        let groups = Groups::new(&context.groups, &toto.device)?;
        let z = Tensor::from_vec(z, (statistics.len(), patches, patch), &toto.device)?;
        let (state, memories) = toto.read(&z, &groups)?;
        let start = Self { toto, groups, memories, statistics, bounds, paths: 1, position: patches };
        let first = start.patches(&state)?;
        Ok((start, first))
    }

    /// This many paths that go on from here, all alike so far.
    pub(crate) fn fork(&self, paths: usize) -> Self {
        let alike = |statistics: &Statistics| std::iter::repeat_n(*statistics, paths);
        Self {
            toto: self.toto,
            groups: Groups(self.groups.0.clone()),
            memories: self.memories.clone(),
            statistics: self.statistics.iter().flat_map(alike).collect(),
            bounds: self.bounds.clone(),
            paths,
            position: self.position,
        }
    }

    /// Reads a patch of values on each path, `[series · path][step]`, and gives the patches that follow.
    pub(crate) fn append(&mut self, patches: &[Vec<f64>]) -> Result<Vec<Patch>> {
        let mut z = Vec::new();
        for (i, values) in patches.iter().enumerate() {
            let values = || values.iter().map(|x| representable(*x));
            values().for_each(|x| self.statistics[i].add(x));
            let (location, scale) = self.scaling(i);
            z.extend(values().map(|x| ((x - location) / scale) as f32));
        }
        let shape = (self.bounds.len(), self.paths, self.toto.config.patch_size);
        let z = Tensor::from_vec(z, shape, &self.toto.device)?;
        let states = self.toto.read_next(&z, self.position, &self.groups, &mut self.memories)?;
        self.position += 1;
        self.patches(&states)
    }

    fn patches(&self, states: &Tensor) -> Result<Vec<Patch>> {
        let mixtures = self.toto.mixtures(states)?.into_iter().enumerate();
        let patch = |(i, mixtures)| {
            let (location, scale) = self.scaling(i);
            Patch { mixtures, location, scale }
        };
        Ok(mixtures.map(patch).collect())
    }

    fn scaling(&self, i: usize) -> (f64, f64) {
        self.statistics[i].scaling(self.bounds[i / self.paths])
    }
}

/// What the model says about one patch of steps: mixtures of a scaled variable.
#[derive(Clone)]
pub(crate) struct Patch {
    pub(crate) mixtures: Vec<Mixture>,
    pub(crate) location: f64,
    pub(crate) scale: f64,
}

impl Patch {
    /// `[step]`.
    pub(crate) fn means(&self) -> Vec<f64> {
        self.mixtures.iter().map(|mixture| self.unscaled(mixture.mean())).collect()
    }

    pub(crate) fn quantiles(&self, step: usize, levels: &[f64]) -> Vec<f64> {
        self.mixtures[step].quantiles(levels).into_iter().map(|x| self.unscaled(x)).collect()
    }

    /// A value of a step by uniform random numbers.
    pub(crate) fn draw(&self, step: usize, uniform: [f64; 3]) -> f64 {
        self.unscaled(self.mixtures[step].draw(uniform))
    }

    fn unscaled(&self, x: f64) -> f64 {
        x * self.scale + self.location
    }
}

/// A value that the model can go on from: others count as 0.
fn representable(x: f64) -> f64 {
    if x.abs() < f64::from(f32::MAX) / 2.0 { x } else { 0.0 }
}

/// Count, mean and squared deviations of the values so far (Welford 1962).
#[derive(Clone, Copy, Default)]
struct Statistics {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Statistics {
    fn add(&mut self, x: f64) {
        let before = x - self.mean;
        self.count += 1.0;
        self.mean += before / self.count;
        self.squares += before * (x - self.mean);
    }

    /// Location and scale, rounded as the network has seen them.
    fn scaling(&self, (least, largest): (f64, f64)) -> (f64, f64) {
        let variance = self.squares / (self.count - 1.0).max(1.0);
        let scale = (variance + VARIANCE_FLOOR).sqrt().max(least).min(largest);
        (f64::from(self.mean as f32), f64::from(scale as f32))
    }
}

/// Between which bounds the scale stays, by the whole context's deviation.
fn bounds_of(values: &[f64], observed: &[bool], exponent: f64) -> (f64, f64) {
    let seen = || values.iter().zip(observed).filter(|(_, seen)| **seen).map(|(x, _)| *x);
    let count = seen().count().max(1) as f64;
    let mean = seen().sum::<f64>() / count;
    let variance = seen().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
    let deviation = (variance + VARIANCE_FLOOR).sqrt();
    let factor = 10f64.powf(exponent);
    ((deviation / factor).max(0.1), deviation * factor)
}
