//! The routes that packets to one source take: which one now, its delay floor, and what its offset was last time.
//!
//! When a route changes, the delay shifts by some Δ, and the path's offset by at most Δ/2 in a direction that nobody
//! can see. So the offset is unknown by that much and measured anew, while the clock is carried by what it was; when
//! the old floor comes back, so does the old offset.

use super::floor::{Excess, Floor};
use crate::RawInstant;

/// So many routes are remembered; the first is never forgotten, because the consensus was built on it.
const ROUTES: usize = 3;
/// So many packets in a row far above the floor are another route.
const RUN: usize = 8;

/// An offset as last known, s, its variance, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Remembered {
    pub(super) offset: f64,
    pub(super) variance: f64,
    pub(super) at: RawInstant,
}

#[derive(Clone, Debug)]
struct Route {
    floor: Floor,
    /// When it was last taken.
    offset: Option<Remembered>,
}

/// What happened to the route.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change {
    /// A route that is not known; its delay differs by so much, s.
    New { shift: f64 },
    /// A route whose offset was known.
    Back(Remembered),
}

/// All routes of a path.
#[derive(Clone, Debug)]
pub(super) struct Routes {
    /// At least one, at most [`ROUTES`].
    routes: Vec<Route>,
    current: usize,
    /// The newest delays, s, and how many came since the last change.
    run: [f64; RUN],
    seen: usize,
}

impl Routes {
    pub(super) fn new() -> Routes {
        Routes { routes: vec![Route::new()], current: 0, run: [0.0; RUN], seen: 0 }
    }

    /// Takes in a delay (s); `offset` is the path's before it. If the other paths are slower than usual too, a longer
    /// delay is no other route of this one.
    pub(super) fn observe(
        &mut self,
        delay: f64,
        offset: Remembered,
        shared: bool,
    ) -> (Excess, Option<Change>) {
        self.run[self.seen % RUN] = delay;
        self.seen += 1;
        let longer = |level: &f64| *level > self.floor().least();
        let change = self
            .other_level(delay)
            .filter(|level| !(shared && longer(level)))
            .map(|level| self.change(level, offset));
        (self.routes[self.current].floor.observe(delay, offset.at), change)
    }

    /// Expects the floor that the path had before a restart (s).
    pub(super) fn expect(&mut self, least: f64, now: RawInstant) {
        self.routes[self.current].floor.expect(least, now);
    }

    /// The delay floor of the present route.
    pub(super) fn floor(&self) -> &Floor {
        &self.routes[self.current].floor
    }

    /// Whether the newest packets all took longer than the route explains.
    pub(super) fn raised(&self) -> bool {
        let newest = (1..=RUN / 2).map(|i| self.run[(self.seen + RUN - i) % RUN]);
        let least = newest.fold(f64::INFINITY, f64::min);
        let floor = self.floor();
        self.seen >= RUN / 2 && floor.slack().is_some_and(|slack| least > floor.least() + 0.5 * slack)
    }

    /// The offset on the first route, if packets now take another.
    pub(super) fn first(&self) -> Option<f64> {
        if self.current == 0 { None } else { self.routes[0].offset.map(|o| o.offset) }
    }

    /// The smallest delay of a route that is not the present one, if the newest packets came by such.
    fn other_level(&self, delay: f64) -> Option<f64> {
        let floor = self.floor();
        // Nothing but the shorter route itself is as fast as a shorter route.
        let shorter = |r: &Route| r.floor.least() < floor.least() && r.floor.reaches(delay);
        if self.routes.iter().any(shorter) {
            return Some(delay);
        }
        let slack = floor.slack()?;
        if delay < floor.least() - slack {
            return Some(delay);
        }
        let least = self.run.iter().copied().fold(f64::INFINITY, f64::min);
        (self.seen >= RUN && least > floor.least() + slack).then_some(least)
    }

    fn change(&mut self, level: f64, offset: Remembered) -> Change {
        let shift = (level - self.floor().least()).abs();
        self.routes[self.current].offset = Some(offset);
        let distance = |r: &Route| (level - r.floor.least()).abs();
        let known = (0..self.routes.len())
            .filter(|&i| i != self.current)
            .filter(|&i| self.routes[i].floor.slack().is_some_and(|slack| distance(&self.routes[i]) <= slack))
            .min_by(|&a, &b| distance(&self.routes[a]).total_cmp(&distance(&self.routes[b])));
        self.current = known.unwrap_or_else(|| self.begin(level, offset.at));
        self.seen = 0;
        match self.routes[self.current].offset {
            Some(then) => Change::Back(then),
            None => Change::New { shift },
        }
    }

    /// Begins a route in the place of the one that has not been taken for longest.
    fn begin(&mut self, level: f64, now: RawInstant) -> usize {
        let mut route = Route::new();
        // A longer route was noticed by a run of packets, all of which took it.
        if level > self.floor().least() {
            self.run.iter().for_each(|&delay| {
                route.floor.observe(delay, now);
            });
        }
        if self.routes.len() < ROUTES {
            self.routes.push(route);
            return self.routes.len() - 1;
        }
        let left = |i: &usize| self.routes[*i].offset.map(|o| o.at);
        let oldest = (1..ROUTES).filter(|i| *i != self.current).min_by_key(left).unwrap_or(1);
        self.routes[oldest] = route;
        oldest
    }
}

impl Route {
    fn new() -> Route {
        Route { floor: Floor::new(), offset: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Span;

    fn feed(routes: &mut Routes, delay: f64, from: i64, packets: i64) -> Option<Change> {
        let mut change = None;
        for i in from..from + packets {
            let at = RawInstant::default() + Span::from_secs(16 * i);
            let offset = Remembered { offset: 1e-3, variance: 1e-12, at };
            let jitter = 1e-4 * ((i * 7 % 13) as f64) / 13.0;
            change = routes.observe(delay + jitter, offset, false).1.or(change);
        }
        change
    }

    #[test]
    fn a_detour_is_noticed_and_the_way_back_is_known() {
        let mut routes = Routes::new();
        assert!(feed(&mut routes, 0.020, 0, 100).is_none());
        match feed(&mut routes, 0.028, 100, 20) {
            Some(Change::New { shift }) => assert!((shift - 0.008).abs() < 2e-4, "{shift}"),
            other => panic!("{other:?}"),
        }
        assert_eq!(routes.first(), Some(1e-3));
        assert!(matches!(feed(&mut routes, 0.020, 120, 1), Some(Change::Back(then)) if then.offset == 1e-3));
        assert_eq!(routes.first(), None);
    }

    #[test]
    fn single_slow_packets_are_no_detour() {
        let mut routes = Routes::new();
        for i in 0..40 {
            assert!(feed(&mut routes, 0.020, 8 * i, 7).is_none());
            assert!(feed(&mut routes, 0.200, 8 * i + 7, 1).is_none());
        }
    }
}
