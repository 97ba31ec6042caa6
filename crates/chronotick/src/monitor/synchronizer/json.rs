//! The section `amg_timer.time_synchronization` of a JSON configuration.

use super::Builder;
use crate::config::InvalidServer;
use chronotick_clock::Span;
use serde::Deserialize;

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InvalidSettings {
    /// It cannot be read.
    #[error("the configuration is not as expected: {0}")]
    Json(#[from] serde_json::Error),
    /// It is for something else.
    #[error("the configuration has no section amg_timer.time_synchronization")]
    Missing,
    /// A number cannot be.
    #[error("amg_timer.time_synchronization.{key} is {value}, but must be above {above} and at most {most}")]
    Range {
        /// Which.
        key: &'static str,
        /// What it is.
        value: f64,
        /// It must be above this.
        above: f64,
        /// It must not be above this.
        most: f64,
    },
    /// A server cannot be one.
    #[error("amg_timer.time_synchronization.ntp.servers: {server:?}: {why}")]
    Server {
        /// Which.
        server: String,
        /// Why.
        why: InvalidServer,
    },
}

/// Keys that are not known are an error: a slip of the pen would otherwise be a setting without effect.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Section {
    enabled: Option<bool>,
    sync_interval_minutes: Option<f64>,
    drift_threshold_ms: Option<f64>,
    enable_correction: Option<bool>,
    ntp: Option<Ntp>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ntp {
    enabled: Option<bool>,
    servers: Option<Vec<String>>,
    timeout_seconds: Option<f64>,
    max_retries: Option<u32>,
}

pub(super) fn read(text: &str) -> Result<Builder, InvalidSettings> {
    let mut whole: serde_json::Value = serde_json::from_str(text)?;
    let section = whole.pointer_mut("/amg_timer/time_synchronization").map(serde_json::Value::take);
    let section: Section = serde_json::from_value(section.ok_or(InvalidSettings::Missing)?)?;
    let mut builder = Builder::default();
    if let Some(enabled) = section.enabled {
        builder = builder.enabled(enabled);
    }
    if let Some(minutes) = section.sync_interval_minutes {
        builder = builder.interval(seconds("sync_interval_minutes", minutes, 1_440.0, 60.0)?);
    }
    if let Some(millis) = section.drift_threshold_ms {
        builder = builder.drift_threshold(seconds("drift_threshold_ms", millis, 86_400_000.0, 1e-3)?);
    }
    if let Some(correction) = section.enable_correction {
        builder = builder.correction(correction);
    }
    match section.ntp {
        Some(ntp) => with(builder, ntp),
        None => Ok(builder),
    }
}

fn with(mut builder: Builder, ntp: Ntp) -> Result<Builder, InvalidSettings> {
    if let Some(enabled) = ntp.enabled {
        builder = builder.ntp(enabled);
    }
    if let Some(servers) = ntp.servers {
        for server in &servers {
            let parsed: Result<crate::config::ServerAddress, _> = server.parse();
            parsed.map_err(|why| InvalidSettings::Server { server: server.clone(), why })?;
        }
        builder = builder.servers(&servers).expect("each was parsed just now");
    }
    if let Some(timeout) = ntp.timeout_seconds {
        builder = builder.timeout(seconds("ntp.timeout_seconds", timeout, 60.0, 1.0)?);
    }
    if let Some(tries) = ntp.max_retries {
        builder = builder.tries(tries);
    }
    Ok(builder)
}

/// A length of time in a unit of so many seconds.
fn seconds(key: &'static str, value: f64, most: f64, unit: f64) -> Result<Span, InvalidSettings> {
    if value > 0.0 && value <= most {
        return Ok(Span::from_secs_f64(value * unit));
    }
    Err(InvalidSettings::Range { key, value, above: 0.0, most })
}
