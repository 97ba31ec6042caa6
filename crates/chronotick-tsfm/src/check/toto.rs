//! Cases of Toto: the mixtures of every patch along the mean path and along given paths, the mean, and exact quantiles.

use serde::Deserialize;

use super::{Case, CheckError, Scale, Series, Verdict, all_values};
use crate::models::toto::{Component, Context, Decoding, Patch, Toto, mean_path};
use crate::{Task, scaling};

#[derive(Deserialize)]
struct Recorded {
    inputs: Vec<Series>,
    /// `zero`, or `forward_fill` as this crate does it.
    fill: String,
    id_mask: Vec<usize>,
    model_series: Vec<Vec<f64>>,
    model_padding_mask: Vec<Vec<u8>>,
    prediction_length: usize,
    /// `[path][patch][series][step]`.
    forced_paths: Option<Vec<Vec<Vec<Vec<f64>>>>>,
    loc: Vec<f64>,
    unit: Vec<f64>,
    expected: Expected,
}

#[derive(Deserialize)]
struct Expected {
    mean: Vec<Vec<f64>>,
    quantile_levels: Vec<f64>,
    /// `[series][step][level]`.
    quantiles_mean_path: Vec<Vec<Vec<f64>>>,
    steps: Vec<Mixtures>,
    forced: Option<Forced>,
}

/// The mixtures of one patch, `[series][step][component]`, and from its scale to the series', `[series]`.
#[derive(Deserialize)]
struct Mixtures {
    df: Vec<Table>,
    loc: Vec<Table>,
    scale: Vec<Table>,
    probs: Vec<Table>,
    affine_loc: Vec<f64>,
    affine_scale: Vec<f64>,
}

type Table = Vec<Vec<f64>>;

/// The same after given paths, each part by `[path]`.
#[derive(Deserialize)]
struct Forced {
    df: Vec<Vec<Table>>,
    loc: Vec<Vec<Table>>,
    scale: Vec<Vec<Table>>,
    probs: Vec<Vec<Table>>,
    affine_loc: Vec<Vec<f64>>,
    affine_scale: Vec<Vec<f64>>,
}

impl Mixtures {
    /// Takes in the patches of all series.
    fn compare(
        &self,
        at: &str,
        case: &Case,
        got: &[&Patch],
        scales: &[Scale],
        verdict: &mut Verdict,
    ) -> Result<(), CheckError> {
        for (what, found) in [
            ("df", self.df.len()),
            ("loc", self.loc.len()),
            ("scale", self.scale.len()),
            ("probs", self.probs.len()),
            ("affine_loc", self.affine_loc.len()),
            ("affine_scale", self.affine_scale.len()),
        ] {
            case.same_length(&format!("{what} of {at}"), found, got.len())?;
        }
        let own = Scale { location: 0.0, unit: 1.0 };
        for (i, patch) in got.iter().enumerate() {
            let table = |part: fn(&Component) -> f64| -> Table {
                patch.mixtures.iter().map(|mixture| mixture.0.iter().map(part).collect()).collect()
            };
            let mut parameter = |what: &str, part, want: &[Vec<f64>]| {
                verdict.compare_table(&format!("{what} of series {i}, {at}"), &table(part), want, own);
            };
            parameter("df", |c| c.df, &self.df[i]);
            parameter("loc", |c| c.location, &self.loc[i]);
            parameter("scale", |c| c.scale, &self.scale[i]);
            parameter("probs", |c| c.probability, &self.probs[i]);
            let spread = Scale { location: 0.0, unit: scales[i].unit };
            verdict.compare(
                &format!("location of series {i}, {at}"),
                &[patch.location],
                &self.affine_loc[i..=i],
                scales[i],
            );
            verdict.compare(
                &format!("scale of series {i}, {at}"),
                &[patch.scale],
                &self.affine_scale[i..=i],
                spread,
            );
        }
        Ok(())
    }
}

pub(super) fn replay(model: &Toto, case: &Case, verdict: &mut Verdict) -> Result<(), CheckError> {
    let recorded: Recorded = case.read()?;
    let (expected, count) = (&recorded.expected, recorded.model_series.len());
    let scales = case.scales(&recorded.loc, &recorded.unit, count)?;
    case.same_length("inputs", recorded.inputs.len(), count)?;
    case.same_length("id_mask", recorded.id_mask.len(), count)?;
    case.same_length("model_padding_mask", recorded.model_padding_mask.len(), count)?;
    case.same_length("expected.mean", expected.mean.len(), count)?;
    case.same_length("expected.quantiles_mean_path", expected.quantiles_mean_path.len(), count)?;
    for (i, series) in
        all_values(&recorded.inputs).iter().enumerate().filter(|_| recorded.fill == "forward_fill")
    {
        let filled = scaling::fill_forward(series);
        verdict.compare(&format!("filling of series {i}"), &filled, &recorded.model_series[i], scales[i]);
    }
    let task = Task { targets: recorded.model_series.clone(), covariates: Vec::new() };
    for (mask, series) in recorded.model_padding_mask.iter().zip(&recorded.model_series) {
        case.same_length("model_padding_mask", mask.len(), series.len())?;
    }
    let context = Context {
        values: recorded.model_series,
        observed: recorded
            .model_padding_mask
            .iter()
            .map(|row| row.iter().map(|seen| *seen != 0).collect())
            .collect(),
        groups: recorded.id_mask,
    };
    let horizon = recorded.prediction_length;
    let (start, blocks) = case.forecast(&[task], horizon, || {
        let (start, first) = Decoding::start(model, &context)?;
        let blocks = mean_path(&start, first, horizon)?;
        Ok((start, blocks))
    })?;

    case.same_length("expected.steps", expected.steps.len(), blocks[0].len())?;
    for (block, mixtures) in expected.steps.iter().enumerate() {
        let patches: Vec<&Patch> = blocks.iter().map(|blocks| &blocks[block]).collect();
        mixtures.compare(&format!("patch {block}"), case, &patches, &scales, verdict)?;
    }
    for (i, blocks) in blocks.iter().enumerate() {
        let mean: Vec<f64> = blocks.iter().flat_map(Patch::means).take(horizon).collect();
        verdict.compare(&format!("mean of series {i}"), &mean, &expected.mean[i], scales[i]);
        let steps = blocks.iter().flat_map(|patch| (0..patch.mixtures.len()).map(move |step| (patch, step)));
        let table: Table = steps
            .take(horizon)
            .map(|(patch, step)| patch.quantiles(step, &expected.quantile_levels))
            .collect();
        verdict.compare_table(
            &format!("quantiles of series {i}"),
            &table,
            &expected.quantiles_mean_path[i],
            scales[i],
        );
    }
    match recorded.forced_paths.zip(recorded.expected.forced) {
        Some((paths, forced)) => replay_paths(&start, &paths, &forced, &scales, case, verdict),
        None => Ok(()),
    }
}

/// Appends the given values instead of drawn ones, all paths at once, and judges what the model says after them.
fn replay_paths(
    start: &Decoding,
    paths: &[Vec<Table>],
    forced: &Forced,
    scales: &[Scale],
    case: &Case,
    verdict: &mut Verdict,
) -> Result<(), CheckError> {
    let shaped = paths
        .iter()
        .all(|path| path.len() == paths[0].len() && path.iter().all(|patch| patch.len() == scales.len()));
    let parts = [
        forced.df.len(),
        forced.loc.len(),
        forced.scale.len(),
        forced.probs.len(),
        forced.affine_loc.len(),
        forced.affine_scale.len(),
    ];
    if !shaped || parts.iter().any(|part| *part != paths.len()) {
        return Err(case.bad("forced_paths or expected.forced has not one entry per path and series"));
    }
    let mut decoding = start.fork(paths.len());
    let mut patches = Vec::new();
    for block in 0..paths.first().map_or(0, Vec::len) {
        let values: Table = (0..scales.len())
            .flat_map(|series| paths.iter().map(move |path| path[block][series].clone()))
            .collect();
        patches = case.forecast(&[], 1, || Ok(decoding.append(&values)?))?;
    }
    for path in 0..paths.len() {
        let own: Vec<&Patch> = patches.iter().skip(path).step_by(paths.len()).collect();
        let want = Mixtures {
            df: forced.df[path].clone(),
            loc: forced.loc[path].clone(),
            scale: forced.scale[path].clone(),
            probs: forced.probs[path].clone(),
            affine_loc: forced.affine_loc[path].clone(),
            affine_scale: forced.affine_scale[path].clone(),
        };
        want.compare(&format!("after path {path}"), case, &own, scales, verdict)?;
    }
    Ok(())
}
