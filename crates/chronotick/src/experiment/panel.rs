//! What several time servers say together: the median of their offsets, how far they scatter, and who was left out.

use chronotick_clock::Span;

/// One server's best answer: of several the one with the shortest round trip.
#[derive(Clone, Debug, PartialEq)]
pub struct Voice {
    /// As asked.
    pub server: String,
    /// True − system, the round trip removed.
    pub offset: Span,
    /// How wrong that may be if the server is honest.
    pub max_error: Span,
}

/// What they say together.
#[derive(Clone, Debug, PartialEq)]
pub struct Panel {
    /// Median of the offsets that were combined: true − system.
    pub offset: Span,
    /// Median of how wrong those may be. Agreement does not make it smaller.
    pub uncertainty: Span,
    /// Median of how far they are from the median.
    pub mad: Span,
    /// How many were combined.
    pub combined: usize,
    /// How many were asked.
    pub total: usize,
    /// Who was not combined, and why.
    pub rejected: Vec<(String, String)>,
}

/// A normal distribution's standard deviation in units of its median absolute deviation.
const NORMAL: f64 = 1.4826;
/// Beyond so many of them a server is left out, if its own uncertainty does not explain it.
const OUTLIER: f64 = 3.0;

impl Panel {
    /// Combines what was heard; `silent` are those without an answer, and why. `None` if nobody answered.
    pub fn of(voices: &[Voice], silent: Vec<(String, String)>) -> Option<Panel> {
        let total = voices.len() + silent.len();
        let all = median(voices.iter().map(|v| v.offset))?;
        let scatter = median(voices.iter().map(|v| (v.offset - all).abs()))?;
        let limit = Span::from_secs_f64(OUTLIER * NORMAL * scatter.as_secs_f64());
        let (kept, outliers): (Vec<&Voice>, Vec<&Voice>) = voices.iter().partition(|v| {
            let off = (v.offset - all).abs();
            voices.len() < 3 || off <= limit || off <= v.max_error
        });
        let offset = median(kept.iter().map(|v| v.offset))?;
        let why = |v: &&Voice| (v.server.clone(), format!("{} from the median of all", v.offset - all));
        Some(Panel {
            offset,
            uncertainty: median(kept.iter().map(|v| v.max_error))?,
            mad: median(kept.iter().map(|v| (v.offset - offset).abs()))?,
            combined: kept.len(),
            total,
            rejected: outliers.iter().map(why).chain(silent).collect(),
        })
    }
}

/// The middle one, or the mean of the two in the middle.
fn median(values: impl Iterator<Item = Span>) -> Option<Span> {
    let mut sorted: Vec<Span> = values.collect();
    sorted.sort();
    let half = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        n if n % 2 == 1 => Some(sorted[half]),
        _ => Some(sorted[half - 1] + (sorted[half] - sorted[half - 1]).half()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn voice(server: &str, micros: i64) -> Voice {
        let (offset, max_error) = (Span::from_micros(micros), Span::from_micros(500));
        Voice { server: server.into(), offset, max_error }
    }

    #[test]
    fn one_who_is_far_off_is_left_out_and_named() {
        let voices = [voice("a", 100), voice("b", 120), voice("c", 90), voice("d", 250_000)];
        let panel = Panel::of(&voices, vec![("e".into(), "no answer".into())]).unwrap();
        assert_eq!((panel.combined, panel.total, panel.offset), (3, 5, Span::from_micros(100)));
        assert_eq!(panel.mad, Span::from_micros(10));
        let named: Vec<&str> = panel.rejected.iter().map(|(who, _)| who.as_str()).collect();
        assert_eq!(named, ["d", "e"]);
    }

    #[test]
    fn nobody_is_an_outlier_among_two_and_nobody_alone_is_silent() {
        let two = Panel::of(&[voice("a", 0), voice("b", 9_000)], vec![]).unwrap();
        assert_eq!((two.combined, two.offset), (2, Span::from_micros(4_500)));
        assert_eq!(Panel::of(&[], vec![("a".into(), "no answer".into())]), None);
    }

    proptest! {
        #[test]
        fn fewer_than_half_cannot_move_it_beyond_the_others(
            honest in proptest::collection::vec(-1_000i64..1_000, 3..8),
            lie in -1_000_000_000i64..1_000_000_000,
        ) {
            let mut voices: Vec<Voice> = honest.iter().map(|m| voice("h", *m)).collect();
            let liars = (honest.len() - 1) / 2;
            voices.extend((0..liars).map(|_| voice("l", lie)));
            let offset = Panel::of(&voices, vec![]).unwrap().offset;
            let low = honest.iter().min().unwrap();
            let high = honest.iter().max().unwrap();
            prop_assert!((Span::from_micros(*low)..=Span::from_micros(*high)).contains(&offset));
        }
    }
}
