//! What the engine promises, kept in worlds where the truth is known. One test for each promise.

use chronotick_core::{Span, State};
use chronotick_sim::score::{Regime, Score};
use chronotick_sim::{Row, Scenario, Trial};
use proptest::prelude::*;

fn trial(name: &str, seed: u64) -> Trial {
    Trial::simulate(&Scenario::built_in(name).unwrap(), seed)
}

fn settled(trial: &Trial) -> Score {
    Score::of(trial.settled())
}

fn seconds(row: &Row) -> i64 {
    row.answer.raw.as_nanos() / 1_000_000_000
}

/// "The bound contains truth unless half of the sources or more lie": whatever liars, queues, detours and outages do.
#[test]
fn truth_is_inside_the_bound() {
    for name in ["d", "liar-1-of-3", "liars-agree", "bufferbloat", "mobile", "flapping"] {
        let trial = trial(name, 11);
        let outside: Vec<i64> = trial.rows.iter().filter(|row| !row.bounded).map(seconds).collect();
        assert!(outside.is_empty(), "{name}: outside at {outside:?} s");
    }
}

/// Where paths are symmetric and the frequency does not jump, truth is inside the narrow bound: whatever liars, queues,
/// detours, outages and the weather do. It is far narrower.
#[test]
fn truth_is_inside_the_narrow_bound_where_its_assumption_holds() {
    for name in ["c", "d", "e4", "g2", "h", "r", "w", "liars-agree", "flapping", "smear"] {
        let trial = trial(name, 11);
        let narrow = || trial.rows.iter().filter_map(|row| Some((row, row.narrow?)));
        let outside: Vec<i64> =
            narrow().filter(|(_, (holds, _))| !holds).map(|(row, _)| seconds(row)).collect();
        assert!(outside.is_empty(), "{name}: outside at {outside:?} s");
        let wide = narrow().filter(|(row, (_, half_width))| *half_width > row.bound / 15.0).count();
        assert!(
            narrow().count() * 10 > trial.rows.len() * 9 && wide * 4 < trial.rows.len(),
            "{name}: {wide}"
        );
    }
}

/// Sources that differ refute the assumption: then much more is assumed, or there is no narrow bound, and it says which.
#[test]
fn sources_that_differ_make_the_narrow_bound_say_so() {
    let trial = trial("b2", 103);
    let settled = || trial.rows.iter().filter(|row| seconds(row) > 600);
    let narrow: Vec<f64> = settled().filter_map(|row| Some(row.narrow?.1)).collect();
    assert!(narrow.iter().all(|half_width| *half_width > 0.4e-3), "{narrow:?}");
}

/// What is shown as coverage is near what was asked, at every level and in quiet and rough weather.
#[test]
fn later_measurements_are_inside_the_interval_about_as_often_as_claimed() {
    for name in ["a", "c", "d", "i", "w", "campus"] {
        let found = trial(name, 11).predictions;
        let shares = found.covered.map(|covered| covered as f64 / found.counted as f64);
        println!("{name}: {shares:.3?} of {}", found.counted);
        assert!(found.counted > 100, "{name}: {found:?}");
        assert!(shares[0] > 0.3 && shares[2] > 0.88 && shares[3] > 0.95, "{name}: {shares:?}");
    }
}

/// Liars in the minority do not pull the estimate out of what the honest sources allow.
#[test]
fn a_minority_of_liars_is_not_followed() {
    for (name, limit) in [("d", 100e-6), ("liars-2-of-5", 1e-3), ("liars-agree", 1e-3), ("smear", 1e-3)] {
        let score = settled(&trial(name, 12));
        assert!(score.p99 < limit, "{name}: {score}");
    }
}

/// Where half of the sources lie nobody is believed: the state says so, and the bound spans what all of them say.
#[test]
fn without_a_majority_it_says_so() {
    let trial = trial("split", 18);
    let torn: Vec<&Row> = trial.rows.iter().filter(|r| (3700..10_700).contains(&seconds(r))).collect();
    assert!(torn.iter().all(|row| row.state == State::Unsynced && row.bounded && row.bound > 80e-3));
    let agreed = trial.rows.iter().find(|r| seconds(r) >= 13_000).unwrap();
    assert!(agreed.state == State::Synced && agreed.bound < 20e-3);
}

/// Unknown is never healthy: without answers the state falls to holdover, and the bound grows until they are back.
#[test]
fn an_outage_is_holdover_with_a_growing_bound() {
    let trial = trial("g", 13);
    let during: Vec<&Row> = trial.rows.iter().filter(|r| (7520..8990).contains(&seconds(r))).collect();
    assert!(during.iter().all(|row| row.state == State::Holdover && row.answer.regime == Regime::Holdover));
    assert!(during.windows(2).all(|w| w[0].bound <= w[1].bound));
    let after = trial.rows.iter().find(|r| seconds(r) >= 9100).unwrap();
    assert_eq!(after.state, State::Synced);
}

/// Nobody who sets or slews the system clock disturbs corrected time.
#[test]
fn a_misled_system_clock_changes_nothing() {
    let trial = trial("misled-host", 14);
    let worst = trial.rows.iter().filter_map(|r| r.system_error).fold(0.0, |a: f64, e| a.max(e.abs()));
    assert!(worst > 0.7 && settled(&trial).max < 1e-3);
}

/// After a suspend time is measured anew, and the first answer thereafter is as honest as any.
#[test]
fn a_suspend_is_survived() {
    let trial = trial("laptop", 15);
    let woken: Vec<&Row> = trial.rows.iter().filter(|r| (5420..6000).contains(&seconds(r))).collect();
    assert!(!woken.is_empty() && woken.iter().all(|r| r.bounded && r.answer.error.abs() < 20e-3));
}

/// A reading is useful within seconds of the start.
#[test]
fn the_first_seconds_are_useful() {
    let trial = trial("other-daemon", 16);
    assert_eq!(trial.useful[0].0, Span::from_millis(50));
    assert!(trial.useful[0].1.unwrap() <= Span::from_secs(2), "{:?}", trial.useful);
}

/// Corrected time is not worse than a system clock that somebody else keeps to half a millisecond.
#[test]
fn a_good_system_clock_is_not_made_worse() {
    let trial = trial("other-daemon", 17);
    let rms = |errors: &mut dyn Iterator<Item = f64>| {
        let squares: Vec<f64> = errors.map(|e| e * e).collect();
        (squares.iter().sum::<f64>() / squares.len() as f64).sqrt()
    };
    let ours = rms(&mut trial.rows.iter().map(|r| r.answer.error));
    let host = rms(&mut trial.rows.iter().filter_map(|r| r.system_error));
    assert!(ours < host, "{ours} against {host}");
}

/// A world of an hour: distances, jitter, temperature, an outage or a queue, and a minority that lies by any amount.
fn any_world() -> impl Strategy<Value = String> {
    let jitter = prop_oneof![
        (0.01f64..20.0).prop_map(|ms| format!("{{ exponential = {{ mean = '{ms:.3} ms' }} }}")),
        (0.01f64..10.0, 0.2f64..1.2)
            .prop_map(|(ms, s)| format!("{{ lognormal = {{ median = '{ms:.3} ms', sigma = {s:.2} }} }}")),
        (0.01f64..5.0, 0.8f64..3.0).prop_map(|(ms, shape)| format!(
            "{{ lomax = {{ shape = {shape:.2}, scale = '{ms:.3} ms', max = '1 s' }} }}"
        )),
    ];
    let effect = prop_oneof![
        Just("loss = 1".to_owned()),
        Just("loss = 0.3".to_owned()),
        (0.0f64..100.0).prop_map(|ms| format!("way = 'up'\njitter = [{{ constant = '{ms:.3} ms' }}]")),
        (0.0f64..50.0).prop_map(|ms| format!("way = 'down'\ndelay = {{ constant = '{ms:.3} ms' }}")),
    ];
    let liar = prop_oneof![-1e3f64..1e3, -5.0f64..5.0];
    let distances = prop::collection::vec(0.05f64..150.0, 1..7);
    let warmth = (-3.0f64..3.0, 60.0f64..5_000.0);
    (distances, jitter, effect, liar, warmth, 8u32..128).prop_map(|(ways, jitter, effect, lie, warmth, poll)| {
        let delays: Vec<String> = ways.iter().map(|ms| format!("'{ms:.3} ms'")).collect();
        let liars: Vec<usize> = (0..(ways.len() - 1) / 2).collect();
        format!(
            "name = 'any'\nwhat = 'any'\nduration = '1 h'\npoll = '{poll} s'\n\
             [[temperatures]]\nsine = {{ amplitude = '{:.3} ppm', period = '{:.0} s' }}\n\
             [[sources]]\ndelays = [{}]\njitter = [{jitter}]\n\
             [[episodes]]\nwhat = 'trouble'\nwhen = {{ fixed = {{ at = ['20 min'], lasts = '15 min' }} }}\n{effect}\n\
             [[episodes]]\nwhat = 'lie'\nwhen = {{ random = {{ pause = '10 min', lasts = '20 min' }} }}\n\
             sources = {liars:?}\noffset = '{lie:.3} ms'\n",
            warmth.0,
            warmth.1,
            delays.join(", ")
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    /// The promise of the bound, in worlds that nobody chose.
    #[test]
    fn truth_is_inside_the_bound_of_any_world(text in any_world(), seed: u64) {
        let trial = Trial::simulate(&Scenario::parse(&text).unwrap(), seed);
        let outside: Vec<i64> = trial.rows.iter().filter(|row| !row.bounded).map(seconds).collect();
        prop_assert!(outside.is_empty(), "outside at {outside:?} s of\n{text}");
    }
}
