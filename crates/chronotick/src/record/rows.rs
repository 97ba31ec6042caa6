//! News as rows of the history.

use crate::discipline::state;
use crate::feed::{Measured, Steered};
use crate::snapshot::{ClockView, EventView, Snapshot};
use chronotick_clock::{Offset, Rate, RawInstant, Span, Timestamp};
use chronotick_record::{Correction, Event, Measurement, Row, Sample, Weight};

pub(super) fn sample(snapshot: &Snapshot, clock: &ClockView, epoch: u32, stepped: bool) -> Sample {
    let system = Timestamp::from_nanos(clock.system_ns);
    Sample {
        system,
        raw: RawInstant::from_nanos(snapshot.raw_ns),
        offset: Offset::between(system + Span::from_nanos(clock.system_offset_ns), system),
        sigma: Span::from_nanos(clock.sigma_ns),
        early: Span::from_nanos(clock.early_ns),
        late: Span::from_nanos(clock.late_ns),
        rate: Rate::from_ppm(clock.rate_ppm),
        growth: Rate::from_ppm(clock.bound_growth_ppm),
        state: state(&snapshot.state),
        source: snapshot.source.clone(),
        epoch,
        stepped,
    }
}

/// What was done to the clock; that nothing was is for the audit log.
pub(super) fn correction(steered: &Steered) -> Option<Row> {
    let done = matches!(steered.action, "step" | "slew");
    done.then(|| {
        Row::Correction(Correction {
            utc: Timestamp::from_nanos(steered.utc_ns),
            action: steered.action.into(),
            amount: Span::from_nanos(steered.amount_ns),
            frequency: Rate::from_ppm(steered.frequency_ppm),
            reason: steered.text.clone(),
        })
    })
}

pub(super) fn measurement(measured: &Measured) -> Row {
    Row::Measurement(Measurement {
        utc: Timestamp::from_nanos(measured.utc_ns),
        server: measured.server.clone(),
        address: measured.address.clone(),
        system_offset: Span::from_nanos(measured.system_offset_ns),
        corrected_offset: measured.corrected_offset_ns.map(Span::from_nanos),
        delay: Span::from_nanos(measured.delay_ns),
        root_delay: Span::from_nanos(measured.root_delay_ns),
        root_dispersion: Span::from_nanos(measured.root_dispersion_ns),
        stratum: measured.stratum,
        stamps: measured.stamps.into(),
    })
}

pub(super) fn event(event: &EventView) -> Row {
    Row::Event(Event {
        utc: Timestamp::from_nanos(event.utc_ns),
        kind: event.kind.clone(),
        source: event.source.clone(),
        text: event.text.clone(),
    })
}

/// The forecasters that are asked.
pub(super) fn weights(snapshot: &Snapshot, utc: Timestamp) -> impl Iterator<Item = Row> {
    snapshot.models.iter().filter(|model| model.state != "off").map(move |model| {
        Row::Weight(Weight {
            utc,
            member: model.member.clone(),
            model: model.model.clone(),
            weight: model.weight,
            correction: Span::from_nanos(model.correction_ns),
        })
    })
}
