//! One Kalman filter for the correction of a free-running clock, given how its frequency is thought to wander.
//!
//! The state is the correction c (s), its rate f, two numbers u and v that shape the rate (a drift, or an
//! oscillation), the share a of the queues that now leans to one side, and one constant offset for the path to each
//! source. A measurement sees c plus its path's offset plus a times its excess delay.

use std::f64::consts::TAU;

/// How many paths can be followed at once.
pub(super) const PATHS: usize = 8;
/// Entries of the state that describe the clock itself.
pub(super) const CLOCK: usize = 4;
const LEAN: usize = CLOCK;
const FIRST: usize = LEAN + 1;
const N: usize = FIRST + PATHS;
/// Loops go over so many entries at a time: a number known to the compiler, and few beyond those in use.
const LANES: usize = 4;

type Vector = [f64; N.next_multiple_of(LANES)];
type Block = [[f64; CLOCK]; CLOCK];

/// How the frequency of a clock wanders, each with its white noise `q` per √s.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Wander {
    /// A random walk.
    Walk { q: f64 },
    /// A drift (1/s) that decays within `decay` seconds and is driven by `q`, and a slow walk.
    Drift { q: f64, decay: f64 },
    /// An oscillation with a period and a decay in seconds, of stationary standard deviation `amplitude`, and a walk.
    Swing { period: f64, decay: f64, amplitude: f64, q: f64 },
}

const DRIFT_WALK: f64 = 1e-9;

impl Wander {
    fn walk(self) -> f64 {
        match self {
            Wander::Walk { q } | Wander::Swing { q, .. } => q,
            Wander::Drift { .. } => DRIFT_WALK,
        }
    }

    /// Variances of u and v before anything was measured.
    fn initial(self) -> [f64; 2] {
        match self {
            Wander::Walk { .. } => [0.0; 2],
            Wander::Drift { q, decay } => [q * q * decay / 2.0, 0.0],
            Wander::Swing { amplitude, .. } => [amplitude * amplitude; 2],
        }
    }

    /// Steps up to this long (s) are well described by the first terms of a series.
    fn short(self) -> f64 {
        match self {
            Wander::Walk { .. } => f64::INFINITY,
            Wander::Drift { decay, .. } => decay / 32.0,
            Wander::Swing { period, .. } => period / 24.0,
        }
    }

    /// How the clock's part of the state moves within `dt` seconds.
    fn transition(self, dt: f64) -> Transition {
        let mut halvings = 0;
        let mut h = dt;
        while h > self.short() {
            h /= 2.0;
            halvings += 1;
        }
        let mut t = self.short_transition(h);
        for _ in 0..halvings {
            t = t.twice();
        }
        t
    }

    fn short_transition(self, dt: f64) -> Transition {
        let mut f = [[0.0; CLOCK]; CLOCK];
        let mut q = f;
        for (i, row) in f.iter_mut().enumerate() {
            row[i] = 1.0;
        }
        f[0][1] = dt;
        let (d2, d3) = (dt * dt / 2.0, dt * dt * dt / 3.0);
        let walk = self.walk().powi(2);
        q[0][0] = walk * d3;
        q[0][1] = walk * d2;
        q[1][1] = walk * dt;
        match self {
            Wander::Walk { .. } => {}
            Wander::Drift { q: qd, decay } => {
                f[0][2] = d2;
                f[1][2] = dt;
                f[2][2] = (-dt / decay).exp();
                let qd = qd * qd;
                q[0][0] += qd * dt.powi(5) / 20.0;
                q[0][1] += qd * dt.powi(4) / 8.0;
                q[0][2] += qd * dt.powi(3) / 6.0;
                q[1][1] += qd * d3;
                q[1][2] += qd * d2;
                q[2][2] += qd * dt;
            }
            Wander::Swing { period, decay, amplitude, .. } => {
                let w = TAU / period;
                let (s, c) = (w * dt).sin_cos();
                let r = (-dt / decay).exp();
                f[0][2] = s / w;
                f[0][3] = (1.0 - c) / w;
                f[2][2] = r * c;
                f[2][3] = r * s;
                f[3][2] = -r * s;
                f[3][3] = r * c;
                // Driven so that the stationary variance is the square of the amplitude.
                let qa = 2.0 * amplitude * amplitude / decay;
                q[2][2] += qa * dt;
                q[3][3] += qa * dt;
                q[0][0] += qa * d3;
                q[0][2] += qa * d2;
            }
        }
        Transition { f, q: symmetric(|i, j| q[i][j]) }
    }
}

/// A linear map of the clock's part of the state and the noise that it adds.
struct Transition {
    f: Block,
    q: Block,
}

impl Transition {
    /// The same motion for twice the time.
    fn twice(&self) -> Transition {
        Transition { f: product(&self.f, &self.f), q: self.carry(&self.q) }
    }

    /// What becomes of a covariance.
    fn carry(&self, covariance: &Block) -> Block {
        let moved = product(&product(&self.f, covariance), &transposed(&self.f));
        symmetric(|i, j| moved[j][i] + self.q[i][j])
    }
}

/// From its upper triangle, i ≤ j.
fn symmetric(entry: impl Fn(usize, usize) -> f64) -> Block {
    std::array::from_fn(|i| std::array::from_fn(|j| entry(i.min(j), i.max(j))))
}

fn transposed(a: &Block) -> Block {
    std::array::from_fn(|i| std::array::from_fn(|j| a[j][i]))
}

fn product(a: &Block, b: &Block) -> Block {
    std::array::from_fn(|i| combination(&a[i], b))
}

/// The weighted sum of rows.
#[inline]
fn combination(weights: &[f64; CLOCK], rows: &Block) -> [f64; CLOCK] {
    let mut sum = [0.0; CLOCK];
    for (weight, row) in weights.iter().zip(rows) {
        for (sum, entry) in sum.iter_mut().zip(row) {
            *sum += weight * entry;
        }
    }
    sum
}

/// How the queues of all paths lean to one side, together: an error of so much times a packet's excess.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lean {
    /// Standard deviation, as a share of the excess; not above 1.
    pub(super) sigma: f64,
    /// For how long, s.
    pub(super) lasts: f64,
}

impl Lean {
    pub(super) const NONE: Lean = Lean { sigma: 0.0, lasts: f64::INFINITY };
}

/// A measurement as a filter sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sight {
    /// The correction that it shows, s.
    pub(super) y: f64,
    pub(super) path: usize,
    /// How long ago, s.
    pub(super) back: f64,
    /// The largest error that queues can explain, s.
    pub(super) excess: f64,
    /// Its own variance, s².
    pub(super) r: f64,
}

/// A measurement before it is taken in: what it says beyond the prediction.
#[derive(Clone, Copy)]
pub(super) struct Innovation {
    /// Measured minus predicted, s.
    pub(super) e: f64,
    /// Variance of the prediction, s².
    pub(super) v: f64,
    /// Covariance of the state with the prediction.
    with_state: Vector,
}

impl Innovation {
    /// The share of it by which the correction plus weighted path offsets moves, where the measurement's own variance is `r`
    /// (s²).
    pub(super) fn gain(&self, r: f64, paths: &[f64; PATHS]) -> f64 {
        let offsets: f64 = paths.iter().zip(&self.with_state[FIRST..]).map(|(w, c)| w * c).sum();
        (self.with_state[0] + offsets) / (self.v + r)
    }
}

/// Where a linear function of the state will be.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Forecast {
    /// Correction, s.
    pub(super) c: f64,
    /// Rate of the correction.
    pub(super) f: f64,
    /// Variance of the correction, s².
    pub(super) cc: f64,
    /// Covariance of correction and rate, s.
    pub(super) cf: f64,
    /// Variance of the rate.
    pub(super) ff: f64,
    /// Noise of the frequency that is still to come, 1/s.
    pub(super) walk: f64,
}

#[derive(Clone, Debug)]
pub(super) struct Filter {
    wander: Wander,
    lean: Lean,
    /// How many entries of the state are in use; no path beyond them is known.
    used: usize,
    x: Vector,
    /// Covariance of the state.
    p: [Vector; N],
}

impl Filter {
    /// A filter that knows the correction to `sigma` (s), the rate as given, and no path.
    pub(super) fn new(wander: Wander, lean: Lean, sigma: f64, rate: f64, rate_sigma: f64) -> Filter {
        let (x, p) = Default::default();
        let mut filter = Filter { wander, lean, used: FIRST, x, p };
        filter.x[1] = rate;
        let [u, v] = wander.initial();
        for (i, variance) in
            [sigma * sigma, rate_sigma * rate_sigma, u, v, lean.sigma.powi(2)].into_iter().enumerate()
        {
            filter.p[i][i] = variance;
        }
        filter
    }

    /// Moves on by `dt` seconds, in which each path's offset may have wandered by `path_walk` per √s.
    pub(super) fn advance(&mut self, dt: f64, path_walk: f64) {
        let transition = self.wander.transition(dt);
        let factors = transposed(&transition.f);
        let block = transition.carry(&self.clock_covariance());
        *clock_mut(&mut self.x) = combination(clock(&self.x), &factors);
        for (row, moved) in self.p.iter_mut().zip(&block) {
            *clock_mut(row) = *moved;
        }
        for i in CLOCK..self.used {
            let moved = combination(clock(&self.p[i]), &factors);
            *clock_mut(&mut self.p[i]) = moved;
            for (row, covariance) in self.p.iter_mut().zip(moved) {
                row[i] = covariance;
            }
        }
        if self.lean.sigma > 0.0 {
            let left = (-dt / self.lean.lasts).exp();
            self.x[LEAN] *= left;
            self.p[LEAN] = self.p[LEAN].map(|c| c * left);
            self.p.iter_mut().for_each(|row| row[LEAN] *= left);
            self.p[LEAN][LEAN] += (1.0 - left * left) * self.lean.sigma.powi(2);
        }
        for (j, row) in self.p.iter_mut().enumerate().skip(FIRST) {
            row[j] += path_walk * path_walk * dt;
        }
    }

    /// What a measurement says beyond the prediction.
    pub(super) fn innovation(&self, m: &Sight) -> Innovation {
        let mut h = Vector::default();
        h[0] = 1.0;
        h[1] = -m.back;
        if let Wander::Swing { .. } = self.wander {
            h[2] = -m.back;
        }
        if self.lean.sigma > 0.0 {
            h[LEAN] = m.excess;
        }
        h[FIRST + m.path] = 1.0;
        let with_state = self.times_covariance(&h);
        Innovation { e: m.y - dot(&h, &self.x), v: dot(&h, &with_state).max(0.0), with_state }
    }

    /// Takes in a measurement whose own variance is `r` (s², positive).
    pub(super) fn correct(&mut self, innovation: &Innovation, r: f64) {
        let Innovation { e, v, with_state } = innovation;
        let s = v + r;
        // One factor, so that both triangles are rounded alike and the covariance stays symmetric.
        let scale = s.sqrt().recip();
        let k = with_state.map(|c| c * scale);
        add(&mut self.x, scale * e, &k, self.used);
        for (row, &gain) in self.p[..self.used].iter_mut().zip(&k) {
            add(row, -gain, &k, self.used);
        }
        for i in 0..self.used {
            if self.p[i][i] < 0.0 {
                self.set_variance(i, 0.0);
            }
        }
    }

    /// Moves the correction, and makes it and its rate less certain by these variances.
    pub(super) fn shift(&mut self, by: f64, correction: f64, rate: f64) {
        self.x[0] += by;
        self.p[0][0] += correction;
        self.p[1][1] += rate;
    }

    /// Forgets a path but for this offset and its variance.
    pub(super) fn reset_path(&mut self, path: usize, offset: f64, variance: f64) {
        self.used = self.used.max(FIRST + path + 1);
        self.x[FIRST + path] = offset;
        self.set_variance(FIRST + path, variance);
    }

    /// How the queues of all paths lean to one side: an error of so much times a packet's excess.
    pub(super) fn lean(&self) -> f64 {
        self.x[LEAN]
    }

    /// Forgets to which side the queues lean.
    pub(super) fn straighten(&mut self) {
        self.x[LEAN] = 0.0;
        self.set_variance(LEAN, self.lean.sigma.powi(2));
    }

    /// Excesses on a path are counted from another delay: they are smaller by `by` (s) from now on. What the lean
    /// explained of that is an offset of the path.
    pub(super) fn raise_floor(&mut self, path: usize, by: f64) {
        if self.lean.sigma > 0.0 {
            self.mix(FIRST + path, by, LEAN);
        }
    }

    /// The estimated offset of a path, s.
    pub(super) fn path(&self, path: usize) -> f64 {
        self.x[FIRST + path]
    }

    /// The variance of that, s².
    pub(super) fn path_variance(&self, path: usize) -> f64 {
        self.p[FIRST + path][FIRST + path]
    }

    /// Makes the offset of a path less certain by this variance.
    pub(super) fn widen_path(&mut self, path: usize, variance: f64) {
        self.p[FIRST + path][FIRST + path] += variance;
    }

    /// The same knowledge without a shape of the rate, and with a rate that may have jumped by `jump`.
    pub(super) fn jumped(&self, wander: Wander, jump: f64) -> Filter {
        let mut filter = self.clone();
        filter.add_swing(1.0);
        filter.wander = wander;
        for i in 2..CLOCK {
            filter.x[i] = 0.0;
            filter.set_variance(i, 0.0);
        }
        filter.p[1][1] += jump * jump;
        filter
    }

    /// Takes over what a filter without a shape of the rate knows, and keeps the shape.
    pub(super) fn adopt(&mut self, other: &Filter) {
        let own = self.clone();
        (self.used, self.x, self.p) = (other.used, other.x, other.p);
        for i in 2..CLOCK {
            self.x[i] = own.x[i];
            self.p[i][2..CLOCK].copy_from_slice(&own.p[i][2..CLOCK]);
        }
        self.add_swing(-1.0);
    }

    /// Adds the swing to the rate, or takes it away.
    fn add_swing(&mut self, sign: f64) {
        if let Wander::Swing { .. } = self.wander {
            self.mix(1, sign, 2);
        }
    }

    /// Adds a multiple of one entry of the state to another.
    fn mix(&mut self, to: usize, factor: f64, from: usize) {
        self.x[to] += factor * self.x[from];
        let covariance = self.p[from];
        add(&mut self.p[to], factor, &covariance, self.used);
        for row in &mut self.p {
            row[to] += factor * row[from];
        }
    }

    fn clock_covariance(&self) -> Block {
        std::array::from_fn(|i| *clock(&self.p[i]))
    }

    fn set_variance(&mut self, i: usize, variance: f64) {
        self.p[i] = Vector::default();
        for row in &mut self.p {
            row[i] = 0.0;
        }
        self.p[i][i] = variance;
    }

    /// Correction plus the weighted offsets of the paths, `dt` seconds from now.
    pub(super) fn forecast(&self, dt: f64, weights: &[f64; PATHS]) -> Forecast {
        let Transition { f, q } = self.wander.transition(dt);
        let mut c = Vector::default();
        *clock_mut(&mut c) = f[0];
        c[FIRST..N].copy_from_slice(weights);
        // The swing is a part of the rate.
        let swing = f64::from(u8::from(matches!(self.wander, Wander::Swing { .. })));
        let r: [f64; CLOCK] = std::array::from_fn(|i| f[1][i] + swing * f[2][i]);
        let pc = self.times_covariance(&c);
        let pr = combination(&r, &self.clock_covariance());
        Forecast {
            c: dot(&c, &self.x),
            f: dot(&r, &self.x),
            cc: dot(&c, &pc).max(0.0) + q[0][0],
            cf: dot(&r, &pc) + q[0][1] + swing * q[0][2],
            ff: dot(&r, &pr).max(0.0) + q[1][1] + swing * (q[2][2] + 2.0 * q[1][2]),
            walk: self.wander.walk().powi(2),
        }
    }

    fn times_covariance(&self, h: &Vector) -> Vector {
        let mut product = Vector::default();
        for (row, &weight) in self.p[..self.used].iter().zip(h) {
            if weight != 0.0 {
                add(&mut product, weight, row, self.used);
            }
        }
        product
    }
}

/// The part of a state, or of its covariance with something, that describes the clock itself.
fn clock(vector: &Vector) -> &[f64; CLOCK] {
    vector.first_chunk().expect("the clock is a part of the state")
}

fn clock_mut(vector: &mut Vector) -> &mut [f64; CLOCK] {
    vector.first_chunk_mut().expect("the clock is a part of the state")
}

/// Adds a multiple of one vector to another: the first `n` entries, and those that share their lanes.
#[inline]
fn add(to: &mut Vector, factor: f64, other: &Vector, n: usize) {
    let (to, other) = (to.as_chunks_mut::<LANES>().0, other.as_chunks::<LANES>().0);
    for (to, other) in to.iter_mut().zip(other).take(n.div_ceil(LANES)) {
        for (to, other) in to.iter_mut().zip(other) {
            *to += factor * other;
        }
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
