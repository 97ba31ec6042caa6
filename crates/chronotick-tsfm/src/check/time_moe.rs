//! Cases of Time-MoE: series alone, in the model's own units and in theirs, and which heads gave them.

use serde::Deserialize;

use super::{Case, CheckError, Scale, Series, Verdict, all_values, tasks_of};
use crate::models::time_moe::{TimeMoe, Window};

#[derive(Deserialize)]
struct Recorded {
    inputs: Vec<Series>,
    prediction_length: usize,
    /// `zscore`, or none at all.
    normalise: Option<String>,
    /// What the model was fed, 0 where the mask is 0.
    model_inputs: Vec<Vec<f64>>,
    attention_mask: Option<Vec<Vec<u8>>>,
    loc: Vec<f64>,
    unit: Vec<f64>,
    expected: Expected,
}

#[derive(Deserialize)]
struct Expected {
    heads: Vec<usize>,
    normalised: Vec<Vec<f64>>,
    prediction: Vec<Vec<f64>>,
}

pub(super) fn replay(model: &TimeMoe, case: &Case, verdict: &mut Verdict) -> Result<(), CheckError> {
    let recorded: Recorded = case.read()?;
    let (expected, count) = (&recorded.expected, recorded.inputs.len());
    let scales = case.scales(&recorded.loc, &recorded.unit, count)?;
    case.same_length("model_inputs", recorded.model_inputs.len(), count)?;
    case.same_length("expected.normalised", expected.normalised.len(), count)?;
    case.same_length("expected.prediction", expected.prediction.len(), count)?;
    let tasks = tasks_of(&recorded.inputs);
    for (i, series) in all_values(&recorded.inputs).iter().enumerate() {
        let window = match &recorded.normalise {
            None => Window { z: series.iter().map(|x| *x as f32).collect(), location: 0.0, unit: 1.0 },
            Some(_) => Window::of(series).ok_or_else(|| case.bad("a series without any value"))?,
        };
        let padding = recorded.attention_mask.iter().filter_map(|mask| mask.get(i)).flatten();
        let padding = padding.take_while(|observed| **observed == 0).count();
        let alone = Scale { location: 0.0, unit: 1.0 };
        let fed = recorded.model_inputs[i].get(padding..).unwrap_or_default();
        let z: Vec<f64> = window.z.iter().map(|z| f64::from(*z)).collect();
        verdict.compare(&format!("inputs of series {i}"), &z, fed, alone);

        let horizon = recorded.prediction_length;
        let blocks = case.forecast(&tasks[i..=i], horizon, || Ok(model.generate(&window.z, horizon)?))?;
        let heads: Vec<f64> = blocks.iter().map(|block| block.len() as f64).collect();
        let wanted: Vec<f64> = expected.heads.iter().map(|length| *length as f64).collect();
        verdict.compare("heads", &heads, &wanted, alone);
        let normalised: Vec<f64> = blocks.concat().iter().map(|z| f64::from(*z)).collect();
        verdict.compare(&format!("normalised series {i}"), &normalised, &expected.normalised[i], alone);
        let prediction: Vec<f64> = normalised.iter().map(|z| z * window.unit + window.location).collect();
        verdict.compare(&format!("series {i}"), &prediction, &expected.prediction[i], scales[i]);
    }
    Ok(())
}
