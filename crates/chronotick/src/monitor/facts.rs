//! What a daemon's answers say about the clock: a sample for the monitor, and the health document.

use super::watch::Remembered;
use crate::door::Door;
use crate::snapshot::{Snapshot, SourceView};
use crate::utc::rfc3339;
use chronotick_clock::{ClockPair, Reading, Reason, Span, State, Timestamp};
use chronotick_monitor::health::{Compliance, LastUpdate, Reference, Sources};
use chronotick_monitor::{Backing, ClockError, Health, Judgement, Profile, Sample};
use chronotick_os::{Steer, SystemClock};

/// The system clock at this moment, by a reading of corrected time at the same.
pub fn sample(reading: &Reading, snapshot: Option<&Snapshot>, pair: ClockPair) -> Sample {
    let gone = matches!(reading.reason, Reason::Stopped | Reason::PublisherDead | Reason::Rebooted);
    let simulated = snapshot.filter(|s| s.simulation).and_then(|s| s.clock.as_ref());
    let known = reading.is_known() && reading.state != State::Error;
    let real = reading.offset_of(pair.system).correction();
    let error = known.then(|| ClockError {
        // The host's own clock says nothing about a simulated one.
        offset: simulated.map_or(real, |clock| Span::from_nanos(clock.system_offset_ns)),
        early: reading.estimate - reading.earliest,
        late: reading.latest - reading.estimate,
    });
    let trusted = |s: &&SourceView| s.is_trusted();
    Sample {
        at: pair.raw,
        utc: if known { reading.estimate } else { pair.system },
        state: if gone { Backing::NoData } else { reading.state.into() },
        error,
        agreeing: snapshot.map_or(0, |s| s.sources.iter().filter(trusted).count() as u32),
    }
}

/// The health of the clock behind a door, by a profile, with what its monitor remembers.
pub fn health(door: &Door, profile: &Profile, remembered: &Remembered) -> Health {
    let (reading, pair) = door.now_and_system();
    let snapshot = door.snapshot().ok();
    let sample = sample(&reading, snapshot.as_deref(), pair);
    let judged = Judgement::of(&sample, profile);
    let simulation = snapshot.as_ref().is_some_and(|s| s.simulation);
    let mut health = Health::new(judged, &profile.name, simulation);
    health.time = Some(rfc3339(sample.utc));
    if health.status != chronotick_monitor::Status::Healthy {
        health.reasons.push(reading.reason.to_string());
    }
    health.compliance = compliance(&sample, profile);
    if let Some(error) = sample.error {
        health.offset_ns = Some(error.offset.as_nanos());
        health.bound_ns = Some(error.bound().as_nanos());
        health.corrected_bound_ns = Some(reading.max_error().as_nanos());
    }
    if !simulation {
        // Whoever steers the clock: the kernel knows. Where it does not tell, nobody does.
        let kernel = SystemClock::open().and_then(|mut clock| clock.read());
        health.pending_slew_ns = kernel.ok().map(|kernel| kernel.pending.as_nanos());
    }
    if let Some(snapshot) = &snapshot {
        from_snapshot(&mut health, snapshot, sample.utc);
    }
    if sample.state == Backing::Synced {
        health.last_sync_utc = health.time.clone();
    }
    remembered.complete(&mut health);
    health
}

/// The health where nobody can be asked.
pub fn nobody(profile: &Profile, why: &str) -> Health {
    let pair = ClockPair::now();
    let sample = Sample { at: pair.raw, utc: pair.system, state: Backing::NoData, error: None, agreeing: 0 };
    let mut health = Health::new(Judgement::of(&sample, profile), &profile.name, false);
    health.time = Some(rfc3339(pair.system));
    health.reasons.push(why.to_owned());
    health.compliance = compliance(&sample, profile);
    health
}

fn compliance(sample: &Sample, profile: &Profile) -> Compliance {
    let verdict = match profile.metric_of(sample) {
        Some(metric) if metric > profile.limit => "beyond",
        Some(_) if matches!(sample.state, Backing::Synced | Backing::Holdover) => "within",
        _ => "unknown",
    };
    Compliance { limit_ns: Some(profile.limit.as_nanos()), verdict: verdict.into(), coverage: None }
}

fn from_snapshot(health: &mut Health, snapshot: &Snapshot, now: Timestamp) {
    let sources = &snapshot.sources;
    let count = |has: &dyn Fn(&SourceView) -> bool| {
        sources.iter().filter(|s| has(s)).count().try_into().unwrap_or(u32::MAX)
    };
    health.sources = Sources {
        configured: count(&|_| true) + u32::try_from(snapshot.unresolved.len()).unwrap_or(u32::MAX),
        reachable: count(&|s| s.reach != 0),
        agreeing: count(&|s| s.is_trusted()),
        falsetickers: sources
            .iter()
            .filter(|s| s.verdict == "falseticker")
            .map(|s| s.address.clone())
            .collect(),
    };
    if let Some(best) = sources.iter().find(|s| s.best) {
        health.stratum = best.stratum.map(|stratum| stratum.saturating_add(1));
        let kind = if best.mode == "refclock" { "refclock" } else { "ntp" };
        let (id, name) = (best.address.clone(), best.server.clone());
        health.reference = Some(Reference { id, name, kind: kind.into() });
    }
    let Some(clock) = &snapshot.clock else { return };
    health.frequency_ppm = Some(clock.rate_ppm);
    health.skew_ppm = Some(clock.rate_sigma_ppm);
    health.leap = Some(clock.leap.clone());
    health.last_update = clock.last_measurement_seconds.map(|seconds| {
        let age = Span::from_secs_f64(seconds) + snapshot.age(chronotick_clock::raw_now()).max(Span::ZERO);
        LastUpdate { utc: rfc3339(now - age), age_s: age.as_secs_f64() }
    });
}
