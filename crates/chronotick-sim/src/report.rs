//! What trials have shown: a table as text or JSON, and one self-contained HTML page with plots. All three have the same
//! columns; [`COLUMNS`] explains them.

use crate::allan;
use crate::plot::{Axis, Layer, Plot, Shape, escape};
use crate::score::{Answer, Regime, Score};
use crate::trial::Trial;
use chronotick_core::{Levels, State};
use std::fmt::Write as _;

/// A number of the table: its heading and what that means, how many digits it needs, and how it follows from a trial.
struct Column {
    heading: &'static str,
    meaning: &'static str,
    digits: usize,
    value: fn(&Trial) -> Option<f64>,
}

/// The columns of the table: heading and meaning.
pub const COLUMNS: [(&str, &str); TABLE.len()] = {
    let mut columns = [("", ""); TABLE.len()];
    let mut i = 0;
    while i < TABLE.len() {
        columns[i] = (TABLE[i].heading, TABLE[i].meaning);
        i += 1;
    }
    columns
};

const TABLE: [Column; 21] = [
    column("rms", "error, root of the mean square, µs, after the first 600 s", 1, |t| {
        micros(settled(t).rms)
    }),
    column("p95", "error, 95th percentile, µs", 1, |t| micros(settled(t).p95)),
    column("p99", "error, 99th percentile, µs", 1, |t| micros(settled(t).p99)),
    column("max", "largest error, µs", 1, |t| micros(settled(t).max)),
    column("cov95", "share of truth inside the 95 % interval", 3, |t| Some(settled(t).coverage[2])),
    column("half95", "median half-width of the 95 % interval, µs", 1, |t| micros(settled(t).half_width[2])),
    column("steady", "coverage while nothing special happens", 3, |t| coverage(t, Regime::Steady)),
    column("changing", "coverage after a change of clock, path or source", 3, |t| {
        coverage(t, Regime::Changing)
    }),
    column("holdover", "coverage without any answers", 3, |t| coverage(t, Regime::Holdover)),
    column("recovery", "coverage within 600 s after a holdover", 3, |t| coverage(t, Regime::Recovery)),
    column("bound", "share of truth inside the bound, of all answers", 4, bounded),
    column("bound µs", "median half-width of the bound, µs", 0, |t| {
        micros(median(t.rows.iter().map(|r| r.bound)))
    }),
    column("start rms", "error within the first 600 s, µs", 0, |t| micros(start(t).rms)),
    column("start cov", "coverage within the first 600 s", 3, |t| Some(start(t).coverage[2])),
    column("<50 ms", "seconds until the bound is below 50 ms", 0, |t| {
        t.useful.first()?.1.map(|s| s.as_secs_f64())
    }),
    column("<5 ms", "seconds until the bound is below 5 ms", 0, |t| {
        t.useful.get(1)?.1.map(|s| s.as_secs_f64())
    }),
    column("synced", "share of the answers in the state synced", 3, synced),
    column("harm", "share of answers worse than the system clock", 4, Trial::harm),
    column("hold-last", "error of believing the newest packet, rms, µs", 0, |t| rival(t, "hold-last")),
    column("median", "error of the low-delay median, rms, µs", 0, |t| rival(t, "low-delay median")),
    column("line", "error of a regression, rms, µs", 0, |t| rival(t, "regression")),
];

const fn column(
    heading: &'static str,
    meaning: &'static str,
    digits: usize,
    value: fn(&Trial) -> Option<f64>,
) -> Column {
    Column { heading, meaning, digits, value }
}

fn micros(seconds: f64) -> Option<f64> {
    Some(seconds * 1e6)
}

fn settled(trial: &Trial) -> Score {
    Score::of(trial.settled())
}

fn start(trial: &Trial) -> Score {
    of_regime(trial, Regime::Start)
}

fn of_regime(trial: &Trial, regime: Regime) -> Score {
    Score::of(trial.rows.iter().map(|row| &row.answer).filter(|a| a.regime == regime))
}

fn coverage(trial: &Trial, regime: Regime) -> Option<f64> {
    let score = of_regime(trial, regime);
    (score.count > 0).then_some(score.coverage[2])
}

fn share(trial: &Trial, which: impl Fn(&crate::trial::Row) -> bool) -> Option<f64> {
    let count = trial.rows.iter().filter(|row| which(row)).count();
    (!trial.rows.is_empty()).then(|| count as f64 / trial.rows.len() as f64)
}

fn bounded(trial: &Trial) -> Option<f64> {
    share(trial, |row| row.bounded)
}

fn synced(trial: &Trial) -> Option<f64> {
    share(trial, |row| row.state == State::Synced)
}

fn rival(trial: &Trial, name: &str) -> Option<f64> {
    let rival = trial.rivals.iter().find(|r| r.name == name)?;
    micros(Score::of(rival.answers.iter().filter(|a| a.regime != Regime::Start)).rms)
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The table as text, one line for each trial.
pub fn table(trials: &[Trial]) -> String {
    let first = trials.iter().map(|t| t.name.len()).max().unwrap_or(0).max(5);
    let mut out = format!("{:first$}", "trial");
    for column in &TABLE {
        let _ = write!(out, " {:>9}", column.heading);
    }
    out.push('\n');
    for trial in trials {
        let _ = write!(out, "{:first$}", trial.name);
        for column in &TABLE {
            let _ = write!(out, " {:>9}", cell(column, trial));
        }
        out.push('\n');
    }
    out
}

fn cell(column: &Column, trial: &Trial) -> String {
    match (column.value)(trial) {
        Some(value) if value.is_finite() => format!("{value:.*}", column.digits),
        _ => "-".into(),
    }
}

/// The table as JSON: an array of objects with the same names as the text; what does not apply is `null`.
pub fn json(trials: &[Trial]) -> serde_json::Value {
    let object = |trial: &Trial| {
        let mut object = serde_json::Map::new();
        object.insert("trial".into(), trial.name.clone().into());
        for column in &TABLE {
            object.insert(column.heading.into(), (column.value)(trial).into());
        }
        serde_json::Value::Object(object)
    };
    trials.iter().map(object).collect()
}

/// One page with the table and, for each trial, plots of the error over time, by horizon, of the coverage and of the
/// Allan deviation. It needs nothing else to be shown.
pub fn html(trials: &[Trial]) -> String {
    let mut out = String::from(HEAD);
    out.push_str("<table><thead><tr><th>trial</th>");
    for column in &TABLE {
        let _ = write!(out, "<th title=\"{}\">{}</th>", escape(column.meaning), escape(column.heading));
    }
    out.push_str("</tr></thead><tbody>\n");
    for trial in trials {
        let name = escape(&trial.name);
        let _ = write!(out, "<tr><th><a href=\"#{name}\">{name}</a></th>");
        for column in &TABLE {
            let _ = write!(out, "<td>{}</td>", cell(column, trial));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table>\n<dl>");
    for column in &TABLE {
        let _ = write!(out, "<dt>{}</dt><dd>{}</dd>", escape(column.heading), escape(column.meaning));
    }
    out.push_str("</dl>\n");
    for trial in trials {
        let name = escape(&trial.name);
        let _ = writeln!(out, "<section id=\"{name}\"><h2>{name}</h2><p>{}</p>", escape(&trial.what));
        for plot in [errors(trial), horizons(trial), coverages(trial), deviations(trial)] {
            out.push_str(&plot.svg());
        }
        out.push_str("</section>\n");
    }
    out.push_str("</body></html>\n");
    out
}

const HEAD: &str = include_str!("report.html");

fn layer(name: impl Into<String>, colour: usize, shape: Shape) -> Layer {
    Layer { name: name.into(), colour, shape }
}

fn hours(answer: &Answer) -> f64 {
    answer.raw.as_nanos() as f64 / 3.6e12
}

fn half_width(answer: &Answer) -> f64 {
    answer.sigma * answer.levels.multiplier(0.95)
}

/// Columns of pixels worth telling apart.
const BINS: usize = 600;

fn errors(trial: &Trial) -> Plot {
    let answers: Vec<&Answer> = trial.rows.iter().map(|row| &row.answer).collect();
    let (mut line, mut band) = (Vec::new(), Vec::new());
    for bin in answers.chunks(answers.len().div_ceil(BINS).max(1)) {
        let x = hours(bin[0]);
        let (low, high) = bin.iter().fold((f64::MAX, f64::MIN), |(l, h), a| (l.min(a.error), h.max(a.error)));
        line.extend([(x, low * 1e6), (x, high * 1e6)]);
        let width = median(bin.iter().map(|a| half_width(a))) * 1e6;
        band.push((x, -width, width));
    }
    // The start would make everything else invisible.
    let mut sizes: Vec<f64> = trial.settled().map(|a| a.error.abs().max(half_width(a)) * 1e6).collect();
    sizes.sort_by(f64::total_cmp);
    let most = 1.3 * sizes.get(sizes.len() * 995 / 1000).copied().unwrap_or(1.0);
    let stretches = |regime| Shape::Stretches(stretches(&answers, regime));
    Plot {
        title: "Error and 95 % interval (truth is zero)".into(),
        x: Axis::linear("hours", 0.0, answers.last().map_or(1.0, |a| hours(a))),
        y: Axis::linear("µs", -most, most),
        layers: vec![
            layer("changing", 3, stretches(Regime::Changing)),
            layer("holdover", 4, stretches(Regime::Holdover)),
            layer("interval", 2, Shape::Band(band)),
            layer("error", 1, Shape::Line(line)),
        ],
    }
}

/// From when to when the answers are of this regime, in hours.
fn stretches(answers: &[&Answer], regime: Regime) -> Vec<(f64, f64)> {
    let of_one = |run: &[&Answer]| {
        let (first, last) = (run.first()?, run.last()?);
        (first.regime == regime).then(|| (hours(first), hours(last)))
    };
    answers.chunk_by(|a, b| a.regime == b.regime).filter_map(of_one).collect()
}

fn horizons(trial: &Trial) -> Plot {
    let judged = trial.forecasts.iter().filter(|f| !f.errors.is_empty());
    let rms = |errors: &[f64]| (errors.iter().map(|e| e * e).sum::<f64>() / errors.len() as f64).sqrt();
    let error: Vec<(f64, f64)> =
        judged.clone().map(|f| (f.horizon.as_secs_f64(), rms(&f.errors) * 1e6)).collect();
    let claimed: Vec<(f64, f64)> = judged
        .map(|f| (f.horizon.as_secs_f64(), median(f.half_widths.iter().copied()) / 1.96 * 1e6))
        .collect();
    Plot {
        title: "Error of predictions by how far they look ahead".into(),
        x: Axis::decades("seconds ahead", error.iter().map(|p| p.0)),
        y: Axis::decades("µs", error.iter().chain(&claimed).map(|p| p.1)),
        layers: vec![
            layer("rms", 1, Shape::Line(error)),
            layer("stated sigma, median", 2, Shape::Line(claimed)),
        ],
    }
}

fn coverages(trial: &Trial) -> Plot {
    let mut layers = vec![layer("", 0, Shape::Line(vec![(0.0, 0.0), (1.0, 1.0)]))];
    for (colour, regime) in Regime::ALL.into_iter().enumerate() {
        let score = of_regime(trial, regime);
        if score.count > 0 {
            let points = Levels::PROBABILITIES.into_iter().zip(score.coverage).collect();
            layers.push(layer(format!("{regime:?}").to_lowercase(), colour + 1, Shape::Line(points)));
        }
    }
    Plot {
        title: "Coverage".into(),
        x: Axis::linear("stated", 0.4, 1.0),
        y: Axis::linear("measured", 0.0, 1.0),
        layers,
    }
}

fn deviations(trial: &Trial) -> Plot {
    let settled = || trial.rows.iter().filter(|row| row.answer.regime != Regime::Start);
    let curve = |value: fn(&crate::trial::Row) -> f64| {
        let phase: Vec<f64> = settled().map(value).collect();
        allan::curve(&phase, 10.0)
    };
    let (raw, ours) = (curve(|row| row.correction), curve(|row| row.answer.error));
    Plot {
        title: "Allan deviation".into(),
        x: Axis::decades("τ (s)", raw.iter().map(|p| p.0)),
        y: Axis::decades("σy(τ)", raw.iter().chain(&ours).map(|p| p.1)),
        layers: vec![layer("raw clock", 3, Shape::Line(raw)), layer("corrected time", 1, Shape::Line(ours))],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Scenario;

    #[test]
    fn the_three_views_have_the_same_columns_and_numbers() {
        let text = "name = 'x'\nwhat = 'a <small> world'\nduration = '20 min'\npoll = '16 s'\n\
                    [[sources]]\ndelays = ['5 ms', '9 ms']\njitter = [{ exponential = { mean = '1 ms' } }]";
        let trials = [Trial::simulate(&Scenario::parse(text).unwrap(), 1)];
        let (table, json, page) = (table(&trials), json(&trials), html(&trials));
        let cells: Vec<&str> = table.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(cells.len(), COLUMNS.len() + 1);
        for ((heading, _), cell) in COLUMNS.iter().zip(&cells[1..]) {
            let digits = cell.split_once('.').map_or(0, |(_, fraction)| fraction.len());
            match json[0][heading].as_f64() {
                Some(value) => assert_eq!(*cell, format!("{value:.digits$}"), "{heading}"),
                None => assert_eq!(*cell, "-", "{heading}"),
            }
            assert!(page.contains(&format!("<td>{cell}</td>")), "{heading}");
        }
        assert!(page.contains("a &lt;small&gt; world") && page.matches("<svg viewBox").count() == 4);
        assert!(!page.contains("http:") && !page.contains("https:") && !page.contains("NaN"));
    }
}
