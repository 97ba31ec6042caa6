//! A correction whose rate walks at random, from all measurements of it: forward with a Kalman filter, back after Rauch,
//! Tung and Striebel (AIAA Journal 3, 1965). How fast the rate walks is what makes the measurements likeliest; jumps of
//! the rate and measurements astray are weighed as Student's t would have them.

/// Standard deviation of the rate before anything was measured.
const RATE_SIGMA: f64 = 1e-4;
/// How much the rate may walk per √s; the likeliest is taken.
const WALKS: [f64; 7] = [1e-10, 3e-10, 1e-9, 3e-9, 1e-8, 3e-8, 1e-7];
/// Degrees of freedom of Student's t.
const FREEDOM: f64 = 4.0;
/// How often outliers are weighed anew, and from how many variances on something is one.
const PASSES: usize = 5;
const OUTLYING: f64 = 12.0;

/// An instant (s, ascending) at which something was measured, or is asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) at: f64,
    pub(super) sight: Option<Sight>,
}

/// A measured correction (s) and its variance (s²).
#[derive(Clone, Copy, Debug)]
pub(super) struct Sight {
    pub(super) c: f64,
    pub(super) variance: f64,
}

/// Correction and rate, with their covariance.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct State {
    pub(super) c: f64,
    pub(super) f: f64,
    pub(super) cc: f64,
    pub(super) cf: f64,
    pub(super) ff: f64,
}

/// By how much more than normal each step's disturbance and measurement may be off, as factors on their variances.
type Slack = Vec<(f64, f64)>;

/// The state at every step by all measurements, and the walk of the rate that was found.
pub(super) fn smooth(steps: &[Step]) -> (Vec<State>, f64) {
    let mut slack: Slack = vec![(1.0, 1.0); steps.len()];
    let likelihoods = WALKS.map(|walk| forward(steps, walk, &slack, &mut Vec::new()).likelihood);
    let likeliest = (0..WALKS.len()).max_by(|a, b| likelihoods[*a].total_cmp(&likelihoods[*b]));
    let walk = WALKS[likeliest.unwrap_or(0)];
    let mut filtered = Vec::new();
    for pass in 1.. {
        let told = forward(steps, walk, &slack, &mut filtered);
        let states = backward(steps, walk, &slack, &filtered);
        if pass == PASSES || !weigh(steps, walk, &states, &mut slack) {
            let states = states.into_iter().map(|s| State {
                cc: s.cc * told.dishonesty,
                cf: s.cf * told.dishonesty,
                ff: s.ff * told.dishonesty,
                ..s
            });
            return (states.collect(), walk);
        }
    }
    unreachable!("the last pass returns")
}

/// What a pass over the measurements says of its assumptions.
struct Told {
    /// Logarithm.
    likelihood: f64,
    /// By how much innovations were larger than foreseen, as a factor on variances; at least one.
    dishonesty: f64,
}

fn forward(steps: &[Step], walk: f64, slack: &Slack, filtered: &mut Vec<State>) -> Told {
    filtered.clear();
    let mut state: Option<(f64, State)> = None;
    let (mut likelihood, mut squares, mut count) = (0.0, 0.0, 0.0);
    for (step, (loose, astray)) in steps.iter().zip(slack) {
        let mut now = match (state, step.sight) {
            (Some((then, state)), _) => state.moved(step.at - then, walk * walk * loose),
            // The first measurement says where the clock is; nothing is asked before it.
            (None, Some(sight)) => State {
                c: sight.c,
                cc: 1e6 * sight.variance,
                ff: RATE_SIGMA * RATE_SIGMA,
                ..State::default()
            },
            (None, None) => State::default(),
        };
        if let Some(sight) = step.sight {
            let (e, s) = (sight.c - now.c, now.cc + sight.variance * astray);
            let square = e * e / s;
            // Beyond three sigma no surprise grows faster than linearly: one outlier must not speak for a fast walk.
            let surprise = if square < 9.0 { 0.5 * square } else { 3.0 * square.sqrt() - 4.5 };
            likelihood -= surprise + 0.5 * s.ln();
            squares += square.min(9.0);
            count += 1.0;
            let (kc, kf) = (now.cc / s, now.cf / s);
            now = State {
                c: now.c + kc * e,
                f: now.f + kf * e,
                cc: now.cc - kc * now.cc,
                cf: now.cf - kc * now.cf,
                ff: now.ff - kf * now.cf,
            };
            state = Some((step.at, now));
        } else if state.is_some() {
            state = Some((step.at, now));
        }
        filtered.push(now);
    }
    Told { likelihood, dishonesty: (squares / f64::max(count, 1.0)).max(1.0) }
}

fn backward(steps: &[Step], walk: f64, slack: &Slack, filtered: &[State]) -> Vec<State> {
    let mut smoothed = filtered.to_vec();
    for k in (0..steps.len().saturating_sub(1)).rev() {
        let (now, next) = (filtered[k], smoothed[k + 1]);
        let dt = steps[k + 1].at - steps[k].at;
        let foreseen = now.moved(dt, walk * walk * slack[k + 1].0);
        // The covariance of this state with the next one foreseen, times the inverse of that one's.
        let with = [[now.cc + now.cf * dt, now.cf], [now.cf + now.ff * dt, now.ff]];
        let determinant = foreseen.cc * foreseen.ff - foreseen.cf * foreseen.cf;
        if dt <= 0.0 || determinant <= 0.0 {
            smoothed[k] = State { c: next.c - next.f * dt, ..next };
            continue;
        }
        let gain = with.map(|[c, f]| {
            [
                (c * foreseen.ff - f * foreseen.cf) / determinant,
                (f * foreseen.cc - c * foreseen.cf) / determinant,
            ]
        });
        let more = [next.c - foreseen.c, next.f - foreseen.f];
        let (cc, cf, ff) = (next.cc - foreseen.cc, next.cf - foreseen.cf, next.ff - foreseen.ff);
        let by =
            |a: [f64; 2], b: [f64; 2]| a[0] * b[0] * cc + (a[0] * b[1] + a[1] * b[0]) * cf + a[1] * b[1] * ff;
        smoothed[k] = State {
            c: now.c + gain[0][0] * more[0] + gain[0][1] * more[1],
            f: now.f + gain[1][0] * more[0] + gain[1][1] * more[1],
            cc: (now.cc + by(gain[0], gain[0])).max(0.0),
            cf: now.cf + by(gain[0], gain[1]),
            ff: (now.ff + by(gain[1], gain[1])).max(0.0),
        };
    }
    smoothed
}

/// Weighs disturbances and measurements anew, by what they turned out to be. Whether any is an outlier.
fn weigh(steps: &[Step], walk: f64, states: &[State], slack: &mut Slack) -> bool {
    let mut outliers = false;
    for (k, step) in steps.iter().enumerate() {
        if let Some(sight) = step.sight {
            let square = (sight.c - states[k].c).powi(2) / sight.variance;
            slack[k].1 = ((FREEDOM + square) / (FREEDOM + 1.0)).max(1.0);
            outliers |= square > OUTLYING;
        }
        let dt = if k == 0 { 0.0 } else { step.at - steps[k - 1].at };
        if dt > 0.0 {
            let (before, now) = (states[k - 1], states[k]);
            let (c, f) = (now.c - before.c - before.f * dt, now.f - before.f);
            // Inverse of the walk's covariance over dt.
            let square = (12.0 * c * c / dt - 12.0 * c * f + 4.0 * f * f * dt) / (dt * dt * walk * walk);
            slack[k].0 = ((FREEDOM + square) / (FREEDOM + 2.0)).max(1.0);
            outliers |= square > OUTLYING;
        }
    }
    outliers
}

impl State {
    /// After `dt` seconds in which the rate walks with so much variance per second.
    fn moved(self, dt: f64, walk: f64) -> State {
        let (d2, d3) = (dt * dt / 2.0, dt * dt * dt / 3.0);
        State {
            c: self.c + self.f * dt,
            f: self.f,
            cc: self.cc + dt * (2.0 * self.cf + dt * self.ff) + walk * d3,
            cf: self.cf + dt * self.ff + walk * d2,
            ff: self.ff + walk * dt,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Measurements each 10 s of a clock with this rate, noise of ±20 µs from a fixed sequence.
    fn measured(rate: impl Fn(f64) -> f64) -> (Vec<Step>, Vec<f64>) {
        let (mut c, mut seed) = (0.0, 1u64);
        let mut truth = Vec::new();
        let steps = (0..400).map(|k| {
            let at = 10.0 * f64::from(k);
            truth.push(c);
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let noise = 4e-5 * ((seed >> 11) as f64 / (1u64 << 53) as f64 - 0.5);
            let sight = Some(Sight { c: c + noise, variance: (4e-5f64).powi(2) / 12.0 });
            c += 10.0 * rate(at + 5.0);
            Step { at, sight }
        });
        (steps.collect(), truth)
    }

    fn rms(states: &[State], truth: &[f64]) -> f64 {
        let squares: f64 = states.iter().zip(truth).map(|(s, t)| (s.c - t).powi(2)).sum();
        (squares / truth.len() as f64).sqrt()
    }

    #[test]
    fn a_steady_rate_is_found_by_the_slowest_walk() {
        let (steps, truth) = measured(|_| 12e-6);
        let (states, walk) = smooth(&steps);
        assert_eq!(walk, WALKS[0]);
        assert!(rms(&states, &truth) < 3e-6, "{}", rms(&states, &truth));
        assert!((states[200].f - 12e-6).abs() < 1e-8);
    }

    #[test]
    fn a_jump_of_the_rate_stays_sharp() {
        let (steps, truth) = measured(|at| if at < 2000.0 { 0.0 } else { 4e-6 });
        let (states, _) = smooth(&steps);
        assert!(rms(&states, &truth) < 6e-6, "{}", rms(&states, &truth));
        let (before, after) = (states[190].f, states[211].f);
        assert!(before.abs() < 4e-7 && (after - 4e-6).abs() < 4e-7, "{before} {after}");
    }

    #[test]
    fn a_measurement_astray_moves_little() {
        let (mut steps, truth) = measured(|at| 1e-6 * (at / 600.0).sin());
        steps[123].sight = Some(Sight { c: truth[123] + 5e-3, variance: 1e-10 });
        let (states, _) = smooth(&steps);
        assert!((states[123].c - truth[123]).abs() < 4e-5, "{}", states[123].c - truth[123]);
    }

    #[test]
    fn the_answer_at_an_instant_asked_lies_between_its_neighbours() {
        let (mut steps, _) = measured(|_| 5e-6);
        steps.insert(101, Step { at: 1005.0, sight: None });
        let (states, _) = smooth(&steps);
        let middle = 0.5 * (states[100].c + states[102].c);
        assert!((states[101].c - middle).abs() < 1e-8);
        assert!(states[101].cc.sqrt() < 1e-5 && states[101].cc > 0.0);
    }
}
