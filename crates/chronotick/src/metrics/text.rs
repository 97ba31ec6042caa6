//! Families as text: the exposition format of Prometheus (version 0.0.4), or OpenMetrics 1.0.

use super::family::{Family, Kind, Sample};
use std::fmt::Write;

/// Which of both formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Prometheus' own.
    Prometheus,
    /// OpenMetrics, which Prometheus asks for first.
    OpenMetrics,
}

impl Dialect {
    /// By the `Accept` of a request.
    pub fn accepted(accept: &str) -> Dialect {
        let open = accept.split(',').any(|range| {
            let mut parts = range.split(';').map(str::trim);
            parts.next() == Some("application/openmetrics-text") && !parts.any(|p| p == "q=0")
        });
        if open { Dialect::OpenMetrics } else { Dialect::Prometheus }
    }

    /// The `Content-Type` of an answer.
    pub fn content_type(self) -> &'static str {
        match self {
            Dialect::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Dialect::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// All families; those without a sample are left out.
pub fn text(families: &[Family], dialect: Dialect) -> String {
    let mut out = String::new();
    for family in families.iter().filter(|family| !family.samples.is_empty()) {
        write_family(&mut out, family, dialect);
    }
    if dialect == Dialect::OpenMetrics {
        out.push_str("# EOF\n");
    }
    out
}

fn write_family(out: &mut String, family: &Family, dialect: Dialect) {
    let (name, kind) = (family.name, if family.kind == Kind::Counter { "counter" } else { "gauge" });
    // OpenMetrics names a counter's family without the suffix of its samples.
    let title = match dialect {
        Dialect::Prometheus => name,
        Dialect::OpenMetrics => name.strip_suffix("_total").unwrap_or(name),
    };
    let _ = writeln!(out, "# HELP {title} {}", escaped(family.help));
    let _ = writeln!(out, "# TYPE {title} {kind}");
    if dialect == Dialect::OpenMetrics && !family.unit().is_empty() {
        let _ = writeln!(out, "# UNIT {title} {}", family.unit());
    }
    for Sample { labels, value } in &family.samples {
        out.push_str(name);
        for (i, (label, text)) in labels.iter().enumerate() {
            let _ = write!(out, "{}{label}=\"{}\"", if i == 0 { '{' } else { ',' }, escaped(text));
        }
        let _ = writeln!(out, "{} {}", if labels.is_empty() { "" } else { "}" }, number(*value));
    }
}

fn number(value: f64) -> String {
    match value {
        f64::INFINITY => "+Inf".into(),
        f64::NEG_INFINITY => "-Inf".into(),
        _ => value.to_string(),
    }
}

/// Text between quotes, or of a help: what came from the network stays in its place.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn both_dialects_say_the_same() {
        let families = [
            Family::counter("x_polls_total", "Requests.").at(&[("server", "a\"b\\c\nd")], 3.0),
            Family::gauge("x_offset_seconds", "Offset.").is(-1e-9),
            Family::gauge("x_unknown_seconds", "Nothing.").is(None),
        ];
        assert_eq!(
            text(&families, Dialect::Prometheus),
            "# HELP x_polls_total Requests.\n# TYPE x_polls_total counter\nx_polls_total{server=\"a\\\"b\\\\c\\nd\"} 3\n\
             # HELP x_offset_seconds Offset.\n# TYPE x_offset_seconds gauge\nx_offset_seconds -0.000000001\n"
        );
        assert_eq!(
            text(&families, Dialect::OpenMetrics),
            "# HELP x_polls Requests.\n# TYPE x_polls counter\nx_polls_total{server=\"a\\\"b\\\\c\\nd\"} 3\n\
             # HELP x_offset_seconds Offset.\n# TYPE x_offset_seconds gauge\n# UNIT x_offset_seconds seconds\n\
             x_offset_seconds -0.000000001\n# EOF\n"
        );
    }

    #[test]
    fn the_dialect_follows_the_request() {
        assert_eq!(Dialect::accepted("*/*"), Dialect::Prometheus);
        assert_eq!(Dialect::accepted("text/plain;version=0.0.4"), Dialect::Prometheus);
        let prometheus =
            "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(Dialect::accepted(prometheus), Dialect::OpenMetrics);
    }

    proptest! {
        #[test]
        fn no_label_ends_its_line(label in "\\PC*|[\\s\\S]{0,20}") {
            let written = text(&[Family::gauge("x", "h").at(&[("l", &label)], 1.0)], Dialect::Prometheus);
            prop_assert_eq!(written.matches('\n').count(), 3);
            let ended = written.ends_with("\"} 1\n");
            prop_assert!(ended);
        }
    }
}
