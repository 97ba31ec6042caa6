//! A tool call: its arguments checked, and its answer.

use super::arguments::{Arguments, Mend};
use super::compare::{Compared, Event};
use super::explain::Explained;
use super::past::Corrected;
use super::status::Status;
use super::time::{Future, WithInterval, WithStats};
use super::tools::{FURTHEST, Name, USUAL_LEVEL};
use super::wait::Target;
use super::zones::Conversion;
use super::{Inner, causal};
use chronotick_clock::{HlcStamp, Span, Timestamp};
use jiff::tz::TimeZone;
use rmcp::model::JsonObject;
use serde::Serialize;
use serde_json::Value;
use std::time::Instant;

/// A call that can be answered.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Call {
    Time { stats: bool, zone: Option<TimeZone> },
    Status,
    Future(Span),
    Interval { level: f64, stats: bool },
    Convert(Conversion),
    Compare(Event, Event),
    Wait(Target),
    Correct(Timestamp),
    Explain,
    HlcNow,
    HlcMerge(HlcStamp),
}

impl Call {
    pub(super) fn parse(name: Name, given: JsonObject) -> Result<Call, Mend> {
        let mut arguments = Arguments::new(name.text(), given);
        let call = Call::read(name, &mut arguments)?;
        arguments.end()?;
        Ok(call)
    }

    fn read(name: Name, arguments: &mut Arguments) -> Result<Call, Mend> {
        Ok(match name {
            Name::Time => {
                Call::Time { stats: arguments.switch("include_stats")?, zone: arguments.zone("timezone")? }
            }
            Name::Status => Call::Status,
            Name::Future => {
                let what = "a number of seconds, e.g. 30,";
                let ahead = arguments.number("future_seconds", 0.0..=FURTHEST, what)?;
                let wanted = format!("{what} from 0 to {FURTHEST}");
                Call::Future(Span::from_secs_f64(
                    ahead.ok_or(Mend::Missing { name: "future_seconds", wanted })?,
                ))
            }
            Name::Interval => {
                let level = arguments.number("confidence_level", 0.01..=0.9999, "a probability")?;
                Call::Interval {
                    level: level.unwrap_or(USUAL_LEVEL),
                    stats: arguments.switch("include_stats")?,
                }
            }
            Name::Convert => Call::Convert(Conversion::parse(arguments)?),
            Name::Compare => {
                Call::Compare(Event::parse(arguments, "first")?, Event::parse(arguments, "second")?)
            }
            Name::Wait => Call::Wait(Target::parse(arguments)?),
            Name::Correct => Call::Correct(arguments.instant("timestamp")?),
            Name::Explain => Call::Explain,
            Name::HlcNow => Call::HlcNow,
            Name::HlcMerge => Call::HlcMerge(causal::stamp(arguments)?),
        })
    }
}

impl Inner {
    /// The answer to a call, at once. A wait is only looked at: how far it is.
    pub(super) fn answer(&self, call: &Call, begun: Instant) -> Result<Value, Mend> {
        let door = &self.door;
        let status = |asked: bool| asked.then(|| Status::read(door, self.latency.mean_ms(begun)));
        match call {
            Call::Time { stats, zone } => json(&WithStats::read(door, zone.as_ref(), status(*stats))),
            Call::Status => json(&Status::read(door, self.latency.mean_ms(begun))),
            Call::Future(ahead) => json(&Future::read(door, *ahead)),
            Call::Interval { level, stats } => json(&WithInterval::read(door, *level, status(*stats))),
            Call::Convert(conversion) => json(&conversion.answer()),
            Call::Compare(first, second) => json(&Compared::read(door, first, second)?),
            Call::Wait(target) => json(&target.answer(door, begun.elapsed())?),
            Call::Correct(system) => json(&Corrected::read(door, *system)?),
            Call::Explain => json(&Explained::read(door)?),
            Call::HlcNow => json(&causal::next(door, &self.causal, None)?),
            Call::HlcMerge(stamp) => json(&causal::next(door, &self.causal, Some(*stamp))?),
        }
    }
}

pub(super) fn json(answer: &impl Serialize) -> Result<Value, Mend> {
    Ok(serde_json::to_value(answer).expect("numbers, words and lists have a JSON form"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(tool: Name, arguments: Value) -> Result<Call, String> {
        let Value::Object(given) = arguments else { panic!("arguments are an object") };
        Call::parse(tool, given).map_err(|mend| mend.to_string())
    }

    #[test]
    fn good_arguments_are_taken() {
        let time = |stats| Ok(Call::Time { stats, zone: None });
        assert_eq!(parse(Name::Time, json!({})), time(false));
        assert_eq!(parse(Name::Time, json!({"include_stats": true, "timezone": null})), time(true));
        assert_eq!(parse(Name::Status, json!({})), Ok(Call::Status));
        assert_eq!(parse(Name::Future, json!({"future_seconds": 30})), Ok(Call::Future(Span::from_secs(30))));
        assert_eq!(
            parse(Name::Future, json!({"future_seconds": 0.5})),
            Ok(Call::Future(Span::from_millis(500)))
        );
        assert_eq!(parse(Name::Interval, json!({})), Ok(Call::Interval { level: 0.9, stats: false }));
        let stamp = HlcStamp::from_bits(0x18d7_6a3f_5c2e_0001);
        assert_eq!(parse(Name::HlcMerge, json!({"stamp": "18d76a3f5c2e0001"})), Ok(Call::HlcMerge(stamp)));
    }

    #[test]
    fn bad_arguments_are_named_with_their_mend() {
        for bad in [json!(-1), json!(3600.5), json!("30"), json!(null), json!([30]), json!(1e300)] {
            let mend = parse(Name::Future, json!({ "future_seconds": bad })).unwrap_err();
            assert!(mend.contains("from 0 to 3600"), "{mend}");
        }
        for (tool, arguments, mend) in [
            (Name::Future, json!({}), "future_seconds is missing"),
            (Name::Time, json!({"zone": "UTC"}), "no argument \"zone\"; it takes include_stats, timezone"),
            (Name::Time, json!({"timezone": "Berlin"}), "did you mean Europe/Berlin?"),
            (Name::Time, json!({"include_stats": "yes"}), "must be true or false"),
            (Name::Status, json!({"x": 1}), "call it with {}"),
            (Name::Interval, json!({"confidence_level": 1}), "a probability from 0.01 to 0.9999"),
            (Name::Wait, json!({"time": "soon"}), "RFC 3339"),
            (Name::Wait, json!({"time": 0, "max_seconds": 51}), "from 0 to 50"),
            (Name::Correct, json!({}), "timestamp is missing"),
            (Name::HlcMerge, json!({"stamp": "+8d76a3f5c2e0001"}), "16 hexadecimal digits"),
        ] {
            let said = parse(tool, arguments).unwrap_err();
            assert!(said.contains(mend), "{said}");
        }
    }
}
