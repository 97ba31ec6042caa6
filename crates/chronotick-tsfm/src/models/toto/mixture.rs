//! Mixtures of Student's t distributions: distribution function, exact quantiles, and draws.

use std::f64::consts::{PI, SQRT_2};

/// More degrees of freedom than this are taken for infinitely many: the distributions differ by less than 10⁻⁶.
const NORMAL: f64 = 1e6;

/// One step's forecast: components that each have a probability.
#[derive(Clone)]
pub(crate) struct Mixture(pub(crate) Vec<Component>);

/// `location + scale · t`, with t of `df` degrees of freedom.
#[derive(Clone, Copy)]
pub(crate) struct Component {
    pub(crate) probability: f64,
    pub(crate) df: f64,
    pub(crate) location: f64,
    pub(crate) scale: f64,
}

impl Mixture {
    pub(crate) fn mean(&self) -> f64 {
        self.0.iter().map(|c| c.probability * c.location).sum()
    }

    /// Where the distribution function reaches each of the levels, which lie between 0 and 1.
    pub(crate) fn quantiles(&self, levels: &[f64]) -> Vec<f64> {
        let distributions: Vec<StudentT> = self.0.iter().map(|c| StudentT::new(c.df)).collect();
        levels.iter().map(|&level| self.quantile(level, &distributions)).collect()
    }

    /// Newton's method between two ends that close in, by bisection where Newton would leave them.
    fn quantile(&self, level: f64, distributions: &[StudentT]) -> f64 {
        let edge = |side: f64| self.0.iter().map(move |c| c.location + side * c.scale);
        let distribution = |x: f64| self.distribution(x, distributions);
        let ends = |reach: f64| {
            let low = edge(-reach).fold(f64::INFINITY, f64::min);
            let high = edge(reach).fold(f64::NEG_INFINITY, f64::max);
            (distribution(low).0 < level && distribution(high).0 > level).then_some((low, high))
        };
        // Doubled until the ends are far enough out, which only parameters that are no numbers never reach.
        let Some((mut low, mut high)) = (0..1000).find_map(|doublings| ends(2f64.powi(doublings))) else {
            return f64::NAN;
        };
        let width = edge(1.0).zip(edge(-1.0)).map(|(a, b)| a - b).fold(f64::INFINITY, f64::min);
        let mut x = low + (high - low) / 2.0;
        for _ in 0..200 {
            let (below, density) = distribution(x);
            if below < level {
                low = x;
            } else {
                high = x;
            }
            let newton = x - (below - level) / density;
            let next = if newton > low && newton < high { newton } else { low + (high - low) / 2.0 };
            let step = (next - x).abs();
            x = next;
            if step <= 1e-12 * width.max(x.abs()) {
                break;
            }
        }
        x
    }

    /// The probability of a value below `x`, and the density there.
    fn distribution(&self, x: f64, distributions: &[StudentT]) -> (f64, f64) {
        self.0.iter().zip(distributions).fold((0.0, 0.0), |(below, density), (c, t)| {
            let (cdf, pdf) = t.distribution((x - c.location) / c.scale);
            (below + c.probability * cdf, density + c.probability * pdf / c.scale)
        })
    }

    /// A value by three uniform random numbers in (0, 1]: one picks the component, two make the deviate (Bailey 1994,
    /// doi:10.1090/S0025-5718-1994-1203733-6: the polar method of Box and Muller, for Student's t).
    pub(crate) fn draw(&self, [pick, radius, angle]: [f64; 3]) -> f64 {
        let mut left = pick;
        let chosen = self.0.iter().find(|c| {
            left -= c.probability;
            left <= 0.0
        });
        let c = chosen.or(self.0.last()).expect("a mixture has components: a checkpoint without is refused");
        let t = (c.df * (-2.0 / c.df * radius.ln()).exp_m1()).sqrt() * (2.0 * PI * angle).cos();
        c.location + c.scale * t
    }
}

/// Student's t distribution.
struct StudentT {
    df: f64,
    /// The density at 0.
    peak: f64,
}

impl StudentT {
    fn new(df: f64) -> Self {
        if df > NORMAL {
            return Self { df, peak: 1.0 / (2.0 * PI).sqrt() };
        }
        let ratio = (libm::lgamma((df + 1.0) / 2.0) - libm::lgamma(df / 2.0)).exp();
        Self { df, peak: ratio / (df * PI).sqrt() }
    }

    /// The probability of a value below `u`, and the density there.
    fn distribution(&self, u: f64) -> (f64, f64) {
        let (tail, density) = self.tail(u.abs());
        (if u < 0.0 { tail } else { 1.0 - tail }, density)
    }

    /// The probability of a value above `u ≥ 0`: half of the regularised incomplete beta function I(x; df/2, 1/2) at
    /// x = df / (df + u²) (DLMF 8.17). Behind it the density at `u`.
    fn tail(&self, u: f64) -> (f64, f64) {
        if self.df > NORMAL {
            return (libm::erfc(u / SQRT_2) / 2.0, self.peak * (-u * u / 2.0).exp());
        }
        let (df, a, b) = (self.df, self.df / 2.0, 0.5);
        let power = (-a * (u * u / df).ln_1p()).exp();
        let (x, rest) = (df / (df + u * u), u * u / (df + u * u));
        let density = self.peak * power * x.sqrt();
        // x^a (1 − x)^b / B(a, b), as 1 / B(a, 1/2) is the peak times √df.
        let front = self.peak * df.sqrt() * power * rest.sqrt();
        let tail = if x < (a + 1.0) / (a + b + 2.0) {
            front / (a * beta_fraction(a, b, x))
        } else {
            1.0 - front / (b * beta_fraction(b, a, rest))
        };
        (tail / 2.0, density)
    }
}

/// The continued fraction 1 + d₁/(1 + d₂/(1 + …)) of the incomplete beta function (DLMF 8.17.22), by Lentz's method.
fn beta_fraction(a: f64, b: f64, x: f64) -> f64 {
    let nonzero = |value: f64| if value == 0.0 { f64::MIN_POSITIVE } else { value };
    let (mut fraction, mut c, mut d) = (1.0, 1.0, 0.0);
    for n in 1..10_000 {
        let m = f64::from(n / 2);
        let term = match n % 2 {
            0 => m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m)),
            _ => -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0)),
        };
        d = 1.0 / nonzero(1.0 + term * d);
        c = nonzero(1.0 + term / c);
        fraction *= c * d;
        if (c * d - 1.0).abs() < 1e-15 {
            break;
        }
    }
    fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(df: f64) -> Mixture {
        Mixture(vec![Component { probability: 1.0, df, location: 0.0, scale: 1.0 }])
    }

    /// Closed forms for one and two degrees of freedom; the normal distribution for many; a table for five.
    #[test]
    fn quantiles_of_student_t() {
        let close =
            |got: f64, want: f64| assert!((got - want).abs() < 1e-9 * want.abs().max(1.0), "{got} {want}");
        for level in [1e-6, 0.025, 0.5, 0.9, 0.999] {
            close(one(1.0).quantiles(&[level])[0], (PI * (level - 0.5)).tan());
            let (p, q): (f64, f64) = (level, 1.0 - level);
            close(one(2.0).quantiles(&[level])[0], (p - q) / (2.0 * p * q).sqrt());
        }
        assert!((one(5.0).quantiles(&[0.975])[0] - 2.570_581_836).abs() < 1e-8);
        assert!((one(1e5).quantiles(&[0.975])[0] - 1.959_988).abs() < 1e-6);
        assert!((one(1e9).quantiles(&[0.975])[0] - 1.959_963_985).abs() < 1e-8);
    }

    #[test]
    fn the_middle_of_two_far_apart_is_found_between_them() {
        let at = |location| Component { probability: 0.5, df: 4.0, location, scale: 1e-3 };
        let mixture = Mixture(vec![at(-1e3), at(1e3)]);
        let [low, middle, high] = mixture.quantiles(&[0.25, 0.5, 0.75])[..] else { unreachable!() };
        assert!((low + 1e3).abs() < 1e-6 && middle.abs() < 1e3 && (high - 1e3).abs() < 1e-6);
    }

    #[test]
    fn what_is_no_number_ends_in_no_number() {
        assert!(one(f64::NAN).quantiles(&[0.5])[0].is_nan());
        let broken = Component { probability: f64::NAN, df: 3.0, location: f64::NAN, scale: f64::NAN };
        assert!(Mixture(vec![broken]).quantiles(&[0.1])[0].is_nan());
    }

    /// Draws on a grid of uniform numbers are below a quantile as often as its level says.
    #[test]
    fn draws_follow_the_distribution() {
        let part = |probability, df, location, scale| Component { probability, df, location, scale };
        let mixture = Mixture(vec![part(0.3, 2.5, -1.0, 0.5), part(0.7, 30.0, 2.0, 1.5)]);
        let n = 40;
        let at = |i: usize| (i as f64 + 0.5) / n as f64;
        let draws: Vec<f64> =
            (0..n * n * n).map(|i| mixture.draw([at(i % n), at(i / n % n), at(i / n / n)])).collect();
        let levels = [0.05, 0.3, 0.5, 0.9];
        for (level, quantile) in levels.iter().zip(mixture.quantiles(&levels)) {
            let share = draws.iter().filter(|x| **x < quantile).count() as f64 / draws.len() as f64;
            assert!((share - level).abs() < 0.01, "{share} below the quantile at {level}");
        }
    }
}
