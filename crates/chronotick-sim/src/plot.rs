//! Plots as SVG: lines, bands and shaded stretches over linear or logarithmic axes. Colours are classes, so that the
//! page decides on them. What the reports of other rooms show is drawn here, too.

use std::fmt::Write as _;

/// One picture.
///
/// ```
/// use chronotick_sim::plot::{Axis, Layer, Plot, Shape};
/// let line = Layer { name: "offset".into(), colour: 1, shape: Shape::Line(vec![(0.0, 1.0), (1.0, 2.0)]) };
/// let plot = Plot {
///     title: "Offset".into(),
///     x: Axis::linear("hours", 0.0, 1.0),
///     y: Axis::linear("ms", 0.0, 3.0),
///     layers: vec![line],
/// };
/// assert!(plot.svg().starts_with("<svg"));
/// ```
pub struct Plot {
    /// What stands above it.
    pub title: String,
    /// From left to right.
    pub x: Axis,
    /// From bottom to top.
    pub y: Axis,
    /// What is drawn, the first one first.
    pub layers: Vec<Layer>,
}

/// One direction of a picture.
pub struct Axis {
    /// What it counts.
    pub label: &'static str,
    /// Where it begins.
    pub from: f64,
    /// Where it ends; beyond `from`.
    pub to: f64,
    /// Whether it counts decades.
    pub logarithmic: bool,
}

/// What is drawn, in this order, and its name in the legend; an empty name stays out of it.
pub struct Layer {
    /// Its name in the legend.
    pub name: String,
    /// Number of the colour.
    pub colour: usize,
    /// What is drawn.
    pub shape: Shape,
}

/// What a layer draws.
pub enum Shape {
    /// Through points x, y.
    Line(Vec<(f64, f64)>),
    /// x, lower and upper edge.
    Band(Vec<(f64, f64, f64)>),
    /// From x to x, all of the height.
    Stretches(Vec<(f64, f64)>),
}

/// What the classes look like, bright and dark.
pub const STYLE: &str = include_str!("plot.css");

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 280.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 28.0;
const BOTTOM: f64 = 44.0;

impl Axis {
    /// An even axis.
    pub fn linear(label: &'static str, from: f64, to: f64) -> Axis {
        let to = if to > from { to } else { from + 1.0 };
        Axis { label, from, to, logarithmic: false }
    }

    /// A logarithmic axis over whole decades that holds all positive values.
    pub fn decades(label: &'static str, values: impl Iterator<Item = f64>) -> Axis {
        let usable = values.filter(|v| *v > 0.0 && v.is_finite());
        let (low, high) = usable.fold((f64::MAX, f64::MIN_POSITIVE), |(l, h), v| (l.min(v), h.max(v)));
        let (low, high) = if low > high { (1.0, 10.0) } else { (low, high) };
        let from = 10f64.powf(low.log10().floor());
        let to = 10f64.powf(high.log10().ceil()).max(from * 10.0);
        Axis { label, from, to, logarithmic: true }
    }

    /// Where a value is, from 0 to 1; outside stays outside by at most one length.
    fn place(&self, value: f64) -> f64 {
        let share = if self.logarithmic {
            (value.max(f64::MIN_POSITIVE) / self.from).log10() / (self.to / self.from).log10()
        } else {
            (value - self.from) / (self.to - self.from)
        };
        share.clamp(-1.0, 2.0)
    }

    fn ticks(&self) -> Vec<f64> {
        if self.logarithmic {
            let decades = (self.to / self.from).log10().round() as i32;
            let each = (decades / 8 + 1) as usize;
            return (0..=decades).step_by(each).map(|d| self.from * 10f64.powi(d)).collect();
        }
        let rough = (self.to - self.from) / 6.0;
        let decade = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].iter().map(|m| m * decade).find(|s| *s >= rough).unwrap_or(rough);
        let first = (self.from / step).ceil() as i64;
        (first..).map(|i| i as f64 * step).take_while(|v| *v <= self.to + step * 1e-9).collect()
    }
}

fn number(value: f64) -> String {
    let size = value.abs();
    if size != 0.0 && !(1e-3..1e5).contains(&size) {
        return format!("{value:.0e}");
    }
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Text with the characters of markup made harmless.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

impl Plot {
    /// The picture as a file of its own.
    pub fn file(&self) -> String {
        let style = format!("<style>{STYLE}svg {{ background: Canvas }}</style>");
        self.svg().replacen('>', &format!(">{style}"), 1)
    }

    /// The picture as an element of a page that includes [`STYLE`].
    pub fn svg(&self) -> String {
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\">\
             <text class=\"title\" x=\"{LEFT}\" y=\"16\">{title}</text>",
            title = escape(&self.title)
        );
        self.axes(&mut out);
        let (inner_width, inner_height) = (WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM);
        let _ = write!(
            out,
            "<svg x=\"{LEFT}\" y=\"{TOP}\" width=\"{inner_width}\" height=\"{inner_height}\" \
             viewBox=\"0 0 {inner_width} {inner_height}\">"
        );
        for layer in &self.layers {
            self.draw(layer, inner_width, inner_height, &mut out);
        }
        out.push_str("</svg>");
        self.legend(&mut out);
        out.push_str("</svg>\n");
        out
    }

    fn axes(&self, out: &mut String) {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        for v in self.x.ticks() {
            let x = LEFT + self.x.place(v) * (right - LEFT);
            let _ = write!(
                out,
                "<path class=\"grid\" d=\"M{x:.1} {TOP}V{bottom}\"/>\
                 <text class=\"tick\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                bottom + 14.0,
                number(v)
            );
        }
        for v in self.y.ticks() {
            let y = bottom - self.y.place(v) * (bottom - TOP);
            let _ = write!(
                out,
                "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{right}\"/>\
                 <text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                LEFT - 5.0,
                y + 4.0,
                number(v)
            );
        }
        let _ = write!(
            out,
            "<text class=\"label\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\
             <text class=\"label\" transform=\"translate(13 {:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            (LEFT + right) / 2.0,
            HEIGHT - 12.0,
            escape(self.x.label),
            (TOP + bottom) / 2.0,
            escape(self.y.label)
        );
    }

    fn draw(&self, layer: &Layer, width: f64, height: f64, out: &mut String) {
        let at = |x: f64, y: f64| (self.x.place(x) * width, (1.0 - self.y.place(y)) * height);
        let path = |points: &mut dyn Iterator<Item = (f64, f64)>| {
            let mut d = String::new();
            for (x, y) in points {
                let _ = write!(d, "{}{x:.1} {y:.1}", if d.is_empty() { 'M' } else { 'L' });
            }
            d
        };
        let c = layer.colour;
        let _ = match &layer.shape {
            Shape::Line(points) => {
                let d = path(&mut points.iter().map(|&(x, y)| at(x, y)));
                write!(out, "<path class=\"line c{c}\" d=\"{d}\"/>")
            }
            Shape::Band(points) => {
                let upper = points.iter().map(|&(x, _, hi)| at(x, hi));
                let lower = points.iter().rev().map(|&(x, lo, _)| at(x, lo));
                let d = path(&mut upper.chain(lower));
                write!(out, "<path class=\"band c{c}\" d=\"{d}Z\"/>")
            }
            Shape::Stretches(stretches) => {
                let mut d = String::new();
                for &(from, to) in stretches {
                    let (a, b) = (at(from, 0.0).0, at(to, 0.0).0);
                    let _ = write!(d, "M{a:.1} 0H{:.1}V{height}H{a:.1}Z", b.max(a + 0.5));
                }
                write!(out, "<path class=\"stretch c{c}\" d=\"{d}\"/>")
            }
        };
    }

    fn legend(&self, out: &mut String) {
        let mut right = WIDTH - RIGHT;
        for layer in self.layers.iter().rev().filter(|l| !l.name.is_empty()) {
            right -= layer.name.chars().count() as f64 * 6.4 + 30.0;
            let kind = match layer.shape {
                Shape::Line(_) => "line",
                Shape::Band(_) => "band",
                Shape::Stretches(_) => "stretch",
            };
            let _ = write!(
                out,
                "<path class=\"{kind} c{}\" d=\"M{right:.1} 8h14v6h-14Z\"/>\
                 <text class=\"tick\" x=\"{:.1}\" y=\"15\">{}</text>",
                layer.colour,
                right + 18.0,
                escape(&layer.name)
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_numbers() {
        assert_eq!(Axis::linear("", 0.0, 10.0).ticks(), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        let decades = Axis::decades("", [0.02, 3.0, 0.0, f64::NAN].into_iter());
        assert_eq!((decades.from, decades.to), (0.01, 10.0));
        assert_eq!(decades.ticks().len(), 4);
        assert_eq!(number(0.25), "0.25");
        assert_eq!(number(0.0), "0");
        assert_eq!(number(1e-9), "1e-9");
    }

    #[test]
    fn a_picture_is_balanced_markup_with_finite_coordinates() {
        let plot = Plot {
            title: "a < b & c".into(),
            x: Axis::decades("τ (s)", [1.0, 100.0].into_iter()),
            y: Axis::linear("µs", -1.0, 1.0),
            layers: vec![
                Layer {
                    name: "σ".into(),
                    colour: 1,
                    shape: Shape::Band(vec![(1.0, -9e9, 0.5), (100.0, -0.1, 0.1)]),
                },
                Layer { name: String::new(), colour: 2, shape: Shape::Line(vec![(0.0, 0.0), (5.0, 0.2)]) },
                Layer { name: "out".into(), colour: 3, shape: Shape::Stretches(vec![(2.0, 3.0)]) },
            ],
        };
        let svg = plot.svg();
        assert_eq!(svg.matches("<svg").count(), svg.matches("</svg>").count());
        assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
        assert!(plot.file().starts_with("<svg xmlns") && plot.file().contains(".c1"));
        assert!(svg.contains("a &lt; b &amp; c") && !svg.contains("NaN") && !svg.contains("inf"));
    }
}
