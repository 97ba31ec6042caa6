//! Settings that files of older versions have and that have no effect any more: what replaces each.

/// Sections and settings with what replaces them. A section stands for all that is in it.
const KEYS: &[(&str, &str)] = &[
    ("prediction_scheduling", ENGINE_DECIDES),
    ("preprocessing", "only measurements are evidence, and outliers lose their weight in the estimator"),
    ("covariates", "the machine's frequency is learned from the measurements alone"),
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
        "older versions fused by inverse_variance all the same; fusion.enabled turns it off",
    ),
    ("fusion.method", "weighted_average", "inverse_variance is used; fixed weights were never better"),
];

/// What replaces the key at this path, if it is one of the past.
pub(super) fn key(path: &str) -> Option<&'static str> {
    let logging = path.starts_with("logging.log_") || path == "logging.performance_metrics";
    KEYS.iter()
        .find(|(key, _)| *key == path)
        .map(|(_, instead)| *instead)
        .or_else(|| logging.then_some(LOGGING))
}

/// What replaces this value of a key that still exists, if the value is one of the past.
pub(super) fn value(path: &str, text: &str) -> Option<&'static str> {
    VALUES
        .iter()
        .find(|(key, value, _)| *key == path && value.eq_ignore_ascii_case(text))
        .map(|(_, _, instead)| *instead)
}
