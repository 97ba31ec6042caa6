//! The numbers of those who forecast beside the filter bank.

use super::clock::nanos;
use super::family::Family;
use crate::snapshot::ModelView;

type Value = fn(&ModelView) -> Option<f64>;

const GAUGES: [(&str, &str, Value); 4] = [
    ("chronotick_model_weight_ratio", "The member's share in corrected time now.", |m| Some(m.weight)),
    ("chronotick_model_correction_seconds", "What that changes in corrected time now.", |m| {
        Some(nanos(m.correction_ns))
    }),
    ("chronotick_model_inference_seconds", "How long its newest answer took.", |m| {
        m.inference_ms.map(|ms| ms / 1e3)
    }),
    ("chronotick_model_answer_age_seconds", "Since it last answered.", |m| m.last_inference_seconds),
];

const COUNTERS: [(&str, &str, Value); 5] = [
    ("chronotick_model_questions_total", "Questions that it was asked.", |m| Some(m.asked as f64)),
    ("chronotick_model_forecasts_total", "Forecasts that came back.", |m| Some(m.answered as f64)),
    ("chronotick_model_late_forecasts_total", "Those of them that came too late.", |m| Some(m.late as f64)),
    ("chronotick_model_held_forecasts_total", "Times at which its newest forecast still held.", |m| {
        Some(m.cached as f64)
    }),
    (
        "chronotick_model_postponed_forecasts_total",
        "Forecasts that were put off to spare the processor.",
        |m| Some(m.put_off as f64),
    ),
];

pub(super) fn of(models: &[ModelView]) -> Vec<Family> {
    let fill = |mut family: Family, value: Value| {
        for model in models {
            family.add(&labels(model), value(model));
        }
        family
    };
    let mut ready = Family::gauge("chronotick_model_ready", "1 if the member is ready to forecast.");
    let skill =
        "The share of the bank's mean square error that its forecasts lacked; negative if they were worse.";
    let mut skill = Family::gauge("chronotick_model_skill_ratio", skill);
    let error = "Root mean square of what its forecasts and the measurements after them differed.";
    let mut error = Family::gauge("chronotick_model_error_seconds", error);
    for model in models {
        ready.add(&labels(model), f64::from(model.state == "ready"));
        let [member, name] = labels(model);
        for h in &model.horizons {
            let horizon = h.horizon_seconds.to_string();
            let labels = [member, name, ("horizon_seconds", horizon.as_str())];
            skill.add(&labels, h.skill);
            error.add(&labels, nanos(h.error_ns));
        }
    }
    let gauges = GAUGES.iter().map(|&(name, help, value)| fill(Family::gauge(name, help), value));
    let counters = COUNTERS.iter().map(|&(name, help, value)| fill(Family::counter(name, help), value));
    [ready, skill, error].into_iter().chain(gauges).chain(counters).collect()
}

fn labels(model: &ModelView) -> [(&'static str, &str); 2] {
    [("member", &model.member), ("model", &model.model)]
}
