//! Filters with different ideas of how a clock wanders, in parallel, each believed as far as it predicted the recent
//! measurements.
//!
//! No single noise level works: an oscillator in a quiet room and one beside a fan differ by decades.

use super::filter::{Filter, Forecast, Innovation, Lean, PATHS, Sight, Wander};

/// How long the likelihood of a prediction counts, s.
const MEMORY: f64 = 7200.0;
/// How far a path's offset may wander, s/√s.
pub(super) const PATH_WALK: f64 = 1e-7;

const WALKS: [f64; 5] = [3e-10, 1e-9, 3e-9, 1e-8, 3e-8];
const DRIFTS: [(f64, f64); 5] =
    [(1e-12, 7200.0), (3e-12, 7200.0), (1e-11, 3600.0), (3e-11, 3600.0), (1e-10, 1800.0)];
/// Periods of the oscillations: `450 s · 1.23^i`, from seven minutes to over two hours.
const PERIODS: usize = 15;
/// How far the queues of all paths may lean to one side, together, and for how long, s: the waits of the moment, and a
/// way that is always the busier one.
const LEANS: [Lean; 2] = [Lean { sigma: 0.15, lasts: 600.0 }, Lean { sigma: 0.6, lasts: 7200.0 }];
/// A clock that somebody steers changes its rate by parts per million within minutes. How much less likely that is, as a
/// logarithm.
const RESTLESS: [f64; 2] = [1e-7, 3e-7];
const RESTLESS_PRIOR: f64 = -3.0;
/// How much less likely an oscillation, or a lean, is than neither before anything was measured, as a logarithm.
const SWING_PRIOR: f64 = -1.0;
const LEAN_PRIOR: f64 = -3.0;

#[derive(Clone, Debug)]
struct Member {
    filter: Filter,
    /// Logarithm of how likely it is before anything was measured.
    prior: f64,
    log_likelihood: f64,
}

#[derive(Clone, Debug)]
pub(super) struct Bank {
    members: Vec<Member>,
    weights: Vec<f64>,
    jumps: [Jump; LIVES.len()],
}

/// The hypothesis that the frequency jumped when it was put up.
#[derive(Clone, Debug)]
struct Jump {
    filter: Filter,
    /// How much more likely the measurements since then are under it, as a logarithm.
    evidence: f64,
    measurements: u32,
}

/// After so many measurements a hypothesis is put up anew.
const LIVES: [u32; 4] = [12, 40, 120, 400];
/// A jump of frequency is of this size.
const JUMP: f64 = 3e-6;
/// A jump is believed when the measurements since are so much more likely with it, as a logarithm.
const CONVINCING: f64 = 8.5;
/// A measurement is taken for what it is up to so many standard deviations.
const FAR: f64 = 3.0;
const AFTER_JUMP: Wander = Wander::Walk { q: 3e-9 };

impl Bank {
    /// Filters that know the correction to `sigma` (s) and the rate as given.
    pub(super) fn new(sigma: f64, rate: f64, rate_sigma: f64) -> Bank {
        let walks = WALKS.map(|q| Wander::Walk { q });
        let drifts = DRIFTS.map(|(q, decay)| Wander::Drift { q, decay });
        let swings = (0..PERIODS).flat_map(|i| {
            let period = 450.0 * 1.23f64.powi(i as i32);
            [20.0, 4.0].map(|n| Wander::Swing { period, decay: n * period, amplitude: 4e-7, q: 1.5e-9 })
        });
        let filter = |wander, lean| Filter::new(wander, lean, sigma, rate, rate_sigma);
        let steady = || walks.into_iter().chain(drifts);
        let even = steady().map(|w| (filter(w, Lean::NONE), 0.0));
        let leaning = steady().flat_map(|w| LEANS.map(|lean| (filter(w, lean), LEAN_PRIOR)));
        let swinging = swings.map(|w| (filter(w, Lean::NONE), SWING_PRIOR));
        let restless = RESTLESS.map(|q| (filter(Wander::Walk { q }, Lean::NONE), RESTLESS_PRIOR));
        let all = even.chain(leaning).chain(restless).chain(swinging);
        let members: Vec<Member> =
            all.map(|(filter, prior)| Member { filter, prior, log_likelihood: 0.0 }).collect();
        let weights = vec![1.0 / members.len() as f64; members.len()];
        let jumps = LIVES.map(|_| Jump::new(&members[0].filter));
        Bank { members, weights, jumps }
    }

    /// Lets `dt` seconds pass.
    pub(super) fn advance(&mut self, dt: f64) {
        let forget = (-dt / MEMORY).exp();
        for m in &mut self.members {
            m.filter.advance(dt, PATH_WALK);
            m.log_likelihood *= forget;
        }
        for jump in &mut self.jumps {
            jump.filter.advance(dt, PATH_WALK);
        }
    }

    /// What the filter that predicted best expected of a measurement: innovation and its variance.
    pub(super) fn expect(&self, sight: &Sight) -> Innovation {
        self.best().innovation(sight)
    }

    /// Takes in a measurement and says how far it was from the prediction of all filters
    /// together, and the variance of that prediction.
    pub(super) fn correct(&mut self, sight: &Sight) -> (f64, f64) {
        let (mut mean, mut square, mut likelihood) = (0.0, 0.0, 0.0);
        for (m, &w) in self.members.iter_mut().zip(&self.weights) {
            let innovation = m.filter.innovation(sight);
            let told = tell(&mut m.filter, &innovation, sight.r);
            m.log_likelihood += told;
            mean += w * innovation.e;
            square += w * (innovation.e * innovation.e + innovation.v);
            likelihood += w * told.exp();
        }
        self.reweigh();
        self.consider_jumps(sight, likelihood.max(f64::MIN_POSITIVE).ln());
        (mean, (square - mean * mean).max(0.0))
    }

    fn consider_jumps(&mut self, sight: &Sight, usual: f64) {
        for jump in &mut self.jumps {
            let innovation = jump.filter.innovation(sight);
            jump.evidence += tell(&mut jump.filter, &innovation, sight.r) - usual;
            jump.measurements += 1;
        }
        let convincing = self.jumps.iter().find(|j| j.evidence > CONVINCING);
        if let Some(filter) = convincing.map(|j| j.filter.clone()) {
            self.members.iter_mut().for_each(|m| m.filter.adopt(&filter));
            self.jumps = LIVES.map(|_| Jump::new(&filter));
        }
        for (i, life) in LIVES.into_iter().enumerate() {
            if self.jumps[i].measurements >= life {
                self.jumps[i] = Jump::new(self.best());
            }
        }
    }

    /// Forgets a path but for this offset (s) and its variance (s²).
    pub(super) fn reset_path(&mut self, path: usize, offset: f64, variance: f64) {
        self.each(|f| f.reset_path(path, offset, variance));
    }

    /// Excesses on a path are smaller by `by` (s) from now on, because they are counted from another delay.
    pub(super) fn raise_floor(&mut self, path: usize, by: f64) {
        if by != 0.0 {
            self.each(|f| f.raise_floor(path, by));
        }
    }

    /// Queues are not what they were: which way they lean is unknown.
    pub(super) fn straighten(&mut self) {
        self.each(Filter::straighten);
        // What spoke for a lean until now says nothing of the queues to come.
        let (even, others) = self.members.split_at_mut(WALKS.len() + DRIFTS.len());
        for (leaning, even) in others.chunks_exact_mut(LEANS.len()).zip(even) {
            leaning.iter_mut().for_each(|m| m.log_likelihood = even.log_likelihood);
        }
    }

    /// The clock has moved by about so much (s); the variances of that and of a change of its rate.
    pub(super) fn shift(&mut self, by: f64, correction: f64, rate: f64) {
        self.each(|f| f.shift(by, correction, rate));
    }

    /// The offset of a path, s.
    pub(super) fn path(&self, path: usize) -> f64 {
        self.members.iter().zip(&self.weights).map(|(m, w)| w * m.filter.path(path)).sum()
    }

    /// The variance of that, s².
    pub(super) fn path_variance(&self, path: usize) -> f64 {
        self.members.iter().zip(&self.weights).map(|(m, w)| w * m.filter.path_variance(path)).sum()
    }

    /// How the queues of all paths lean to one side: an error of so much times a packet's excess.
    pub(super) fn lean(&self) -> f64 {
        self.members.iter().zip(&self.weights).map(|(m, w)| w * m.filter.lean()).sum()
    }

    /// Makes the offset of a path less certain by this variance (s²).
    pub(super) fn widen_path(&mut self, path: usize, variance: f64) {
        self.each(|f| f.widen_path(path, variance));
    }

    /// Correction plus weighted path offsets, `dt` seconds from now, of all filters together.
    ///
    /// The mean is that of the filters as they are believed now. Without measurements the evidence for one filter over
    /// another fades, so the variance around that mean is the larger one of filters believed less and less.
    pub(super) fn forecast(&self, dt: f64, paths: &[f64; PATHS]) -> Forecast {
        // Relative to one of them, since a correction of seconds would drown a variance of nanoseconds squared.
        let origin = self.best().forecast(dt, paths);
        let most = self.members.iter().map(|m| m.log_likelihood).fold(f64::NEG_INFINITY, f64::max);
        let fade = (-dt / MEMORY).exp();
        let mut mean = Forecast { cc: origin.cc, cf: origin.cf, ff: origin.ff, ..Forecast::default() };
        let (mut total, mut faded_total) = (0.0, 0.0);
        // First and second moments around the origin under the faded weights.
        let (mut c1, mut f1, mut cc, mut cf, mut ff) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for (m, &weight) in self.members.iter().zip(&self.weights) {
            let faded = (m.prior + fade * (m.log_likelihood - most)).exp();
            if weight < 1e-6 && faded < 1e-6 {
                continue;
            }
            let member = m.filter.forecast(dt, paths);
            let (c, f) = (member.c - origin.c, member.f - origin.f);
            total += weight;
            mean.c += weight * c;
            mean.f += weight * f;
            mean.walk += weight * member.walk;
            faded_total += faded;
            c1 += faded * c;
            f1 += faded * f;
            cc += faded * (member.cc + c * c);
            cf += faded * (member.cf + c * f);
            ff += faded * (member.ff + f * f);
        }
        if total > 0.0 && faded_total > 0.0 {
            let (c, f) = (mean.c / total, mean.f / total);
            let [c1, f1, cc, cf, ff] = [c1, f1, cc, cf, ff].map(|moment| moment / faded_total);
            mean.c = c;
            mean.f = f;
            mean.walk /= total;
            mean.cc = (cc - 2.0 * c * c1 + c * c).max(0.0);
            mean.cf = cf - c * f1 - f * c1 + c * f;
            mean.ff = (ff - 2.0 * f * f1 + f * f).max(0.0);
        }
        Forecast { c: origin.c + mean.c, f: origin.f + mean.f, ..mean }
    }

    /// How likely it is that the clock does not oscillate, 0–1.
    pub(super) fn steady(&self) -> f64 {
        // The filters with an oscillation come last.
        self.weights[..self.weights.len() - 2 * PERIODS].iter().sum()
    }

    fn best(&self) -> &Filter {
        let best = (0..self.members.len()).max_by(|a, b| self.weights[*a].total_cmp(&self.weights[*b]));
        &self.members[best.unwrap_or(0)].filter
    }

    fn each(&mut self, change: impl FnMut(&mut Filter)) {
        let members = self.members.iter_mut().map(|m| &mut m.filter);
        members.chain(self.jumps.iter_mut().map(|j| &mut j.filter)).for_each(change);
    }

    fn reweigh(&mut self) {
        let most = self.members.iter().map(|m| m.prior + m.log_likelihood).fold(f64::NEG_INFINITY, f64::max);
        let mut sum = 0.0;
        for (w, m) in self.weights.iter_mut().zip(&self.members) {
            *w = (m.prior + m.log_likelihood - most).exp();
            sum += *w;
        }
        self.weights.iter_mut().for_each(|w| *w /= sum);
    }
}

impl Jump {
    fn new(now: &Filter) -> Jump {
        Jump { filter: now.jumped(AFTER_JUMP, JUMP), evidence: 0.0, measurements: 0 }
    }
}

/// Tells a filter of a measurement with its own variance `r` (s²). The logarithm of how likely it thought that.
fn tell(filter: &mut Filter, innovation: &Innovation, r: f64) -> f64 {
    let s = innovation.v + r;
    let z = innovation.e.abs() / s.sqrt();
    let far = z / FAR;
    if far <= 1.0 {
        filter.correct(innovation, r);
        return -0.5 * (z * z + s.ln());
    }
    // Huber: what lies further out pulls no harder, and what lies ever further out says ever less more of who was right.
    filter.correct(innovation, far * far * s - innovation.v);
    -(FAR * FAR * (0.5 + far.ln())) - 0.5 * s.ln()
}
