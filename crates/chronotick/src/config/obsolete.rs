//! Settings that files of older versions have and that have no effect any more: what replaces each.

use super::finding::Problem;
use super::yaml::{Content, Node};

/// Sections and settings with what replaces them. A section stands for all that is in it.
const KEYS: &[(&str, &str)] = &[
    ("prediction_scheduling", ENGINE_DECIDES),
    ("preprocessing", "only measurements are evidence, and outliers lose their weight in the estimator"),
    ("covariates.variables", CONDITIONS),
    ("covariates.future_variables", CONDITIONS),
    ("performance", "serving never waits for a model, so there is nothing to tune"),
    ("clock", "the engine works in nanoseconds of the raw clock, whatever the polling interval"),
    ("backup_models", FALLBACK),
    ("models", FALLBACK),
    ("high_availability", FALLBACK),
    ("monitoring", "the share of readings that contain truth is measured all the time"),
    ("clock_measurement.ntp.min_stratum", SELECTION),
    ("clock_measurement.ntp.max_stratum", SELECTION),
    ("clock_measurement.ntp.max_delay", SELECTION),
    ("clock_measurement.ntp.outlier_window_size", SELECTION),
    ("clock_measurement.ntp.outlier_sigma_threshold", SELECTION),
    ("clock_measurement.ntp.use_weighted_averaging", SELECTION),
    ("clock_measurement.ntp.enable_fallback", SELECTION),
    ("clock_measurement.ntp.measurement_mode", POLLING),
    ("clock_measurement.ntp.parallel_queries", POLLING),
    ("clock_measurement.ntp.max_workers", POLLING),
    ("clock_measurement.ntp.max_retries", POLLING),
    ("clock_measurement.ntp.retry_delay", POLLING),
    ("short_term.max_uncertainty", SKILL),
    ("short_term.model_params", CHECKPOINT),
    ("short_term.quantile_levels", CHECKPOINT),
    ("short_term.use_covariates", CHECKPOINT),
    ("long_term.max_uncertainty", SKILL),
    ("long_term.model_params", CHECKPOINT),
    ("long_term.quantile_levels", CHECKPOINT),
    ("long_term.use_covariates", CHECKPOINT),
    ("fusion.fallback_weights", SKILL),
    ("fusion.adaptive_weighting", SKILL),
    ("fusion.confidence_threshold", SKILL),
    ("fusion.temporal_decay", SKILL),
];

const CONDITIONS: &str =
    "all conditions of the machine that can be read are measured; those that tell nothing get no weight";
const ENGINE_DECIDES: &str = "the engine itself decides when to forecast, and never corrects its own history";
const FALLBACK: &str = "the statistical engine always runs and takes over by itself";
const SELECTION: &str = "sources are judged by their root distance and by a majority of them";
const POLLING: &str = "every server is polled by itself, at an interval that follows the measurements";
const SKILL: &str = "a model's weight follows its measured skill";
const CHECKPOINT: &str = "a model's parameters are those of its checkpoint";
const LOGGING: &str = "logging has a level only; debug shows measurements and forecasts";

/// Values of settings that still exist.
const VALUES: &[(&str, &str, &str)] = &[
    (
        "fusion.method",
        "none",
        "older versions took inverse_variance all the same; fusion.enabled turns fusion off",
    ),
    ("fusion.method", "weighted_average", "inverse_variance is taken, because weights follow measured skill"),
];

/// What to say of an entry of the file, if its key or its value is one of the past.
pub(super) fn problem(path: &str, node: &Node) -> Option<Problem> {
    let logging = path.starts_with("logging.log_") || path == "logging.performance_metrics";
    let key = KEYS.iter().find(|(key, _)| *key == path).map(|(_, instead)| *instead);
    if let Some(instead) = key.or(logging.then_some(LOGGING)) {
        return Some(Problem::Obsolete(instead));
    }
    let Content::Scalar(found) = &node.content else { return None };
    VALUES
        .iter()
        .find(|(key, value, _)| *key == path && value.eq_ignore_ascii_case(found))
        .map(|&(_, found, instead)| Problem::ObsoleteValue { found, instead })
}
