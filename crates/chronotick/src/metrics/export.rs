//! Sends the metrics to an OpenTelemetry collector, from a thread of its own: at most one request is under way, and what
//! a collector does not take is not kept, because the next numbers say more.

use super::otlp::{Origin, request};
use super::{Subject, events, of};
use crate::config::Otlp;
use crate::feed::{Follower, News};
use chronotick_clock::{Span, Timestamp};
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use ureq::Agent;
use ureq::tls::{RootCerts, TlsConfig};

/// How long a collector may take (the default of OpenTelemetry's own exporters).
const PATIENCE: Duration = Duration::from_secs(10);
/// What is read of an answer.
const ANSWER: u64 = 4096;

/// Exports until its feed ends.
#[derive(Debug)]
pub struct Export(JoinHandle<()>);

struct Exporter {
    subject: Subject,
    agent: Agent,
    url: String,
    host: String,
    happened: BTreeMap<String, u64>,
    /// Since when the daemon has counted, and whether that is by known time.
    start: Option<(Timestamp, bool)>,
    failing: bool,
}

impl Export {
    /// Sends what `subject` shows, every so often, until the feed of `follower` ends; nothing if no collector is configured.
    ///
    /// # Errors
    /// If the system has no thread left.
    pub fn start(settings: &Otlp, subject: Subject, follower: Follower) -> io::Result<Option<Export>> {
        let Some(collector) = &settings.endpoint else { return Ok(None) };
        let interval = Duration::from_nanos(settings.interval.as_nanos().unsigned_abs());
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let url = collector.metrics_url();
        log::info!("OTLP: metrics go to {url} every {} s", interval.as_secs());
        let happened = BTreeMap::new();
        let mut exporter =
            Exporter { subject, agent: agent(), url, host, happened, start: None, failing: false };
        let thread = std::thread::Builder::new().name("otlp".into());
        Ok(Some(Export(thread.spawn(move || exporter.run(&follower, interval))?)))
    }

    /// Waits until the last export is through, or has had its time.
    pub fn join(self) {
        if self.0.join().is_err() {
            log::error!("OTLP: the exporting thread has failed");
        }
    }
}

impl Exporter {
    fn run(&mut self, follower: &Follower, interval: Duration) {
        // The first numbers come once something is measured.
        let mut due = Instant::now() + interval.min(Duration::from_secs(5));
        loop {
            match follower.next(due.saturating_duration_since(Instant::now())) {
                Ok(Some(News::Happened(event))) => *self.happened.entry(event.kind.clone()).or_default() += 1,
                Ok(_) => {}
                Err(_) => return self.send(),
            }
            if Instant::now() >= due {
                self.send();
                due = Instant::now() + interval;
            }
        }
    }

    fn send(&mut self) {
        let mut families = of(&self.subject);
        families.push(events(&self.happened));
        let (reading, system) = self.subject.door.clock.now_and_system();
        let now = if reading.is_known() { reading.estimate } else { system };
        let start = self.started(now, reading.is_known());
        let body = request(&families, Origin { host: &self.host, now, start }).to_string();
        match (self.post(&body), self.failing) {
            (Ok(()), true) => {
                log::info!("OTLP: {} takes metrics again", self.url);
                self.failing = false;
            }
            (Err(why), false) => {
                log::warn!("OTLP: {} does not take metrics: {why}; it is tried again each time", self.url);
                self.failing = true;
            }
            _ => {}
        }
    }

    /// Since when the daemon has counted: told once, and once more when time is known at last.
    fn started(&mut self, now: Timestamp, known: bool) -> Timestamp {
        match self.start {
            Some((start, certain)) if certain || !known => start,
            _ => {
                let status = self.subject.door.snapshot();
                let uptime = status.map_or(Span::ZERO, |s| Span::from_secs_f64(s.uptime_seconds));
                self.start.insert((now - uptime, known)).0
            }
        }
    }

    fn post(&self, body: &str) -> Result<(), String> {
        let post = self.agent.post(&self.url).header("content-type", "application/json");
        let answer = post.send(body).map_err(|e| e.to_string())?;
        let status = answer.status().as_u16();
        let mut said = Vec::new();
        // The words of a collector only dress the complaint.
        let _ = answer.into_body().into_reader().take(ANSWER).read_to_end(&mut said);
        let said: serde_json::Value = serde_json::from_slice(&said).unwrap_or_default();
        let rejected = &said["partialSuccess"]["rejectedDataPoints"];
        match status {
            200..=299 if rejected.is_null() || rejected == 0 || rejected == "0" => Ok(()),
            200..=299 => Err(format!("it rejects {} data points", plain(&rejected.to_string()))),
            404 => Err("status 404; is there an OTLP/HTTP receiver (port 4318 by custom)?".into()),
            _ => Err(format!("status {status}")),
        }
    }
}

/// A text of another's making, fit for a line of a log.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(80).collect()
}

fn agent() -> Agent {
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::PlatformVerifier)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build();
    let config = Agent::config_builder()
        .tls_config(tls)
        .user_agent(concat!("chronotick/", env!("CARGO_PKG_VERSION")))
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_global(Some(PATIENCE));
    config.build().new_agent()
}
