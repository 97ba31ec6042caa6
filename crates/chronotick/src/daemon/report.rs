//! The daemon's snapshot: what the engine, the associations and the process know, put together once a second.

use super::Daemon;
use super::link::Link;
use super::reference::Reference;
use super::statistics::Statistics;
use crate::feed::News;
use crate::snapshot::{
    BoundView, ClockView, EdgeView, HorizonView, ModelView, NtpView, PathView, ProofView, Snapshot,
    SourceView, Traffic,
};
use crate::trace::Line;
use chronotick_clock::ClockPair;
use chronotick_core::{
    Disruption, Edge, Event, HorizonStatus, Leap, Member, MemberStatus, Offset, RawInstant, Role, Solution,
    SourceStatus, Stamps, Timestamp,
};
use chronotick_ntp::{NtpTimestamp, Protection, nts};
use std::sync::Arc;

/// An event in one line.
pub(super) fn words(event: &Event) -> String {
    match event {
        Event::StateChanged { from, to, reason } if from == to => format!("{to}: {reason}"),
        Event::StateChanged { from, to, reason } => format!("{from} -> {to}: {reason}"),
        Event::VerdictChanged { name, verdict, .. } => format!("{name} is {verdict}"),
        Event::SourceStepped { name, .. } => format!("{name} contradicts what it said before: it stepped"),
        Event::MajorityMoved { by } => {
            format!("most sources moved by {by} against the raw clock: time is measured anew")
        }
        Event::Disrupted(disruption) => disruption.to_string(),
    }
}

/// What kind of event it is, in one word.
pub(super) fn kind(event: &Event) -> &'static str {
    match event {
        Event::StateChanged { .. } => "state",
        Event::VerdictChanged { .. } => "verdict",
        Event::SourceStepped { .. } => "source_step",
        Event::MajorityMoved { .. } => "majority",
        Event::Disrupted(Disruption::SystemStep { .. }) => "system_step",
        Event::Disrupted(_) => "disruption",
    }
}

/// Who took the time stamps.
pub(super) fn stamps(stamps: Stamps) -> &'static str {
    match stamps {
        Stamps::Kernel => "kernel",
        Stamps::User => "user",
    }
}

/// The source that an event is about.
pub(super) fn subject(event: &Event) -> Option<&str> {
    match event {
        Event::VerdictChanged { name, .. } | Event::SourceStepped { name, .. } => Some(name),
        Event::StateChanged { .. } | Event::MajorityMoved { .. } | Event::Disrupted(_) => None,
    }
}

impl Daemon {
    /// Corrected time; the system clock's before the first measurement.
    pub(super) fn corrected_now(&mut self) -> Timestamp {
        let pair = ClockPair::now();
        let raw = self.machine.local(pair.raw);
        let system = self.machine.system(pair);
        self.corrected(raw, system)
    }

    fn corrected(&mut self, raw: RawInstant, system: Timestamp) -> Timestamp {
        let known = self.engine.last_trusted().is_some();
        if known { self.engine.solution(raw).utc_at(raw) } else { system }
    }

    pub(super) fn report(&mut self) {
        let pair = ClockPair::now();
        let raw = self.machine.local(pair.raw);
        let system = self.machine.system(pair);
        let solution = self.engine.solution(raw);
        let sources = self.sources(raw, &solution);
        let models = self.models(raw);
        let source = self.engine.basis(raw).name();
        if models.iter().any(|model| model.state != "off") {
            let shares =
                models.iter().map(|m| (m.member.clone(), m.weight, m.correction_ns, m.standing.clone()));
            let (raw_ns, members) = (raw.as_nanos(), shares.collect());
            self.engine.note(|| Line::Fusion { raw_ns, source: source.into(), members });
        }
        let snapshot = Snapshot {
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            simulation: self.machine.is_simulated(),
            raw_ns: pair.raw.as_nanos(),
            written: crate::utc::rfc3339(self.corrected(raw, system)),
            uptime_seconds: (raw - self.started).as_secs_f64(),
            warmup_progress: self.engine.warmup_progress(raw),
            warmup_seconds: self.warmup.as_secs_f64(),
            state: solution.state.name().into(),
            reason: solution.reason.to_string(),
            source: source.into(),
            clock: self.clock(raw, system, &solution, &sources),
            traffic: Traffic {
                polls: self.polls,
                answers: self.answers,
                trusted: self.engine.trusted_measurements(),
                published: self.published,
                compared: self.compared.0,
                worse: self.compared.1,
                stamps: match self.stamps {
                    (0, 0) => "none",
                    (_, 0) => "kernel",
                    (0, _) => "user",
                    _ => "mixed",
                }
                .into(),
            },
            predictions: self.engine.predictions().into(),
            sources,
            peers: self.peers.views(raw, solution.bound_growth),
            server: self.outlets.served.view(),
            models,
            unresolved: self
                .names
                .names
                .iter()
                .filter_map(|name| Some(format!("{}: {}", name.server, name.failure.as_ref()?)))
                .chain(self.peers.unresolved())
                .collect(),
            events: self.events.iter().map(|event| (**event).clone()).collect(),
            memory_bytes: resident_memory(),
            temperature_celsius: self.conditions.as_ref().and_then(|sensors| sensors.temperature()),
        };
        self.outlets.feed.tell(News::Status(Arc::new(snapshot)));
    }

    fn clock(
        &mut self,
        raw: RawInstant,
        system: Timestamp,
        solution: &Solution,
        sources: &[SourceView],
    ) -> Option<ClockView> {
        let last = self.engine.last_trusted()?;
        let reading = solution.reading(raw);
        let squares: Vec<f64> = sources
            .iter()
            .filter(|s| s.is_trusted())
            .filter_map(|s| Some((s.offset_ns? as f64).powi(2)))
            .collect();
        let mean_square = squares.iter().sum::<f64>() / squares.len().max(1) as f64;
        Some(ClockView {
            system_ns: system.as_nanos(),
            system_offset_ns: Offset::between(reading.estimate, system).correction().as_nanos(),
            rate_ppm: solution.rate.as_ppm(),
            rate_sigma_ppm: self.engine.rate_sigma(raw)?.as_ppm(),
            sigma_ns: reading.sigma.as_nanos(),
            early_ns: (reading.estimate - reading.earliest).as_nanos(),
            late_ns: (reading.latest - reading.estimate).as_nanos(),
            bound_growth_ppm: solution.bound_growth.as_ppm(),
            rms_offset_ns: mean_square.sqrt().round() as i64,
            leap: announced(solution.leap).into(),
            last_measurement_seconds: Some((raw - last).as_secs_f64()),
        })
    }

    fn models(&mut self, raw: RawInstant) -> Vec<ModelView> {
        let members = self.engine.members(raw);
        members.iter().map(|status| self.model(status, raw)).collect()
    }

    fn model(&self, status: &MemberStatus, raw: RawInstant) -> ModelView {
        let horizon = |h: &HorizonStatus| HorizonView {
            horizon_seconds: h.horizon.as_secs_f64(),
            weight: h.weight,
            skill: h.skill,
            error_ns: h.error.as_nanos(),
            stretches: h.stretches,
        };
        let regression = status.member == Member::Environment && self.conditions.is_some();
        let view = ModelView {
            member: status.member.name().into(),
            model: String::new(),
            family: None,
            state: if regression { "ready" } else { "off" }.into(),
            reason: None,
            standing: status.standing.to_string(),
            weight: status.weight,
            correction_ns: status.correction.as_nanos(),
            last_inference_seconds: status.newest.filter(|_| regression).map(|at| (raw - at).as_secs_f64()),
            inference_ms: None,
            busy_seconds: None,
            asked: 0,
            answered: 0,
            late: 0,
            cached: 0,
            put_off: 0,
            horizons: status.horizons.iter().map(horizon).collect(),
        };
        #[cfg(feature = "models")]
        if let Some(standing) = self.models.as_ref().and_then(|models| models.standing(status.member)) {
            return standing.shown(view, raw);
        }
        view
    }

    fn sources(&mut self, raw: RawInstant, solution: &Solution) -> Vec<SourceView> {
        let known = self.engine.sources(raw);
        let utc = solution.utc_at(raw);
        let mut views: Vec<SourceView> = self
            .links
            .iter()
            .filter_map(|link| {
                let status = known.iter().find(|s| s.id == link.source)?;
                Some(self.source(link, status, raw, utc))
            })
            .collect();
        views.extend(self.references.iter().filter_map(|reference| {
            let status = known.iter().find(|s| s.id == reference.source)?;
            Some(self.reference(reference, status, raw, utc))
        }));
        let width = |view: &SourceView| {
            let trusted = view.is_trusted();
            let bound = view.bound.as_ref().filter(|_| trusted)?;
            Some(bound.latest_ns.saturating_sub(bound.earliest_ns))
        };
        let best = views.iter().enumerate().filter_map(|(i, view)| Some((width(view)?, i))).min();
        if let Some((_, i)) = best {
            views[i].best = true;
        }
        views
    }

    fn source(&self, link: &Link, status: &SourceStatus, raw: RawInstant, utc: Timestamp) -> SourceView {
        let association = &link.association;
        SourceView {
            server: self.names.names[link.name].server.to_string(),
            address: link.address.to_string(),
            reference: association.server().map_or(String::new(), |packet| packet.reference_id.to_string()),
            poll_seconds: association.interval().as_secs_f64(),
            reach: association.reach(),
            sent: association.counters().sent,
            answers: association.counters().accepted,
            trouble: link.trouble.clone(),
            proof: self.proof(link, raw),
            ntp: association.server().map(|packet| NtpView {
                version: packet.version,
                poll: packet.poll,
                precision: packet.precision,
                local: link.local.map_or(String::new(), |local| local.ip().to_string()),
                reference_id: u32::from_be_bytes(packet.reference_id.0),
                reference_ns: (packet.reference != NtpTimestamp::ZERO)
                    .then(|| packet.reference.near(utc).as_nanos()),
                held_ns: association.held().as_nanos(),
                interleaved: association.is_interleaved(),
                rejected: association.rejected().map(Into::into),
                received: association.counters().received(),
            }),
            ..self.measured("server", status, raw, utc)
        }
    }

    /// How a server's replies are told from forgeries.
    fn proof(&self, link: &Link, raw: RawInstant) -> Option<ProofView> {
        match link.association.protection() {
            Protection::Nonce => None,
            Protection::Key(key) => Some(ProofView {
                mode: "SK".into(),
                key: key.number(),
                algorithm: key.algorithm().number(),
                bits: key.bits(),
                ..ProofView::default()
            }),
            Protection::Nts(session) => Some(ProofView {
                mode: "NTS".into(),
                key: link.keyed.0,
                algorithm: nts::ke::AES_SIV_CMAC_256 as u8,
                bits: 8 * nts::SecretKey::LEN,
                age_seconds: Some((raw - link.keyed.1).as_secs_f64()),
                attempts: self.names.names[link.name].attempts,
                naks: session.is_refused().into(),
                cookies: session.cookies(),
                cookie_bytes: session.cookie_len(),
            }),
        }
    }

    fn reference(&self, r: &Reference, status: &SourceStatus, raw: RawInstant, utc: Timestamp) -> SourceView {
        let measured = self.measured("refclock", status, raw, utc);
        let mut options = measured.options.clone();
        options.extend(r.clock.is_last_resort().then(|| "last_resort".to_owned()));
        SourceView {
            server: r.clock.place(),
            address: r.clock.name(),
            reference: r.clock.name(),
            poll_seconds: r.interval.as_secs_f64(),
            reach: r.reach,
            sent: r.polls,
            answers: r.answers,
            trouble: r.trouble.clone(),
            options,
            ..measured
        }
    }

    /// What the engine knows of a source, whatever kind it is; the rest is left empty.
    fn measured(&self, mode: &str, status: &SourceStatus, raw: RawInstant, utc: Timestamp) -> SourceView {
        let newest = status.newest.as_ref();
        let Role { noselect, prefer, trust, require } = status.role;
        let options = [("noselect", noselect), ("prefer", prefer), ("trust", trust), ("require", require)];
        let statistics = self.statistics.get(&status.id);
        SourceView {
            mode: mode.into(),
            options: options.iter().filter(|(_, said)| *said).map(|(name, _)| (*name).into()).collect(),
            verdict: status.verdict.to_string(),
            stratum: newest.map(|m| m.stratum),
            last_answer_seconds: newest.map(|m| (raw - m.received).as_secs_f64()),
            offset_ns: status.newest_error.map(|error| error.as_nanos()),
            system_offset_ns: statistics.and_then(|s| s.system_offset_ns),
            leap: newest.map(|m| announced(m.leap).into()),
            statistics: statistics.and_then(Statistics::view),
            delay_ns: newest.map(|m| m.delay.as_nanos()),
            root_delay_ns: newest.map(|m| m.root_delay.as_nanos()),
            root_dispersion_ns: newest.map(|m| m.root_dispersion.as_nanos()),
            stamps: newest.map(|m| stamps(m.stamps).into()),
            contradictions: status.contradictions,
            path: self.engine.estimator().path(status.id).map(|path| PathView {
                offset_ns: path.offset.as_nanos(),
                floor_ns: path.floor.as_nanos(),
                weight: f64::from(path.weight) / 1e3,
            }),
            bound: status.bound.as_ref().map(|bound| BoundView {
                earliest_ns: (bound.earliest - utc).as_nanos(),
                latest_ns: (bound.latest - utc).as_nanos(),
                low: edge(&bound.low, raw),
                high: edge(&bound.high, raw),
            }),
            ..SourceView::default()
        }
    }
}

/// A leap second, as it is announced.
fn announced(leap: Leap) -> &'static str {
    match leap {
        Leap::None => "none",
        Leap::Insert => "insert",
        Leap::Delete => "delete",
    }
}

fn edge(edge: &Edge, raw: RawInstant) -> EdgeView {
    EdgeView {
        age_seconds: (raw - edge.measured).as_secs_f64(),
        half_delay_ns: edge.half_delay.as_nanos(),
        half_root_delay_ns: edge.half_root_delay.as_nanos(),
        root_dispersion_ns: edge.root_dispersion.as_nanos(),
        ageing_ns: edge.ageing.as_nanos(),
    }
}

/// Resident memory of this process by the kernel's count, in bytes; 0 where it does not tell.
fn resident_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kilobytes = |line: &str| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok();
    status.lines().find_map(kilobytes).unwrap_or(0) * 1024
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #[test]
    fn this_process_has_the_memory_that_the_kernel_counts() {
        let megabytes = super::resident_memory() >> 20;
        assert!((1..1 << 20).contains(&megabytes), "{megabytes} MB");
    }
}
