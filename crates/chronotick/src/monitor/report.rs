//! Reports on the past of the system clock, from the history that the daemon keeps: as text, JSON, CSV, and as one page with plots.

use crate::utc::rfc3339;
use chronotick_clock::{Span, Timestamp};
use chronotick_monitor::{Backing, ClockError, Point, Report};
use chronotick_record::{History, HistoryError};
use chronotick_sim::plot::{Axis, Layer, Plot, STYLE, Shape, escape};
use std::fmt::Write as _;
use std::path::Path;

/// No sample of the history stands for longer: they come every ten seconds, and every minute where they are old.
pub const LONGEST: Span = Span::from_secs(90);

/// The samples of a stretch of corrected time, from the history in a state directory.
///
/// # Errors
/// If there is no history, or it cannot be read.
pub fn points(dir: &Path, from: Timestamp, until: Timestamp) -> Result<Vec<Point>, HistoryError> {
    let samples = History::open_read_only(dir)?.samples_by_utc(from, until)?;
    let point = |sample: &chronotick_record::Sample| {
        let offset = sample.offset.correction();
        Point {
            utc: sample.system + offset,
            state: Backing::from(sample.state),
            error: Some(ClockError { offset, early: sample.early, late: sample.late }),
        }
    };
    let mut points: Vec<Point> = samples.iter().map(point).collect();
    // A step of the system clock may have put them out of order.
    points.sort_by_key(|point| point.utc);
    Ok(points)
}

fn span(ns: Option<i64>) -> String {
    ns.map_or("unknown".into(), |ns| Span::from_nanos(ns).to_string())
}

fn percent(share: Option<f64>) -> String {
    share.map_or("unknown".into(), |share| format!("{:.3} %", share * 100.0))
}

fn time(ns: i64) -> String {
    rfc3339(Timestamp::from_nanos(ns))
}

/// The report's lines: a name and what is to be said.
fn lines(report: &Report) -> Vec<(&'static str, String)> {
    let trend = report.trend.map_or("unknown: too few samples".into(), |t| {
        let certain = if t.is_certain() { "" } else { ", which may be none" };
        format!("{:+.4} ppm ({:+.4} to {:+.4}, 95 %){certain}", t.slope_ppm, t.low_ppm, t.high_ppm)
    });
    let mut lines = vec![
        ("Period", format!("{} to {}", time(report.from_ns), time(report.to_ns))),
        (
            "Judged by",
            format!("{} (profile {}, limit {})", report.metric, report.profile, span(Some(report.limit_ns))),
        ),
        ("Samples", report.samples.to_string()),
        ("Coverage", format!("{} of the time is known", percent(Some(report.coverage)))),
        ("Within", format!("{} of the known time within the configured limit", percent(report.within))),
        ("Synced", format!("{} of all time", percent(Some(report.synced)))),
        (
            "Mean",
            format!(
                "{} with its sign, {} in size (true time - system clock)",
                span(report.mean_ns),
                span(report.mean_abs_ns)
            ),
        ),
        ("p50 p95 p99", format!("{}, {}, {}", span(report.p50_ns), span(report.p95_ns), span(report.p99_ns))),
        ("Largest", format!("{}, offset {}", span(report.max_ns), span(report.max_abs_ns))),
        ("Trend", trend),
        ("Excursions", report.excursions.len().to_string()),
    ];
    if report.simulation {
        lines.insert(0, ("SIMULATION", "nothing here is about real time".into()));
    }
    lines
}

/// For a terminal.
pub fn text(report: &Report) -> String {
    let mut out = String::new();
    for (name, text) in lines(report) {
        let _ = writeln!(out, "{name:<12} {text}");
    }
    for e in report.excursions.iter().take(20) {
        let end = e.to_ns.map_or("not over".into(), time);
        let _ = writeln!(out, "{:<12} {} to {end}, peak {}", "", time(e.from_ns), span(Some(e.peak_ns)));
    }
    let _ = writeln!(out, "\n{:<32} {:<18} {:<14} kept", "service level", "target", "measured");
    for level in &report.service_levels {
        let measured = level.measured.as_deref().unwrap_or("unknown");
        let _ = writeln!(out, "{:<32} {:<18} {measured:<14} {}", level.name, level.target, kept(level.met));
    }
    out
}

fn kept(met: Option<bool>) -> &'static str {
    match met {
        Some(true) => "yes",
        Some(false) => "NO",
        None => "unknown",
    }
}

/// The samples, one a line; amounts in ns, offsets true − local.
pub fn csv(points: &[Point]) -> String {
    let mut out = String::from("time,state,offset_ns,early_ns,late_ns,bound_ns\n");
    for point in points {
        let ns =
            |of: fn(ClockError) -> Span| point.error.map_or(String::new(), |e| of(e).as_nanos().to_string());
        let (offset, early, late) = (ns(|e| e.offset), ns(|e| e.early), ns(|e| e.late));
        let (time, bound) = (rfc3339(point.utc), ns(ClockError::bound));
        let _ = writeln!(out, "{time},{},{offset},{early},{late},{bound}", point.state);
    }
    out
}

/// One self-contained page.
pub fn html(report: &Report, points: &[Point]) -> String {
    let mut out = String::from(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>ChronoTick: the system clock</title><style>",
    );
    out += STYLE;
    out += "body { font: 14px system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }\
            table { border-collapse: collapse; margin: 1rem 0 } th, td { text-align: left; padding: .2rem .8rem .2rem 0; \
            border-bottom: 1px solid #8884 }</style></head><body><h1>The system clock</h1><table>";
    for (name, text) in lines(report) {
        let _ = write!(out, "<tr><th>{}</th><td>{}</td></tr>", escape(name), escape(&text));
    }
    out += "</table>";
    out += &offset_plot(report, points).svg();
    out += "<h2>Service levels</h2><table><tr><th>promise</th><th>target</th><th>measured</th><th>kept</th></tr>";
    for level in &report.service_levels {
        let measured = level.measured.as_deref().unwrap_or("unknown");
        let (target, kept) = (escape(&level.target), kept(level.met));
        let _ = write!(
            out,
            "<tr><td>{}</td><td>{target}</td><td>{}</td><td>{kept}</td></tr>",
            escape(level.name),
            escape(measured)
        );
    }
    out += "</table><h2>Excursions</h2><table><tr><th>from</th><th>to</th><th>peak</th></tr>";
    for e in &report.excursions {
        let end = e.to_ns.map_or("not over".into(), time);
        let _ = write!(
            out,
            "<tr><td>{}</td><td>{end}</td><td>{}</td></tr>",
            time(e.from_ns),
            span(Some(e.peak_ns))
        );
    }
    out += "</table><p>Within a configured limit; this is no statement about any law.</p></body></html>\n";
    out
}

/// Columns of pixels worth telling apart.
const BINS: usize = 600;

fn offset_plot(report: &Report, points: &[Point]) -> Plot {
    let hours = |ns: i64| (ns - report.from_ns) as f64 / 3.6e12;
    let millis = |span: Span| span.as_nanos() as f64 / 1e6;
    let known: Vec<(f64, ClockError)> =
        points.iter().filter_map(|p| Some((hours(p.utc.as_nanos()), p.error?))).collect();
    let (mut line, mut band, mut most) = (Vec::new(), Vec::new(), 1e-6f64);
    for bin in known.chunks(known.len().div_ceil(BINS).max(1)) {
        let x = bin[0].0;
        let low = bin.iter().map(|(_, e)| millis(e.offset - e.early)).fold(f64::MAX, f64::min);
        let high = bin.iter().map(|(_, e)| millis(e.offset + e.late)).fold(f64::MIN, f64::max);
        let mean = bin.iter().map(|(_, e)| millis(e.offset)).sum::<f64>() / bin.len() as f64;
        band.push((x, low, high));
        line.push((x, mean));
        most = most.max(low.abs()).max(high.abs());
    }
    let end = |e: &chronotick_monitor::Excursion| e.to_ns.unwrap_or(report.to_ns);
    let beyond = report.excursions.iter().map(|e| (hours(e.from_ns), hours(end(e)))).collect();
    let layer = |name: &str, colour, shape| Layer { name: name.into(), colour, shape };
    Plot {
        title: "Offset of the system clock and its bound (true time − system clock)".into(),
        x: Axis::linear("hours since the begin", 0.0, hours(report.to_ns)),
        y: Axis::linear("ms", -most, most),
        layers: vec![
            layer("beyond the limit", 4, Shape::Stretches(beyond)),
            layer("bound", 2, Shape::Band(band)),
            layer("offset", 1, Shape::Line(line)),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chronotick_monitor::Profile;

    fn week() -> (Vec<Point>, Report) {
        let begin = Timestamp::from_nanos(1_700_000_000_000_000_000);
        let error = |ms| ClockError {
            offset: Span::from_millis(ms),
            early: Span::from_millis(1),
            late: Span::from_millis(2),
        };
        let point = |i: i64| Point {
            utc: begin + Span::from_secs(i * 60),
            state: Backing::Synced,
            error: Some(error(if i == 500 { 80 } else { i % 5 })),
        };
        let points: Vec<Point> = (0..2_000).map(point).collect();
        let report =
            Report::of(&points, begin..begin + Span::from_secs(120_000), &Profile::default(), LONGEST);
        (points, report)
    }

    #[test]
    fn every_format_has_the_same_facts() {
        let (points, report) = week();
        assert_eq!(report.excursions.len(), 1);
        let text = text(&report);
        for fact in ["Coverage     100.000 %", "99.950 %", "82.000 ms", "mean drift", "yes"] {
            assert!(text.contains(fact), "{fact}: {text}");
        }
        let page = html(&report, &points);
        assert!(page.contains("<svg") && page.contains("82.000 ms") && !page.contains("NaN"));
        assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
        let csv = csv(&points);
        assert_eq!(csv.lines().count(), 2_001);
        assert!(csv.lines().nth(1).unwrap().ends_with(",synced,0,1000000,2000000,2000000"), "{csv:.200}");
    }

    #[test]
    fn a_clock_that_is_minutes_off_has_its_whole_past() {
        use chronotick_clock::{Offset, Rate, RawInstant, State};
        use chronotick_record::{Keep, Row, Run, Sample, Store};
        let begin = Timestamp::from_nanos(1_790_000_000_000_000_000);
        let at = |seconds: i64| begin + Span::from_secs(seconds);
        let sample = |i: i64| {
            let system = at(10 * i) - Span::from_secs(600);
            Row::Sample(Sample {
                system,
                raw: RawInstant::from_nanos(i * 10_000_000_000),
                offset: Offset::between(at(10 * i), system),
                sigma: Span::ZERO,
                early: Span::ZERO,
                late: Span::ZERO,
                rate: Rate::ZERO,
                growth: Rate::ZERO,
                state: State::Synced,
                source: "ntp".into(),
                epoch: 0,
                stepped: false,
            })
        };
        let run =
            Run { began: begin, ended: begin, boot: 1, version: String::new(), configuration: String::new() };
        let keep = Keep { everything: Span::from_secs(86_400), summaries: Span::from_secs(86_400) };
        let dir = tempfile::tempdir().unwrap();
        let rows: Vec<Row> = (0..60).map(sample).collect();
        Store::new(dir.path(), run, keep).write(&rows, at(600)).unwrap();
        let points = points(dir.path(), at(100), at(200)).unwrap();
        let utc: Vec<Timestamp> = points.iter().map(|point| point.utc).collect();
        assert_eq!(utc, (10..20).map(|i| at(10 * i)).collect::<Vec<_>>());
    }

    #[test]
    fn a_report_on_nothing_is_empty_and_no_praise() {
        let begin = Timestamp::from_nanos(0);
        let nothing = Report::of(&[], begin..begin + Span::from_secs(60), &Profile::default(), LONGEST);
        let text = text(&nothing);
        assert!(text.contains("unknown") && !text.contains("yes"), "{text}");
        assert!(html(&nothing, &[]).contains("<svg"));
    }
}
