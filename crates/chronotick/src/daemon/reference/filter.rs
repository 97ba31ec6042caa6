//! The median filter: the samples of one poll become one comparison, at the instant of the newest.

use chronotick_core::{Rate, RawInstant, Span, Timestamp};
use std::collections::VecDeque;

/// A sample in a known second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Numbered {
    pub(super) at: RawInstant,
    pub(super) utc: Timestamp,
    /// How wrong the pair may be.
    pub(super) error: Span,
}

/// Holds the newest samples of a poll.
#[derive(Clone, Debug)]
pub(super) struct Filter {
    samples: VecDeque<Numbered>,
    length: usize,
}

impl Filter {
    pub(super) fn new(length: usize) -> Filter {
        Filter { samples: VecDeque::new(), length }
    }

    pub(super) fn add(&mut self, sample: Numbered) {
        if self.samples.len() == self.length {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
    }

    /// Forgets everything: the raw clock was disturbed.
    pub(super) fn clear(&mut self) {
        self.samples.clear();
    }

    /// What the samples say together, and forgets them. Their median is moved to the newest instant at `rate`, which may be
    /// wrong by `growth`; how far the middle six tenths scatter around it is added to what they may be wrong.
    pub(super) fn take(&mut self, rate: Rate, growth: Rate) -> Option<Numbered> {
        let newest = *self.samples.back()?;
        let at_newest = |s: &Numbered| {
            let age = newest.at - s.at;
            ((s.utc - newest.utc) + age + rate.over(age), s.error, age)
        };
        let mut moved: Vec<(Span, Span, Span)> = self.samples.drain(..).map(|s| at_newest(&s)).collect();
        moved.sort_unstable();
        let median =
            moved[moved.len() / 2].0 + (moved[(moved.len() - 1) / 2].0 - moved[moved.len() / 2].0).half();
        let outside = moved.len() / 5;
        let kept = &moved[outside..moved.len() - outside];
        let most = |of: &dyn Fn(&(Span, Span, Span)) -> Span| kept.iter().map(of).max().unwrap_or_default();
        let scatter = most(&|(position, ..)| (*position - median).abs());
        let aged = growth.over(most(&|(.., age)| *age));
        Some(Numbered {
            at: newest.at,
            utc: newest.utc + median,
            error: most(&|(_, error, _)| *error) + scatter + aged,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample(second: i64, off: i64) -> Numbered {
        let at = second * 1_000_000_000;
        Numbered {
            at: RawInstant::from_nanos(at),
            // The raw clock loses 10 us a second.
            utc: Timestamp::from_nanos(at + second * 10_000 + off),
            error: Span::from_nanos(100),
        }
    }

    fn filtered(offs: &[i64], length: usize) -> Numbered {
        let mut filter = Filter::new(length);
        offs.iter().enumerate().for_each(|(i, &off)| filter.add(sample(i as i64, off)));
        filter.take(Rate::from_ppm(10.0), Rate::from_ppm(1.0)).expect("there are samples")
    }

    #[test]
    fn one_sample_stays_as_it_is() {
        assert_eq!(filtered(&[7], 64), sample(0, 7));
    }

    #[test]
    fn the_median_is_moved_to_the_newest_instant_and_outliers_do_not_count() {
        let got = filtered(&[0, 5, -5, 900_000, -900_000, 2, -2, 1, -1, 0], 64);
        assert_eq!((got.at, got.utc), (sample(9, 0).at, sample(9, 0).utc));
        // 100 ns of their own, 5 ns of scatter at most, 9 s of a rate that may be wrong by 1 ppm.
        assert!(got.error <= Span::from_nanos(9_105), "{got:?}");
    }

    #[test]
    fn only_the_newest_count_and_only_once() {
        assert_eq!(filtered(&[800, 800, 800, 3, 4, 5], 3).utc, sample(5, 4).utc);
        let mut filter = Filter::new(3);
        filter.add(sample(0, 0));
        assert!(filter.take(Rate::ZERO, Rate::ZERO).is_some());
        assert_eq!(filter.take(Rate::ZERO, Rate::ZERO), None);
    }

    proptest! {
        /// Samples that are each within their error leave truth within what comes out.
        #[test]
        fn truth_is_within(offs in prop::collection::vec(-100i64..=100, 1..40), length in 1usize..40) {
            let got = filtered(&offs, length);
            let truth = sample(offs.len() as i64 - 1, 0).utc;
            prop_assert!((got.utc - truth).abs() <= got.error, "{:?} against {:?}", got, truth);
        }
    }
}
