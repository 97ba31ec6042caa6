//! What the families without a distribution promise: point forecasts in the units of the series, and no quantile.

use std::path::{Path, PathBuf};

use chronotick_tsfm::{Covariate, ForecastError, Forecaster, OpenError, Task};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn wave(length: usize) -> Vec<f64> {
    (0..length).map(|i| (i as f64 * 0.4).sin() + 0.01 * i as f64).collect()
}

#[test]
fn no_quantile_is_made_up() {
    for name in ["ttm", "ttm-plain", "time-moe"] {
        let model = Forecaster::open(&fixture(name)).unwrap();
        let refused = model.forecast(&[Task::from(wave(50))], 5, &[0.5]).unwrap_err();
        assert!(matches!(refused, ForecastError::Level { .. }), "{refused}");
        assert!(refused.to_string().contains("point forecasts only"), "{refused}");
    }
}

/// Offsets of a clock in seconds are forecast as well as the same in nanoseconds, on whatever level they lie.
#[test]
fn units_and_level_do_not_matter() {
    for name in ["ttm", "ttm-plain", "time-moe"] {
        let model = Forecaster::open(&fixture(name)).unwrap();
        let point =
            |series: Vec<f64>| model.forecast(&[Task::from(series)], 40, &[]).unwrap()[0][0].point.clone();
        let plain = point(wave(60));
        let scaled = point(wave(60).iter().map(|x| 3e-7 * x + 1e-3).collect());
        for (plain, scaled) in plain.iter().zip(scaled) {
            assert!((scaled - (3e-7 * plain + 1e-3)).abs() < 1e-11, "{name}: {plain} {scaled}");
        }
    }
}

#[test]
fn gaps_are_bridged_and_nothing_at_all_is_refused() {
    for name in ["ttm", "ttm-plain", "time-moe"] {
        let model = Forecaster::open(&fixture(name)).unwrap();
        let mut gaps = wave(30);
        gaps[..4].fill(f64::NAN);
        gaps[11..17].fill(f64::NAN);
        let forecasts = model.forecast(&[Task::from(gaps), Task::from(wave(200))], 7, &[]).unwrap();
        assert!(
            forecasts.iter().flatten().all(|f| f.point.len() == 7 && f.point.iter().all(|x| x.is_finite()))
        );
        let nothing = model.forecast(&[Task::from(vec![f64::NAN; 30])], 7, &[]).unwrap_err();
        assert!(matches!(nothing, ForecastError::NothingObserved { .. }), "{nothing}");
    }
}

#[test]
fn a_model_of_fixed_channels_says_which_it_wants() {
    let model = Forecaster::open(&fixture("ttm-forecast-mixing")).unwrap();
    let abilities = model.abilities();
    assert!(abilities.covariates && abilities.joint);
    let refusal = |targets: usize, covariates: usize, steps: usize, future: Option<usize>| {
        let covariate = Covariate { past: wave(48), future: future.map(wave) };
        let task = Task { targets: vec![wave(48); targets], covariates: vec![covariate; covariates] };
        model
            .forecast(&[task], steps, &[])
            .map(|forecasts| forecasts[0].len())
            .map_err(|error| error.to_string())
    };
    assert_eq!(refusal(2, 1, 12, Some(12)), Ok(2));
    assert!(refusal(3, 0, 12, None).unwrap_err().contains("2 targets and 1 covariates"));
    assert!(refusal(2, 1, 12, None).unwrap_err().contains("needs the future of covariate 0"));
    assert!(refusal(2, 1, 5, Some(5)).unwrap_err().contains("12 steps"));
}

/// Opens the checkpoint with another value in its configuration.
fn refusal(name: &str, key: &str, value: serde_json::Value) -> OpenError {
    let (folder, from) = (tempfile::tempdir().unwrap(), fixture(name));
    std::fs::copy(from.join("model.safetensors"), folder.path().join("model.safetensors")).unwrap();
    let config = std::fs::read(from.join("config.json")).unwrap();
    let mut config: serde_json::Value = serde_json::from_slice(&config).unwrap();
    config[key] = value;
    std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    match Forecaster::open(folder.path()) {
        Ok(_) => panic!("{name} was opened with another {key}"),
        Err(refusal) => refusal,
    }
}

#[test]
fn the_third_release_of_ttm_is_refused_by_name() {
    let refused = refusal("ttm-plain", "multi_quantile_head", true.into());
    assert!(matches!(refused, OpenError::Unsupported { .. }), "{refused}");
    assert!(refused.to_string().contains("TTM r3") && refused.to_string().contains("r2.1"), "{refused}");
}

#[test]
fn channels_that_do_not_fit_are_refused() {
    for (indices, reason) in [
        (serde_json::json!([]), "no channel to forecast"),
        (serde_json::json!([0, 0]), "twice"),
        (serde_json::json!([0, 3]), "not among"),
    ] {
        let refused = refusal("ttm-mix-channel", "prediction_channel_indices", indices).to_string();
        assert!(refused.contains("config.json") && refused.contains(reason), "{refused}");
    }
}

#[test]
fn a_horizon_beyond_the_trained_length_is_refused() {
    let model = Forecaster::open(&fixture("time-moe")).unwrap();
    let refused = model.forecast(&[Task::from(wave(50))], 5000, &[]).unwrap_err().to_string();
    assert!(refused.contains("4096"), "{refused}");
}
