//! The history as charts, or as two lines of bars where there is no room for charts.

use super::look::{Look, Past, Point};
use super::picture::{Ink, View};
use super::words::{precise, short};
use chronotick_clock::Span;
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::symbols::Marker;
use ratatui::text::Line;
use ratatui::widgets::{Axis, Block, Borders, Chart, Dataset, GraphType, Sparkline, Widget};

/// The offset of the system clock, and beside it, on a logarithmic scale, bound and interval.
pub(super) fn draw(look: &Look, past: &Past, view: &View, area: Rect, buffer: &mut Buffer) {
    let [left, right] = Layout::horizontal([Constraint::Fill(1); 2]).spacing(1).areas(area);
    let (ink, window) = (view.ink, view.window.seconds(past.length(look.raw)));
    let offsets = past.stretches(look.raw, window, |p| p.offset);
    let [low, high] = range(&offsets);
    let middle = f64::midpoint(low, high);
    Plot {
        title: "offset of the system clock (true - system)",
        labels: [low, middle, high].map(|value| precise(value, high - low)),
        bounds: [low, high],
        lines: vec![(offsets, ink.accent())],
    }
    .draw(window, left, buffer);

    let logarithms =
        |value: fn(&Point) -> f64| past.stretches(look.raw, window, |p| value(p).max(1.0).log10());
    let (bounds, intervals) = (logarithms(|p| p.bound), logarithms(|p| p.interval));
    let [low, high] = range(&[bounds.as_slice(), intervals.as_slice()].concat());
    let (low, high) = (low.floor(), high.ceil().max(low.floor() + 1.0));
    Plot {
        title: "how wrong it may be: bound (upper), 95 % interval (lower)",
        labels: [low, f64::midpoint(low, high), high].map(|power| short(10f64.powf(power))),
        bounds: [low, high],
        lines: vec![(bounds, ink.warning()), (intervals, ink.good())],
    }
    .draw(window, right, buffer);
}

/// Points of (seconds before now, value) without a gap between them.
type Stretch = Vec<(f64, f64)>;

struct Plot {
    title: &'static str,
    labels: [String; 3],
    bounds: [f64; 2],
    lines: Vec<(Vec<Stretch>, Style)>,
}

impl Plot {
    fn draw(&self, window: f64, area: Rect, buffer: &mut Buffer) {
        let datasets = self.lines.iter().flat_map(|(stretches, style)| {
            stretches.iter().map(|points| {
                let kind = if points.len() > 1 { GraphType::Line } else { GraphType::Scatter };
                Dataset::default().data(points).graph_type(kind).style(*style).marker(Marker::Braille)
            })
        });
        Chart::new(datasets.collect())
            .block(Block::new().borders(Borders::TOP).title(format!("─ {} ", self.title)))
            .x_axis(
                Axis::default().bounds([-window, 0.0]).labels([format!("-{}", span(window)), "now".into()]),
            )
            .y_axis(Axis::default().bounds(self.bounds).labels(self.labels.clone()))
            .legend_position(None)
            .render(area, buffer);
    }
}

/// One line of bars each for the offset of the system clock and for the bound.
pub(super) fn sparklines(past: &Past, ink: Ink, area: Rect, buffer: &mut Buffer) {
    let rows = [
        ("offset", (|p: &Point| p.offset) as fn(&Point) -> f64, ink.accent()),
        ("bound", |p: &Point| p.bound, ink.warning()),
    ];
    for (row, (name, value, style)) in area.rows().zip(rows) {
        let [label, bars] = Layout::horizontal([Constraint::Length(24), Constraint::Fill(1)]).areas(row);
        let values = past.newest(bars.width.into(), value);
        let [low, high] = range(&[values.iter().flatten().map(|v| (0.0, *v)).collect()]);
        let now = values.last().copied().flatten().map_or("unknown".into(), short);
        Line::from(format!("{name:<7} {now:>10}")).render(label, buffer);
        let height = |value: &Option<f64>| value.map(|v| ((v - low) / (high - low) * 1000.0) as u64 + 60);
        Sparkline::default()
            .data(values.iter().map(height).collect::<Vec<_>>())
            .max(1060)
            .absent_value_symbol(ratatui::symbols::shade::LIGHT)
            .style(style)
            .render(bars, buffer);
    }
}

/// How much of the past the charts show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Window {
    Minute,
    /// So that the beginning, when little is known, soon stops to set the scale.
    #[default]
    TenMinutes,
    Hour,
}

impl Window {
    pub(super) fn next(self) -> Window {
        match self {
            Window::Minute => Window::TenMinutes,
            Window::TenMinutes => Window::Hour,
            Window::Hour => Window::Minute,
        }
    }

    /// In seconds; a round part of it while so little is known.
    fn seconds(self, known: Span) -> f64 {
        let most = match self {
            Window::Minute => 60.0,
            Window::TenMinutes => 600.0,
            Window::Hour => 3600.0,
        };
        let known = known.as_secs_f64();
        [60.0, 180.0, 600.0, 1800.0].into_iter().find(|some| known <= *some).unwrap_or(most).min(most)
    }
}

fn span(seconds: f64) -> String {
    if seconds < 120.0 { format!("{seconds:.0} s") } else { format!("{:.0} min", seconds / 60.0) }
}

/// Smallest and largest value, a little apart even if there is but one.
fn range(stretches: &[Stretch]) -> [f64; 2] {
    let values = || stretches.iter().flatten().map(|(_, value)| *value);
    let (low, high) = (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
    if low > high {
        return [0.0, 1.0];
    }
    let margin = ((high - low) * 0.05).max(high.abs() * 1e-6).max(1e-3);
    [low - margin, high + margin]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_has_room_for_one_value_and_for_none() {
        assert_eq!(range(&[]), [0.0, 1.0]);
        let [low, high] = range(&[vec![(0.0, 5.0)]]);
        assert!(low < 5.0 && 5.0 < high);
    }

    #[test]
    fn the_window_holds_what_is_known() {
        let shown = |window: Window| [1, 61, 1000, 5000].map(|s| window.seconds(Span::from_secs(s)));
        assert_eq!(shown(Window::Hour), [60.0, 180.0, 1800.0, 3600.0]);
        assert_eq!(shown(Window::TenMinutes), [60.0, 180.0, 600.0, 600.0]);
        assert_eq!(shown(Window::Minute), [60.0; 4]);
        assert_eq!([60.0, 3600.0].map(span), ["60 s", "60 min"]);
    }
}
