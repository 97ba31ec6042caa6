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
    offset: Option<Remembered>,
    left: RawInstant,
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
    routes: [Option<Route>; ROUTES],
    current: usize,
    /// The newest delays, s.
    run: [f64; RUN],
    seen: usize,
}

impl Routes {
    pub(super) fn new() -> Routes {
        let first = Route { floor: Floor::new(), offset: None, left: RawInstant::default() };
        Routes { routes: [Some(first), None, None], current: 0, run: [0.0; RUN], seen: 0 }
    }

    /// Takes in a delay (s); `offset` is the path's before it.
    pub(super) fn observe(&mut self, delay: f64, offset: Remembered) -> (Excess, Option<Change>) {
        let now = offset.at;
        self.run[self.seen % RUN] = delay;
        self.seen += 1;
        let change = self.shift(delay).map(|level| self.change(level, offset));
        (self.floor_mut().observe(delay, now), change)
    }

    /// The delay floor of the present route.
    pub(super) fn floor(&self) -> &Floor {
        self.routes[self.current]
            .as_ref()
            .map_or_else(|| unreachable!("the present route is known"), |r| &r.floor)
    }

    /// The offset on the first route, if packets now take another.
    pub(super) fn first(&self) -> Option<f64> {
        let first = self.routes[0].as_ref().filter(|_| self.current != 0)?;
        first.offset.map(|o| o.offset)
    }

    fn floor_mut(&mut self) -> &mut Floor {
        let route = &mut self.routes[self.current];
        &mut route
            .get_or_insert_with(|| Route { floor: Floor::new(), offset: None, left: RawInstant::default() })
            .floor
    }

    /// The smallest delay of a route that is not the present one, if the newest packets came by such.
    fn shift(&self, delay: f64) -> Option<f64> {
        let floor = self.floor();
        // Nothing but the shorter route itself can be as fast as a shorter route.
        let shorter = |r: &&Route| {
            r.floor.slack().is_some_and(|slack| {
                r.floor.least() + slack < floor.least() && delay < r.floor.least() + slack
            })
        };
        if self.routes.iter().flatten().any(|r| shorter(&r)) {
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
        if let Some(route) = &mut self.routes[self.current] {
            route.offset = Some(offset);
            route.left = offset.at;
        }
        let run = self.run;
        self.seen = 0;
        let near = |r: &Option<Route>| {
            let floor = r.as_ref().map(|r| &r.floor)?;
            let distance = (level - floor.least()).abs();
            (distance <= floor.slack()?).then_some(distance)
        };
        let known = (0..ROUTES)
            .filter(|&i| i != self.current)
            .filter_map(|i| near(&self.routes[i]).map(|d| (i, d)))
            .min_by(|a, b| a.1.total_cmp(&b.1));
        if let Some((i, _)) = known {
            self.current = i;
            if let Some(back) = self.routes[i].as_ref().and_then(|r| r.offset) {
                return Change::Back(back);
            }
            return Change::New { shift };
        }
        let age = |i: &usize| self.routes[*i].as_ref().map(|r| r.left);
        self.current = (1..ROUTES).filter(|i| *i != self.current).min_by_key(age).unwrap_or(1);
        let mut floor = Floor::new();
        if level > delay_of(&run) - f64::EPSILON {
            run.iter().for_each(|d| {
                floor.observe(*d, offset.at);
            });
        }
        self.routes[self.current] = Some(Route { floor, offset: None, left: offset.at });
        Change::New { shift }
    }
}

fn delay_of(run: &[f64]) -> f64 {
    run.iter().copied().fold(f64::INFINITY, f64::min)
}
