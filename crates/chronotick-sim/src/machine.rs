//! The machine's clocks over true time: the raw clock, which its oscillator drives and which suspend, migration and
//! broken counters disturb, and the host's system clock, which somebody else may be steering. True time is a [`Span`]
//! since the start.

use crate::oscillator::{FrequencyStep, Oscillator, Temperature, frequencies};
use crate::quantity::{Frequency, Seconds};
use crate::random::Random;
use chronotick_core::{Disruption, RawInstant, Span};
use serde::Deserialize;

/// Something that happens to the machine's clocks. It takes effect at the next whole second.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct Disturbance {
    pub(crate) at: Seconds,
    pub(crate) what: Trouble,
    /// Whether the operating system lets the client know.
    #[serde(default = "yes")]
    pub(crate) noticed: bool,
}

fn yes() -> bool {
    true
}

/// What happens.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Trouble {
    /// The machine sleeps so long: its raw clock stands still, nothing is sent or received.
    Suspend(Seconds),
    /// The raw clock jumps ahead.
    Jump(Seconds),
    /// The machine goes on on other hardware: another frequency, and the raw clock lost or gained a little.
    Migrate { frequency: Frequency, jump: Seconds },
    /// Somebody sets the system clock ahead.
    SystemStep(Seconds),
    /// Somebody slews the system clock at this rate for so long.
    SystemSlew { rate: Frequency, lasts: Seconds },
}

impl Trouble {
    /// As the disruption watch of the operating system would report it; `None` of what it cannot see.
    fn disruption(&self) -> Option<Disruption> {
        let span = |s: &Seconds| Span::from_secs_f64(s.0);
        match self {
            Trouble::Suspend(lasts) => Some(Disruption::Suspended { lasted: span(lasts) }),
            Trouble::Jump(by) => Some(Disruption::RawJump { by: span(by) }),
            Trouble::Migrate { .. } => Some(Disruption::Migrated),
            Trouble::SystemStep(by) => Some(Disruption::SystemStep { by: span(by) }),
            Trouble::SystemSlew { .. } => None,
        }
    }
}

/// How well somebody else keeps the host's system clock: its error is a stationary process that forgets.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Host {
    /// Standard deviation of the system clock's error.
    pub(crate) error: Seconds,
    /// Time after which an error is forgotten.
    pub(crate) memory: Seconds,
}

/// Something that has happened to the clocks, in seconds of true time.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Incident {
    pub(crate) what: &'static str,
    pub(crate) start: f64,
    pub(crate) end: f64,
    /// Whether the raw clock or its frequency is another one since then.
    pub(crate) concerns_raw: bool,
}

impl Incident {
    fn of(d: &Disturbance) -> Incident {
        let start = d.at.0.ceil();
        let (what, lasts, concerns_raw) = match d.what {
            Trouble::Suspend(lasts) => ("suspend", lasts.0.ceil(), true),
            Trouble::Jump(_) => ("jump of the raw clock", 0.0, true),
            Trouble::Migrate { .. } => ("migration", 0.0, true),
            Trouble::SystemStep(_) => ("step of the system clock", 0.0, false),
            Trouble::SystemSlew { lasts, .. } => ("slew of the system clock", lasts.0, false),
        };
        Incident { what, start, end: start + lasts, concerns_raw }
    }

    fn step(s: &FrequencyStep) -> Incident {
        let start = s.at.0.floor();
        Incident { what: "frequency step", start, end: start, concerns_raw: true }
    }
}

/// The clocks second by second; within a second both run evenly.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    /// Raw − true time at the beginning of each second, in seconds, and how it changes within it.
    raw: Vec<(f64, f64)>,
    /// System − true time at the beginning of each second.
    system: Vec<f64>,
    /// Whole seconds during which the machine sleeps.
    asleep: Vec<(i64, i64)>,
    /// What the client is told, and from when on.
    pub(crate) notices: Vec<(Span, Disruption)>,
    /// What happened to the clocks.
    pub(crate) incidents: Vec<Incident>,
}

const SECOND: i64 = 1_000_000_000;

impl Machine {
    /// The clocks of a machine for so many seconds from true time 0 on.
    pub(crate) fn new(
        (oscillator, temperatures): (&Oscillator, &[Temperature]),
        disturbances: &[Disturbance],
        host: Option<&Host>,
        seconds: usize,
        seed: u64,
    ) -> Machine {
        let mut rates = frequencies(oscillator, temperatures, seconds, seed);
        let mut jumps = vec![0.0; seconds];
        let mut asleep = Vec::new();
        for d in disturbances.iter().filter(|d| d.at.0 < seconds as f64) {
            let at = (d.at.0.ceil() as usize).min(seconds - 1);
            match d.what {
                Trouble::Suspend(lasts) => {
                    let end = (at + lasts.0.ceil() as usize).min(seconds);
                    rates[at..end].fill(-1.0);
                    asleep.push((at as i64, end as i64));
                }
                Trouble::Jump(by) => jumps[at] += by.0,
                Trouble::Migrate { frequency, jump } => {
                    jumps[at] += jump.0;
                    rates[at..].iter_mut().filter(|r| **r > -1.0).for_each(|r| *r += frequency.0);
                }
                Trouble::SystemStep(_) | Trouble::SystemSlew { .. } => {}
            }
        }
        let mut offset = oscillator.start.0 * Random::new(seed, "oscillator.start").signed();
        let mut raw = Vec::with_capacity(seconds);
        for (jump, rate) in jumps.into_iter().zip(rates) {
            offset += jump;
            raw.push((offset, rate));
            offset += rate;
        }
        asleep.sort_unstable();
        let incidents: Vec<Incident> = oscillator
            .steps
            .iter()
            .map(Incident::step)
            .chain(disturbances.iter().map(Incident::of))
            .filter(|i| i.start < seconds as f64)
            .collect();
        let mut machine = Machine { raw, system: Vec::new(), asleep, notices: Vec::new(), incidents };
        machine.system = machine.system_clock(disturbances, host, seed);
        machine.notices = machine.notices(disturbances);
        machine
    }

    /// The system clock's error: that of the raw clock, sleep made good, or what another daemon leaves of it, and what
    /// is done to it besides.
    fn system_clock(&self, disturbances: &[Disturbance], host: Option<&Host>, seed: u64) -> Vec<f64> {
        let mut random = Random::new(seed, "host");
        let mut error = host.map(|h| (h.error.0 * random.normal(), libm::exp(-1.0 / h.memory.0.max(1.0))));
        let mut slept = 0.0;
        (0..self.raw.len())
            .map(|k| {
                let base = match (&mut error, host) {
                    (Some((e, keep)), Some(h)) => {
                        *e = *keep * *e + h.error.0 * (1.0 - *keep * *keep).sqrt() * random.normal();
                        *e
                    }
                    _ => self.raw[k].0 + slept,
                };
                slept += f64::from(u8::from(self.raw[k].1 == -1.0));
                base + disturbances.iter().map(|d| set_ahead(d, k as f64)).sum::<f64>()
            })
            .collect()
    }

    fn notices(&self, disturbances: &[Disturbance]) -> Vec<(Span, Disruption)> {
        disturbances
            .iter()
            .filter(|d| d.noticed)
            .filter_map(|d| {
                let asleep = if let Trouble::Suspend(lasts) = d.what { lasts.0.ceil() } else { 0.0 };
                // The watch looks once a second.
                let told = (d.at.0.ceil() + asleep) as i64 * SECOND + SECOND / 2;
                Some((Span::from_nanos(told), d.what.disruption()?))
            })
            .collect()
    }

    fn second(&self, t: Span) -> (usize, f64) {
        let k = t.as_nanos().div_euclid(SECOND).clamp(0, self.raw.len() as i64 - 1);
        (k as usize, (t.as_nanos() - k * SECOND) as f64 * 1e-9)
    }

    /// What the raw clock reads at this true time.
    pub(crate) fn raw_at(&self, t: Span) -> RawInstant {
        let (k, into) = self.second(t);
        let (offset, rate) = self.raw[k];
        RawInstant::from_nanos(0) + t + Span::from_secs_f64(offset + rate * into)
    }

    /// System clock minus true time.
    pub(crate) fn system_error_at(&self, t: Span) -> Span {
        let (k, into) = self.second(t);
        let next = self.system[(k + 1).min(self.system.len() - 1)];
        // A step falls on the beginning of a second; only what is continuous is interpolated.
        let slope = if (next - self.system[k]).abs() < 1e-3 { next - self.system[k] } else { self.raw[k].1 };
        Span::from_secs_f64(self.system[k] + slope * into)
    }

    /// When the raw clock reads this or, for the first time since `from`, more; `None` if not before the end.
    pub(crate) fn when_raw_reads(&self, raw: RawInstant, from: Span) -> Option<Span> {
        let (first, _) = self.second(from);
        (first..self.raw.len()).find_map(|k| {
            let start = Span::from_nanos(k as i64 * SECOND);
            let (offset, rate) = self.raw[k];
            let left = (raw - (RawInstant::from_nanos(0) + start)).as_secs_f64() - offset;
            match left / (1.0 + rate) {
                into if into <= 0.0 => Some(start.max(from)),
                into if into < 1.0 => Some((start + Span::from_secs_f64(into)).max(from)),
                _ => None,
            }
        })
    }

    /// When the machine is awake next: now, or at the end of its sleep.
    pub(crate) fn awake(&self, t: Span) -> Span {
        let second = t.as_nanos().div_euclid(SECOND);
        let sleep = self.asleep.iter().find(|&&(from, to)| from <= second && second < to);
        sleep.map_or(t, |&(_, to)| Span::from_nanos(to * SECOND))
    }
}

/// How far this disturbance has set the system clock ahead by second `k`.
fn set_ahead(d: &Disturbance, k: f64) -> f64 {
    let since = k - d.at.0.ceil();
    match d.what {
        Trouble::SystemStep(by) if since >= 0.0 => by.0,
        Trouble::SystemSlew { rate, lasts } => rate.0 * since.clamp(0.0, lasts.0),
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oscillator::STILL;

    fn machine(disturbances: &[Disturbance]) -> Machine {
        Machine::new((&STILL, &[]), disturbances, None, 1000, 1)
    }

    fn at(seconds: f64, what: Trouble) -> Disturbance {
        Disturbance { at: Seconds(seconds), what, noticed: true }
    }

    fn t(seconds: f64) -> Span {
        Span::from_secs_f64(seconds)
    }

    fn raw(m: &Machine, seconds: f64) -> f64 {
        (m.raw_at(t(seconds)) - RawInstant::from_nanos(0)).as_secs_f64()
    }

    #[test]
    fn suspended_the_raw_clock_stands_still_and_the_system_clock_goes_on() {
        let m = machine(&[at(100.0, Trouble::Suspend(Seconds(60.0)))]);
        assert_eq!((raw(&m, 99.5), raw(&m, 130.0), raw(&m, 170.0)), (99.5, 100.0, 110.0));
        assert_eq!(m.system_error_at(t(500.25)), Span::ZERO);
        assert_eq!(m.awake(t(120.0)), t(160.0));
        assert_eq!(m.notices, [(t(160.5), Disruption::Suspended { lasted: Span::from_secs(60) })]);
    }

    #[test]
    fn jumps_and_migrations_change_the_raw_clock() {
        let m = machine(&[
            at(10.0, Trouble::Jump(Seconds(2.0))),
            at(20.0, Trouble::Migrate { frequency: Frequency(1e-3), jump: Seconds(-0.5) }),
        ]);
        assert_eq!((raw(&m, 9.5), raw(&m, 10.0), raw(&m, 20.0)), (9.5, 12.0, 21.5));
        assert!((raw(&m, 120.0) - 121.6).abs() < 1e-8);
        let starts: Vec<f64> = m.incidents.iter().map(|i| i.start).collect();
        assert_eq!(starts, [10.0, 20.0]);
    }

    #[test]
    fn others_set_the_system_clock_only() {
        let slew = Trouble::SystemSlew { rate: Frequency(1e-4), lasts: Seconds(100.0) };
        let m = machine(&[at(10.0, Trouble::SystemStep(Seconds(3.0))), at(50.0, slew)]);
        assert_eq!(m.raw_at(t(500.0)) - RawInstant::from_nanos(0), t(500.0));
        assert_eq!(m.system_error_at(t(9.5)), Span::ZERO);
        assert_eq!(m.system_error_at(t(10.0)), Span::from_secs(3));
        assert_eq!(m.system_error_at(t(500.0)), Span::from_millis(3_010));
        assert_eq!(m.notices.len(), 1);
    }

    #[test]
    fn reading_the_raw_clock_can_be_inverted() {
        let m = Machine::new((&Oscillator::default(), &[]), &[], None, 1000, 9);
        let mut from = t(0.0);
        for k in 1..90 {
            let raw = RawInstant::from_nanos(k * 10 * SECOND);
            from = m.when_raw_reads(raw, from).unwrap();
            assert!((m.raw_at(from) - raw).abs() <= Span::from_nanos(2), "{k}");
        }
        assert_eq!(m.when_raw_reads(RawInstant::from_nanos(2000 * SECOND), from), None);
    }
}
