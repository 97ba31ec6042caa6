use super::*;
use chronotick_core::KernelClock;
use chronotick_monitor::{Manner, Policy, Terms};
use std::sync::Mutex;

/// A clock that writes down what is done to it.
#[derive(Debug)]
struct Noted(Arc<Mutex<Vec<String>>>, KernelClock);

impl Steer for Noted {
    fn read(&mut self) -> io::Result<KernelClock> {
        Ok(self.1)
    }
    fn run(&mut self, course: &Course) -> io::Result<KernelClock> {
        self.0.lock().expect("is whole").push(format!("run {}", course.slew));
        self.1.frequency = course.frequency;
        self.1.max_error = course.claim.max_error;
        self.1.synchronised = course.claim.synchronised;
        Ok(self.1)
    }
    fn step(&mut self, by: Span) -> io::Result<()> {
        self.0.lock().expect("is whole").push(format!("step {by}"));
        Ok(())
    }
}

fn known_off_by(offset: Span) -> Known {
    Known {
        at: RawInstant::from_nanos(5),
        utc: Timestamp::from_nanos(1_790_000_000_000_000_000),
        state: State::Synced,
        error: Some(ClockError { offset, early: Span::from_micros(1), late: Span::from_micros(1) }),
        sigma: Span::from_micros(1),
        rate: Rate::from_ppm(3.0),
        agreeing: 3,
        leap: Leap::None,
    }
}

#[test]
fn an_order_is_carried_out_and_told() {
    let done = Arc::new(Mutex::new(Vec::new()));
    let kernel = KernelClock {
        frequency: Rate::ZERO,
        pending: Span::ZERO,
        max_error: Span::from_secs(16),
        estimated_error: Span::from_secs(16),
        synchronised: false,
    };
    let feed = Feed::default();
    let follower = feed.follow();
    let terms = Terms { manner: Manner::Step, policy: Policy::default(), slew_rate: Rate::from_ppm(500.0) };
    let mut hand = Hand::new(Steering::new(terms), Box::new(Noted(done.clone(), kernel)), feed);
    let known = known_off_by(Span::from_millis(1_300));
    let order = hand.steering.decide(&known, &kernel, None);
    hand.obey(&order, &known).expect("obeys");
    hand.tell(&known, &order);
    assert_eq!(*done.lock().expect("is whole"), ["step 1.000 s", "run 2.000 ms"]);
    let Ok(Some(News::Steered(told))) = follower.next(Duration::ZERO) else { panic!("was not told") };
    assert_eq!((told.action, told.amount_ns), ("step", 1_000_000_000));
    assert!(hand.clock.read().expect("is read").synchronised);
    // Once time is lost, nobody is told any more that the clock is right.
    let lost = Known { state: State::Unsynced, ..known };
    let order = hand.steering.decide(&lost, &kernel, None);
    hand.obey(&order, &lost).expect("obeys");
    assert!(!hand.clock.read().expect("is read").synchronised);
    hand.obey(&order, &lost).expect("obeys");
    assert_eq!(done.lock().expect("is whole").len(), 3, "which is said once");
}

#[test]
fn without_the_setting_nothing_is_opened() {
    let feed = Feed::default();
    start(&Config::default(), &feed).expect("starts nothing");
    assert_eq!(Config::default().discipline, crate::config::Discipline::Off);
}
