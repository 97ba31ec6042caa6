//! What a forecaster makes of sound and of senseless questions, whatever the family.

use std::path::Path;

use chronotick_tsfm::{Covariate, Forecast, ForecastError, Forecaster, Levels, Task};

const FAMILIES: [&str; 4] = ["chronos-bolt", "chronos-2", "timesfm-2.5", "timesfm-2.0"];

fn open(name: &str) -> Forecaster {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    Forecaster::open(&folder).unwrap_or_else(|error| panic!("{error}"))
}

fn wave(length: usize, phase: f64) -> Vec<f64> {
    (0..length).map(|i| (i as f64 * 0.3 + phase).sin()).collect()
}

fn ask(model: &Forecaster, tasks: &[Task], horizon: usize, levels: &[f64]) -> Vec<Vec<Forecast>> {
    model.forecast(tasks, horizon, levels).unwrap_or_else(|error| panic!("{}: {error}", model.family()))
}

#[test]
fn the_answer_has_the_shape_of_the_question() {
    for name in FAMILIES {
        let model = open(name);
        let horizon = model.abilities().horizon + 7;
        let tasks = [
            Task::from(wave(50, 0.0)),
            Task { targets: vec![wave(33, 1.0), wave(33, 2.0)], covariates: vec![] },
        ];
        let forecasts = ask(&model, &tasks, horizon, &[0.9, 0.5]);
        assert_eq!(forecasts.iter().map(Vec::len).collect::<Vec<_>>(), [1, 2]);
        for forecast in forecasts.iter().flatten() {
            assert_eq!((forecast.point.len(), forecast.quantiles.len()), (horizon, horizon));
            let medians: Vec<f64> = forecast.quantiles.iter().map(|step| step[1]).collect();
            assert_eq!(medians, forecast.point, "{name}");
        }
        assert!(ask(&model, &[], 3, &[0.5]).is_empty());
    }
}

#[test]
fn a_task_does_not_depend_on_its_neighbours() {
    for name in FAMILIES {
        let model = open(name);
        let tasks: Vec<Task> = (0..40).map(|i| Task::from(wave(20 + 7 * (i % 5), i as f64))).collect();
        let together = ask(&model, &tasks, 12, &[0.1]);
        for (task, forecast) in tasks.iter().zip(&together) {
            let alone = &ask(&model, std::slice::from_ref(task), 12, &[0.1])[0][0];
            for (a, b) in alone.point.iter().zip(&forecast[0].point) {
                assert!((a - b).abs() < 1e-4, "{name}: {a} alone, {b} among others");
            }
        }
    }
}

#[test]
fn a_question_without_sense_is_refused_by_name() {
    for name in FAMILIES {
        let model = open(name);
        let refused = |task: Task, horizon: usize, level: f64| {
            model
                .forecast(&[task], horizon, &[level])
                .err()
                .unwrap_or_else(|| panic!("{name} answered"))
                .to_string()
        };
        let sound = || Task::from(wave(20, 0.0));
        assert!(refused(sound(), 0, 0.5).contains("horizon"));
        assert!(refused(sound(), usize::MAX, 0.5).contains("horizon"));
        assert!(refused(Task::default(), 3, 0.5).contains("task 0 has no target"));
        assert!(refused(Task::from(vec![]), 3, 0.5).contains("target 0 has 0 values"));
        assert!(refused(Task::from(vec![1.0, f64::INFINITY]), 3, 0.5).contains("at index 1"));
        assert!(refused(Task::from(vec![1e39, 1.0]), 3, 0.5).contains("at index 0"));
        for level in [0.0, 1.0, -1.0, f64::NAN] {
            assert!(refused(sound(), 3, level).contains("between 0 and 1"));
        }
        let uneven = Task { targets: vec![wave(9, 0.0), wave(8, 0.0)], covariates: vec![] };
        assert!(refused(uneven, 3, 0.5).contains("target 1 has 8 values, but 9 are wanted"));
    }
}

#[test]
fn nothing_is_made_up_that_a_model_cannot_give() {
    for name in FAMILIES {
        let model = open(name);
        let abilities = model.abilities();
        let known = Covariate { past: wave(20, 0.5), future: Some(wave(3, 0.9)) };
        let informed = Task { targets: vec![wave(20, 0.0)], covariates: vec![known] };
        let with_covariates = model.forecast(&[informed], 3, &[]);
        match abilities.covariates {
            true => assert!(with_covariates.is_ok()),
            false => assert!(matches!(with_covariates, Err(ForecastError::Covariates { .. })), "{name}"),
        }
        let untrained = model.forecast(&[Task::from(wave(20, 0.0))], 3, &[0.123]);
        match abilities.levels {
            Levels::Between(_) | Levels::Any => assert!(untrained.is_ok()),
            _ => assert!(matches!(untrained, Err(ForecastError::Level { .. })), "{name}"),
        }
        let unseen = model.forecast(&[Task::from(vec![f64::NAN; 9])], 3, &[]);
        assert!(matches!(unseen, Ok(_) | Err(ForecastError::NothingObserved { .. })), "{name}");
    }
}

#[test]
fn a_covariate_of_another_length_is_refused() {
    let model = open("chronos-2");
    for (past, future, named) in [(19, 3, "covariate 0 has 19"), (20, 4, "future of covariate 0 has 4")] {
        let covariate = Covariate { past: wave(past, 0.0), future: Some(wave(future, 0.0)) };
        let task = Task { targets: vec![wave(20, 0.0)], covariates: vec![covariate] };
        let error = model.forecast(&[task], 3, &[]).expect_err("lengths do not fit").to_string();
        assert!(error.contains(named), "{error}");
    }
}

/// Except for the rules on tiny spreads, a model does not care in which unit and from which zero a series is measured.
#[test]
fn unit_and_zero_do_not_matter() {
    for name in FAMILIES {
        let model = open(name);
        let (scale, shift) = (250.0, -40.0);
        let measured = wave(70, 0.4).iter().map(|value| value * scale + shift).collect::<Vec<f64>>();
        let plain = &ask(&model, &[Task::from(wave(70, 0.4))], 40, &[0.1, 0.9])[0][0];
        let other = &ask(&model, &[Task::from(measured)], 40, &[0.1, 0.9])[0][0];
        for (plain, other) in plain.quantiles.concat().into_iter().zip(other.quantiles.concat()) {
            assert!((plain * scale + shift - other).abs() < 1e-3 * scale, "{name}: {plain} and {other}");
        }
    }
}
