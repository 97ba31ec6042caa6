//! What a written value means: seconds, counts, switches, words, directories and lists of servers, each with the
//! mistakes that people make in it; and how the same value is shown.

use super::finding::{Fault, Problem};
use super::with_relays;
use super::yaml::{Content, Node};
use super::{Family, InvalidClock, ModelName, ReferenceClock, TimeServer};
use chronotick_clock::Span;
use serde_json::Value;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;

/// A setting that is one of a few words.
pub(super) trait Word: Copy + PartialEq + 'static {
    /// Each word with its meaning, the one to be shown before its synonyms.
    const WORDS: &'static [(&'static str, Self)];

    fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(_, meaning)| *meaning == self).map_or("", |(word, _)| word)
    }
}

fn scalar<'a>(node: &'a Node, wanted: &'static str) -> Result<&'a str, Problem> {
    match &node.content {
        Content::Scalar(text) => Ok(text.trim()),
        _ => Err(wrong_kind(node, wanted)),
    }
}

pub(super) fn wrong_kind(node: &Node, wanted: &'static str) -> Problem {
    let found = match &node.content {
        Content::Null => "empty".to_owned(),
        Content::Scalar(text) => format!("{:?}", excerpt(text)),
        Content::List(_) => "a list".to_owned(),
        Content::Map(_) => "a section".to_owned(),
    };
    Problem::WrongKind { found, wanted }
}

/// The text as it may go to a terminal: without control characters, and cut where nobody would read on.
pub(super) fn excerpt(text: &str) -> String {
    let cut = if text.chars().nth(60).is_some() { "…" } else { "" };
    let safe = text.chars().take(60).map(|c| if c.is_control() { '\u{fffd}' } else { c });
    safe.chain(cut.chars()).collect()
}

/// A decimal number as YAML and people write it; not the names of infinities, which Rust would take.
fn decimal(text: &str) -> Option<f64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
    text.parse().ok().filter(|_| plain)
}

/// The number of seconds that a person would write. Division rounds correctly where multiplication by 1e-9 would
/// make 30 into 30.000000000000004.
fn number_of_seconds(span: Span) -> f64 {
    span.as_nanos() as f64 / 1e9
}

/// A number of seconds as it is written in the file: `10`, `0.01`.
pub(super) fn in_seconds(span: Span) -> String {
    number_of_seconds(span).to_string()
}

/// A length of time, written as a number of seconds.
pub(super) fn seconds(node: &Node, range: RangeInclusive<Span>) -> Result<Span, Problem> {
    let text = scalar(node, "a number of seconds")?;
    let Some(number) = decimal(text) else {
        return Err(match with_unit(text) {
            Some(seconds) => Problem::Unit { found: excerpt(text), seconds: seconds.to_string() },
            None => wrong_kind(node, "a number of seconds"),
        });
    };
    let span = |seconds: f64| Span::from_nanos((seconds * 1e9).round() as i64);
    if range.contains(&span(number)) {
        return Ok(span(number));
    }
    let smaller_unit = [("milliseconds", 1e3), ("microseconds", 1e6), ("nanoseconds", 1e9)].into_iter().find(
        |(_, per_second)| number > range.end().as_secs_f64() && range.contains(&span(number / per_second)),
    );
    Err(Problem::OutOfRange {
        found: format!("{} s", excerpt(text)),
        least: format!("{} s", in_seconds(*range.start())),
        most: format!("{} s", in_seconds(*range.end())),
        hint: smaller_unit.map_or_else(String::new, |(unit, per_second)| {
            format!("; it is in seconds: {} {unit} are written {}", excerpt(text), number / per_second)
        }),
    })
}

/// The seconds in a text such as `2s`, `500 ms` or `3min`.
fn with_unit(text: &str) -> Option<f64> {
    let digits = text.trim_end_matches(|c: char| c.is_alphabetic());
    let (units_per_second, seconds_per_unit) = match text[digits.len()..].to_lowercase().as_str() {
        "ns" => (1e9, 1.0),
        "us" | "µs" | "μs" => (1e6, 1.0),
        "ms" => (1e3, 1.0),
        "s" | "sec" | "secs" | "second" | "seconds" => (1.0, 1.0),
        "m" | "min" | "mins" | "minute" | "minutes" => (1.0, 60.0),
        "h" | "hour" | "hours" => (1.0, 3600.0),
        _ => return None,
    };
    decimal(digits.trim()).map(|number| number / units_per_second * seconds_per_unit)
}

/// A whole number.
pub(super) fn count(node: &Node, range: RangeInclusive<u32>) -> Result<u32, Problem> {
    let text = scalar(node, "a whole number")?;
    let number =
        decimal(text).filter(|n| n.fract() == 0.0).ok_or_else(|| wrong_kind(node, "a whole number"))?;
    // Saturates, and what saturates is outside of every range in use.
    let whole = number as u32;
    if number < 0.0 || !range.contains(&whole) {
        return Err(Problem::OutOfRange {
            found: excerpt(text),
            least: range.start().to_string(),
            most: range.end().to_string(),
            hint: String::new(),
        });
    }
    Ok(whole)
}

/// `true` or `false`, or the other words that YAML 1.1 had for them.
pub(super) fn switch(node: &Node) -> Result<bool, Problem> {
    match scalar(node, "true or false")?.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" => Ok(true),
        "false" | "no" | "off" => Ok(false),
        _ => Err(wrong_kind(node, "true or false")),
    }
}

/// One of a few words, in any case.
pub(super) fn word<T: Word>(node: &Node) -> Result<T, Problem> {
    let text = scalar(node, "one word")?;
    if let Some((_, meaning)) = T::WORDS.iter().find(|(word, _)| word.eq_ignore_ascii_case(text)) {
        return Ok(*meaning);
    }
    let mut accepted: Vec<&str> = Vec::new();
    for (_, meaning) in T::WORDS {
        if !accepted.contains(&meaning.word()) {
            accepted.push(meaning.word());
        }
    }
    let near = closest(&text.to_ascii_lowercase(), accepted.iter().copied());
    Err(Problem::UnknownWord {
        found: excerpt(text),
        accepted: accepted.join(", "),
        hint: near.map_or_else(String::new, |word| format!("; did you mean {word:?}?")),
    })
}

/// A model by the name of its family, or something that can only be a place.
pub(super) fn model(node: &Node) -> Result<ModelName, Problem> {
    let text = scalar(node, "the name of a model")?;
    match word::<Family>(node) {
        Ok(family) => Ok(ModelName::Family(family)),
        Err(_) if text.contains('/') && !text.contains(char::is_control) => {
            Ok(ModelName::Reference(text.to_owned()))
        }
        Err(Problem::UnknownWord { found, accepted, hint }) => {
            let accepted = format!("{accepted}, or a place with a slash in it");
            Err(Problem::UnknownWord { found, accepted, hint })
        }
        Err(problem) => Err(problem),
    }
}

/// The candidate that is a slip of the pen away, or that begins alike.
pub(super) fn closest<'a>(text: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .filter_map(|candidate| {
            let distance = strsim::damerau_levenshtein(&text.to_lowercase(), &candidate.to_lowercase());
            let alike = text.len() >= 4 && (candidate.starts_with(text) || text.starts_with(candidate));
            (alike || distance * 3 <= candidate.len()).then_some((distance, candidate))
        })
        .min()
        .map(|(_, candidate)| candidate)
}

/// An absolute directory.
pub(super) fn directory(node: &Node) -> Result<PathBuf, Problem> {
    let text = scalar(node, "a directory")?;
    let path = PathBuf::from(text);
    if !path.is_absolute() {
        return Err(Problem::RelativePath { found: excerpt(text) });
    }
    Ok(path)
}

/// A file; a relative path is below the working directory.
pub(super) fn file(node: &Node) -> Result<Option<PathBuf>, Problem> {
    let text = scalar(node, "a file")?;
    std::path::absolute(text).map(Some).map_err(|e| Problem::Unreadable(e.to_string()))
}

/// A text on one line.
pub(super) fn text<'a>(node: &'a Node, wanted: &'static str) -> Result<&'a str, Problem> {
    scalar(node, wanted)
}

/// A list of texts, or the same separated by commas, each as `check` makes it; it may be empty.
pub(super) fn strings(
    node: &Node,
    wanted: &'static str,
    check: impl Fn(&str) -> Option<String>,
) -> Result<Vec<String>, Problem> {
    let written: Vec<&str> = match &node.content {
        Content::Null => Vec::new(),
        Content::Scalar(text) => text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect(),
        Content::List(items) => items.iter().map(|item| scalar(item, wanted)).collect::<Result<_, _>>()?,
        Content::Map(_) => return Err(wrong_kind(node, wanted)),
    };
    let invalid = |text: &str| Problem::InvalidItem { found: excerpt(text), wanted };
    written.into_iter().map(|text| check(text).ok_or_else(|| invalid(text))).collect()
}

/// A list of anything, or the same separated by commas; every bad item is reported.
pub(super) fn list<T: FromStr<Err: ToString>>(node: &Node) -> Result<Vec<T>, Vec<Fault>> {
    let (mut read, mut faults) = (Vec::new(), Vec::new());
    for (line, text) in items(node, "one value an item", "a list")? {
        let invalid =
            |text: &str, why: T::Err| Problem::InvalidEntry { text: excerpt(text), why: why.to_string() };
        match text.and_then(|text| text.parse().map_err(|why| invalid(text, why))) {
            Ok(item) => read.push(item),
            Err(problem) => faults.push(Fault { line, problem }),
        }
    }
    if faults.is_empty() { Ok(read) } else { Err(faults) }
}

/// A line and what is written there, or what else is.
type Item<'a> = (usize, Result<&'a str, Problem>);

/// The items of a list, or of a text with commas between them.
fn items<'a>(node: &'a Node, of: &'static str, wanted: &'static str) -> Result<Vec<Item<'a>>, Vec<Fault>> {
    match &node.content {
        Content::Null => Ok(Vec::new()),
        Content::Scalar(text) if text.trim().is_empty() => Ok(Vec::new()),
        Content::Scalar(text) => Ok(text.split(',').map(|part| (node.line, Ok(part.trim()))).collect()),
        Content::List(items) => Ok(items.iter().map(|item| (item.line, scalar(item, of))).collect()),
        Content::Map(_) => Err(vec![Fault { line: node.line, problem: wrong_kind(node, wanted) }]),
    }
}

/// A list of servers, or the same separated by commas; every bad one is reported.
pub(super) fn servers(node: &Node) -> Result<Vec<TimeServer>, Vec<Fault>> {
    let written: Vec<Node> = match &node.content {
        Content::List(items) => items.clone(),
        Content::Null => Vec::new(),
        Content::Scalar(text) => {
            let part =
                |part: &str| Node { line: node.line, content: Content::Scalar(part.trim().to_owned()) };
            text.split(',').map(part).collect()
        }
        Content::Map(_) => {
            return Err(vec![Fault { line: node.line, problem: wrong_kind(node, "a list of servers") }]);
        }
    };
    let (mut servers, mut faults) = (Vec::<TimeServer>::new(), Vec::new());
    for item in written {
        match TimeServer::read(&item) {
            Ok(server) if servers.iter().any(|other| other.address == server.address) => {
                let problem = Problem::RepeatedServer { server: server.to_string() };
                faults.push(Fault { line: item.line, problem });
            }
            Ok(server) => servers.push(server),
            Err(problem) => faults.push(Fault { line: item.line, problem }),
        }
    }
    if faults.is_empty() { Ok(with_relays(servers)) } else { Err(faults) }
}

/// Reference clocks, one line each: a list, or the same separated by commas; every bad one is reported.
pub(super) fn clocks(node: &Node) -> Result<Vec<ReferenceClock>, Vec<Fault>> {
    const LINE: &str = "the line of a reference clock, such as SHM 0 refid GPS";
    let written = items(node, LINE, "a list of reference clocks")?;
    let (mut clocks, mut faults) = (Vec::<ReferenceClock>::new(), Vec::new());
    for (line, text) in written {
        let clock = text.and_then(|text| {
            let invalid =
                |why: InvalidClock| Problem::InvalidEntry { text: excerpt(text), why: why.to_string() };
            text.parse::<ReferenceClock>().map_err(invalid)
        });
        match clock {
            Ok(clock) if clocks.iter().any(|other| other.name() == clock.name()) => {
                faults.push(Fault { line, problem: Problem::RepeatedClock { name: clock.name() } });
            }
            Ok(clock) => clocks.push(clock),
            Err(problem) => faults.push(Fault { line, problem }),
        }
    }
    if faults.is_empty() { Ok(clocks) } else { Err(faults) }
}

/// A value as a person would write it; the items of a list with commas between.
pub(crate) fn in_words(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(in_words).collect::<Vec<_>>().join(", "),
        Value::Number(number) => number.as_f64().map_or_else(|| number.to_string(), |n| n.to_string()),
        other => other.to_string(),
    }
}

/// A value as `config show --json` has it.
pub(super) trait Shown {
    fn shown(&self) -> Value;
}

impl Shown for Span {
    fn shown(&self) -> Value {
        number_of_seconds(*self).into()
    }
}
impl Shown for u32 {
    fn shown(&self) -> Value {
        (*self).into()
    }
}
impl Shown for bool {
    fn shown(&self) -> Value {
        (*self).into()
    }
}
impl Shown for Option<PathBuf> {
    fn shown(&self) -> Value {
        self.as_ref().map_or(Value::Null, Shown::shown)
    }
}
impl Shown for ModelName {
    fn shown(&self) -> Value {
        self.to_string().into()
    }
}
impl Shown for PathBuf {
    fn shown(&self) -> Value {
        self.to_string_lossy().into()
    }
}
impl Shown for Vec<String> {
    fn shown(&self) -> Value {
        self.clone().into()
    }
}
impl Shown for Vec<TimeServer> {
    fn shown(&self) -> Value {
        self.iter().map(TimeServer::written).collect()
    }
}
impl Shown for Vec<ReferenceClock> {
    fn shown(&self) -> Value {
        self.iter().map(ToString::to_string).collect()
    }
}
impl<T: Word> Shown for T {
    fn shown(&self) -> Value {
        self.word().into()
    }
}
