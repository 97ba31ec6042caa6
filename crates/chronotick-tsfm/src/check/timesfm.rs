//! Cases of TimesFM 2.5 and 2.0: independent series; the median as "point", and mean and nine quantiles of every step.

use serde::Deserialize;

use super::{Case, CheckError, Series, Verdict, all_values, tasks_of};
use crate::ForecastError;
use crate::models::timesfm20::TimesFm20;
use crate::models::timesfm25::{Options, TimesFm25};

#[derive(Deserialize)]
struct Recorded {
    inputs: Vec<Series>,
    horizon: usize,
    loc: Vec<f64>,
    unit: Vec<f64>,
    expected: Expected,
    /// TimesFM 2.5 only.
    #[serde(default)]
    forecast_config: Options,
    /// TimesFM 2.0 only.
    freq: Option<Vec<usize>>,
}

#[derive(Deserialize)]
struct Expected {
    point: Vec<Vec<f64>>,
    quantiles: Vec<Vec<Vec<f64>>>,
}

pub(super) fn replay_25(model: &TimesFm25, case: &Case, verdict: &mut Verdict) -> Result<(), CheckError> {
    let recorded: Recorded = case.read()?;
    compare(&recorded, case, verdict, TimesFm25::MEDIAN, |series| {
        model.predict(series, recorded.horizon, &recorded.forecast_config)
    })
}

pub(super) fn replay_20(model: &TimesFm20, case: &Case, verdict: &mut Verdict) -> Result<(), CheckError> {
    let recorded: Recorded = case.read()?;
    let frequencies = recorded.freq.clone().unwrap_or_else(|| vec![0; recorded.inputs.len()]);
    case.same_length("freq", frequencies.len(), recorded.inputs.len())?;
    compare(&recorded, case, verdict, model.median(), |series| {
        model.predict(series, &frequencies, recorded.horizon)
    })
}

fn compare(
    recorded: &Recorded,
    case: &Case,
    verdict: &mut Verdict,
    median: usize,
    predict: impl FnOnce(&[Vec<f64>]) -> Result<Vec<Vec<Vec<f64>>>, ForecastError>,
) -> Result<(), CheckError> {
    let series = all_values(&recorded.inputs);
    let scales = case.scales(&recorded.loc, &recorded.unit, series.len())?;
    case.same_length("expected.point", recorded.expected.point.len(), series.len())?;
    case.same_length("expected.quantiles", recorded.expected.quantiles.len(), series.len())?;
    let tables = case.forecast(&tasks_of(&recorded.inputs), recorded.horizon, || predict(&series))?;
    for (i, scale) in scales.into_iter().enumerate() {
        let (point, quantiles) = (&recorded.expected.point[i], &recorded.expected.quantiles[i]);
        let medians: Vec<f64> = tables[i].iter().map(|step| step[median]).collect();
        verdict.compare(&format!("point of series {i}"), &medians, point, scale);
        verdict.compare_table(&format!("quantiles of series {i}"), &tables[i], quantiles, scale);
    }
    Ok(())
}
