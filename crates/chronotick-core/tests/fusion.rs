//! What members beside the filter bank may and may not do to the answer, against small worlds whose truth is known.
//!
//! Two engines live through the same packets, one of them with a member. Every two hours the sources are silent for half
//! an hour: only then is there much to gain, or to lose.

use chronotick_core::*;

const EPOCH: i64 = 1_700_000_000_000_000_000;
const CYCLE: usize = 7_200;
const OUTAGE: usize = 1_800;
/// Ages of the newest measurement at which the answers are compared, s.
const AGES: [usize; 6] = [5, 60, 300, 600, 1_200, 1_790];

/// Numbers that look random, the same in every run.
struct Random(u64);

impl Random {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }
}

/// A raw clock whose true frequency wanders, and with the temperature.
struct World {
    /// True rate of time against the raw clock in each raw second, and the sum of it: how far true time is ahead.
    rate: Vec<f64>,
    ahead: Vec<f64>,
    temperature: Vec<f64>,
}

impl World {
    fn new(seconds: usize, seed: u64, warmth: f64) -> World {
        let mut random = Random(seed);
        let (mut rate, mut ahead, mut temperature) = (vec![], vec![0.0], vec![]);
        let (mut walk, mut heat, mut load) = (5e-6, 0.0, 0.0);
        for second in 0..seconds + OUTAGE {
            if random.uniform() < 1.0 / 1_500.0 {
                load = 10.0 * random.uniform();
            }
            heat += (load - heat) / 400.0;
            walk += 1e-10 * random.normal();
            let season = 3e-7 * (second as f64 * std::f64::consts::TAU / 5_400.0).sin();
            temperature.push(40.0 + heat);
            rate.push(walk + season + warmth * heat);
            ahead.push(ahead[second] + rate[second]);
        }
        World { rate, ahead, temperature }
    }

    fn raw(second: usize) -> RawInstant {
        RawInstant::from_nanos(second as i64 * 1_000_000_000)
    }

    fn truth(&self, second: usize) -> Timestamp {
        Timestamp::from_nanos(EPOCH + second as i64 * 1_000_000_000) + Span::from_secs_f64(self.ahead[second])
    }

    /// By how much true time runs ahead of a line with this rate, from one second to another.
    fn beyond(&self, rate: Rate, from: usize, to: usize) -> f64 {
        self.rate[from..to].iter().map(|f| f - rate.as_f64()).sum()
    }
}

fn is_silent(second: usize) -> bool {
    second % CYCLE >= CYCLE - OUTAGE
}

/// The squared errors of an engine, by age.
#[derive(Default, Clone)]
struct Errors([Vec<f64>; AGES.len()]);

impl Errors {
    fn rms(&self, i: usize) -> f64 {
        (self.0[i].iter().map(|e| e * e).sum::<f64>() / self.0[i].len() as f64).sqrt()
    }
}

struct Outcome {
    alone: Errors,
    fused: Errors,
    covered: (usize, usize),
    engine: Engine,
    bounds_equal: bool,
    sources: std::collections::BTreeMap<&'static str, usize>,
}

/// Lives through a world; `forecast` is asked for every half minute in which something was measured.
fn live(
    world: &World,
    hours: usize,
    seed: u64,
    member: Member,
    mut forecast: impl FnMut(&World, &Outlook, usize, &mut Random) -> Option<Vec<(i64, f64)>>,
    conditions: bool,
) -> Outcome {
    let engine = || {
        let settings = Settings { max_bound: Span::from_secs(1), ..Settings::default() };
        let mut engine = Engine::new(settings, World::raw(0));
        let sources: Vec<SourceId> = (0..3).map(|i| engine.add_source(format!("{i}"))).collect();
        (engine, sources)
    };
    let ((mut alone, sources), (mut fused, _)) = (engine(), engine());
    let mut random = Random(seed ^ 0xABCD);
    let mut out = (Errors::default(), Errors::default());
    let (mut covered, mut bounds_equal) = ((0, 0), true);
    let mut seen = std::collections::BTreeMap::new();
    let mut newest = 0;
    for second in 1..hours * 3_600 {
        let now = World::raw(second);
        if conditions && second % 10 == 0 {
            let values = [None, Some(world.temperature[second]), None, None, None];
            fused.sense(&Conditions { at: now, values });
        }
        if second % 16 < 3 && !is_silent(second) {
            let wait = |random: &mut Random| -(random.uniform().max(1e-9).ln()) * 100e-6;
            let (up, down) = (2e-3 + wait(&mut random), 2e-3 + wait(&mut random));
            let delay = Span::from_secs_f64(up + down);
            let m = Measurement {
                source: sources[second % 16],
                at: now - delay.half(),
                received: now,
                utc: world.truth(second) - delay.half() + Span::from_secs_f64(0.5 * (up - down)),
                delay,
                root_delay: Span::ZERO,
                root_dispersion: Span::from_micros(1),
                stratum: 1,
                leap: Leap::None,
                stamps: Stamps::Kernel,
            };
            alone.measure(&m);
            fused.measure(&m);
            newest = second;
        }
        if second % 30 == 5 && !is_silent(second) {
            let ages = (1..=60).map(|i| Span::from_secs(30 * i));
            if let Some(outlook) = fused.outlook(ages)
                && let Some(points) = forecast(world, &outlook, newest, &mut random)
            {
                let ahead = points.into_iter().map(|(age, seconds)| Ahead {
                    age: Span::from_secs(age),
                    offset: Span::from_secs_f64(seconds),
                    sigma: None,
                });
                fused.foresee(&Forecast { member, outlook, ahead: ahead.collect() }).expect("a forecast");
            }
        }
        let age = second - newest;
        if second < 2 * CYCLE || !(is_silent(second) || age == 5) || !AGES.contains(&age) {
            continue;
        }
        let i = AGES.iter().position(|a| *a == age).expect("an age");
        let (a, f) = (alone.solution(now).reading(now), fused.solution(now).reading(now));
        let truth = world.truth(second);
        out.0.0[i].push((a.estimate - truth).as_secs_f64());
        out.1.0[i].push((f.estimate - truth).as_secs_f64());
        bounds_equal &= (a.earliest - f.earliest).abs() <= Span::from_nanos(1)
            && (a.latest - f.latest).abs() <= Span::from_nanos(1);
        covered.0 += 1;
        covered.1 += usize::from((f.estimate - truth).abs() <= f.interval(0.95));
        if age >= 600 {
            *seen.entry(fused.basis(now).name()).or_default() += 1;
        }
    }
    let (alone, with) = out;
    Outcome { alone, fused: with, covered, engine: fused, bounds_equal, sources: seen }
}

const HOURS: usize = 40;

fn run(
    seed: u64,
    forecast: impl FnMut(&World, &Outlook, usize, &mut Random) -> Option<Vec<(i64, f64)>>,
) -> Outcome {
    let world = World::new(HOURS * 3_600, seed, 1e-7);
    live(&world, HOURS, seed, Member::LongTerm, forecast, false)
}

/// What true time will be beyond the line, from the true frequency.
fn oracle(world: &World, outlook: &Outlook, newest: usize) -> Vec<(i64, f64)> {
    (1..=60).map(|i| (30 * i, world.beyond(outlook.rate, newest, newest + 30 * i as usize))).collect()
}

fn report(name: &str, outcome: &Outcome) {
    let line = |e: &Errors| (0..AGES.len()).map(|i| format!("{:9.2}", e.rms(i) * 1e6)).collect::<String>();
    println!("{name}: alone {}", line(&outcome.alone));
    println!("{name}: fused {}  inside {:?} {:?}", line(&outcome.fused), outcome.covered, outcome.sources);
    let (judged, inside) = outcome.covered;
    assert!(inside as f64 > 0.93 * judged as f64, "{name}: {inside} of {judged} inside the 95 % interval");
}

fn assert_no_harm(name: &str, outcome: &Outcome) {
    report(name, outcome);
    assert!(outcome.bounds_equal, "{name}: the bound moved");
    for (i, age) in AGES.iter().enumerate() {
        let (alone, fused) = (outcome.alone.rms(i), outcome.fused.rms(i));
        assert!(fused <= 1.01 * alone, "{name}: {fused} against {alone} s at {age} s");
    }
}

#[test]
fn one_who_knows_the_future_is_believed() {
    let outcome = run(1, |world, outlook, newest, _| Some(oracle(world, outlook, newest)));
    assert_no_harm("oracle", &outcome);
    for (i, age) in AGES.iter().enumerate().skip(3) {
        let (alone, fused) = (outcome.alone.rms(i), outcome.fused.rms(i));
        assert!(fused < 0.4 * alone, "{fused} against {alone} s at {age} s");
    }
}

#[test]
fn bad_members_do_no_harm() {
    let mut walk = 0.0;
    let step = |random: &mut Random, size: f64| {
        let rate = size * random.normal();
        (1..=60).map(|i| (30 * i, rate * (30 * i) as f64)).collect::<Vec<_>>()
    };
    assert_no_harm("noise", &run(2, |_, _, _, random| Some(step(random, 1e-6))));
    assert_no_harm("small noise", &run(2, |_, _, _, random| Some(step(random, 1e-7))));
    assert_no_harm(
        "biased",
        &run(3, |_, _, _, _| Some((1..=60).map(|i| (30 * i, 3e-8 * (30 * i) as f64)).collect())),
    );
    assert_no_harm(
        "wandering",
        &run(4, |_, _, _, random| {
            walk = 0.98 * walk + 3e-8 * random.normal();
            Some((1..=60).map(|i| (30 * i, walk * (30 * i) as f64)).collect())
        }),
    );
    assert_no_harm(
        "contrary",
        &run(5, |world, outlook, newest, _| {
            Some(oracle(world, outlook, newest).into_iter().map(|(age, x)| (age, -x)).collect())
        }),
    );
}

#[test]
fn one_who_turns_bad_loses_its_weight() {
    let outcome = run(6, |world, outlook, newest, random| {
        let mut forecast = oracle(world, outlook, newest);
        if newest > 26 * 3_600 {
            let wrong = 1e-6 * random.normal();
            forecast.iter_mut().for_each(|(age, x)| *x = wrong * *age as f64);
        }
        Some(forecast)
    });
    report("turned", &outcome);
    let mut engine = outcome.engine;
    let members = engine.members(World::raw(HOURS * 3_600));
    assert!(members[1].horizons.iter().all(|h| h.weight < 0.1), "{members:#?}");
}

#[test]
fn the_machines_conditions_earn_their_weight() {
    let world = World::new(HOURS * 3_600, 7, 4e-7);
    let outcome = live(&world, HOURS, 7, Member::LongTerm, |_, _, _, _| None, true);
    assert_no_harm("conditions", &outcome);
    assert_eq!({ outcome.engine }.members(World::raw(HOURS * 3_600))[2].standing, Standing::Earned);
    for (i, age) in AGES.iter().enumerate().skip(3) {
        let (alone, fused) = (outcome.alone.rms(i), outcome.fused.rms(i));
        assert!(fused < 0.85 * alone, "{fused} against {alone} s at {age} s");
    }
}
