//! The frequency error of a raw clock, second by second: noise of the oscillator itself, steps, and what temperature
//! makes of it. Frequencies are those of the clock: positive runs fast.

use crate::quantity::{Frequency, Seconds};
use crate::random::Random;
use serde::Deserialize;
use std::f64::consts::TAU;

/// An oscillator that nobody touches (IEEE 1139 names the kinds of noise).
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Oscillator {
    /// The raw clock starts at most this far from true time, uniformly.
    pub(crate) start: Seconds,
    /// The frequency starts at most this far off, uniformly.
    pub(crate) frequency: Frequency,
    /// White noise of the frequency: its Allan deviation at 1 s.
    pub(crate) white: f64,
    /// Flicker of the frequency: its Allan deviation, about the same from seconds to a day.
    pub(crate) flicker: f64,
    /// Random walk of the frequency: standard deviation of the change after 1 s.
    pub(crate) random_walk: f64,
    /// Change of the frequency per day.
    pub(crate) ageing: Frequency,
    /// Sudden changes of the frequency.
    pub(crate) steps: Vec<FrequencyStep>,
}

impl Default for Oscillator {
    fn default() -> Oscillator {
        Oscillator {
            start: Seconds(20e-3),
            frequency: Frequency(20e-6),
            white: 0.0,
            flicker: 0.0,
            random_walk: 1e-9,
            ageing: Frequency(0.0),
            steps: Vec::new(),
        }
    }
}

/// A sudden change of the frequency.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct FrequencyStep {
    pub(crate) at: Seconds,
    pub(crate) by: Frequency,
}

/// Something that warms and cools the oscillator, as the change of frequency that it makes.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Temperature {
    /// A swing to both sides, from a random phase on: a fan's cycle, or a day.
    Sine { amplitude: Frequency, period: Seconds },
    /// A heater that switches on and off, each time lasting `spread` (a share, uniform) more or less than said; the
    /// oscillator follows with a lag of the first order.
    Thermostat { amplitude: Frequency, on: Seconds, off: Seconds, spread: f64, lag: Seconds },
    /// Work that comes and goes at random, lasting exponentially distributed times.
    Load { amplitude: Frequency, on: Seconds, off: Seconds, lag: Seconds },
}

impl Temperature {
    fn begin(&self, random: Random) -> Warmth<'_> {
        let mut warmth = Warmth { cause: self, random, phase: 0.0, heating: false, left: 0.0, level: 0.0 };
        warmth.phase = warmth.random.uniform();
        // The first pause has been going on for a while.
        warmth.left = warmth.lasts() * warmth.phase;
        warmth
    }
}

/// A [`Temperature`] as it goes.
struct Warmth<'a> {
    cause: &'a Temperature,
    random: Random,
    phase: f64,
    heating: bool,
    /// Seconds until heating begins or ends.
    left: f64,
    /// The oscillator's part of the full effect, after the lag.
    level: f64,
}

impl Warmth<'_> {
    /// How long the current phase of heating or cooling lasts.
    fn lasts(&mut self) -> f64 {
        match self.cause {
            Temperature::Sine { .. } => f64::INFINITY,
            Temperature::Thermostat { on, off, spread, .. } => {
                let mean = if self.heating { on.0 } else { off.0 };
                mean * (1.0 + spread * self.random.signed())
            }
            Temperature::Load { on, off, .. } => {
                (if self.heating { on.0 } else { off.0 }) * self.random.exponential()
            }
        }
    }

    /// The change of frequency in this second.
    fn second(&mut self, k: usize) -> f64 {
        let (amplitude, lag) = match self.cause {
            Temperature::Sine { amplitude, period } => {
                return amplitude.0 * libm::sin(TAU * ((k as f64 + 0.5) / period.0 + self.phase));
            }
            Temperature::Thermostat { amplitude, lag, .. } | Temperature::Load { amplitude, lag, .. } => {
                (amplitude.0, lag.0)
            }
        };
        self.left -= 1.0;
        while self.left < 0.0 {
            self.heating = !self.heating;
            self.left += self.lasts().max(1e-3);
        }
        let target = f64::from(u8::from(self.heating));
        self.level += (target - self.level) / lag.max(1.0);
        amplitude * self.level
    }
}

/// Flicker as a sum of processes that forget with time constants a factor of four apart: each then has the variance
/// of the Allan deviation itself (a Lorentzian sum approximates 1/f; van der Ziel 1950).
struct Flicker {
    levels: [f64; Flicker::OCTAVES],
    deviation: f64,
}

impl Flicker {
    const OCTAVES: usize = 10;

    fn begin(deviation: f64, random: &mut Random) -> Flicker {
        let levels = std::array::from_fn(|_| if deviation > 0.0 { deviation * random.normal() } else { 0.0 });
        Flicker { levels, deviation }
    }

    fn second(&mut self, random: &mut Random) -> f64 {
        if self.deviation == 0.0 {
            return 0.0;
        }
        let mut time_constant = 1.0;
        for level in &mut self.levels {
            let keep = libm::exp(-1.0 / time_constant);
            *level = keep * *level + self.deviation * (1.0 - keep * keep).sqrt() * random.normal();
            time_constant *= 4.0;
        }
        self.levels.iter().sum()
    }
}

/// The clock's frequency error in each of so many seconds.
pub(crate) fn frequencies(
    oscillator: &Oscillator,
    temperatures: &[Temperature],
    seconds: usize,
    seed: u64,
) -> Vec<f64> {
    let stream = |name: &str| Random::new(seed, name);
    let mut walk = stream("oscillator.walk");
    let mut white = stream("oscillator.white");
    let mut pink = stream("oscillator.flicker");
    let mut flicker = Flicker::begin(oscillator.flicker, &mut pink);
    let mut warmth: Vec<Warmth> =
        temperatures.iter().enumerate().map(|(i, t)| t.begin(stream(&format!("temperature.{i}")))).collect();
    let mut slow = oscillator.frequency.0 * walk.signed();
    (0..seconds)
        .map(|k| {
            slow += oscillator.random_walk * walk.normal() + oscillator.ageing.0 / 86_400.0;
            slow += steps_in(oscillator, k);
            let fast = if oscillator.white > 0.0 { oscillator.white * white.normal() } else { 0.0 };
            slow + fast + flicker.second(&mut pink) + warmth.iter_mut().map(|w| w.second(k)).sum::<f64>()
        })
        .collect()
}

fn steps_in(oscillator: &Oscillator, second: usize) -> f64 {
    oscillator.steps.iter().filter(|s| s.at.0.floor() == second as f64).map(|s| s.by.0).sum()
}

/// Keeps perfect time.
#[cfg(test)]
pub(crate) const STILL: Oscillator = Oscillator {
    start: Seconds(0.0),
    frequency: Frequency(0.0),
    white: 0.0,
    flicker: 0.0,
    random_walk: 0.0,
    ageing: Frequency(0.0),
    steps: Vec::new(),
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::allan::deviation;

    fn phase(oscillator: &Oscillator, temperatures: &[Temperature], seconds: usize) -> Vec<f64> {
        let mut x = vec![0.0];
        for y in frequencies(oscillator, temperatures, seconds, 3) {
            x.push(x[x.len() - 1] + y);
        }
        x
    }

    /// Slope of log ADEV over log τ between two τ, and the value at the first.
    fn slope(x: &[f64], from: usize, to: usize) -> (f64, f64) {
        let (a, b) = (deviation(x, 1.0, from).unwrap(), deviation(x, 1.0, to).unwrap());
        ((b / a).ln() / (to as f64 / from as f64).ln(), a)
    }

    #[test]
    fn each_noise_has_its_allan_deviation() {
        let (tilt, at_1) = slope(&phase(&Oscillator { white: 1e-8, ..STILL }, &[], 200_000), 1, 256);
        assert!((tilt + 0.5).abs() < 0.04 && (at_1 / 1e-8 - 1.0).abs() < 0.02, "white {tilt} {at_1}");
        let (tilt, at_16) = slope(&phase(&Oscillator { random_walk: 1e-9, ..STILL }, &[], 400_000), 16, 1024);
        let want = 1e-9 * (16.0f64 / 3.0).sqrt();
        assert!((tilt - 0.5).abs() < 0.06 && (at_16 / want - 1.0).abs() < 0.05, "walk {tilt} {at_16}");
        let (tilt, at_16) = slope(&phase(&Oscillator { flicker: 1e-9, ..STILL }, &[], 400_000), 16, 2048);
        assert!(tilt.abs() < 0.06 && (at_16 / 1e-9 - 1.0).abs() < 0.1, "flicker {tilt} {at_16}");
    }

    #[test]
    fn ageing_and_steps_add_up() {
        let steps = vec![FrequencyStep { at: Seconds(100.0), by: Frequency(5e-6) }];
        let y = frequencies(&Oscillator { ageing: Frequency(1e-6), steps, ..STILL }, &[], 86_400, 1);
        assert!(y[99] < 2e-9 && y[100] > 5e-6);
        assert!((y[86_399] - 6e-6).abs() < 1e-12);
    }

    #[test]
    fn temperatures_stay_within_their_amplitude_and_use_it() {
        let amplitude = Frequency(2e-6);
        let (on, off, lag) = (Seconds(1200.0), Seconds(1500.0), Seconds(400.0));
        for (t, least) in [
            (Temperature::Sine { amplitude, period: Seconds(3600.0) }, -2e-6),
            (Temperature::Thermostat { amplitude, on, off, spread: 0.15, lag }, 0.0),
            (Temperature::Load { amplitude, on, off, lag }, 0.0),
        ] {
            let y = frequencies(&STILL, &[t], 200_000, 2);
            let (lo, hi) = y.iter().fold((f64::MAX, f64::MIN), |(l, h), &v| (l.min(v), h.max(v)));
            assert!(lo >= least && lo < least + 0.3e-6 && hi <= 2e-6 && hi > 1.7e-6, "{lo} {hi}");
            let mean = y.iter().sum::<f64>() / y.len() as f64;
            let want = if least < 0.0 { 0.0 } else { 2e-6 * 1200.0 / 2700.0 };
            assert!((mean - want).abs() < 0.2e-6, "{mean}");
        }
    }
}
