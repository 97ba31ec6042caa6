//! The whole loop in worlds with a known truth: the real engine measures, steering decides, a kernel's clock obeys, and what the
//! kernel is told of it is held against the truth.

use chronotick_clock::{Leap, Rate, RawInstant, Span, Timestamp};
use chronotick_core::{Disruption, Engine, KernelClock, Settings};
use chronotick_monitor::{ClockError, Known, Manner, Order, Policy, Steering, Terms};
use chronotick_sim::{Client, Moment, Reply, Scenario, World};

const POLL: Span = Span::from_secs(16);

/// A machine with an engine, a steered system clock, and what became of it.
struct Machine {
    engine: Engine,
    steering: Steering,
    kernel: KernelClock,
    /// System clock − raw clock, and when that was.
    lag: Option<(RawInstant, Span)>,
    seconds: u32,
    /// True errors of the system clock beside those of corrected time after the first half hour, in seconds.
    errors: Vec<(f64, f64)>,
    claimed: u32,
    wrong_claims: u32,
    set_back: bool,
}

impl Client for Machine {
    fn interval(&mut self, _source: u32, _now: RawInstant) -> Span {
        POLL
    }

    fn receive(&mut self, reply: &Reply) {
        self.engine.measure(&reply.measurement());
    }

    fn disrupted(&mut self, disruption: Disruption, now: RawInstant) {
        self.engine.disrupted(disruption, now);
    }

    fn compare(&mut self, moment: &Moment) {
        self.seconds += 1;
        // It begins 700 ms behind.
        let begin = (
            moment.raw,
            (moment.utc - Timestamp::from_nanos(moment.raw.as_nanos())) - Span::from_millis(700),
        );
        let (last, lag) = self.lag.unwrap_or(begin);
        let elapsed = moment.raw - last;
        let quarter = Span::from_nanos(self.kernel.pending.as_nanos() / 4);
        self.kernel.pending = self.kernel.pending - quarter;
        self.kernel.max_error += Rate::from_ppm(500.0).over(elapsed);
        let mut lag = lag + quarter + self.kernel.frequency.over(elapsed);
        let system = Timestamp::from_nanos(moment.raw.as_nanos()) + lag;
        let truth = moment.utc - system;
        if self.kernel.synchronised {
            self.claimed += 1;
            self.wrong_claims += u32::from(truth.abs() > self.kernel.max_error);
        }
        if let Some(known) = self.known(moment.raw, system) {
            if self.seconds > 1_800
                && let Some(error) = known.error
            {
                self.errors.push((truth.as_secs_f64(), (truth - error.offset).as_secs_f64()));
            }
            let order = self.steering.decide(&known, &self.kernel, None);
            if let Order::Step { by, .. } = order {
                lag += by;
                self.set_back |= by < Span::ZERO;
            }
            if let Order::Run(course) | Order::Step { course, .. } = order {
                self.kernel = KernelClock {
                    frequency: course.frequency,
                    pending: course.slew,
                    max_error: course.claim.max_error,
                    estimated_error: course.claim.estimated_error,
                    synchronised: course.claim.synchronised,
                };
                self.steering.done(&self.kernel);
            }
        }
        self.lag = Some((moment.raw, lag));
    }
}

impl Machine {
    fn known(&mut self, at: RawInstant, system: Timestamp) -> Option<Known> {
        self.engine.last_trusted()?;
        let solution = self.engine.solution(at);
        let reading = solution.reading(at);
        let agreeing = self.engine.sources(at).iter().filter(|s| s.verdict.to_string() == "trusted").count();
        Some(Known {
            at,
            utc: reading.estimate,
            state: reading.state,
            error: Some(ClockError {
                offset: reading.estimate - system,
                early: reading.estimate - reading.earliest,
                late: reading.latest - reading.estimate,
            }),
            sigma: reading.sigma,
            rate: solution.rate,
            agreeing: agreeing as u32,
            leap: Leap::None,
        })
    }
}

fn live(name: &str) -> Machine {
    let scenario = Scenario::built_in(name).expect("is built in");
    let settings = Settings { min_poll: POLL, max_poll: POLL, ..Settings::default() };
    let mut engine = Engine::new(settings, RawInstant::from_nanos(0));
    for source in 0..scenario.source_count() {
        engine.add_source(format!("source {source}"));
    }
    let policy = Policy { step_at_start_only: true, ..Policy::default() };
    let terms = Terms { manner: Manner::Step, policy, slew_rate: Rate::from_ppm(500.0) };
    let nobody = Span::from_secs(16);
    let mut machine = Machine {
        engine,
        steering: Steering::new(terms),
        kernel: KernelClock {
            frequency: Rate::ZERO,
            pending: Span::ZERO,
            max_error: nobody,
            estimated_error: nobody,
            synchronised: false,
        },
        lag: None,
        seconds: 0,
        errors: Vec::new(),
        claimed: 0,
        wrong_claims: 0,
        set_back: false,
    };
    World::new(&scenario, 5).run(Span::from_secs(1), &mut machine);
    machine
}

#[test]
fn the_system_clock_becomes_as_good_as_corrected_time_and_nobody_is_deceived() {
    println!("| world | system clock, rms | corrected time, rms | seconds claimed |");
    for name in ["six-sources", "liar-1-of-3"] {
        let machine = live(name);
        let rms = |which: fn(&(f64, f64)) -> f64| {
            let squares = machine.errors.iter().map(|errors| which(errors).powi(2));
            (squares.sum::<f64>() / machine.errors.len() as f64).sqrt()
        };
        let (system, corrected) = (rms(|errors| errors.0), rms(|errors| errors.1));
        println!("| {name} | {:.1} µs | {:.1} µs | {} |", system * 1e6, corrected * 1e6, machine.claimed);
        assert!(system < 1.5 * corrected + 2e-6, "{name}");
        assert!(machine.claimed > 3_600 && machine.wrong_claims == 0 && !machine.set_back, "{name}");
    }
}
