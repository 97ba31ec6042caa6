//! Numbers with a unit, as scenario files write them: `"10 ms"`, `"1.5 h"`, `"-3 ppm"`. Inside the simulator they are
//! `f64` in seconds and in seconds per second.

use serde::{Deserialize, Deserializer, de::Error};

/// A length of time, in seconds; of either sign.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub(crate) struct Seconds(pub(crate) f64);

/// A relative frequency, in seconds per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub(crate) struct Frequency(pub(crate) f64);

/// Name of a unit, and what to multiply with and divide by: only a division makes `20 ppm` the number nearest to 20e-6.
type Unit = (&'static str, f64, f64);

const TIME: [Unit; 8] = [
    ("ns", 1.0, 1e9),
    ("us", 1.0, 1e6),
    ("µs", 1.0, 1e6),
    ("ms", 1.0, 1e3),
    ("s", 1.0, 1.0),
    ("min", 60.0, 1.0),
    ("h", 3600.0, 1.0),
    ("d", 86_400.0, 1.0),
];
const RATE: [Unit; 2] = [("ppm", 1.0, 1e6), ("ppb", 1.0, 1e9)];

fn parse(text: &str, units: &[Unit]) -> Option<f64> {
    let (number, unit) = text.trim().rsplit_once(' ')?;
    let (_, times, by) = units.iter().find(|(name, ..)| *name == unit)?;
    let value = number.trim().parse::<f64>().ok()? * times / by;
    value.is_finite().then_some(value)
}

fn read<'de, D: Deserializer<'de>>(d: D, what: &str, units: &[Unit]) -> Result<f64, D::Error> {
    let text = String::deserialize(d)?;
    parse(&text, units).ok_or_else(|| {
        let names: Vec<&str> = units.iter().map(|(name, ..)| *name).collect();
        D::Error::custom(format!(
            "{text:?} is not {what}; write a number, a blank and one of the units {}",
            names.join(", ")
        ))
    })
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Seconds, D::Error> {
        read(d, "a length of time", &TIME).map(Seconds)
    }
}

impl<'de> Deserialize<'de> for Frequency {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Frequency, D::Error> {
        read(d, "a frequency", &RATE).map(Frequency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_scale() {
        assert_eq!(parse("10 ms", &TIME), Some(0.01));
        assert_eq!(parse("-1.5 h", &TIME), Some(-5400.0));
        assert_eq!(parse("20 ppm", &RATE), Some(20e-6));
        for bad in ["10", "10ms", "ms", "1 fortnight", "nan s", "1e400 s", "", " s"] {
            assert_eq!(parse(bad, &TIME), None, "{bad}");
        }
    }
}
