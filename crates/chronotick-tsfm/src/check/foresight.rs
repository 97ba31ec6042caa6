//! Cases of Foresight: a series with its base forecast and both's deviations, and the quantiles of the network that it
//! was trained as.

use serde::Deserialize;

use super::{Case, CheckError, Scale, Series, Verdict, all_values};
use crate::{Covariate, Forecaster, Levels, Task};

#[derive(Deserialize)]
struct Recorded {
    /// The series, and its standard deviations.
    inputs: Vec<Series>,
    base: Vec<f64>,
    base_sigmas: Vec<f64>,
    expected: Expected,
}

#[derive(Deserialize)]
struct Expected {
    /// In standard deviations of the base forecast, beyond it: `[step][level]`.
    quantiles: Vec<Vec<f64>>,
}

pub(super) fn replay(model: &Forecaster, case: &Case, verdict: &mut Verdict) -> Result<(), CheckError> {
    let recorded: Recorded = case.read()?;
    let [values, sigmas] = &all_values(&recorded.inputs)[..] else {
        return Err(case.bad("inputs are not a series and its deviations"));
    };
    let Levels::Trained(levels) = model.abilities().levels else {
        unreachable!("the family has trained levels")
    };
    let task = Task {
        targets: vec![values.clone()],
        covariates: vec![
            Covariate { past: vec![0.0; values.len()], future: Some(recorded.base.clone()) },
            Covariate { past: sigmas.clone(), future: Some(recorded.base_sigmas.clone()) },
        ],
    };
    let tasks = std::slice::from_ref(&task);
    let forecasts =
        case.forecast(tasks, recorded.base.len(), || model.forecast(tasks, recorded.base.len(), &levels))?;
    case.same_length("expected.quantiles", recorded.expected.quantiles.len(), recorded.base.len())?;
    for (step, (found, wanted)) in
        forecasts[0][0].quantiles.iter().zip(&recorded.expected.quantiles).enumerate()
    {
        let relative: Vec<f64> =
            found.iter().map(|q| (q - recorded.base[step]) / recorded.base_sigmas[step]).collect();
        verdict.compare(&format!("step {step}"), &relative, wanted, Scale { location: 0.0, unit: 1.0 });
    }
    Ok(())
}
