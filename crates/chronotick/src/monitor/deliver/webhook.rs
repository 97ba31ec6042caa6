//! Events posted to a web address, signed, and again while nobody takes them.
//!
//! `X-ChronoTick-Signature: sha256=…` is the HMAC-SHA256 (RFC 2104) of `X-ChronoTick-Timestamp`, a full stop, and the body, in
//! hexadecimal digits; who checks it refuses old timestamps, so that nothing can be replayed.

use chronotick_clock::ClockPair;
use chronotick_monitor::Event;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::sync::Arc;
use std::time::Duration;
use ureq::Agent;
use ureq::tls::{RootCerts, TlsConfig};

/// How long one attempt may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pauses of 1, 2, 4 … 64 s lie between these: two minutes.
const ATTEMPTS: u32 = 8;

/// Where events go.
pub(super) struct Webhook {
    agent: Agent,
    url: String,
    key: Option<Vec<u8>>,
    first_pause: Duration,
}

/// What became of one attempt.
enum Attempt {
    Taken,
    /// It may be taken later.
    Again(String),
    /// It never will be.
    Refused(String),
}

impl Webhook {
    pub(super) fn new(url: &str, key: Option<Vec<u8>>) -> Webhook {
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::PlatformVerifier)
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let config = Agent::config_builder()
            .timeout_global(Some(PATIENCE))
            .http_status_as_error(false)
            .max_redirects(0)
            .tls_config(tls)
            .build();
        Webhook { agent: config.into(), url: url.to_owned(), key, first_pause: Duration::from_secs(1) }
    }

    /// Posts an event; after the last attempt it is given up, and the log says so.
    pub(super) fn post(&self, event: &Event) -> bool {
        let Ok(body) = serde_json::to_vec(event) else { return false };
        let delivery = format!("{:016x}", chronotick_os::random_u64());
        let mut pause = self.first_pause;
        for attempt in 1..=ATTEMPTS {
            match self.attempt(event.what.name(), &delivery, &body) {
                Attempt::Taken => return true,
                Attempt::Refused(why) => {
                    log::error!("monitor.webhook: event {} is refused: {why}", event.what.name());
                    return false;
                }
                Attempt::Again(why) if attempt == ATTEMPTS => {
                    log::error!("monitor.webhook: event {} is given up: {why}", event.what.name());
                }
                Attempt::Again(why) => {
                    log::debug!("monitor.webhook: attempt {attempt} failed: {why}");
                    // A quarter by chance, so that many clocks do not come back at the same moment.
                    let jitter = (chronotick_os::random_u64() % 256) as u32;
                    std::thread::sleep(pause + pause / 1024 * jitter);
                    pause *= 2;
                }
            }
        }
        false
    }

    fn attempt(&self, name: &str, delivery: &str, body: &[u8]) -> Attempt {
        let seconds = ClockPair::now().system.as_nanos().div_euclid(1_000_000_000).to_string();
        let mut request = self
            .agent
            .post(&self.url)
            .header("Content-Type", "application/json")
            .header("User-Agent", concat!("chronotick/", env!("CARGO_PKG_VERSION")))
            .header("X-ChronoTick-Event", name)
            .header("X-ChronoTick-Delivery", delivery)
            .header("X-ChronoTick-Timestamp", &seconds);
        if let Some(key) = &self.key {
            request = request.header("X-ChronoTick-Signature", signature(key, &seconds, body));
        }
        match request.send(body) {
            Ok(answer) => match answer.status().as_u16() {
                200..=299 => Attempt::Taken,
                status @ (408 | 425 | 429 | 500..=599) => Attempt::Again(format!("status {status}")),
                status => Attempt::Refused(format!("status {status}")),
            },
            Err(e) => Attempt::Again(e.to_string()),
        }
    }
}

fn signature(key: &[u8], timestamp: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(timestamp.as_bytes());
    mac.update(b".");
    mac.update(body);
    let digits: String = mac.finalize().into_bytes().iter().map(|b| format!("{b:02x}")).collect();
    format!("sha256={digits}")
}

#[cfg(test)]
mod tests {
    use super::super::tests::alert;
    use super::*;
    use chronotick_peers::http::{Reply, Server};
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU32, Ordering};

    fn webhook(server: &Server, key: Option<&str>) -> Webhook {
        let key = key.map(|key| key.as_bytes().to_vec());
        Webhook {
            first_pause: Duration::from_millis(1),
            ..Webhook::new(&format!("{}/hook", server.url()), key)
        }
    }

    /// The value is that of `printf '1.{}' | openssl dgst -sha256 -hmac key`.
    #[test]
    fn the_signature_is_what_openssl_says() {
        let known = "sha256=1ba6b8171186efc613e8bcc0cbdab2748f24984d7c5a84faa2637afa0e40d224";
        assert_eq!(signature(b"key", "1", b"{}"), known);
    }

    #[test]
    fn it_is_posted_again_until_it_is_taken_with_a_signature_that_fits() {
        let asked = Arc::new(AtomicU32::new(0));
        let seen = Arc::new(Mutex::new(None));
        let (count, keep) = (asked.clone(), seen.clone());
        let server = Server::start(move |request| {
            *keep.lock().unwrap() = Some(request.clone());
            let status = if count.fetch_add(1, Ordering::Relaxed) < 2 { 503 } else { 200 };
            Reply::new(status, "")
        });
        assert!(webhook(&server, Some("secret")).post(&alert()));
        assert_eq!(asked.load(Ordering::Relaxed), 3);
        let request = seen.lock().unwrap().take().unwrap();
        assert_eq!(serde_json::from_slice::<Event>(&request.body).unwrap(), alert());
        let header = |name: &str| request.headers[name].clone();
        let expected = signature(b"secret", &header("x-chronotick-timestamp"), &request.body);
        assert_eq!(header("x-chronotick-signature"), expected);
        assert_eq!(header("x-chronotick-event"), "alert_raised");
    }

    #[test]
    fn what_is_refused_is_not_posted_again_and_an_outage_has_an_end() {
        let asked = Arc::new(AtomicU32::new(0));
        let count = asked.clone();
        let refuses = Server::start(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
            Reply::new(403, "")
        });
        assert!(!webhook(&refuses, None).post(&alert()));
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        let fails = Server::start(|_| Reply::new(500, ""));
        assert!(!webhook(&fails, None).post(&alert()));
    }
}
