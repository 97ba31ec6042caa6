//! Worlds to learn from: clocks, temperatures and networks of many kinds, each decided by a number.

use chronotick_sim::Scenario;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::fmt::Write as _;

/// How long a world lasts, in hours.
pub(crate) const HOURS: u64 = 8;

/// The world of this number. Numbers differ in everything: the oscillator's noise, what warms it, how far and how busy
/// the servers are, how often they are asked, and when they cannot be reached.
pub(crate) fn scenario(number: u64) -> Scenario {
    let text = text(&mut ChaCha8Rng::seed_from_u64(number));
    Scenario::parse(&text).unwrap_or_else(|e| unreachable!("world {number} is a scenario: {e}\n{text}"))
}

fn text(random: &mut ChaCha8Rng) -> String {
    let mut text = format!(
        "name = 'made'\nwhat = 'Made to learn from.'\nduration = '{HOURS} h'\npoll = '{:.3} s'\n",
        between(random, 8.0, 256.0)
    );
    oscillator(random, &mut text);
    let kinds = [0.2, 0.6, 0.2];
    for _ in 0..choose(random, &kinds) {
        temperature(random, &mut text);
    }
    if random.random_bool(0.3) {
        sine(&mut text, between(random, 0.3, 4.0), 86_400.0);
    }
    sources(random, &mut text);
    if random.random_bool(0.3) {
        let (pause, lasts) = (between(random, 40.0, 240.0), between(random, 3.0, 30.0));
        let when = format!("{{ random = {{ pause = '{pause:.3} min', lasts = '{lasts:.3} min' }} }}");
        let _ = writeln!(text, "[[episodes]]\nwhat = 'outage'\nloss = 1\nwhen = {when}");
    }
    text
}

fn oscillator(random: &mut ChaCha8Rng, text: &mut String) {
    let walk = between(random, 1e-10, 6e-9);
    let _ = writeln!(text, "[oscillator]\nrandom-walk = {walk:e}");
    if random.random_bool(0.4) {
        let _ = writeln!(text, "white = {:e}", between(random, 1e-10, 1e-8));
    }
    if random.random_bool(0.4) {
        let _ = writeln!(text, "flicker = {:e}", between(random, 1e-10, 3e-9));
    }
    if random.random_bool(0.5) {
        let _ = writeln!(text, "ageing = '{:.6} ppm'", random.random_range(-0.5..0.5));
    }
    if random.random_bool(0.15) {
        let count = random.random_range(1..4);
        let mut at: Vec<f64> = (0..count).map(|_| random.random_range(0.2..HOURS as f64)).collect();
        at.sort_by(f64::total_cmp);
        let by: Vec<f64> = at.iter().map(|_| sign(random) * between(random, 0.3, 6.0)).collect();
        let steps: Vec<String> =
            at.iter().zip(by).map(|(at, by)| format!("{{ at = '{at:.4} h', by = '{by:.4} ppm' }}")).collect();
        let _ = writeln!(text, "steps = [{}]", steps.join(", "));
    }
}

/// A fan or a heater: even, with a harmonic, on and off with jitter and lag, or at random.
fn temperature(random: &mut ChaCha8Rng, text: &mut String) {
    let amplitude = between(random, 0.1, 4.0);
    match choose(random, &[0.22, 0.18, 0.38, 0.22]) {
        0 => sine(text, amplitude / 2.0, between(random, 400.0, 9000.0)),
        1 => {
            let (period, harmonic) = (between(random, 400.0, 9000.0), random.random_range(0.15..0.6));
            sine(text, amplitude / 2.0, period);
            sine(text, amplitude / 2.0 * harmonic, period / 2.0);
        }
        2 => {
            let (on, off) = (between(random, 150.0, 4000.0), between(random, 150.0, 4000.0));
            let (spread, lag) = (random.random_range(0.0..0.4), between(random, 20.0, 900.0));
            let _ = writeln!(
                text,
                "[[temperatures]]\nthermostat = {{ amplitude = '{amplitude:.4} ppm', on = '{on:.2} s', \
                 off = '{off:.2} s', spread = {spread:.4}, lag = '{lag:.2} s' }}"
            );
        }
        _ => {
            let (on, off) = (between(random, 200.0, 4000.0), between(random, 300.0, 8000.0));
            let lag = between(random, 20.0, 900.0);
            let _ = writeln!(
                text,
                "[[temperatures]]\nload = {{ amplitude = '{amplitude:.4} ppm', on = '{on:.2} s', \
                 off = '{off:.2} s', lag = '{lag:.2} s' }}"
            );
        }
    }
}

fn sine(text: &mut String, amplitude: f64, period: f64) {
    let _ = writeln!(
        text,
        "[[temperatures]]\nsine = {{ amplitude = '{amplitude:.6} ppm', period = '{period:.3} s' }}"
    );
}

fn sources(random: &mut ChaCha8Rng, text: &mut String) {
    let count = 1 + choose(random, &[0.25, 0.2, 0.2, 0.35]);
    let near = between(random, 0.1, 30.0);
    let delays: Vec<String> =
        (0..count).map(|_| format!("'{:.4} ms'", near * random.random_range(0.7..1.8))).collect();
    let _ = writeln!(text, "[[sources]]\ndelays = [{}]", delays.join(", "));
    let usual = between(random, 0.03, 2.0);
    let jitter = match choose(random, &[0.3, 0.5, 0.2]) {
        0 => format!("{{ exponential = {{ mean = '{usual:.4} ms' }} }}"),
        1 => {
            let (chance, scale) = (random.random_range(0.05..0.3), usual * between(random, 3.0, 10.0));
            format!(
                "{{ exponential = {{ mean = '{usual:.4} ms' }} }}, {{ sometimes = {{ chance = {chance:.4}, \
                 of = {{ lomax = {{ shape = 1.6, scale = '{scale:.4} ms', max = '1 s' }} }} }} }}"
            )
        }
        _ => {
            let sigma = random.random_range(0.4..1.0);
            format!("{{ lognormal = {{ median = '{usual:.4} ms', sigma = {sigma:.4} }} }}")
        }
    };
    let _ = writeln!(text, "jitter = [{jitter}]");
    if random.random_bool(0.3) {
        let _ = writeln!(text, "asymmetry-deviation = '{:.4} ms'", between(random, 0.02, 0.5));
    }
}

/// Evenly distributed over the orders of magnitude.
fn between(random: &mut ChaCha8Rng, low: f64, high: f64) -> f64 {
    low * (high / low).powf(random.random::<f64>())
}

fn sign(random: &mut ChaCha8Rng) -> f64 {
    if random.random_bool(0.5) { 1.0 } else { -1.0 }
}

/// An index, with these probabilities.
fn choose(random: &mut ChaCha8Rng, probabilities: &[f64]) -> usize {
    let mut left = random.random::<f64>();
    let found = probabilities.iter().position(|p| {
        left -= p;
        left < 0.0
    });
    found.unwrap_or(probabilities.len() - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_a_world_of_its_own_and_always_the_same() {
        let worlds: Vec<Scenario> = (0..300).map(scenario).collect();
        assert!(worlds.iter().all(|world| (1..=4).contains(&world.source_count())));
        assert_eq!(worlds[7], scenario(7));
        assert!((1..300).all(|i| worlds[i] != worlds[i - 1]));
    }
}
