//! The audit log of a daemon: its begin and end, each minute, excursions, corrections and decisions, events, gaps.

use crate::config::Config;
use crate::feed::{Ended, Follower, News, Steered};
use crate::snapshot::{ClockView, EventView, Snapshot};
use chronotick_clock::{ClockPair, Span, Timestamp, boot};
use chronotick_record::audit::{AuditLog, Record, folder};
use serde_json::{Value, json};
use std::io;
use std::time::Duration;

/// Turns news into records.
#[derive(Debug)]
pub(super) struct Auditor {
    log: AuditLog,
    limit: Span,
    minute: Option<Minute>,
    excursion: Option<Excursion>,
    /// True time by the newest status; the system clock's before the first.
    utc: Timestamp,
    failing: bool,
}

/// What the seconds of a minute had in common.
#[derive(Debug)]
struct Minute {
    from: i64,
    seconds: u32,
    worst_system: Span,
    worst_corrected: Span,
    offset: Span,
    state: String,
    sources: Vec<String>,
}

/// A time in which the system clock can be further from true time than the limit.
#[derive(Debug)]
struct Excursion {
    opened: Timestamp,
    peak: Span,
}

impl Auditor {
    const MINUTE: i64 = 60_000_000_000;

    /// Goes on with the log of the state directory, and says that a daemon begins.
    ///
    /// # Errors
    /// If the log cannot be gone on from.
    pub(super) fn begin(config: &Config) -> io::Result<Auditor> {
        let utc = ClockPair::now().system;
        let folder = folder(&config.state_dir);
        let log = AuditLog::open(&folder, config.audit.rotation(), utc)?;
        let left = log.last().cloned();
        let limit = config.audit.limit;
        let mut auditor = Auditor { log, limit, minute: None, excursion: None, utc, failing: false };
        if let Some((last, kind)) = left {
            let why =
                if kind == "ended" { "no daemon was running" } else { "the daemon had not ended properly" };
            auditor.put("gap", json!({"from_ns": last.as_nanos(), "until_ns": utc.as_nanos(), "why": why}));
        }
        auditor.put(
            "began",
            json!({
                "version": env!("CARGO_PKG_VERSION"),
                "configuration": config.digest(),
                "pid": std::process::id(),
                "boot": format!("{:016x}", boot()),
                "limit_ns": limit.as_nanos(),
                "discipline": config.discipline.to_string(),
            }),
        );
        Ok(auditor)
    }

    /// Writes what the feed tells, until it ends.
    pub(super) fn follow(&mut self, follower: &Follower) {
        loop {
            match follower.next(Duration::from_secs(60)) {
                Ok(Some(News::Status(snapshot))) if !snapshot.simulation => self.status(&snapshot),
                Ok(Some(News::Happened(event))) => self.event(&event),
                Ok(Some(News::Steered(steered))) => self.steered(&steered),
                Ok(_) => {}
                Err(Ended) => break,
            }
            let missed = follower.missed();
            if missed > 0 {
                self.put("gap", json!({"news_lost": missed, "why": "the disk was too slow"}));
            }
        }
        self.end_minute();
        let open = self.excursion.as_ref().map(|excursion| excursion.opened.as_nanos());
        self.put("ended", json!({"excursion_open_since_ns": open}));
    }

    fn status(&mut self, snapshot: &Snapshot) {
        let Some(clock) = &snapshot.clock else { return };
        self.utc = Timestamp::from_nanos(clock.system_ns.saturating_add(clock.system_offset_ns));
        let from = self.utc.as_nanos().div_euclid(Auditor::MINUTE) * Auditor::MINUTE;
        if self.minute.as_ref().is_some_and(|minute| minute.from != from) {
            self.end_minute();
        }
        let (system, corrected) = (furthest(clock), Span::from_nanos(clock.early_ns.max(clock.late_ns)));
        let minute = self.minute.get_or_insert_with(|| Minute {
            from,
            seconds: 0,
            worst_system: Span::ZERO,
            worst_corrected: Span::ZERO,
            offset: Span::ZERO,
            state: String::new(),
            sources: Vec::new(),
        });
        minute.seconds = (minute.seconds + 1).min(60);
        minute.worst_system = minute.worst_system.max(system);
        minute.worst_corrected = minute.worst_corrected.max(corrected);
        minute.offset = Span::from_nanos(clock.system_offset_ns);
        minute.state.clone_from(&snapshot.state);
        let trusted = snapshot.sources.iter().filter(|source| source.is_trusted());
        minute.sources = trusted.map(|source| format!("{} ({})", source.server, source.address)).collect();
        self.judge(system);
    }

    /// Opens and closes excursions. A clock that is exactly at the limit is within it.
    fn judge(&mut self, furthest: Span) {
        match &mut self.excursion {
            None if furthest > self.limit => {
                self.excursion = Some(Excursion { opened: self.utc, peak: furthest });
                let fields = json!({"limit_ns": self.limit.as_nanos(), "furthest_ns": furthest.as_nanos()});
                self.put("excursion_opened", fields);
            }
            Some(excursion) if furthest > self.limit => excursion.peak = excursion.peak.max(furthest),
            Some(Excursion { opened, peak }) => {
                let fields = json!({
                    "opened_ns": opened.as_nanos(),
                    "duration_ns": (self.utc - *opened).as_nanos(),
                    "peak_ns": peak.as_nanos(),
                    "limit_ns": self.limit.as_nanos(),
                });
                self.excursion = None;
                self.put("excursion_closed", fields);
            }
            None => {}
        }
    }

    fn end_minute(&mut self) {
        let Some(minute) = self.minute.take() else { return };
        self.put(
            "minute",
            json!({
                "from_ns": minute.from,
                "seconds": minute.seconds,
                "worst_system_ns": minute.worst_system.as_nanos(),
                "worst_corrected_ns": minute.worst_corrected.as_nanos(),
                "offset_ns": minute.offset.as_nanos(),
                "state": minute.state,
                "sources": minute.sources,
            }),
        );
    }

    fn event(&mut self, event: &EventView) {
        self.put("event", json!({"event": event.kind, "source": event.source, "text": event.text}));
    }

    fn steered(&mut self, steered: &Steered) {
        let kind = if matches!(steered.action, "step" | "slew") { "correction" } else { "decision" };
        let Ok(fields) = serde_json::to_value(steered) else { return };
        self.put(kind, fields);
    }

    /// That the log cannot be written is said once; what is lost meanwhile is counted in it.
    fn put(&mut self, kind: &str, fields: Value) {
        let written = self.log.append(&Record::new(kind, self.utc, fields));
        if let Err(e) = &written
            && !self.failing
        {
            log::error!("the audit log cannot be written, everything else goes on: {e}");
        }
        self.failing = written.is_err();
    }
}

/// The furthest that the system clock can be from true time.
fn furthest(clock: &ClockView) -> Span {
    let offset = Span::from_nanos(clock.system_offset_ns);
    let (low, high) = (offset - Span::from_nanos(clock.early_ns), offset + Span::from_nanos(clock.late_ns));
    low.abs().max(high.abs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use chronotick_record::audit::verify;

    #[test]
    fn an_excursion_is_opened_and_closed_with_its_peak() {
        let dir = tempfile::tempdir().expect("a directory");
        let config = Config { state_dir: dir.path().into(), ..Config::default() };
        let mut auditor = Auditor::begin(&config).expect("begins");
        for (second, millis) in [50, 51, 80, 60, 50].into_iter().enumerate() {
            auditor.utc = Timestamp::from_nanos(second as i64 * 1_000_000_000);
            auditor.judge(Span::from_millis(millis));
        }
        let mut found = Vec::new();
        let take = &mut |record: &Record| found.push((record.kind.clone(), record.fields.clone()));
        assert!(verify(&folder(dir.path()), None, take).expect("read").is_whole());
        let kinds: Vec<&str> = found.iter().map(|record| record.0.as_str()).collect();
        assert_eq!(kinds, ["began", "excursion_opened", "excursion_closed"]);
        assert_eq!(found[2].1["peak_ns"], 80_000_000);
        assert_eq!(found[2].1["duration_ns"], 3_000_000_000i64);
    }
}
