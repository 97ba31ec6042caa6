//! Cases of TTM: what the network was fed beside what was measured, so that the standardising around it is judged too.

use serde::Deserialize;

use super::{Case, CheckError, Series, Verdict, all_values};
use crate::Task;
use crate::models::ttm::{Past, Standard, Ttm};

#[derive(Deserialize)]
struct Recorded {
    inputs: Vec<Series>,
    prediction_length: usize,
    freq_token: Option<usize>,
    /// What the network was fed, and which of it was observed: all, where nothing is said.
    model_past_values: Vec<Vec<f64>>,
    model_past_observed_mask: Option<Vec<Vec<u8>>>,
    /// All channels, 0 where nothing is known in advance.
    model_future_values: Option<Vec<Vec<f64>>>,
    prescale_mean: Option<Vec<f64>>,
    prescale_std: Option<Vec<f64>>,
    loc: Vec<f64>,
    unit: Vec<f64>,
    expected: Expected,
}

#[derive(Deserialize)]
struct Expected {
    prediction: Vec<Vec<f64>>,
    prediction_unscaled: Option<Vec<Vec<f64>>>,
}

pub(super) fn replay(model: &Ttm, case: &Case, verdict: &mut Verdict) -> Result<(), CheckError> {
    let recorded: Recorded = case.read()?;
    let expected = &recorded.expected;
    let values = recorded.model_past_values;
    let observed = match recorded.model_past_observed_mask {
        Some(mask) => mask.iter().map(|row| row.iter().map(|seen| *seen != 0).collect()).collect(),
        None => values.iter().map(|row| vec![true; row.len()]).collect(),
    };
    let future = match recorded.model_future_values {
        Some(rows) => model.exogenous().iter().filter_map(|&i| rows.get(i).cloned()).collect(),
        None => Vec::new(),
    };
    let tasks: Vec<Task> = values.iter().cloned().map(Task::from).collect();
    let (horizon, frequency) = (recorded.prediction_length, recorded.freq_token.unwrap_or(0));
    let prediction = case.forecast(&tasks, horizon, || {
        model.predict(Past { values, observed }, frequency, &future, horizon)
    })?;
    let scales = case.scales(&recorded.loc, &recorded.unit, prediction.len())?;
    case.same_length("expected.prediction", expected.prediction.len(), prediction.len())?;
    for (i, path) in prediction.iter().enumerate() {
        verdict.compare(&format!("channel {i}"), path, &expected.prediction[i], scales[i]);
    }
    let Some(((means, deviations), unscaled)) =
        recorded.prescale_mean.zip(recorded.prescale_std).zip(expected.prediction_unscaled.as_ref())
    else {
        return Ok(());
    };
    case.same_length("inputs", recorded.inputs.len(), prediction.len())?;
    let raw = case.scales(&means, &deviations, prediction.len())?;
    case.same_length("expected.prediction_unscaled", unscaled.len(), prediction.len())?;
    for (i, series) in all_values(&recorded.inputs).iter().enumerate() {
        let standard = Standard::of(series);
        let found = [standard.mean, standard.deviation];
        verdict.compare(&format!("standardising of channel {i}"), &found, &[means[i], deviations[i]], raw[i]);
        let undone: Vec<f64> = prediction[i].iter().map(|z| standard.undo(*z)).collect();
        verdict.compare(&format!("channel {i}, unscaled"), &undone, &unscaled[i], raw[i]);
    }
    Ok(())
}
