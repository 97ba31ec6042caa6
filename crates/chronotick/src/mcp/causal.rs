//! `hlc_now` and `hlc_merge`: stamps that respect cause and effect between agents on different hosts.

use super::arguments::{Arguments, Mend, wrong};
use super::time::Present;
use crate::door::Door;
use crate::utc::rfc3339;
use chronotick_clock::{Hlc, HlcStamp, Reading, Span};
use schemars::JsonSchema;
use serde::Serialize;

/// A stamp that is further ahead is refused: its clock, or ours, is wrong.
pub(super) const MAX_AHEAD: Span = Span::from_millis(500);

/// The answer of both.
#[derive(Serialize, JsonSchema)]
pub(super) struct Stamped {
    /// 16 hexadecimal digits that sort like the events
    stamp: String,
    /// the time in it (RFC 3339, UTC), in steps of 65.536 us
    time: String,
    /// events with this time before it
    counter: u16,
    /// whether corrected time stands behind it
    trustworthy: bool,
}

pub(super) fn stamp(arguments: &mut Arguments) -> Result<HlcStamp, Mend> {
    let wanted = "a stamp from hlc_now or hlc_merge: 16 hexadecimal digits";
    let value = arguments.needed("stamp", wanted)?;
    let parsed = value.as_str().and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| wrong("stamp", &value, wanted))
}

/// The stamp of an event here, or of the arrival of a message that was stamped `remote`.
pub(super) fn next(door: &Door, clock: &Hlc, remote: Option<HlcStamp>) -> Result<Stamped, Mend> {
    let present = Present::read(door);
    let reading: Reading = present.reading(Span::ZERO).ok_or_else(|| present.unknown())?;
    let stamp = match remote {
        None => clock.now(&reading),
        Some(remote) => clock.merge(remote, &reading).map_err(|e| Mend::Refused(e.to_string()))?,
    };
    Ok(Stamped {
        stamp: stamp.to_string(),
        time: rfc3339(stamp.time()),
        counter: stamp.counter(),
        trustworthy: reading.is_trustworthy(),
    })
}
