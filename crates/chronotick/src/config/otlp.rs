//! The settings of the metrics' export over OTLP (`otlp`): to whom, and how often.

use super::finding::Problem;
use super::read::{Shown, excerpt, seconds, text};
use super::settings::{OTLP_ENDPOINT, Setting, setting};
use super::yaml::Node;
use chronotick_clock::Span;
use serde_json::Value;

/// The export of metrics (`otlp`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Otlp {
    /// The collector, as `http://host:port` or with a path before `/v1/metrics`; nobody unless it is asked for.
    pub endpoint: Option<Collector>,
    /// From one export to the next.
    pub interval: Span,
}

impl Default for Otlp {
    fn default() -> Otlp {
        Otlp { endpoint: None, interval: Span::from_secs(60) }
    }
}

/// The address of a collector, without a slash at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collector(String);

impl Collector {
    /// Where metrics are posted to (OTLP 1.x, "OTLP/HTTP Request").
    pub fn metrics_url(&self) -> String {
        format!("{}/v1/metrics", self.0)
    }
}

pub(super) static SETTINGS: [Setting; 2] = [
    setting!(
        "otlp.endpoint",
        OTLP_ENDPOINT,
        otlp.endpoint,
        endpoint,
        "The OpenTelemetry collector that metrics are sent to over HTTP, such as http://127.0.0.1:4318, or off."
    ),
    setting!(
        "otlp.interval_seconds",
        None,
        otlp.interval,
        |node| seconds(node, Span::from_secs(1)..=Span::from_secs(3_600)),
        "Seconds from one export to the next."
    ),
];

fn endpoint(node: &Node) -> Result<Option<Collector>, Problem> {
    const WANTED: &str = "off, or the address of a collector such as http://127.0.0.1:4318";
    let written = text(node, WANTED)?;
    if matches!(written.to_ascii_lowercase().as_str(), "off" | "false" | "no") {
        return Ok(None);
    }
    let rest = written.strip_prefix("http://").or_else(|| written.strip_prefix("https://"));
    // Who may post is a secret, and an address is shown: a collector beside the daemon adds what another one wants.
    let plain = |b: u8| b.is_ascii_graphic() && !b"?#@\\\"".contains(&b);
    let valid =
        rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/') && rest.bytes().all(plain));
    let collector = Collector(written.trim_end_matches('/').to_owned());
    valid
        .then_some(Some(collector))
        .ok_or_else(|| Problem::WrongKind { found: format!("{:?}", excerpt(written)), wanted: WANTED })
}

impl Shown for Option<Collector> {
    fn shown(&self) -> Value {
        self.as_ref().map_or_else(|| "off".into(), |collector| collector.0.clone().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_is_an_address_without_secrets() {
        let url = |text: &str| endpoint(&Node::text(text)).map(|found| found.map(|c| c.metrics_url()));
        assert_eq!(url("off"), Ok(None));
        assert_eq!(url("http://c:4318/"), Ok(Some("http://c:4318/v1/metrics".into())));
        assert_eq!(url("https://c/otlp"), Ok(Some("https://c/otlp/v1/metrics".into())));
        for wrong in ["c:4318", "grpc://c:4317", "http://", "http:///x", "http://u:p@c", "http://c?key=1", ""]
        {
            assert!(url(wrong).is_err(), "{wrong}");
        }
    }
}
