//! Time zones: a local view of an instant, and `convert_time`, which says where a local time does not exist or exists
//! twice. The IANA database is the system's, or the one within the program where the system has none.

use super::arguments::{Arguments, Mend, ends_month, is_sixty, no_leap, written_instant, wrong};
use crate::utc::rfc3339;
use chronotick_clock::Timestamp;
use jiff::Zoned;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};
use schemars::JsonSchema;
use serde::Serialize;

const A_LOCAL_TIME: &str = "a full date with a time: local (\"2026-03-29T02:30\") together with source_timezone, or RFC 3339 \
    with an offset";

const LEAP: &str = "This is a leap second. Time that counts every day as 86400 s cannot hold it: it was taken as the second before.";

/// The same instant in a time zone.
#[derive(Serialize, JsonSchema)]
pub(super) struct Local {
    timezone: String,
    /// time in that zone, RFC 3339
    local_time: String,
    weekday: &'static str,
    utc_offset: String,
    is_dst: bool,
}

impl Local {
    /// `None` beyond the year 9999 and before -9999, where there are no calendars.
    pub(super) fn of(utc: Timestamp, zone: &TimeZone) -> Option<Local> {
        let zoned = jiff::Timestamp::from_nanosecond(i128::from(utc.as_nanos())).ok()?.to_zoned(zone.clone());
        Some(Local {
            timezone: zone.iana_name().unwrap_or("UTC").to_owned(),
            local_time: zoned.strftime("%Y-%m-%dT%H:%M:%S.%9f%:z").to_string(),
            weekday: weekday(&zoned),
            utc_offset: zoned.strftime("%:z").to_string(),
            is_dst: is_dst(&zoned),
        })
    }
}

fn weekday(zoned: &Zoned) -> &'static str {
    use jiff::civil::Weekday::*;
    match zoned.weekday() {
        Monday => "Monday",
        Tuesday => "Tuesday",
        Wednesday => "Wednesday",
        Thursday => "Thursday",
        Friday => "Friday",
        Saturday => "Saturday",
        Sunday => "Sunday",
    }
}

fn is_dst(zoned: &Zoned) -> bool {
    zoned.time_zone().to_offset_info(zoned.timestamp()).dst().is_dst()
}

// One end of a conversion.
#[derive(Serialize, JsonSchema)]
struct End {
    timezone: String,
    // RFC 3339
    datetime: String,
    day_of_week: &'static str,
    is_dst: bool,
}

impl End {
    fn of(zoned: &Zoned) -> End {
        End {
            timezone: zoned.time_zone().iana_name().unwrap_or("offset").to_owned(),
            datetime: zoned.strftime("%Y-%m-%dT%H:%M:%S%.f%:z").to_string(),
            day_of_week: weekday(zoned),
            is_dst: is_dst(zoned),
        }
    }
}

/// Whether a local time is an instant.
#[derive(Serialize, JsonSchema, Clone, Copy, Debug, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Unique,
    Gap,
    Fold,
}

/// The answer of `convert_time`.
#[derive(Serialize, JsonSchema)]
pub(super) struct Converted {
    source: End,
    target: End,
    // the instant in UTC
    utc: String,
    utc_ns: String,
    /// target - source
    time_difference_hours: f64,
    /// unique; gap: the clocks skip this local time; fold: it comes twice
    kind: Kind,
    /// what was chosen in a gap or fold, or for a leap second
    note: Option<String>,
    /// the other reading
    alternative: Option<String>,
}

/// What `convert_time` was asked.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Conversion {
    source: Zoned,
    target: TimeZone,
    /// How a local time that is no single instant was read, and the other instant.
    ambiguity: Option<(Kind, Zoned)>,
    /// Whether a leap second was asked about, for which the second before it stands.
    leap: bool,
}

impl Conversion {
    pub(super) fn parse(arguments: &mut Arguments) -> Result<Conversion, Mend> {
        let source = arguments.zone("source_timezone")?;
        let time = arguments.needed("time", A_LOCAL_TIME)?;
        let target = arguments.zone("target_timezone")?;
        let wanted = "the IANA name of a time zone, e.g. \"Asia/Tokyo\"";
        let target =
            target.ok_or_else(|| Mend::Missing { name: "target_timezone", wanted: wanted.into() })?;
        let leap = time.as_str().is_some_and(|text| is_sixty(text.trim()));
        if let Some(utc) = written_instant("time", &time)? {
            let utc = jiff::Timestamp::from_nanosecond(i128::from(utc.as_nanos()));
            let source = utc
                .map_err(|_| wrong("time", &time, A_LOCAL_TIME))?
                .to_zoned(source.unwrap_or(TimeZone::UTC));
            return Ok(Conversion { source, target, ambiguity: None, leap });
        }
        let civil = time.as_str().and_then(|text| local_time(text.trim()));
        let civil = civil.ok_or_else(|| wrong("time", &time, A_LOCAL_TIME))?;
        let wanted = "the zone that the local time is of, e.g. \"Europe/Berlin\", or give time an offset";
        let source =
            source.ok_or_else(|| Mend::Missing { name: "source_timezone", wanted: wanted.into() })?;
        let read =
            Conversion::of_local(civil, &source, target).ok_or_else(|| wrong("time", &time, A_LOCAL_TIME))?;
        if leap && !ends_month(read.source.timestamp()) {
            return Err(no_leap("time", &time));
        }
        Ok(Conversion { leap, ..read })
    }

    /// In a gap the time is read as the clocks before the change would count on, in a fold as its first coming: what
    /// RFC 5545 asks of calendars. The other reading is told.
    fn of_local(civil: DateTime, source: &TimeZone, target: TimeZone) -> Option<Conversion> {
        let at = |offset: Offset| Some(offset.to_timestamp(civil).ok()?.to_zoned(source.clone()));
        let (chosen, ambiguity) = match source.to_ambiguous_timestamp(civil).offset() {
            AmbiguousOffset::Unambiguous { offset } => (at(offset)?, None),
            AmbiguousOffset::Gap { before, after } => (at(before)?, Some((Kind::Gap, at(after)?))),
            AmbiguousOffset::Fold { before, after } => (at(before)?, Some((Kind::Fold, at(after)?))),
        };
        Some(Conversion { source: chosen, target, ambiguity, leap: false })
    }

    pub(super) fn answer(&self) -> Converted {
        let target = self.source.with_time_zone(self.target.clone());
        let utc_ns = i64::try_from(self.source.timestamp().as_nanosecond()).map(Timestamp::from_nanos);
        let hours = |zoned: &Zoned| f64::from(zoned.offset().seconds()) / 3600.0;
        let note = self.ambiguity.as_ref().map(|(kind, other)| {
            let (chosen, other) = (self.source.strftime("%H:%M:%S%:z"), other.strftime("%H:%M:%S%:z"));
            match kind {
                Kind::Gap => format!(
                    "This local time does not exist: the clocks skip it. Read with the offset before the change it is {chosen}, \
                     with the one after it {other}. Ask which is meant."
                ),
                _ => format!("This local time comes twice: {chosen} was chosen, {other} is the other. Ask which is meant."),
            }
        });
        let note = note.or_else(|| self.leap.then(|| LEAP.to_owned()));
        let alternative = self.ambiguity.as_ref().map(|(_, other)| {
            other.with_time_zone(self.target.clone()).strftime("%Y-%m-%dT%H:%M:%S%.f%:z").to_string()
        });
        Converted {
            time_difference_hours: hours(&target) - hours(&self.source),
            utc: utc_ns.map_or_else(|_| self.source.timestamp().to_string(), rfc3339),
            utc_ns: self.source.timestamp().as_nanosecond().to_string(),
            source: End::of(&self.source),
            target: End::of(&target),
            kind: self.ambiguity.as_ref().map_or(Kind::Unique, |(kind, _)| *kind),
            note,
            alternative,
        }
    }
}

/// A date with a time and without an offset. A bare date or a bare time is no instant.
fn local_time(text: &str) -> Option<DateTime> {
    let has_both = text.len() > 11 && text.contains(':');
    text.parse().ok().filter(|_| has_both)
}

/// The zones whose names begin with a text, then those that contain it, in any case: at most `most`, and how many there are.
pub(super) fn named_like(text: &str, most: usize) -> (Vec<String>, usize) {
    let text = text.to_lowercase().replace(' ', "_").replace("%2f", "/");
    let rank = |name: &str| {
        let (name, city) = (name.to_lowercase(), name.rsplit('/').next().unwrap_or(name).to_lowercase());
        match () {
            _ if name.starts_with(&text) => Some(0),
            _ if city.starts_with(&text) => Some(1),
            _ if name.contains(&text) => Some(2),
            _ => None,
        }
    };
    let names = jiff::tz::db().available().map(|name| name.to_string());
    let mut found: Vec<_> = names.filter_map(|name| Some((rank(&name)?, name))).collect();
    found.sort();
    let total = found.len();
    (found.into_iter().take(most).map(|(_, name)| name).collect(), total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn convert(arguments: Value) -> Result<Value, String> {
        let Value::Object(given) = arguments else { panic!("an object") };
        let conversion =
            Conversion::parse(&mut Arguments::new("convert_time", given)).map_err(|m| m.to_string())?;
        Ok(serde_json::to_value(conversion.answer()).unwrap())
    }

    fn berlin(time: &str) -> Value {
        convert(json!({"time": time, "source_timezone": "Europe/Berlin", "target_timezone": "UTC"})).unwrap()
    }

    #[test]
    fn a_local_time_that_is_skipped_or_doubled_is_said_to_be() {
        let (plain, gap, fold) =
            (berlin("2026-07-01 12:00"), berlin("2026-03-29T02:30"), berlin("2026-10-25T02:30:00"));
        assert_eq!((&plain["kind"], &plain["note"]), (&json!("unique"), &Value::Null));
        assert_eq!(plain["target"]["datetime"], "2026-07-01T10:00:00+00:00");
        assert_eq!(plain["time_difference_hours"], -2.0);
        assert_eq!((&gap["kind"], &fold["kind"]), (&json!("gap"), &json!("fold")));
        assert_eq!(gap["source"]["datetime"], "2026-03-29T03:30:00+02:00");
        assert_eq!(
            (&gap["utc"], &gap["alternative"]),
            (&json!("2026-03-29T01:30:00.000000000Z"), &json!("2026-03-29T00:30:00+00:00"))
        );
        assert_eq!(fold["target"]["datetime"], "2026-10-25T00:30:00+00:00");
        assert_eq!(fold["alternative"], "2026-10-25T01:30:00+00:00");
        assert!(fold["note"].as_str().unwrap().contains("twice"));
    }

    #[test]
    fn a_leap_second_is_said_to_be_one() {
        let utc = convert(json!({"time": "2016-12-31T23:59:60Z", "target_timezone": "UTC"})).unwrap();
        for answer in [utc, berlin("2017-01-01T00:59:60")] {
            assert_eq!(answer["utc"], "2016-12-31T23:59:59.000000000Z");
            assert!(answer["note"].as_str().unwrap().contains("leap second"), "{answer}");
        }
        let local =
            json!({"time": "2017-06-01T00:00:60", "source_timezone": "UTC", "target_timezone": "UTC"});
        assert!(convert(local).unwrap_err().contains("end of a month only"));
    }

    #[test]
    fn an_instant_needs_no_source() {
        let answer =
            convert(json!({"time": "2026-11-21T15:00:00Z", "target_timezone": "Asia/Kathmandu"})).unwrap();
        assert_eq!(answer["target"]["datetime"], "2026-11-21T20:45:00+05:45");
        assert_eq!(answer["target"]["day_of_week"], "Saturday");
    }

    #[test]
    fn what_is_missing_is_asked_for() {
        for (arguments, mend) in [
            (json!({"target_timezone": "UTC"}), "time is missing"),
            (json!({"time": "2026-03-29T02:30", "target_timezone": "UTC"}), "source_timezone is missing"),
            (json!({"time": "02:30", "source_timezone": "UTC", "target_timezone": "UTC"}), "full date"),
            (json!({"time": "2026-03-29", "source_timezone": "UTC", "target_timezone": "UTC"}), "full date"),
            (json!({"time": "2026-03-29T02:30", "source_timezone": "UTC"}), "target_timezone is missing"),
            (
                json!({"time": "2026-02-30T02:30", "source_timezone": "UTC", "target_timezone": "UTC"}),
                "full date",
            ),
        ] {
            let said = convert(arguments).unwrap_err();
            assert!(said.contains(mend), "{said}");
        }
    }

    #[test]
    fn zones_are_found_by_city_and_by_region() {
        assert_eq!(named_like("berl", 5).0, ["Europe/Berlin"]);
        assert!(named_like("europe/", 100).0.iter().all(|name| name.starts_with("Europe/")));
        let (all, total) = named_like("", 100);
        assert!(all.len() == 100 && total > 400);
    }
}
