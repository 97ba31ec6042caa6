//! Steering on simulated clocks, in a closed loop: it converges, keeps to its limits, and never sets a clock back.

use chronotick_clock::{Leap, Rate, RawInstant, Span, State, Timestamp};
use chronotick_core::{Course, KernelClock};
use chronotick_monitor::{ClockError, Known, Manner, Order, Policy, Reluctance, Steering, Terms};
use proptest::prelude::*;

/// A kernel's clock as `ntp_adjtime` runs it: a frequency, and a quarter of what is to be slewed in each second.
struct Simulated {
    kernel: KernelClock,
    /// System clock − true time.
    ahead: Span,
    /// How much faster true time runs than the raw clock.
    rate: Rate,
    seconds: i64,
    /// The furthest back that it was set, and the most that it was slewed within a second.
    set_back: Span,
    fastest: Span,
}

impl Simulated {
    fn new(offset: Span, ppm: f64) -> Simulated {
        let nobody = Span::from_secs(16);
        Simulated {
            kernel: KernelClock {
                frequency: Rate::ZERO,
                pending: Span::ZERO,
                max_error: nobody,
                estimated_error: nobody,
                synchronised: false,
            },
            ahead: -offset,
            rate: Rate::from_ppm(ppm),
            seconds: 0,
            set_back: Span::ZERO,
            fastest: Span::ZERO,
        }
    }

    /// What an engine would know, whose estimate is wrong by `noise`.
    fn known(&self, noise: Span) -> Known {
        let at = RawInstant::from_nanos(self.seconds * 1_000_000_000);
        let side = noise.abs() + Span::from_nanos(1);
        Known {
            at,
            utc: Timestamp::from_nanos(1_790_000_000_000_000_000 + at.as_nanos()),
            state: State::Synced,
            error: Some(ClockError { offset: noise - self.ahead, early: side, late: side }),
            sigma: noise.abs(),
            rate: self.rate,
            agreeing: 3,
            leap: Leap::None,
        }
    }

    fn set(&mut self, course: &Course) {
        self.kernel = KernelClock {
            frequency: course.frequency,
            pending: course.slew,
            max_error: course.claim.max_error,
            estimated_error: course.claim.estimated_error,
            synchronised: course.claim.synchronised,
        };
    }

    fn obey(&mut self, order: &Order) {
        match order {
            Order::Run(course) => self.set(course),
            Order::Step { by, course, .. } => {
                self.ahead += *by;
                self.set_back = self.set_back.max(-*by);
                self.set(course);
            }
            Order::Stand(_) => {}
        }
    }

    fn second(&mut self) {
        let quarter = Span::from_nanos(self.kernel.pending.as_nanos() / 4);
        self.kernel.pending = self.kernel.pending - quarter;
        self.fastest = self.fastest.max(quarter.abs());
        let gained = Rate::from_bits(self.kernel.frequency.to_bits() - self.rate.to_bits());
        self.ahead = self.ahead + quarter + gained.over(Span::from_secs(1));
        self.kernel.max_error += Span::from_micros(500);
        self.seconds += 1;
    }

    /// Lives so long, steered.
    fn live(&mut self, steering: &mut Steering, seconds: i64, noise: impl Fn(i64) -> Span) -> Vec<Order> {
        let mut orders = Vec::new();
        for _ in 0..seconds {
            let order = steering.decide(&self.known(noise(self.seconds)), &self.kernel, None);
            self.obey(&order);
            if !matches!(order, Order::Stand(_)) {
                steering.done(&self.kernel);
            }
            orders.push(order);
            self.second();
        }
        orders
    }
}

fn terms(manner: Manner, policy: Policy) -> Terms {
    Terms { manner, policy, slew_rate: Rate::from_ppm(500.0) }
}

fn quiet(_: i64) -> Span {
    Span::ZERO
}

#[test]
fn a_small_offset_is_slewed_away_and_stays_away() {
    let mut clock = Simulated::new(Span::from_millis(20), 37.0);
    let mut steering = Steering::new(terms(Manner::Step, Policy::default()));
    let orders = clock.live(&mut steering, 300, quiet);
    assert!(orders.iter().all(|order| matches!(order, Order::Run(_))));
    assert!(clock.ahead.abs() < Span::from_nanos(200), "{}", clock.ahead);
    assert!(clock.kernel.synchronised && clock.kernel.max_error < Span::from_millis(1));
}

#[test]
fn a_large_offset_is_stepped_a_second_at_a_time_with_cooldown_and_at_the_start_only() {
    let policy = Policy { cooldown: Span::from_secs(60), step_at_start_only: true, ..Policy::default() };
    let mut clock = Simulated::new(Span::from_millis(3_400), 0.0);
    let mut steering = Steering::new(terms(Manner::Step, policy));
    let orders = clock.live(&mut steering, 600, quiet);
    let step = |order: &Order| if let Order::Step { by, .. } = order { Some(*by) } else { None };
    let steps: Vec<(usize, Span)> =
        orders.iter().enumerate().filter_map(|(i, order)| Some((i, step(order)?))).collect();
    assert_eq!(steps.iter().map(|step| step.0).collect::<Vec<_>>(), [0, 60, 120, 180]);
    assert!(steps.iter().all(|step| step.1 <= Span::from_secs(1)));
    assert!(clock.ahead.abs() < Span::from_micros(1), "{}", clock.ahead);
    // Later the same offset is slewed.
    clock.ahead = Span::from_millis(-900);
    let later = clock.live(&mut steering, 100, quiet);
    assert!(later.iter().all(|order| step(order).is_none()));
}

#[test]
fn a_clock_that_is_ahead_is_slewed_not_set_back() {
    let mut clock = Simulated::new(Span::from_millis(-800), 0.0);
    let mut steering = Steering::new(terms(Manner::Step, Policy::default()));
    clock.live(&mut steering, 2_000, quiet);
    assert!(clock.set_back == Span::ZERO && clock.ahead.abs() < Span::from_micros(1), "{}", clock.ahead);
}

#[test]
fn beyond_the_panic_limit_without_a_quorum_and_unsynced_nothing_is_done() {
    let mut clock = Simulated::new(Span::from_secs(1_001), 0.0);
    let mut steering = Steering::new(terms(Manner::Step, Policy::default()));
    let orders = clock.live(&mut steering, 3, quiet);
    assert!(orders.iter().all(|order| matches!(order, Order::Stand(Reluctance::Refused(_)))));
    assert!(!clock.kernel.synchronised, "nobody claims what is not so");
    let clock = Simulated::new(Span::from_millis(5), 0.0);
    let lonely = Known { agreeing: 1, ..clock.known(Span::ZERO) };
    assert!(matches!(steering.decide(&lonely, &clock.kernel, None), Order::Stand(Reluctance::Refused(_))));
    let lost = Known { state: State::Unsynced, ..clock.known(Span::ZERO) };
    assert!(matches!(steering.decide(&lost, &clock.kernel, None), Order::Stand(Reluctance::NotSynced(_))));
}

#[test]
fn it_gives_way_to_another_program_that_steers() {
    let mut clock = Simulated::new(Span::from_millis(5), 0.0);
    let mut steering = Steering::new(terms(Manner::Slew, Policy::default()));
    let named = steering.decide(&clock.known(Span::ZERO), &clock.kernel, Some("chronyd (pid 7)"));
    assert_eq!(named, Order::Stand(Reluctance::Rival("chronyd (pid 7)".into())));
    clock.live(&mut steering, 10, quiet);
    // One that is not known by name is found by what it does.
    let mut stood = 0;
    for i in 0..20 {
        clock.kernel.frequency = Rate::from_ppm(11.0 + f64::from(i));
        let orders = clock.live(&mut steering, 30, quiet);
        stood += orders.iter().filter(|order| matches!(order, Order::Stand(Reluctance::Rival(_)))).count();
    }
    assert!(stood > 500, "{stood}");
}

#[test]
fn a_leap_second_is_handed_on_the_last_day_of_its_month_only() {
    let clock = Simulated::new(Span::ZERO, 0.0);
    let leap_on = |utc_seconds: i64| {
        let utc = Timestamp::from_nanos(utc_seconds * 1_000_000_000);
        let known = Known { utc, leap: Leap::Insert, ..clock.known(Span::ZERO) };
        let mut steering = Steering::new(terms(Manner::Slew, Policy::default()));
        let Order::Run(course) = steering.decide(&known, &clock.kernel, None) else { panic!("runs") };
        course.claim.leap
    };
    // 2016-12-31 and the days around it; 2024-02-29 and the day before.
    assert_eq!(leap_on(1_483_228_799), Leap::Insert);
    assert_eq!(leap_on(1_483_142_399), Leap::None);
    assert_eq!(leap_on(1_483_228_800), Leap::None);
    assert_eq!((leap_on(1_709_164_800), leap_on(1_709_164_799)), (Leap::Insert, Leap::None));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the clock was like: it comes near, never faster than allowed, never back, never by more than a second at once.
    #[test]
    fn it_converges_within_its_limits(
        offset in -1_500i64..1_500,
        ppm in -200.0f64..200.0,
        noise in 0i64..50,
        seed: u32,
        step: bool,
    ) {
        let manner = if step { Manner::Step } else { Manner::Slew };
        let policy = Policy { cooldown: Span::from_secs(30), ..Policy::default() };
        let mut clock = Simulated::new(Span::from_millis(offset), ppm);
        let mut steering = Steering::new(terms(manner, policy));
        let noisy = |second: i64| {
            let mixed = (second as u64 + 1).wrapping_mul(u64::from(seed) | 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
            Span::from_micros(mixed as i64 % (2 * noise + 1) - noise)
        };
        let orders = clock.live(&mut steering, 4_000, noisy);
        prop_assert!(clock.ahead.abs() <= Span::from_micros(2 * noise + 2), "{}", clock.ahead);
        prop_assert_eq!(clock.set_back, Span::ZERO);
        prop_assert!(clock.fastest <= Span::from_micros(501));
        for order in &orders {
            if let Order::Step { by, .. } = order {
                prop_assert!(step && *by <= Span::from_secs(1) && *by > Span::ZERO);
            }
        }
        // What others are told is true.
        prop_assert!(clock.kernel.max_error >= clock.ahead.abs());
    }
}
