//! How the engine does in worlds that nobody tuned it on: of each kind some are drawn at random, each with another
//! clock, temperature, number of sources, distances, jitter and poll interval.
//!
//! `cargo run --release -p chronotick-sim --example worlds -- [--seed N] [--each N]`
//!
//! One line per kind: the geometric mean of the RMS error and of the half-width of the 95 % interval, in µs, both after
//! 600 s; the share of all answers inside that interval, and by regime; how many worlds are within 93–97 %; whether the
//! bound ever missed truth.

use chronotick_sim::score::{Answer, Regime, Score};
use chronotick_sim::{Scenario, Trial};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};

const KINDS: [&str; 11] =
    ["lan", "wan", "radio", "long", "mobile", "step", "outage", "detours", "queues", "liars", "asymmetric"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (mut seed, mut each) = (1, 6);
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let value = args.next().ok_or("usage: worlds [--seed N] [--each N]")?.parse()?;
        match arg.as_str() {
            "--seed" => seed = value,
            "--each" => each = value as usize,
            _ => return Err("usage: worlds [--seed N] [--each N]".into()),
        }
    }
    let next = AtomicUsize::new(0);
    let work = || {
        let numbers = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
        let jobs = numbers.take_while(|&n| n < KINDS.len() * each);
        jobs.map(|n| (n / each, lived(KINDS[n / each], seed, n as u64))).collect::<Vec<_>>()
    };
    let worlds: Vec<(usize, Trial)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|t| t.join().expect("no world panics")).collect()
    });
    println!(
        "kind             RMS  half-width  inside  steady changing holdover recovery  in 93-97 %  bound missed"
    );
    for (kind, name) in KINDS.iter().enumerate() {
        line(name, &worlds.iter().filter(|w| w.0 == kind).map(|w| &w.1).collect::<Vec<_>>());
    }
    line("all", &worlds.iter().map(|w| &w.1).collect::<Vec<_>>());
    Ok(())
}

fn lived(kind: &str, seed: u64, number: u64) -> Trial {
    let text = text(kind, &mut Dice(seed.wrapping_mul(1_000_003) + number + 1));
    let scenario = Scenario::parse(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    Trial::simulate(&scenario, number)
}

fn line(name: &str, trials: &[&Trial]) {
    let scores: Vec<Score> = trials.iter().map(|t| Score::of(t.settled())).collect();
    let mean = |of: &dyn Fn(&Score) -> f64| {
        (scores.iter().map(|s| (of(s) * 1e6).ln()).sum::<f64>() / scores.len() as f64).exp()
    };
    let inside = |regimes: &[Regime]| {
        let wanted = |a: &&Answer| regimes.contains(&a.regime);
        let score = Score::of(trials.iter().flat_map(|t| t.settled()).filter(wanted));
        if score.count == 0 { "-".into() } else { format!("{:.3}", score.coverage[2]) }
    };
    let good = scores.iter().filter(|s| (0.93..=0.97).contains(&s.coverage[2])).count();
    let missed = trials.iter().flat_map(|t| &t.rows).filter(|row| !row.bounded).count();
    println!(
        "{name:10} {:9.1} {:11.1} {:>7} {:>7} {:>8} {:>8} {:>8} {:>6}/{} {missed:>10}",
        mean(&|s| s.rms),
        mean(&|s| s.half_width[2]),
        inside(&Regime::ALL),
        inside(&[Regime::Steady]),
        inside(&[Regime::Changing]),
        inside(&[Regime::Holdover]),
        inside(&[Regime::Recovery]),
        good,
        trials.len()
    );
}

/// A world of this kind as a scenario's text.
fn text(kind: &str, dice: &mut Dice) -> String {
    let sources = if kind == "liars" { 4 + dice.below(3) } else { 1 + dice.below(6) };
    let mut t = format!("name = '{kind}'\nwhat = 'Drawn.'\nduration = '8 h'\n");
    let _ = writeln!(t, "poll = '{} s'", [8, 16, 16, 32, 64, 128][dice.below(6)]);
    let _ = writeln!(t, "[oscillator]\nrandom-walk = {:e}", dice.between(3e-10, 5e-9));
    if dice.one_in(2) {
        let _ = writeln!(t, "flicker = {:e}", dice.between(1e-10, 2e-9));
    }
    if kind == "step" {
        let (first, second) = (dice.between(0.5, 8.0), -dice.between(0.5, 8.0));
        let _ = writeln!(
            t,
            "steps = [{{ at = '2.2 h', by = '{first} ppm' }}, {{ at = '5.1 h', by = '{second} ppm' }}]"
        );
    }
    let ppm = dice.between(0.2, 2.5);
    let [on, off, lag] =
        [(200.0, 1800.0), (300.0, 3000.0), (40.0, 600.0)].map(|(low, high)| dice.between(low, high));
    let _ = match dice.below(4) {
        0 => writeln!(t, "[[temperatures]]\nsine = {{ amplitude = '{ppm} ppm', period = '{} s' }}", on + off),
        1 => writeln!(
            t,
            "[[temperatures]]\nthermostat = {{ amplitude = '{ppm} ppm', on = '{on} s', off = '{off} s', spread = 0.2, lag = '{lag} s' }}"
        ),
        2 => writeln!(
            t,
            "[[temperatures]]\nload = {{ amplitude = '{ppm} ppm', on = '{on} s', off = '{off} s', lag = '{lag} s' }}"
        ),
        _ => Ok(()),
    };
    let [near, far, jitter] = match kind {
        "lan" => [0.03, 0.6, dice.between(0.005, 0.25)],
        "radio" => [1.0, 30.0, dice.between(0.4, 4.0)],
        "mobile" => [15.0, 60.0, dice.between(2.0, 10.0)],
        "long" => [80.0, 300.0, dice.between(1.0, 15.0)],
        _ => [2.0, 60.0, dice.between(0.1, 1.2)],
    };
    let delays: Vec<String> = (0..sources).map(|_| format!("'{} ms'", dice.between(near, far))).collect();
    let _ = writeln!(t, "[[sources]]\ndelays = [{}]", delays.join(", "));
    let _ = match kind {
        "radio" | "mobile" => {
            let sigma = dice.between(0.5, 1.0);
            writeln!(t, "jitter = [{{ lognormal = {{ median = '{jitter} ms', sigma = {sigma} }} }}]")
        }
        _ => {
            let (chance, shape, scale) =
                (dice.between(0.05, 0.35), dice.between(1.3, 2.5), jitter * dice.between(2.0, 8.0));
            writeln!(
                t,
                "jitter = [{{ exponential = {{ mean = '{jitter} ms' }} }}, {{ sometimes = {{ chance = {chance}, \
                 of = {{ lomax = {{ shape = {shape}, scale = '{scale} ms', max = '1 s' }} }} }} }}]"
            )
        }
    };
    if kind == "asymmetric" {
        let _ = writeln!(t, "asymmetry-deviation = '{} ms'", dice.between(0.02, 0.2));
    }
    let (pause, lasts, size) = (dice.between(20.0, 90.0), dice.between(4.0, 15.0), dice.between(3.0, 30.0));
    let way = ["up", "down", "both"][dice.below(3)];
    let mut episode = |what: &str, when: String, rest: String| {
        let _ = writeln!(t, "[[episodes]]\nwhat = '{what}'\nwhen = {{ {when} }}\n{rest}");
    };
    let now_and_then = format!("random = {{ pause = '{pause} min', lasts = '{lasts} min' }}");
    match kind {
        "outage" => {
            let minutes = [10, 30, 60, 120][dice.below(4)];
            episode(
                "outage",
                format!("fixed = {{ at = ['1.5 h', '5 h'], lasts = '{minutes} min' }}"),
                "loss = 1".into(),
            );
        }
        "mobile" => {
            let all = format!("periodic = {{ first = '0 s', every = '{lasts} min', lasts = '{lasts} min' }}");
            episode(
                "handover",
                all,
                format!("delay = {{ uniform = {{ from = '0 ms', to = '{size} ms' }} }}\nway = '{way}'"),
            );
            episode(
                "busy cell",
                now_and_then,
                format!("jitter = [{{ exponential = {{ mean = '{size} ms' }} }}]"),
            );
        }
        "detours" => {
            let rest = format!(
                "delay = {{ uniform = {{ from = '1 ms', to = '{size} ms' }} }}\nway = '{way}'\nsources = [0]"
            );
            episode("detour", now_and_then, rest);
        }
        "queues" => episode(
            "congestion",
            now_and_then,
            format!("jitter = [{{ exponential = {{ mean = '{size} ms' }} }}]\nway = '{way}'"),
        ),
        "liars" => {
            let offset = [-500, -20, 3, 60][dice.below(4)];
            let rest =
                format!("offset = '{offset} ms'\nsources = {:?}", (0..(sources - 1) / 2).collect::<Vec<_>>());
            episode("lie", now_and_then, rest);
        }
        _ => {}
    }
    t
}

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ z >> 31) % n as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// Evenly over the orders of magnitude, with three digits.
    fn between(&mut self, low: f64, high: f64) -> f64 {
        let x = low * (high / low).powf(self.below(1 << 20) as f64 / f64::from(1 << 20));
        let digit = 10f64.powf(x.log10().floor() - 2.0);
        (x / digit).round() * digit
    }
}
