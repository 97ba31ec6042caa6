//! The way to the sources and back, and what the sources say. True time is a [`Span`] since the start.

use crate::episode::{Course, Way};
use crate::random::Random;
use crate::scenario::Sources;
use crate::trace;
use chronotick_core::{Measurement, SourceId, Span};

/// An answer as the client gets it: the four timestamps of RFC 5905 §8 and what the source says of itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reply {
    /// Which source, counted from 0.
    pub source: u32,
    /// T1 to T4, since the start: when the request left and the answer arrived by the raw clock, and when the request
    /// arrived and the answer left by the source's clock.
    pub stamps: [Span; 4],
    /// Steps between the source and a reference clock.
    pub stratum: u8,
    /// Round trip from the source to its reference.
    pub root_delay: Span,
    /// What the source says that it may be wrong besides.
    pub root_dispersion: Span,
}

impl Reply {
    /// What the four timestamps measure. The precision of the source's stamps counts as dispersion.
    pub fn measurement(&self) -> Measurement {
        let dispersion = self.root_dispersion + Span::from_secs_f64(Path::PRECISION);
        trace::exchange(self.stamps, SourceId(self.source), self.stratum, self.root_delay, dispersion)
    }
}

/// A request on its way: what the source will have written, and when the answer, and maybe a copy, arrive.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Journey {
    pub(crate) t2: Span,
    pub(crate) t3: Span,
    pub(crate) arrival: Span,
    pub(crate) copy: Option<Span>,
}

/// The path to one source, with the source at its end.
#[derive(Clone, Debug)]
pub(crate) struct Path {
    index: usize,
    pub(crate) sources: Sources,
    delay: f64,
    /// (Way back − way there) / 2, in seconds.
    pub(crate) asymmetry: f64,
    random: Random,
}

impl Path {
    /// Servers write their time with a precision of 2^-23 s and fill the digits below at random (RFC 5905 §6).
    const PRECISION: f64 = 1.0 / (1u64 << 23) as f64;

    /// The paths to all sources of these groups.
    pub(crate) fn all(groups: &[Sources], seed: u64) -> Vec<Path> {
        let each = groups.iter().flat_map(|group| group.delays.iter().map(move |delay| (group, delay.0)));
        each.enumerate()
            .map(|(index, (group, delay))| {
                let mut random = Random::new(seed, &format!("path.{index}"));
                let drawn = group.asymmetry_deviation.0 * random.normal();
                // No way takes less than no time.
                let asymmetry = (group.asymmetry.0 + drawn).clamp(-delay, delay);
                Path { index, sources: group.clone(), delay, asymmetry, random }
            })
            .collect()
    }

    /// Sends a request at this true time; `None` if it or the answer gets lost.
    pub(crate) fn send(&mut self, sent: Span, courses: &[Course]) -> Option<Journey> {
        let there = sent + Span::from_secs_f64(self.one_way(sent, Way::Up, courses)?);
        let error = self.source_error(there, courses);
        let (t2, t3) = (self.write(there, error), self.write(there, error));
        let arrival = there + Span::from_secs_f64(self.one_way(there, Way::Down, courses)?);
        let copy = self.random.chance(self.sources.duplicate).then(|| {
            let later: f64 = self.sources.jitter.iter().map(|j| j.draw(&mut self.random)).sum();
            arrival + Span::from_secs_f64(later)
        });
        Some(Journey { t2, t3, arrival, copy })
    }

    /// How long a packet takes, in seconds; `None` if it gets lost.
    fn one_way(&mut self, at: Span, way: Way, courses: &[Course]) -> Option<f64> {
        let sign = if way == Way::Up { -1.0 } else { 1.0 };
        let mut delay = self.delay + sign * self.asymmetry;
        let mut lost = self.random.chance(self.sources.loss);
        delay += self.sources.jitter.iter().map(|j| j.draw(&mut self.random)).sum::<f64>();
        for course in courses.iter().filter(|c| c.episode.way == Way::Both || c.episode.way == way) {
            if let Some(occurrence) = course.at(self.index, at.as_secs_f64()) {
                delay += occurrence.detours[self.index];
                delay += course.episode.jitter.iter().map(|j| j.draw(&mut self.random)).sum::<f64>();
                lost |= self.random.chance(course.episode.loss);
            }
        }
        (!lost).then_some(delay)
    }

    /// How much too much the source says at this true time, in seconds.
    fn source_error(&self, at: Span, courses: &[Course]) -> f64 {
        let now = at.as_secs_f64();
        let wrong = |course: &Course| {
            let since = now - course.at(self.index, now)?.start;
            Some(course.episode.offset.0 + course.episode.drift.0 * since)
        };
        self.sources.offset.0 + courses.iter().filter_map(wrong).sum::<f64>()
    }

    fn write(&mut self, at: Span, error: f64) -> Span {
        let said = at.as_secs_f64() + error;
        let known = (said / Path::PRECISION).floor() * Path::PRECISION;
        Span::from_secs_f64(known + Path::PRECISION * self.random.uniform())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Scenario;

    fn paths(sources: &str) -> Vec<Path> {
        let head = "name = 'x'\nwhat = 'y'\nduration = '1 h'\n[[sources]]\n";
        Path::all(&Scenario::parse(&format!("{head}{sources}")).unwrap().sources, 1)
    }

    #[test]
    fn each_source_gets_the_delay_and_asymmetry_that_were_asked() {
        let mut p = paths("delays = ['10 ms', '20 ms']\nasymmetry = '2 ms'");
        let sent = Span::from_secs(100);
        let journey = p[1].send(sent, &[]).unwrap();
        assert_eq!(journey.arrival - sent, Span::from_millis(40));
        assert!((journey.t2 - sent - Span::from_millis(18)).abs() < Span::from_nanos(240));
        assert!(journey.t2 != journey.t3, "digits below the precision are random");
    }

    #[test]
    fn losses_and_copies_come_with_their_probability() {
        let mut p = paths("delays = ['10 ms']\nloss = 0.1\nduplicate = 0.3");
        let sent = (0..20_000).map(|i| p[0].send(Span::from_secs(i), &[]));
        let (mut lost, mut copies) = (0, 0);
        for journey in sent {
            lost += usize::from(journey.is_none());
            copies += usize::from(journey.is_some_and(|j| j.copy.is_some()));
        }
        assert!((lost as f64 / 20_000.0 - 0.19).abs() < 0.01, "{lost}: either way can lose it");
        assert!((copies as f64 / 16_200.0 - 0.3).abs() < 0.015, "{copies}");
    }

    #[test]
    fn a_measurement_is_wrong_by_no_more_than_half_its_delay() {
        let mut p = paths("delays = ['10 ms']\njitter = [{ exponential = { mean = '5 ms' } }]");
        for i in 0..1000 {
            let sent = Span::from_secs(i);
            let j = p[0].send(sent, &[]).unwrap();
            let stamps = [sent, j.t2, j.t3, j.arrival];
            let reply =
                Reply { source: 0, stamps, stratum: 1, root_delay: Span::ZERO, root_dispersion: Span::ZERO };
            let m = reply.measurement();
            let error = (m.utc - trace::EPOCH) - Span::from_nanos(m.at.as_nanos());
            assert!(error.abs() <= m.max_error());
        }
    }
}
