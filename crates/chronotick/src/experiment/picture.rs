//! The pictures of a comparison: errors over time, how they are distributed, the answered drift, and the improvement by
//! the time since the newest query; as SVG files and as one page that needs nothing else.

use super::compare::{Run, Score, Series, words};
use chronotick_sim::plot::{Axis, Layer, Plot, STYLE, Shape, escape};
use std::fmt::Write as _;

/// Colours that can be told apart; of more ways the first are shown.
const COLOURS: usize = 6;
/// The ways that a picture shows of each file.
const SHOWN: [&str; 4] = ["system clock", "answer", "fix1", "fix2"];

/// Names and pictures.
pub fn plots(runs: &[Run], scores: &[Score]) -> Vec<(&'static str, Plot)> {
    vec![
        ("series", over_time(runs)),
        ("distribution", distribution(runs)),
        ("drift", drift(runs)),
        ("improvement", by_age(scores)),
    ]
}

/// One page with the table and the pictures.
pub fn html(runs: &[Run], scores: &[Score]) -> String {
    let mut out = String::from(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>ChronoTick: comparison of experiments</title><style>",
    );
    out += STYLE;
    out += "body { font: 14px system-ui, sans-serif; max-width: 64rem; margin: 2rem auto; padding: 0 1rem } \
            div { overflow-x: auto } table { border-collapse: collapse } th, td { padding: .2rem .6rem; text-align: right; \
            border-bottom: 1px solid #8884; white-space: nowrap } th:first-child, td:first-child, td:nth-child(2) { text-align: left }\
            </style></head><body><h1>Comparison of experiments</h1><div><table><thead><tr>";
    let heads = [
        "file",
        "way",
        "n",
        "mean |e|",
        "mean",
        "sd",
        "p95",
        "p99",
        "max",
        "over the system clock",
        "over the first",
    ];
    for head in heads {
        let _ = write!(out, "<th>{head}</th>");
    }
    out += "</tr></thead><tbody>";
    for s in scores {
        let _ =
            write!(out, "<tr><td>{}</td><td>{}</td><td>{}</td>", escape(&s.file), escape(&s.way), s.count);
        for ms in [s.mean_absolute_ms, s.mean_ms, s.sd_ms, s.p95_ms, s.p99_ms, s.max_ms] {
            let _ = write!(out, "<td>{ms:.3}</td>");
        }
        let _ = write!(out, "<td>{}</td><td>{}</td></tr>", words(s.over_system), words(s.over_first));
    }
    out += "</tbody></table></div><p>Errors in ms, estimate − what the observer's own time servers said at that moment; \
            improvements of the mean |e| with 95 % bootstrap intervals. The servers' answers wander themselves.</p>";
    for (_, plot) in plots(runs, scores) {
        out += &plot.svg();
    }
    out + "</body></html>\n"
}

fn shown(runs: &[Run]) -> Vec<&Series> {
    let all = runs.iter().flat_map(|run| &run.series).filter(|s| SHOWN.contains(&s.way.as_str()));
    all.take(COLOURS).collect()
}

fn name(s: &Series, runs: &[Run]) -> String {
    if runs.len() == 1 { s.way.clone() } else { format!("{} {}", s.file, s.way) }
}

fn lines(named: impl Iterator<Item = (String, Vec<(f64, f64)>)>) -> Vec<Layer> {
    named
        .enumerate()
        .map(|(colour, (name, points))| Layer { name, colour, shape: Shape::Line(points) })
        .collect()
}

/// An axis that holds all of these, and zero.
fn around(label: &'static str, values: impl Iterator<Item = f64>) -> Axis {
    let (low, high) = values.fold((0.0f64, 0.0f64), |(l, h), v| (l.min(v), h.max(v)));
    let room = ((high - low) * 0.05).max(f64::MIN_POSITIVE);
    Axis::linear(label, low - room, high + room)
}

fn end(points: impl Iterator<Item = f64>) -> f64 {
    points.fold(0.0, f64::max)
}

fn over_time(runs: &[Run]) -> Plot {
    let series = shown(runs);
    let all = || series.iter().flat_map(|s| &s.errors);
    Plot {
        title: "Error at the queries (estimate − reference)".into(),
        x: Axis::linear("hours", 0.0, end(all().map(|(h, _)| *h))),
        y: around("ms", all().map(|(_, e)| *e)),
        layers: lines(series.iter().map(|s| (name(s, runs), s.errors.clone()))),
    }
}

/// The share of the absolute errors that are smaller.
fn distribution(runs: &[Run]) -> Plot {
    let series = shown(runs);
    let sorted = |s: &&Series| {
        let mut sizes: Vec<f64> = s.errors.iter().map(|(_, e)| e.abs()).collect();
        sizes.sort_by(f64::total_cmp);
        let n = sizes.len() as f64;
        let points = sizes.iter().enumerate().map(|(i, e)| (e.max(1e-6), (i + 1) as f64 / n)).collect();
        (name(s, runs), points)
    };
    Plot {
        title: "Share of the errors that are smaller".into(),
        x: Axis::decades("|error| (ms)", series.iter().flat_map(|s| &s.errors).map(|(_, e)| e.abs())),
        y: Axis::linear("share", 0.0, 1.0),
        layers: lines(series.iter().map(sorted)),
    }
}

fn drift(runs: &[Run]) -> Plot {
    let all = || runs.iter().flat_map(|run| &run.drift);
    let named = runs.iter().filter(|run| !run.drift.is_empty()).take(COLOURS);
    let file = |run: &Run| run.series.first().map_or(String::new(), |s| s.file.clone());
    Plot {
        title: "Answered drift".into(),
        x: Axis::linear("hours", 0.0, end(all().map(|(h, _)| *h))),
        y: around("µs/s", all().map(|(_, d)| *d)),
        layers: lines(named.map(|run| (file(run), run.drift.clone()))),
    }
}

/// By how much each way's mean |error| is smaller than the system clock's, by the time since the newest query.
fn by_age(scores: &[Score]) -> Plot {
    let files = scores.iter().filter(|s| s.way == "system clock").count();
    let better = |(i, s): (usize, &Score)| {
        // The ways of a file come after its system clock.
        let system = scores[..i].iter().rfind(|s| s.way == "system clock")?;
        let points: Vec<(f64, f64)> = s
            .by_age
            .iter()
            .filter_map(|aged| {
                let known = system.by_age.iter().find(|k| k.from_s == aged.from_s)?;
                let share = aged.mean_absolute_ms / known.mean_absolute_ms.max(f64::MIN_POSITIVE);
                Some(((aged.from_s + aged.to_s) / 2.0, 100.0 * (1.0 - share)))
            })
            .collect();
        let named = if files == 1 { s.way.clone() } else { format!("{} {}", s.file, s.way) };
        Some((named, points))
    };
    let ways = scores.iter().enumerate();
    let ways = ways.filter(|(_, s)| s.way != "system clock" && SHOWN.contains(&s.way.as_str()));
    let named: Vec<(String, Vec<(f64, f64)>)> = ways.filter_map(better).take(COLOURS).collect();
    let all = || named.iter().flat_map(|(_, points)| points);
    Plot {
        title: "Improvement over the system clock by the time since the newest query".into(),
        x: Axis::linear("s since the query", 0.0, end(all().map(|(age, _)| *age))),
        y: around("%", all().map(|(_, p)| p.max(-200.0))),
        layers: lines(named.clone().into_iter()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::compare::scores;
    use super::*;

    #[test]
    fn a_page_shows_every_way_and_escapes_names() {
        let errors = |by: f64| (0..20).map(|i| (f64::from(i) / 60.0, by)).collect::<Vec<_>>();
        let series = |way: &str, by: f64| Series {
            file: "a<b".into(),
            way: way.into(),
            errors: errors(by),
            samples: (0..20).collect(),
            between: (1..60).map(|i| (f64::from(i), by)).collect(),
        };
        let run =
            Run { series: vec![series("system clock", 4.0), series("fix1", -0.5)], drift: vec![(0.0, 1.0)] };
        let runs = [run];
        let page = html(&runs, &scores(&runs));
        assert!(page.contains("a&lt;b") && !page.contains("a<b") && !page.contains("NaN"), "{page}");
        assert_eq!(page.matches("role=\"img\"").count(), 4);
        assert!(page.contains("+87.5 %"));
    }

    #[test]
    fn each_file_is_beside_its_own_system_clock_whatever_it_is_called() {
        let series = |way: &str, by: f64| Series {
            file: "one".into(),
            way: way.into(),
            errors: (0..20).map(|i| (f64::from(i), by)).collect(),
            samples: (0..20).collect(),
            between: (1..60).map(|i| (f64::from(i), by)).collect(),
        };
        let run = |system: f64| Run {
            series: vec![series("system clock", system), series("fix1", 1.0)],
            drift: vec![],
        };
        let plot = by_age(&scores(&[run(4.0), run(2.0)]));
        let first = |layer: &Layer| match &layer.shape {
            Shape::Line(points) => points[0].1,
            _ => f64::NAN,
        };
        assert_eq!(plot.layers.iter().map(first).collect::<Vec<_>>(), [75.0, 50.0]);
    }
}
