//! A gate against getting worse: the estimator on recorded packets whose true time is known, beside chrony.
//!
//! `traces/README.md` says where they come from. The limits lie some tens of percent above what is reached today
//! (`docs/accuracy.md`): one trace of each kind says little about ten percent.

use chronotick_core::estimate::Estimator;
use chronotick_sim::Trial;
use chronotick_sim::score::{Answer, Regime, Score, chrony, replay};
use chronotick_sim::trace::Trace;
use std::path::Path;

/// Error after the first 600 s in µs and as a share of chrony's, and the range of the 95 % interval's coverage.
fn check(name: &str, limit: f64, share: f64, coverage: std::ops::Range<f64>) -> Vec<Answer> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/traces");
    let trace = Trace::load(&folder, name).expect("the trace is part of the project");
    let answers = replay(&trace, &mut Estimator::default());
    let settled = |a: &&Answer| a.regime != Regime::Start;
    let score = Score::of(answers.iter().filter(settled));
    let rival = Score::of(chrony(&trace).iter().filter(settled));
    assert!(score.rms * 1e6 < limit, "{name}: {score}");
    assert!(score.rms < share * rival.rms, "{name}: {score}, chrony {rival}");
    assert!(coverage.contains(&score.coverage[2]), "{name}: {score}");
    answers
}

/// The narrow bound holds truth on every row, and its median is at most a twentieth of that of chrony's bound.
fn check_narrow(name: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/traces");
    let trial = Trial::replay(&Trace::load(&folder, name).expect("the trace is part of the project"));
    let narrow: Vec<(bool, f64)> = trial.rows.iter().filter_map(|row| row.narrow).collect();
    assert!(narrow.iter().all(|(holds, _)| *holds), "{name}");
    let median = |mut widths: Vec<f64>| {
        widths.sort_by(f64::total_cmp);
        widths[widths.len() / 2]
    };
    let (ours, chrony) = (median(narrow.iter().map(|n| n.1).collect()), median(trial.chrony_bounds));
    assert!(ours < chrony / 20.0, "{name}: {ours} against {chrony}");
}

#[test]
fn the_narrow_bound_is_a_twentieth_of_chronys() {
    ["g3.114", "i.117", "w.119"].iter().for_each(|name| check_narrow(name));
}

#[test]
fn on_a_local_network() {
    check("a.101", 8.0, 0.65, 0.93..0.99);
}

#[test]
fn with_one_packet_every_two_minutes_from_each_server() {
    check("i.117", 60.0, 0.5, 0.92..0.98);
}

#[test]
fn over_a_radio_link_without_a_delay_floor() {
    check("w.119", 65.0, 0.7, 0.91..0.98);
}

#[test]
fn under_a_thermostat_with_outages_of_half_an_hour() {
    let answers = check("g3.114", 120.0, 0.4, 0.90..0.98);
    let ends =
        answers.windows(2).filter(|w| w[0].regime == Regime::Holdover && w[1].regime != Regime::Holdover);
    let squares: Vec<f64> = ends.map(|w| w[0].error * w[0].error).collect();
    let rms = (squares.iter().sum::<f64>() / squares.len() as f64).sqrt();
    assert!(squares.len() == 3 && rms < 650e-6, "at the ends of {} outages: {rms}", squares.len());
}

/// Within the first minute no worse than the fastest packet so far, with nothing learned.
#[test]
fn from_the_first_packets_on() {
    for (name, limit) in [("a.101", 30e-6), ("g3.114", 150e-6)] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/traces");
        let trace = Trace::load(&folder, name).expect("the trace is part of the project");
        let answers = replay(&trace, &mut Estimator::default());
        let early = Score::of(&answers[..6]);
        assert!(early.p50 < limit, "{name}: {early}");
    }
}
