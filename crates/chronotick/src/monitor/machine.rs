//! The machine's other clocks, for the health document: the battery-backed clock and the system's time service, both of
//! which may take seconds to answer. The HTTP server looks once a minute, from a thread of its own.

use super::rtc::{self, Rtc};
use super::service::{Word, chrony, mode6, timesyncd};
use crate::door::Door;
use crate::utc::rfc3339;
use chronotick_clock::{Reading, Span, Timestamp};
use chronotick_monitor::health::{RtcHealth, Service};
use chronotick_monitor::{Health, RtcDiagnosis, Status, Timescale};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

/// From one look to the next.
pub(crate) const EVERY: Duration = Duration::from_secs(60);

/// What was seen at the last look.
#[derive(Debug, Default)]
pub(crate) struct Machine(RwLock<Seen>);

#[derive(Clone, Debug, Default)]
struct Seen {
    service: Option<Service>,
    rtc: Option<RtcHealth>,
    trouble: Option<String>,
}

impl Machine {
    /// Looks; takes a few seconds at the most.
    pub(crate) fn look(&self, door: Option<&Door>) {
        let service = service().map(|word| Service { name: word.name.into(), active: true, restarts: 0 });
        let (rtc, trouble) = battery_backed(door);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Seen { service, rtc, trouble };
    }

    /// Adds what was seen. A battery-backed clock that is wrong is a warning: the next start begins with it.
    pub(crate) fn complete(&self, health: &mut Health) {
        let seen = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        (health.service, health.rtc) = (seen.service, seen.rtc);
        if let Some(trouble) = seen.trouble {
            health.component(Status::Warning, trouble);
        }
    }
}

/// The time service of the system, if one answers.
fn service() -> Option<Word> {
    let chrony = || chrony::Place::usual().iter().find_map(|place| chrony::ask(place).ok());
    let ntpd = || mode6::ask(SocketAddr::from((Ipv4Addr::LOCALHOST, 123))).ok();
    let timesyncd = || timesyncd::ask(Path::new("/run/dbus/system_bus_socket")).ok();
    chrony().or_else(ntpd).or_else(timesyncd)
}

/// The battery-backed clock, and what ails it.
fn battery_backed(door: Option<&Door>) -> (Option<RtcHealth>, Option<String>) {
    let clock = Rtc::below(Path::new("/"));
    let look = match clock.look() {
        Ok(look) => look,
        Err(e) if e.kind() == ErrorKind::NotFound => return (Some(RtcHealth::default()), None),
        Err(_) => return (None, None),
    };
    let last_set = clock.adjtime().last_set.map(|at| rfc3339(Timestamp::from_nanos(0) + Span::from_secs(at)));
    let Some(reading) = door.map(|door| door.clock.at(look.pair.raw)).filter(Reading::is_known) else {
        return (Some(RtcHealth { present: true, last_set, ..RtcHealth::default() }), None);
    };
    let read = rtc::reading(look, reading.offset_of(look.pair.system).correction());
    let found = RtcDiagnosis::of(read, &[]);
    let wrong = || format!("the battery-backed clock keeps {} time, not UTC", found.timescale);
    let health = RtcHealth {
        present: true,
        offset_s: Some(read.offset.as_secs_f64()),
        timescale: Some(found.timescale.to_string()),
        drift_ppm: None,
        last_set,
    };
    (Some(health), (found.timescale != Timescale::Utc).then(wrong))
}
