//! Spans, ages and names as chrony prints them.

use crate::snapshot::SourceView;

/// Four digits and a unit: `13us`, `-2708us`, `11ms`; the next unit from 9999.5 on.
pub(super) fn short(ns: i64) -> String {
    let ns = ns as f64;
    let (value, unit) = match ns.abs() {
        below if below < 9_999.5 => (ns, "ns"),
        below if below < 9_999.5e3 => (ns / 1e3, "us"),
        below if below < 9_999.5e6 => (ns / 1e6, "ms"),
        _ => (ns / 1e9, "s"),
    };
    format!("{value:.0}{unit}")
}

/// The same with its sign, even if that is a plus.
pub(super) fn signed(ns: i64) -> String {
    format!("{}{}", if ns < 0 { "" } else { "+" }, short(ns))
}

/// An age: seconds up to 20 minutes, then minutes, hours and days; `-` if there is none.
pub(super) fn age(seconds: Option<f64>) -> String {
    let Some(seconds) = seconds else { return "-".into() };
    match seconds.round() as u64 {
        s @ 0..1_200 => s.to_string(),
        s @ 1_200..36_000 => format!("{}m", s / 60),
        s @ 36_000..345_600 => format!("{}h", s / 3_600),
        s => format!("{}d", s / 86_400),
    }
}

/// Seconds with nine digits, as a machine reads them.
pub(super) fn secs(ns: i64) -> String {
    format!("{:.9}", ns as f64 * 1e-9)
}

/// What a source is called: as it is configured, or where several are configured so, or by request, its address. A
/// reference clock has a name of its own.
pub(super) fn name<'a>(source: &'a SourceView, all: &[SourceView], numeric: bool) -> &'a str {
    let alone = all.iter().filter(|s| s.server == source.server).count() == 1;
    if source.mode == "server" && alone && !numeric { &source.server } else { &source.address }
}

/// A name in so many columns: what does not fit ends with `>`.
pub(super) fn fitted(name: &str, columns: usize) -> String {
    if name.chars().count() <= columns {
        return name.to_owned();
    }
    name.chars().take(columns - 1).chain(['>']).collect()
}

/// Fields separated by commas; one with a comma or a quote in it is quoted (RFC 4180 §2).
pub(super) fn csv(fields: &[String]) -> String {
    let quoted = |field: &String| {
        if field.contains([',', '"', '\n']) {
            format!("\"{}\"", field.replace('"', "\"\""))
        } else {
            field.clone()
        }
    };
    fields.iter().map(quoted).collect::<Vec<_>>().join(",") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_print_as_chrony_does() {
        let shown = [653, 3_653, -13_000, -2_708_000, 9_895_000, 17_000_000, 11_000_000_000].map(signed);
        assert_eq!(shown, ["+653ns", "+3653ns", "-13us", "-2708us", "+9895us", "+17ms", "+11s"]);
        assert_eq!([9_999, 10_000, 9_999_499, 9_999_500].map(short), ["9999ns", "10us", "9999us", "10ms"]);
    }

    #[test]
    fn ages_print_as_chrony_does() {
        let shown = [None, Some(31.4), Some(1_199.0), Some(1_200.0), Some(40_000.0), Some(4e5)].map(age);
        assert_eq!(shown, ["-", "31", "1199", "20m", "11h", "4d"]);
    }

    #[test]
    fn long_names_are_cut_and_commas_quoted() {
        assert_eq!(fitted("h-98-128-230-186.A498.priv.example", 25), "h-98-128-230-186.A498.pr>");
        assert_eq!(csv(&["a".into(), "b,c".into()]), "a,\"b,c\"\n");
    }
}
