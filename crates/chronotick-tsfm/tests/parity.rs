//! Every recorded case of every family, within the tolerance of its reference.

use std::path::{Path, PathBuf};

use chronotick_tsfm::{Family, check};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn assert_parity(name: &str, family: Family, cases: usize) {
    let report = check::run(&fixture(name)).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(report.family, family);
    assert_eq!(report.cases.len(), cases);
    for case in &report.cases {
        println!("{name} {}: {:.4} of the tolerance", case.name, case.deviation);
        assert!(case.passes(), "{name} {}: {} of the tolerance at {}", case.name, case.deviation, case.at);
    }
}

#[test]
fn chronos_bolt() {
    assert_parity("chronos-bolt", Family::ChronosBolt, 18);
}

#[test]
fn chronos_2() {
    assert_parity("chronos-2", Family::Chronos2, 22);
}

#[test]
fn timesfm_2_5() {
    assert_parity("timesfm-2.5", Family::TimesFm25, 24);
}

#[test]
fn timesfm_2_0() {
    assert_parity("timesfm-2.0", Family::TimesFm20, 13);
}

#[test]
fn ttm() {
    assert_parity("ttm", Family::Ttm, 21);
}

#[test]
fn ttm_of_the_first_release() {
    assert_parity("ttm-plain", Family::Ttm, 4);
}

#[test]
fn ttm_that_mixes_channels() {
    assert_parity("ttm-mix-channel", Family::Ttm, 3);
}

#[test]
fn ttm_that_mixes_the_forecast_with_a_known_future() {
    assert_parity("ttm-forecast-mixing", Family::Ttm, 2);
}

#[test]
fn toto() {
    assert_parity("toto", Family::Toto, 20);
}

#[test]
fn time_moe() {
    assert_parity("time-moe", Family::TimeMoe, 16);
}

#[test]
fn foresight_gives_its_own_quantiles() {
    assert_parity("foresight", Family::Foresight, 7);
}
