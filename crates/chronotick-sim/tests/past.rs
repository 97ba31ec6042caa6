//! What measurements on both sides of an instant are worth: the smoothed answer for the past against the answer given
//! at the time, and against a straight line between answers. `docs/accuracy.md` has the table that this prints:
//!
//! `cargo test --release -p chronotick-sim --test past -- --nocapture`

use chronotick_core::{Disruption, Engine, RawInstant, Settings, Span, Timestamp};
use chronotick_sim::{Client, Moment, Reply, Scenario, World};

/// How long after an instant it is asked about.
const LATER: i64 = 900;
/// The answers between which a line is drawn are so far apart, s.
const ANCHORS: i64 = 60;

struct Witness {
    engine: Engine,
    poll: Span,
    /// Every ten seconds: raw instant, truth, and the error of the answer given then.
    given: Vec<(RawInstant, Timestamp, f64)>,
    /// Error given then, error on the line between anchors, smoothed error and its sigma; s.
    errors: Vec<[f64; 4]>,
}

impl Client for Witness {
    fn interval(&mut self, _source: u32, _now: RawInstant) -> Span {
        self.poll
    }

    fn receive(&mut self, reply: &Reply) {
        self.engine.measure(&reply.measurement());
    }

    fn disrupted(&mut self, disruption: Disruption, now: RawInstant) {
        self.engine.disrupted(disruption, now);
    }

    fn compare(&mut self, moment: &Moment) {
        let answer = self.engine.solution(moment.raw).utc_at(moment.raw);
        self.given.push((moment.raw, moment.utc, (answer - moment.utc).as_secs_f64()));
        let Some(then) = self.given.len().checked_sub(1 + (LATER / 10) as usize) else { return };
        if then < 120 || then % 3 != 0 {
            return;
        }
        let anchor = |i: usize| self.given[i];
        let (raw, utc, given) = self.given[then];
        let per = (ANCHORS / 10) as usize;
        let (before, after) = (anchor(then / per * per), anchor((then / per + 1) * per));
        let share = (raw - before.0).as_secs_f64() / (after.0 - before.0).as_secs_f64();
        // The truth between the anchors is no straight line either.
        let bend = (utc - before.1).as_secs_f64() - share * (after.1 - before.1).as_secs_f64();
        let line = before.2 + share * (after.2 - before.2) - bend;
        if let Some(smoothed) = self.engine.past().smoothed(raw) {
            let error = (smoothed.utc - utc).as_secs_f64();
            self.errors.push([given, line, error, smoothed.sigma.as_secs_f64()]);
        }
    }
}

fn witness(name: &str, seed: u64) -> Vec<[f64; 4]> {
    let scenario = Scenario::built_in(name).unwrap();
    let poll = Span::from_secs(16);
    let settings = Settings { min_poll: poll, max_poll: poll, ..Settings::default() };
    let mut engine = Engine::new(settings, RawInstant::from_nanos(0));
    for source in 0..scenario.source_count() {
        engine.add_source(format!("source {source}"));
    }
    let mut witness = Witness { engine, poll, given: Vec::new(), errors: Vec::new() };
    World::new(&scenario, seed).run(Span::from_secs(10), &mut witness);
    witness.errors
}

fn rms(errors: &[[f64; 4]], which: usize) -> f64 {
    (errors.iter().map(|e| e[which] * e[which]).sum::<f64>() / errors.len() as f64).sqrt()
}

#[test]
fn measurements_on_both_sides_tell_more_and_sigma_is_honest() {
    println!("| world | given then | line between answers | smoothed | inside 95 % | half-width |");
    let (mut log_given, mut log_line, mut inside_all, mut count) = (0.0, 0.0, 0.0, 0.0);
    for name in ["a", "b", "e1", "e4", "e5", "f", "g", "g3", "w", "campus", "cheap-crystal", "long-outage"] {
        let errors = witness(name, 21);
        let [given, line, smoothed] = [0, 1, 2].map(|which| rms(&errors, which));
        let inside = errors.iter().filter(|e| e[2].abs() <= 1.96 * e[3]).count() as f64 / errors.len() as f64;
        let half = 1.96 * errors.iter().map(|e| e[3]).sum::<f64>() / errors.len() as f64;
        println!(
            "| {name} | {:.1} | {:.1} | {:.1} | {inside:.3} | {:.1} |",
            given * 1e6,
            line * 1e6,
            smoothed * 1e6,
            half * 1e6
        );
        log_given += (smoothed / given).ln();
        log_line += (smoothed / line).ln();
        inside_all += inside;
        count += 1.0;
        assert!(smoothed < 1.02 * given && inside > 0.85, "{name}");
    }
    let [given, line, inside] = [(log_given / count).exp(), (log_line / count).exp(), inside_all / count];
    println!("of the answer given then: {given:.2}; of the line: {line:.2}; inside: {inside:.3}");
    assert!(given < 0.8 && line < 0.8 && (0.92..0.99).contains(&inside));
}
