//! What trials have shown: a table as text or JSON, and one self-contained HTML page with plots. All three have the same
//! columns; [`COLUMNS`] explains them.

use crate::allan;
use crate::plot::{Axis, Layer, Plot, STYLE, Shape, escape};
use crate::score::{Answer, Regime, Score};
use crate::trial::{Row, Trial};
use chronotick_core::{Event, Levels, State};
use std::fmt::Write as _;

/// A number of the table: its heading and what that means, how many digits it needs, and how it follows from all trials
/// of one name.
struct Column {
    heading: &'static str,
    meaning: &'static str,
    digits: usize,
    value: fn(&[Trial]) -> Option<f64>,
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

const TABLE: [Column; 28] = [
    column("worlds", "how many worlds or traces are pooled", 0, |t| Some(t.len() as f64)),
    column("rms", "error, root of the mean square, µs, after the first 600 s", 1, |t| {
        micros(settled(t).rms)
    }),
    column("p95", "error, 95th percentile, µs", 1, |t| micros(settled(t).p95)),
    column("p99", "error, 99th percentile, µs", 1, |t| micros(settled(t).p99)),
    column("max", "largest error, µs", 1, |t| micros(settled(t).max)),
    column("half95", "median half-width of the 95 % interval, µs", 1, |t| micros(settled(t).half_width[2])),
    column("cov95", "share of truth inside the 95 % interval", 3, |t| Some(settled(t).coverage[2])),
    column("steady", "the same while nothing special happens", 3, |t| coverage(t, Regime::Steady)),
    column("changing", "after a change of clock, path or source", 3, |t| coverage(t, Regime::Changing)),
    column("holdover", "without any answers", 3, |t| coverage(t, Regime::Holdover)),
    column("recovery", "within 600 s after a holdover", 3, |t| coverage(t, Regime::Recovery)),
    column("start", "within the first 600 s", 3, |t| coverage(t, Regime::Start)),
    column("start rms", "error within the first 600 s, µs", 0, |t| error(t, Regime::Start)),
    column("hold rms", "error without any answers, µs", 0, |t| error(t, Regime::Holdover)),
    column("bound", "share of truth inside the bound", 4, |t| share(t, |row| Some(row.bounded))),
    column("bound µs", "median half-width of the bound, µs", 0, |t| {
        micros(median(rows(t).map(|r| r.bound)))
    }),
    column("narrow", "share of truth inside the narrow bound, where there is one", 4, |t| {
        share(t, |row| row.narrow.map(|(holds, _)| holds))
    }),
    column("narrow µs", "median half-width of the narrow bound, µs", 0, |t| {
        Some(narrow(t)).filter(|n| n.is_finite()).map(|n| n * 1e6)
    }),
    column("of chrony", "that, as a share of the half-width of chrony's bound, where recorded", 4, |t| {
        Some(narrow(t) / median(t.iter().flat_map(|t| t.chrony_bounds.iter().copied())))
    }),
    column("<50 ms", "seconds until the bound is below 50 ms, at worst", 0, |t| useful(t, 0)),
    column("<5 ms", "seconds until the bound is below 5 ms, at worst", 0, |t| useful(t, 1)),
    column("synced", "share of the time in the state synced", 3, |t| {
        share(t, |row| Some(row.state == State::Synced))
    }),
    column("alarms", "contradictions that the engine saw in a source or the majority, a day", 1, alarms),
    column("harm", "share of the time when the system clock was nearer to the truth", 4, harm),
    column("hold-last", "error of believing the newest packet, rms, µs", 0, |t| yardstick(t, "hold-last")),
    column("median", "error of the low-delay median, rms, µs", 0, |t| yardstick(t, "low-delay median")),
    column("line", "error of a regression, rms, µs", 0, |t| yardstick(t, "regression")),
    column("chrony", "error of chrony on the same packets, where recorded, rms, µs", 1, |t| {
        yardstick(t, "chrony")
    }),
];

const fn column(
    heading: &'static str,
    meaning: &'static str,
    digits: usize,
    value: fn(&[Trial]) -> Option<f64>,
) -> Column {
    Column { heading, meaning, digits, value }
}

fn micros(seconds: f64) -> Option<f64> {
    Some(seconds * 1e6)
}

fn rows(trials: &[Trial]) -> impl Iterator<Item = &Row> {
    trials.iter().flat_map(|trial| &trial.rows)
}

fn settled(trials: &[Trial]) -> Score {
    Score::of(trials.iter().flat_map(Trial::settled))
}

fn of_regime(trials: &[Trial], regime: Regime) -> Score {
    Score::of(rows(trials).map(|row| &row.answer).filter(|a| a.regime == regime))
}

fn coverage(trials: &[Trial], regime: Regime) -> Option<f64> {
    let score = of_regime(trials, regime);
    (score.count > 0).then_some(score.coverage[2])
}

fn error(trials: &[Trial], regime: Regime) -> Option<f64> {
    let score = of_regime(trials, regime);
    (score.count > 0).then_some(score.rms * 1e6)
}

/// The share of the rows that have it, of those for which it is known.
fn share(trials: &[Trial], has: impl Fn(&Row) -> Option<bool>) -> Option<f64> {
    let (mut count, mut all) = (0, 0);
    for has in rows(trials).filter_map(has) {
        count += usize::from(has);
        all += 1;
    }
    (all > 0).then(|| f64::from(count as u32) / f64::from(all))
}

fn narrow(trials: &[Trial]) -> f64 {
    median(rows(trials).filter_map(|row| Some(row.narrow?.1)))
}

fn harm(trials: &[Trial]) -> Option<f64> {
    share(trials, |row| Some(row.answer.error.abs() > row.system_error?.abs()))
}

fn alarms(trials: &[Trial]) -> Option<f64> {
    let alarming = |event: &Event| matches!(event, Event::SourceStepped { .. } | Event::MajorityMoved { .. });
    let count = trials.iter().flat_map(|t| &t.events).filter(|(_, event)| alarming(event)).count();
    let lived =
        |trial: &Trial| trial.rows.last().map_or(0.0, |row| row.answer.raw.as_nanos() as f64 / 86_400e9);
    Some(count as f64 / trials.iter().map(lived).sum::<f64>())
}

fn yardstick(trials: &[Trial], name: &str) -> Option<f64> {
    let named = trials.iter().flat_map(|trial| &trial.yardsticks).filter(|yardstick| yardstick.name == name);
    let score =
        Score::of(named.flat_map(|yardstick| &yardstick.answers).filter(|a| a.regime != Regime::Start));
    (score.count > 0).then_some(score.rms * 1e6)
}

/// The longest time that any of the trials needed; none if one never got there.
fn useful(trials: &[Trial], which: usize) -> Option<f64> {
    let first = |trial: &Trial| trial.useful.get(which)?.1.map(|s| s.as_secs_f64());
    trials.iter().map(first).reduce(|a, b| Some(a?.max(b?)))?
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Trials of the same name belong together; a table has one line for them.
fn groups(trials: &[Trial]) -> impl Iterator<Item = &[Trial]> {
    trials.chunk_by(|a, b| a.name == b.name)
}

/// The table as text, one line for each name.
pub fn table(trials: &[Trial]) -> String {
    let first = trials.iter().map(|t| t.name.len()).max().unwrap_or(0).max(5);
    let mut out = format!("{:first$}", "");
    for column in &TABLE {
        let _ = write!(out, " {:>9}", column.heading);
    }
    out.push('\n');
    for group in groups(trials) {
        let _ = write!(out, "{:first$}", group[0].name);
        for column in &TABLE {
            let _ = write!(out, " {:>9}", cell(column, group));
        }
        out.push('\n');
    }
    out
}

fn cell(column: &Column, group: &[Trial]) -> String {
    match (column.value)(group) {
        Some(value) if value.is_finite() => format!("{value:.*}", column.digits),
        _ => "-".into(),
    }
}

/// The table as JSON: an array of objects with the same names as the text, `null` where something does not apply;
/// besides the coverage of each stated share by regime, and the errors of predictions by how far they looked ahead.
pub fn json(trials: &[Trial]) -> serde_json::Value {
    let object = |group: &[Trial]| {
        let mut object = serde_json::Map::new();
        object.insert("name".into(), group[0].name.clone().into());
        for column in &TABLE {
            object.insert(column.heading.into(), (column.value)(group).into());
        }
        let predictions = horizons(group).into_iter().map(|h| {
            serde_json::json!({ "ahead_s": h.ahead, "rms": h.rms, "sigma": h.sigma, "cov95": h.coverage })
        });
        let covered = |regime| (format!("{regime:?}").to_lowercase(), of_regime(group, regime));
        let coverage = Regime::ALL.into_iter().map(covered).filter(|(_, score)| score.count > 0);
        let coverage = coverage.map(|(name, score)| (name, score.coverage.to_vec().into())).collect();
        object.insert("stated".into(), Levels::PROBABILITIES.to_vec().into());
        object.insert("coverage".into(), serde_json::Value::Object(coverage));
        object.insert("predictions".into(), predictions.collect());
        serde_json::Value::Object(object)
    };
    groups(trials).map(object).collect()
}

/// One page with the table and, for each name, plots of the first trial's error over time and Allan deviation, and of
/// the error by horizon and the coverage of all. It needs nothing else to be shown.
pub fn html(trials: &[Trial]) -> String {
    let mut out = HEAD.replace("PLOT_STYLE", STYLE);
    out.push_str("<table><thead><tr><th></th>");
    for column in &TABLE {
        let _ = write!(out, "<th title=\"{}\">{}</th>", escape(column.meaning), escape(column.heading));
    }
    out.push_str("</tr></thead><tbody>\n");
    for group in groups(trials) {
        let name = escape(&group[0].name);
        let _ = write!(out, "<tr><th><a href=\"#{name}\">{name}</a></th>");
        for column in &TABLE {
            let _ = write!(out, "<td>{}</td>", cell(column, group));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table>\n<dl>");
    for column in &TABLE {
        let _ = write!(out, "<dt>{}</dt><dd>{}</dd>", escape(column.heading), escape(column.meaning));
    }
    out.push_str("</dl>\n");
    for group in groups(trials) {
        let (name, what) = (escape(&group[0].name), escape(&group[0].what));
        let _ = writeln!(out, "<section id=\"{name}\"><h2>{name}</h2><p>{what}</p>");
        for plot in [error_plot(&group[0]), horizon_plot(group), coverage_plot(group), allan_plot(&group[0])]
        {
            out.push_str(&plot.svg());
        }
        out.push_str("</section>\n");
    }
    out.push_str("</body></html>\n");
    out
}

/// The plots of the page as SVG files: their names and contents.
pub fn plots(trials: &[Trial]) -> Vec<(String, String)> {
    let of_group =
        |group| pictures(group).map(|(kind, plot)| (format!("{}.{kind}.svg", group[0].name), plot.file()));
    groups(trials).flat_map(of_group).collect()
}

/// A picture of its own: named lines of (x, y), positive, over axes with these labels.
pub fn lines(title: &str, axes: [&'static str; 2], lines: &[(&str, Vec<(f64, f64)>)]) -> String {
    let all = || lines.iter().flat_map(|(_, points)| points);
    let end = all().map(|(x, _)| *x).fold(0.0, f64::max);
    let plot = Plot {
        title: title.into(),
        x: Axis::linear(axes[0], 0.0, end),
        y: Axis::decades(axes[1], all().map(|(_, y)| *y)),
        layers: lines
            .iter()
            .enumerate()
            .map(|(i, (name, points))| layer(*name, i, Shape::Line(points.clone())))
            .collect(),
    };
    plot.file()
}

fn pictures(group: &[Trial]) -> [(&'static str, Plot); 4] {
    [
        ("error", error_plot(&group[0])),
        ("horizon", horizon_plot(group)),
        ("coverage", coverage_plot(group)),
        ("allan", allan_plot(&group[0])),
    ]
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

fn error_plot(trial: &Trial) -> Plot {
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
        title: match trial.seed {
            Some(seed) => format!("Error and 95 % interval of seed {seed} (truth is zero)"),
            None => "Error and 95 % interval (truth is zero)".into(),
        },
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

/// How good predictions were that looked this far ahead.
struct Horizon {
    /// In seconds.
    ahead: f64,
    /// Error, µs.
    rms: f64,
    /// What was stated, median, µs.
    sigma: f64,
    /// Share of truth inside the stated 95 % interval.
    coverage: f64,
}

fn horizons(group: &[Trial]) -> Vec<Horizon> {
    let of_one = |i: usize| {
        let forecasts = || group.iter().filter_map(move |trial| trial.forecasts.get(i));
        let errors = || forecasts().flat_map(|f| &f.errors);
        let count = errors().count() as f64;
        Horizon {
            ahead: forecasts().next().map_or(0.0, |f| f.horizon.as_secs_f64()),
            rms: (errors().map(|e| e * e).sum::<f64>() / count).sqrt() * 1e6,
            sigma: median(forecasts().flat_map(|f| f.half_widths.iter().copied())) / 1.96 * 1e6,
            coverage: forecasts().map(|f| f.covered).sum::<usize>() as f64 / count,
        }
    };
    (0..group[0].forecasts.len()).map(of_one).filter(|h| h.rms.is_finite()).collect()
}

fn horizon_plot(group: &[Trial]) -> Plot {
    let horizons = horizons(group);
    let error: Vec<(f64, f64)> = horizons.iter().map(|h| (h.ahead, h.rms)).collect();
    let stated: Vec<(f64, f64)> = horizons.iter().map(|h| (h.ahead, h.sigma)).collect();
    Plot {
        title: "Error of predictions by how far they look ahead".into(),
        x: Axis::decades("seconds ahead", error.iter().map(|p| p.0)),
        y: Axis::decades("µs", error.iter().chain(&stated).map(|p| p.1)),
        layers: vec![
            layer("rms", 1, Shape::Line(error)),
            layer("stated sigma, median", 2, Shape::Line(stated)),
        ],
    }
}

fn coverage_plot(group: &[Trial]) -> Plot {
    let mut layers = vec![layer("", 0, Shape::Line(vec![(0.0, 0.0), (1.0, 1.0)]))];
    for (colour, regime) in Regime::ALL.into_iter().enumerate() {
        let score = of_regime(group, regime);
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

fn allan_plot(trial: &Trial) -> Plot {
    let settled = || trial.rows.iter().filter(|row| row.answer.regime != Regime::Start);
    let curve = |value: fn(&Row) -> f64| {
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
        assert_eq!(json[0]["coverage"]["steady"].as_array().map(Vec::len), Some(4));
        assert_eq!(json[0]["predictions"][0]["ahead_s"], 10.0);
        for ((heading, _), cell) in COLUMNS.iter().zip(&cells[1..]) {
            let digits = cell.split_once('.').map_or(0, |(_, fraction)| fraction.len());
            match json[0][heading].as_f64() {
                Some(value) => assert_eq!(*cell, format!("{value:.digits$}"), "{heading}"),
                None => assert_eq!(*cell, "-", "{heading}"),
            }
            assert!(page.contains(&format!("<td>{cell}</td>")), "{heading}");
        }
        assert!(page.contains("a &lt;small&gt; world") && page.matches("<svg xmlns").count() == 4);
        assert_eq!(
            plots(&trials).iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
            ["x.error.svg", "x.horizon.svg", "x.coverage.svg", "x.allan.svg"]
        );
        assert!(!page.contains("href=\"http") && !page.contains("src=") && !page.contains("NaN"));
    }
}
