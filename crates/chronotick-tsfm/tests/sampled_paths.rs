//! What Toto promises: exact quantiles at any level within one patch, sampled but repeatable ones beyond.

use std::path::{Path, PathBuf};

use chronotick_tsfm::{Forecast, ForecastError, Forecaster, OpenError, Task};

const LEVELS: [f64; 5] = [0.001, 0.1, 0.5, 0.9, 0.999];

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/toto")
}

fn wave(length: usize, phase: f64) -> Vec<f64> {
    (0..length).map(|i| 5.0 * (i as f64 * 0.4 + phase).sin()).collect()
}

fn forecast(targets: Vec<Vec<f64>>, horizon: usize) -> Vec<Forecast> {
    let model = Forecaster::open(&fixture()).unwrap();
    let task = Task { targets, covariates: Vec::new() };
    model.forecast(&[task], horizon, &LEVELS).unwrap().remove(0)
}

#[test]
fn the_same_question_has_the_same_answer() {
    let ask = || forecast(vec![wave(70, 0.0), wave(70, 1.0)], 30);
    assert_eq!(ask(), ask());
}

#[test]
fn within_a_patch_the_horizon_does_not_matter() {
    let (near, far) = (forecast(vec![wave(70, 0.0)], 5), forecast(vec![wave(70, 0.0)], 30));
    assert_eq!(near[0].quantiles[..], far[0].quantiles[..5]);
    assert_eq!(near[0].mean.as_ref().unwrap()[..], far[0].mean.as_ref().unwrap()[..5]);
}

#[test]
fn quantiles_rise_with_their_level_and_the_point_is_the_median() {
    for forecast in forecast(vec![wave(70, 0.0), wave(70, 2.0)], 30) {
        assert_eq!((forecast.point.len(), forecast.quantiles.len()), (30, 30));
        for (point, levels) in forecast.point.iter().zip(&forecast.quantiles) {
            assert!(levels.windows(2).all(|pair| pair[0] < pair[1]), "{levels:?}");
            assert_eq!(*point, levels[2]);
        }
    }
}

/// A path that goes on from drawn values knows less than one that goes on from the means.
#[test]
fn sampled_paths_spread_wider_than_the_mean_path() {
    let far = forecast(vec![wave(70, 0.0)], 16);
    let mut context = wave(70, 0.0);
    context.extend(&far[0].mean.as_ref().unwrap()[..8]);
    let sure = forecast(vec![context], 8);
    let width = |forecast: &Forecast, steps: std::ops::Range<usize>| -> f64 {
        forecast.quantiles[steps].iter().map(|levels| levels[3] - levels[1]).sum()
    };
    let (drawn, given) = (width(&far[0], 8..16), width(&sure[0], 0..8));
    assert!(drawn > given, "{drawn} {given}");
}

#[test]
fn series_of_one_task_inform_each_other_and_an_empty_one_is_refused() {
    let (alone, together) =
        (forecast(vec![wave(70, 0.0)], 5), forecast(vec![wave(70, 0.0), wave(70, 1.5)], 5));
    assert_ne!(alone[0].point, together[0].point);
    let model = Forecaster::open(&fixture()).unwrap();
    let task = Task { targets: vec![wave(20, 0.0), vec![f64::NAN; 20]], covariates: Vec::new() };
    let refused = model.forecast(&[task], 5, &[]).unwrap_err();
    assert!(matches!(refused, ForecastError::NothingObserved { .. }), "{refused}");
}

/// A copy of the checkpoint with other names in the header of its weights.
fn renamed(rename: impl Fn(String) -> String) -> Result<Forecaster, OpenError> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(fixture().join("config.json"), folder.path().join("config.json")).unwrap();
    let weights = std::fs::read(fixture().join("model.safetensors")).unwrap();
    let end = 8 + u64::from_le_bytes(weights[..8].try_into().unwrap()) as usize;
    let header = rename(String::from_utf8(weights[8..end].to_vec()).unwrap()).into_bytes();
    let weights = [&(header.len() as u64).to_le_bytes(), header.as_slice(), &weights[end..]].concat();
    std::fs::write(folder.path().join("model.safetensors"), weights).unwrap();
    Forecaster::open(folder.path())
}

#[test]
fn both_spellings_of_the_feed_forward_layer_are_read() {
    let plain = renamed(|header| header.replace("mlp.0.w12", "mlp.0").replace("mlp.0.w3", "mlp.2")).unwrap();
    let point =
        |model: &Forecaster| model.forecast(&[Task::from(wave(70, 0.0))], 5, &[]).unwrap()[0][0].clone();
    assert_eq!(point(&plain), point(&Forecaster::open(&fixture()).unwrap()));
}

#[test]
fn a_model_tuned_for_exogenous_series_is_refused() {
    let name = "model.exogenous_variate_label";
    let Err(refused) = renamed(|header| header.replace("model.transformer.rotary_emb.freqs", name)) else {
        panic!("it was opened");
    };
    assert!(
        matches!(refused, OpenError::Unsupported { .. }) && refused.to_string().contains(name),
        "{refused}"
    );
}
