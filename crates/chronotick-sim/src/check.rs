//! What the values of a scenario may be. A value out of its range gets an error that names its key, from the root of the
//! file, and what can be written instead.

use crate::distribution::Distribution;
use crate::episode::{Episode, Schedule};
use crate::machine::{Disturbance, Host, Trouble};
use crate::oscillator::{Oscillator, Temperature};
use crate::scenario::{Scenario, ScenarioError, Sources};

type Checked = Result<(), ScenarioError>;

/// From, to, and both in words.
struct Range(f64, f64, &'static str);

const DAY: f64 = 86_400.0;
/// Longer worlds would fill the memory: some forty bytes for each second.
const DURATION: Range = Range(60.0, 400.0 * DAY, "write a time between \"1 min\" and \"400 d\"");
const POLL: Range = Range(0.1, DAY, "write a time between \"100 ms\" and \"1 d\"");
const INSTANT: Range = Range(0.0, 400.0 * DAY, "write a time after the start, at most \"400 d\"");
const LENGTH: Range = Range(1.0, 100.0 * DAY, "write a time between \"1 s\" and \"100 d\"");
const LAG: Range = Range(0.0, DAY, "write a time between \"0 s\" and \"1 d\"");
const WAY: Range = Range(0.0, 60.0, "write a time between \"0 s\" and \"60 s\"");
/// A system clock may be set to another century.
const STEP: Range =
    Range(-40_000.0 * DAY, 40_000.0 * DAY, "write a time between \"-40000 d\" and \"40000 d\"");
const SHIFT: Range = Range(-100.0 * DAY, 100.0 * DAY, "write a time between \"-100 d\" and \"100 d\"");
const FREQUENCY: Range = Range(-1e-3, 1e-3, "write a frequency between \"-1000 ppm\" and \"1000 ppm\"");
const NOISE: Range = Range(0.0, 1e-4, "write a number between 0 and 1e-4");
const SHARE: Range = Range(0.0, 1.0, "write a share between 0 and 1");

impl Range {
    fn check(&self, key: &str, value: f64) -> Checked {
        if (self.0..=self.1).contains(&value) {
            return Ok(());
        }
        refuse(key, value, self.2)
    }
}

fn refuse(key: &str, problem: impl ToString, mend: impl Into<String>) -> Checked {
    Err(ScenarioError::Value { key: key.into(), problem: problem.to_string(), mend: mend.into() })
}

/// Each entry of a list, with its key.
fn each<T>(key: &str, list: &[T], check: impl Fn(&str, &T) -> Checked) -> Checked {
    list.iter().enumerate().try_for_each(|(i, entry)| check(&format!("{key}[{i}]"), entry))
}

pub(crate) fn scenario(s: &Scenario) -> Checked {
    let usable = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if s.name.is_empty() || !s.name.chars().all(usable) {
        return refuse("name", format!("{:?} cannot name files", s.name), "use letters, digits, - and _");
    }
    DURATION.check("duration", s.duration.0)?;
    s.poll.map_or(Ok(()), |poll| POLL.check("poll", poll.0))?;
    if s.source_count() == 0 {
        return refuse("sources", "there is none", "add [[sources]] with delays = [\"10 ms\"]");
    }
    oscillator(&s.oscillator)?;
    each("temperatures", &s.temperatures, temperature)?;
    each("sources", &s.sources, sources)?;
    each("episodes", &s.episodes, |key, e| episode(key, e, s.source_count()))?;
    each("machine", &s.machine, disturbance)?;
    s.host.as_ref().map_or(Ok(()), host)
}

fn oscillator(o: &Oscillator) -> Checked {
    LAG.check("oscillator.start", o.start.0)?;
    FREQUENCY.check("oscillator.frequency", o.frequency.0)?;
    FREQUENCY.check("oscillator.ageing", o.ageing.0)?;
    NOISE.check("oscillator.white", o.white)?;
    NOISE.check("oscillator.flicker", o.flicker)?;
    NOISE.check("oscillator.random-walk", o.random_walk)?;
    each("oscillator.steps", &o.steps, |key, step| {
        INSTANT.check(&format!("{key}.at"), step.at.0)?;
        FREQUENCY.check(&format!("{key}.by"), step.by.0)
    })
}

fn temperature(key: &str, t: &Temperature) -> Checked {
    match t {
        Temperature::Sine { amplitude, period } => {
            FREQUENCY.check(&format!("{key}.sine.amplitude"), amplitude.0)?;
            LENGTH.check(&format!("{key}.sine.period"), period.0)
        }
        Temperature::Thermostat { amplitude, on, off, spread, lag } => {
            let key = |name| format!("{key}.thermostat.{name}");
            FREQUENCY.check(&key("amplitude"), amplitude.0)?;
            LENGTH.check(&key("on"), on.0)?;
            LENGTH.check(&key("off"), off.0)?;
            SHARE.check(&key("spread"), *spread)?;
            LAG.check(&key("lag"), lag.0)
        }
        Temperature::Load { amplitude, on, off, lag } => {
            let key = |name| format!("{key}.load.{name}");
            FREQUENCY.check(&key("amplitude"), amplitude.0)?;
            LENGTH.check(&key("on"), on.0)?;
            LENGTH.check(&key("off"), off.0)?;
            LAG.check(&key("lag"), lag.0)
        }
    }
}

fn sources(key: &str, s: &Sources) -> Checked {
    let sub = |name| format!("{key}.{name}");
    each(&sub("delays"), &s.delays, |key, delay| WAY.check(key, delay.0))?;
    each(&sub("jitter"), &s.jitter, distribution)?;
    if s.delays.iter().any(|delay| s.asymmetry.0.abs() > delay.0) {
        let problem = "one way would take less than no time";
        return refuse(&sub("asymmetry"), problem, "write at most the shortest of `delays`");
    }
    WAY.check(&sub("asymmetry-deviation"), s.asymmetry_deviation.0)?;
    SHARE.check(&sub("loss"), s.loss)?;
    SHARE.check(&sub("duplicate"), s.duplicate)?;
    SHIFT.check(&sub("offset"), s.offset.0)?;
    WAY.check(&sub("root-delay"), s.root_delay.0)?;
    WAY.check(&sub("root-dispersion"), s.root_dispersion.0)?;
    Range(1.0, 15.0, "write a number between 1 and 15").check(&sub("stratum"), f64::from(s.stratum))
}

fn episode(key: &str, e: &Episode, sources: usize) -> Checked {
    let sub = |name| format!("{key}.{name}");
    if let Some(wrong) = e.sources.iter().flatten().find(|s| **s >= sources) {
        let mend = format!("there are {sources}, numbered from 0");
        return refuse(&sub("sources"), format!("no source {wrong}"), mend);
    }
    schedule(&sub("when"), &e.when)?;
    e.delay.as_ref().map_or(Ok(()), |d| distribution(&sub("delay"), d))?;
    each(&sub("jitter"), &e.jitter, distribution)?;
    SHARE.check(&sub("loss"), e.loss)?;
    SHIFT.check(&sub("offset"), e.offset.0)?;
    FREQUENCY.check(&sub("drift"), e.drift.0)
}

fn schedule(key: &str, s: &Schedule) -> Checked {
    match s {
        Schedule::Fixed { at, lasts } => {
            LENGTH.check(&format!("{key}.fixed.lasts"), lasts.0)?;
            each(&format!("{key}.fixed.at"), at, |key, at| INSTANT.check(key, at.0))?;
            if at.windows(2).any(|w| w[1].0 < w[0].0 + lasts.0) {
                let mend = "write ascending times, `lasts` or more apart";
                return refuse(&format!("{key}.fixed.at"), "times overlap", mend);
            }
            Ok(())
        }
        Schedule::Periodic { first, every, lasts } => {
            INSTANT.check(&format!("{key}.periodic.first"), first.0)?;
            LENGTH.check(&format!("{key}.periodic.lasts"), lasts.0)?;
            let longer = Range(lasts.0, LENGTH.1, "write a time not shorter than `lasts`");
            longer.check(&format!("{key}.periodic.every"), every.0)
        }
        Schedule::Random { pause, lasts } => {
            LENGTH.check(&format!("{key}.random.pause"), pause.0)?;
            LENGTH.check(&format!("{key}.random.lasts"), lasts.0)
        }
    }
}

fn distribution(key: &str, d: &Distribution) -> Checked {
    match d {
        Distribution::Constant(value) => WAY.check(&format!("{key}.constant"), value.0),
        Distribution::Uniform { from, to } => {
            WAY.check(&format!("{key}.uniform.from"), from.0)?;
            Range(from.0, WAY.1, "write a time not less than `from`, at most \"60 s\"")
                .check(&format!("{key}.uniform.to"), to.0)
        }
        Distribution::Exponential { mean } => WAY.check(&format!("{key}.exponential.mean"), mean.0),
        Distribution::Lomax { shape, scale, max } => {
            let shapes = Range(0.1, 100.0, "write a number between 0.1 and 100");
            shapes.check(&format!("{key}.lomax.shape"), *shape)?;
            WAY.check(&format!("{key}.lomax.scale"), scale.0)?;
            WAY.check(&format!("{key}.lomax.max"), max.0)
        }
        Distribution::Lognormal { median, sigma } => {
            WAY.check(&format!("{key}.lognormal.median"), median.0)?;
            let sigmas = Range(0.0, 5.0, "write a number between 0 and 5");
            sigmas.check(&format!("{key}.lognormal.sigma"), *sigma)
        }
        Distribution::Sometimes { chance, of } => {
            SHARE.check(&format!("{key}.sometimes.chance"), *chance)?;
            distribution(&format!("{key}.sometimes.of"), of)
        }
    }
}

fn disturbance(key: &str, d: &Disturbance) -> Checked {
    INSTANT.check(&format!("{key}.at"), d.at.0)?;
    match d.what {
        Trouble::Suspend(lasts) => LENGTH.check(&format!("{key}.what.suspend"), lasts.0),
        Trouble::Jump(by) => SHIFT.check(&format!("{key}.what.jump"), by.0),
        Trouble::Migrate { frequency, jump } => {
            FREQUENCY.check(&format!("{key}.what.migrate.frequency"), frequency.0)?;
            SHIFT.check(&format!("{key}.what.migrate.jump"), jump.0)
        }
        Trouble::SystemStep(by) => STEP.check(&format!("{key}.what.system-step"), by.0),
        Trouble::SystemSlew { rate, lasts } => {
            FREQUENCY.check(&format!("{key}.what.system-slew.rate"), rate.0)?;
            LENGTH.check(&format!("{key}.what.system-slew.lasts"), lasts.0)
        }
    }
}

fn host(h: &Host) -> Checked {
    WAY.check("host.error", h.error.0)?;
    LENGTH.check("host.memory", h.memory.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PLAIN: &str = "name = 'x'\nwhat = 'y'\nduration = '1 h'\npoll = '16 s'\n";
    const ONE: &str = "[[sources]]\ndelays = ['1 ms']\n";

    #[test]
    fn errors_name_the_key_and_the_mend() {
        let fixed = "[[episodes]]\nwhat = 'x'\nwhen = { fixed = { at = ['0 s', '1 h'], lasts = '1 h' } }\n";
        for (text, key, mend) in [
            (String::new(), "sources", "missing field"),
            ("sources = []".into(), "sources", "add [[sources]]"),
            ("[[sources]]\ndelays = ['10msec']".into(), "delays", "units ns, us"),
            (format!("{ONE}losses = 0.1"), "losses", "expected one of"),
            (format!("{ONE}loss = 1.1"), "sources[0].loss", "between 0 and 1"),
            (format!("{ONE}asymmetry = '2 ms'"), "sources[0].asymmetry", "at most the shortest"),
            (
                format!("{ONE}jitter = [{{ lomax = {{ shape = 0, scale = '1 ms', max = '1 s' }} }}]"),
                "sources[0].jitter[0].lomax.shape",
                "between 0.1 and 100",
            ),
            (format!("{ONE}{fixed}sources = [1]"), "episodes[0].sources", "numbered from 0"),
            (format!("{ONE}{}", fixed.replace("'1 h']", "'1 min']")), "episodes[0].when.fixed.at", "apart"),
            (format!("{ONE}[oscillator]\nwhite = 1"), "oscillator.white", "1e-4"),
            (
                format!("{ONE}[[machine]]\nat = '1 h'\nwhat = {{ explode = '1 s' }}"),
                "explode",
                "expected one of",
            ),
            (
                format!("{ONE}[[temperatures]]\nsine = {{ amplitude = '2 ppm', period = '0 s' }}"),
                "temperatures[0].sine.period",
                "between \"1 s\"",
            ),
        ] {
            let said = Scenario::parse(&format!("{PLAIN}{text}")).unwrap_err().to_string();
            assert!(said.contains(key) && said.contains(mend), "{text}: {said}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".*", at in 0usize..4000, junk in "[-0-9a-z\"{}\\[\\]=. ]{0,9}") {
            let _ = Scenario::parse(&text);
            let mut broken = Scenario::BUILT_IN[at % Scenario::BUILT_IN.len()].1.to_owned();
            broken.insert_str(at.min(broken.len()), &junk);
            let _ = Scenario::parse(&broken);
        }
    }
}
