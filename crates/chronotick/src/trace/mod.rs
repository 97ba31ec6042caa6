//! The debug trace: everything that went into the engine, what it answered, and what was asked of the models, one JSON
//! object on a line. What went in gives the same answers again, to the bit: [`replay`] proves that.
//!
//! Instants, spans and rates are integers as everywhere (ns; 2⁻⁴⁸ for rates); a number whose last bit matters is a
//! string, because JSON's readers round.

mod replay;
mod tape;

use chronotick_clock::Narrow;
use chronotick_core::{
    CHANNELS, Conditions, Disruption, Expected, Forecast, Measurement, Member, Rate, RawInstant, Settings,
    Solution, Span, Stamps,
};
pub use replay::{BadTrace, Replayed, recognises, replay};
use serde::{Deserialize, Serialize};
pub use tape::Tape;

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Line {
    /// An engine began.
    Start {
        /// Of the program.
        version: String,
        /// When.
        raw_ns: i64,
        /// What it was told.
        settings: EngineSettings,
    },
    /// What an earlier run had learned.
    Restored {
        /// Rate of true time against the raw clock.
        rate: i64,
        /// Standard deviation of that.
        rate_sigma: i64,
    },
    /// What was known of a member before its first forecast.
    Expected {
        /// Of whom.
        member: String,
        /// As in [`chronotick_core::Expected`]: horizon in ns, share, spread.
        horizons: Vec<(i64, Exact, Exact)>,
    },
    /// A source became known.
    Source {
        /// Its number.
        id: u32,
        /// Its name.
        name: String,
    },
    /// A source was forgotten.
    SourceRemoved {
        /// Its number.
        id: u32,
    },
    /// How often a source is polled from now on.
    Polled {
        /// Its number.
        id: u32,
        /// The interval.
        interval_ns: i64,
    },
    /// What the word of a source counts for, where that is not the usual.
    Role {
        /// Number of the source.
        id: u32,
        /// As in [`chronotick_core::Role`].
        noselect: bool,
        /// As there.
        prefer: bool,
        /// As there.
        trust: bool,
        /// As there.
        require: bool,
    },
    /// The smallest round trip that a path had in an earlier run.
    Floor {
        /// Number of the source.
        id: u32,
        /// When it was told.
        raw_ns: i64,
        /// The round trip.
        floor_ns: i64,
    },
    /// A measurement.
    Measurement {
        /// Number of the source.
        source: u32,
        /// As in [`chronotick_core::Measurement`].
        at_ns: i64,
        /// When it became known.
        received_ns: i64,
        /// What the source said.
        utc_ns: i64,
        /// Round trip.
        delay_ns: i64,
        /// The source's own round trip.
        root_delay_ns: i64,
        /// The source's own dispersion.
        root_dispersion_ns: i64,
        /// Distance from a reference clock.
        stratum: u8,
        /// 0 none, 1 insert, 2 delete.
        leap: u8,
        /// Whether the kernel took the stamps.
        kernel: bool,
    },
    /// The machine's clocks were disturbed.
    Disruption {
        /// When it was noticed.
        raw_ns: i64,
        /// `suspended`, `raw_jump`, `migrated`, `system_step`.
        kind: String,
        /// For how long, or by how much.
        span_ns: i64,
    },
    /// The machine's conditions.
    Conditions {
        /// When.
        raw_ns: i64,
        /// As in [`chronotick_core::Conditions`].
        values: [Option<Exact>; CHANNELS],
    },
    /// A forecast was handed to the engine: a model's output on the engine's line.
    Forecast {
        /// Of whom.
        member: String,
        /// The newest measurement then, and the engine's line through it.
        origin_ns: i64,
        /// Corrected time then.
        utc_ns: i64,
        /// The line's rate.
        rate: i64,
        /// What the bank foresaw beyond the line: age, offset.
        bank: Vec<(i64, i64)>,
        /// What the member foresees: age, offset, standard deviation.
        ahead: Vec<(i64, i64, Option<i64>)>,
        /// Why the engine did not take it.
        refused: Option<String>,
    },
    /// The engine was asked, and answered this.
    Solution {
        /// When.
        raw_ns: i64,
        /// Corrected time.
        utc_ns: i64,
        /// Rate of true time against the raw clock.
        rate: i64,
        /// The bound before it.
        early_ns: i64,
        /// The bound after it.
        late_ns: i64,
        /// The bound that assumes something: before, after, what.
        narrow: Option<(i64, i64, String)>,
        /// How fast both grow.
        bound_growth: i64,
        /// As in [`chronotick_core::Variance`].
        variance: [Exact; 4],
        /// As in [`chronotick_core::Levels`].
        levels: u64,
        /// The state.
        state: String,
        /// Why.
        reason: String,
        /// When an answer without a successor is in holdover.
        holdover_ns: i64,
        /// When it is unsynced.
        unsynced_ns: i64,
        /// How many disruptions there were.
        disruptions: u32,
        /// 0 none, 1 insert, 2 delete.
        leap: u8,
    },
    /// A model was asked.
    Question {
        /// For whom.
        member: String,
        /// The newest measurement.
        origin_ns: i64,
        /// Distance of the grid's points.
        step_ns: i64,
        /// How many steps ahead.
        steps: usize,
        /// Smoothed frequencies, s/s, the newest last; `null` where nothing was measured.
        frequency: Vec<Option<f64>>,
        /// The machine's conditions at the same points.
        conditions: Vec<Vec<Option<f64>>>,
    },
    /// How a model does, whenever that changes.
    Model {
        /// For whom it forecasts.
        member: String,
        /// `opening`, `ready`, `missing`, `failing`, `broken`.
        state: String,
        /// Why it is not ready.
        reason: Option<String>,
        /// Questions asked.
        asked: u64,
        /// Forecasts that came back.
        answered: u64,
        /// Those that came too late.
        late: u64,
        /// Times at which the newest forecast still held.
        cached: u64,
        /// Times at which it was put off for the share of the processor.
        put_off: u64,
    },
    /// What corrected time is made of, once a second while anyone forecasts.
    Fusion {
        /// When.
        raw_ns: i64,
        /// As in the status.
        source: String,
        /// Of each member: name, weight, correction in ns, why.
        members: Vec<(String, f64, i64, String)>,
    },
    /// So many lines are missing here: writing was slower than the clock.
    Dropped {
        /// How many.
        lines: u64,
    },
}

/// A floating-point number that survives being written.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Exact(pub f64);

impl From<Exact> for String {
    fn from(number: Exact) -> String {
        format!("{:?}", number.0)
    }
}

impl TryFrom<String> for Exact {
    type Error = std::num::ParseFloatError;

    fn try_from(text: String) -> Result<Exact, Self::Error> {
        text.parse().map(Exact)
    }
}

/// The engine's settings; spans in ns, rates in 2⁻⁴⁸.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each is documented in chronotick_core::Settings")]
pub struct EngineSettings {
    pub warmup: i64,
    pub min_poll: i64,
    pub max_poll: i64,
    pub timeout: i64,
    pub max_bound: i64,
    pub publish_interval: i64,
    pub frequency_tolerance: i64,
    pub asymmetry: u8,
    pub forecast_threshold: i64,
}

impl From<&Settings> for EngineSettings {
    fn from(settings: &Settings) -> EngineSettings {
        let Settings {
            warmup,
            min_poll,
            max_poll,
            timeout,
            max_bound,
            publish_interval,
            frequency_tolerance,
            asymmetry,
            forecast_threshold,
        } = settings;
        EngineSettings {
            warmup: warmup.as_nanos(),
            min_poll: min_poll.as_nanos(),
            max_poll: max_poll.as_nanos(),
            timeout: timeout.as_nanos(),
            max_bound: max_bound.as_nanos(),
            publish_interval: publish_interval.as_nanos(),
            frequency_tolerance: frequency_tolerance.to_bits(),
            asymmetry: *asymmetry,
            forecast_threshold: forecast_threshold.as_nanos(),
        }
    }
}

impl From<&EngineSettings> for Settings {
    fn from(settings: &EngineSettings) -> Settings {
        let span = Span::from_nanos;
        Settings {
            warmup: span(settings.warmup),
            min_poll: span(settings.min_poll),
            max_poll: span(settings.max_poll),
            timeout: span(settings.timeout),
            max_bound: span(settings.max_bound),
            publish_interval: span(settings.publish_interval),
            frequency_tolerance: Rate::from_bits(settings.frequency_tolerance),
            asymmetry: settings.asymmetry,
            forecast_threshold: span(settings.forecast_threshold),
        }
    }
}

impl Line {
    /// That an engine began.
    pub fn start(settings: &Settings, now: RawInstant) -> Line {
        let version = env!("CARGO_PKG_VERSION").into();
        Line::Start { version, raw_ns: now.as_nanos(), settings: settings.into() }
    }

    /// A measurement.
    pub fn measurement(m: &Measurement) -> Line {
        Line::Measurement {
            source: m.source.0,
            at_ns: m.at.as_nanos(),
            received_ns: m.received.as_nanos(),
            utc_ns: m.utc.as_nanos(),
            delay_ns: m.delay.as_nanos(),
            root_delay_ns: m.root_delay.as_nanos(),
            root_dispersion_ns: m.root_dispersion.as_nanos(),
            stratum: m.stratum,
            leap: m.leap as u8,
            kernel: m.stamps == Stamps::Kernel,
        }
    }

    /// A disruption.
    pub fn disruption(disruption: Disruption, now: RawInstant) -> Line {
        let (kind, span) = match disruption {
            Disruption::Suspended { lasted } => ("suspended", lasted),
            Disruption::RawJump { by } => ("raw_jump", by),
            Disruption::Migrated => ("migrated", Span::ZERO),
            Disruption::SystemStep { by } => ("system_step", by),
        };
        Line::Disruption { raw_ns: now.as_nanos(), kind: kind.into(), span_ns: span.as_nanos() }
    }

    /// Conditions.
    pub fn conditions(c: &Conditions) -> Line {
        Line::Conditions { raw_ns: c.at.as_nanos(), values: c.values.map(|v| v.map(Exact)) }
    }

    /// What is known of a member beforehand.
    pub fn expected(member: Member, expected: &[Expected]) -> Line {
        let horizon = |e: &Expected| (e.horizon.as_nanos(), Exact(e.share), Exact(e.spread));
        Line::Expected { member: member.name().into(), horizons: expected.iter().map(horizon).collect() }
    }

    /// A forecast, and why it was refused if it was.
    pub fn forecast(f: &Forecast, refused: Option<String>) -> Line {
        let Forecast { member, outlook, ahead } = f;
        let nanos = Span::as_nanos;
        Line::Forecast {
            member: member.name().into(),
            origin_ns: outlook.at.as_nanos(),
            utc_ns: outlook.utc.as_nanos(),
            rate: outlook.rate.to_bits(),
            bank: outlook.bank.iter().map(|&(age, offset)| (nanos(age), nanos(offset))).collect(),
            ahead: ahead.iter().map(|a| (nanos(a.age), nanos(a.offset), a.sigma.map(nanos))).collect(),
            refused,
        }
    }

    /// An answer of the engine.
    pub fn solution(s: &Solution) -> Line {
        let Solution {
            at,
            utc,
            rate,
            early,
            late,
            narrow,
            bound_growth,
            variance,
            levels,
            state,
            reason,
            holdover_at,
            unsynced_at,
            disruptions,
            leap,
        } = s;
        let sides = |n: &Narrow| (n.early.as_nanos(), n.late.as_nanos(), n.assumes.to_string());
        Line::Solution {
            raw_ns: at.as_nanos(),
            utc_ns: utc.as_nanos(),
            rate: rate.to_bits(),
            early_ns: early.as_nanos(),
            late_ns: late.as_nanos(),
            narrow: narrow.as_ref().map(sides),
            bound_growth: bound_growth.to_bits(),
            variance: variance.0.map(Exact),
            levels: levels.to_bits(),
            state: state.name().into(),
            reason: reason.to_string(),
            holdover_ns: holdover_at.as_nanos(),
            unsynced_ns: unsynced_at.as_nanos(),
            disruptions: *disruptions,
            leap: *leap as u8,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chronotick_core::{Ahead, Engine, Leap, Timestamp};
    use std::io::{self, Write};
    use std::sync::mpsc::{Receiver, sync_channel};
    use std::sync::{Arc, Mutex};

    /// A file in memory.
    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn at(seconds: i64) -> RawInstant {
        RawInstant::from_nanos(0) + Span::from_secs(seconds)
    }

    /// What an engine lived through and answered, with conditions, a forecast and a disruption.
    fn traced() -> String {
        let memory = Memory::default();
        let tape = Tape::to(memory.clone()).unwrap();
        let settings = Settings::default();
        let mut engine = Engine::new(settings.clone(), at(0));
        tape.tell(Line::start(&settings, at(0)));
        let source = engine.add_source("a");
        tape.tell(Line::Source { id: source.0, name: "a".into() });
        for second in 1..200 {
            let jitter = Span::from_nanos(second * 7_919 % 10_007);
            let m = Measurement {
                source,
                at: at(second),
                received: at(second) + Span::from_millis(5),
                utc: Timestamp::from_nanos(1_700_000_000_000_000_000)
                    + Span::from_nanos(second * 1_000_012_345)
                    + jitter,
                delay: Span::from_millis(10) + jitter,
                root_delay: Span::ZERO,
                root_dispersion: Span::from_micros(1),
                stratum: 1,
                leap: Leap::None,
                stamps: if second % 2 == 0 { Stamps::Kernel } else { Stamps::User },
            };
            engine.measure(&m);
            tape.tell(Line::measurement(&m));
            let values = [Some(0.1), Some(40.0 + 1.0 / second as f64), None, None, Some(1e-17)];
            let conditions = Conditions { at: at(second), values };
            engine.sense(&conditions);
            tape.tell(Line::conditions(&conditions));
            if second == 100 {
                let outlook = engine.outlook([Span::from_secs(30)]).unwrap();
                let ahead =
                    vec![Ahead { age: Span::from_secs(30), offset: Span::from_nanos(5), sigma: None }];
                let forecast = Forecast { member: Member::LongTerm, outlook, ahead };
                engine.foresee(&forecast).unwrap();
                tape.tell(Line::forecast(&forecast, None));
            }
            if second == 150 {
                let slept = Disruption::Suspended { lasted: Span::from_secs(3) };
                engine.disrupted(slept, m.received);
                tape.tell(Line::disruption(slept, m.received));
            }
            tape.tell(Line::solution(&engine.solution(at(second) + Span::from_millis(20))));
        }
        drop(tape);
        let bytes = memory.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn the_same_again_to_the_bit_and_a_change_is_found() {
        let trace = traced();
        assert!(recognises(trace.lines().next().unwrap()));
        let replayed = replay(trace.as_bytes()).unwrap();
        let all = Replayed { measurements: 199, forecasts: 1, solutions: 199, ..Replayed::default() };
        assert_eq!(replayed, all);

        let mut lines: Vec<&str> = trace.lines().collect();
        lines.remove(8);
        let changed = replay(lines.join("\n").as_bytes()).unwrap();
        assert!(changed.different > 0 && changed.first_different < Some(20), "{changed:?}");
    }

    #[test]
    fn a_trace_that_was_cut_short_is_replayed_as_far_as_it_goes_and_another_file_is_refused() {
        let trace = traced();
        let cut = replay(&trace.as_bytes()[..trace.len() - 30]).unwrap();
        assert_eq!((cut.solutions, cut.different), (198, 0));
        for other in ["{}", "{\"event\":\"nothing\"}", "raw,utc", "{\"event\":\"dropped\",\"lines\":1}"] {
            assert!(replay(format!("{other}\n{other}\n").as_bytes()).is_err(), "{other}");
        }
    }

    #[test]
    fn a_slow_disk_costs_lines_and_not_time() {
        struct Stuck(Receiver<()>, Memory);
        impl Write for Stuck {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                // Waits until it is let go.
                let _ = self.0.recv();
                self.1.write(bytes)
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (let_go, stuck) = sync_channel(0);
        let memory = Memory::default();
        let tape = Tape::to(Stuck(stuck, memory.clone())).unwrap();
        for id in 0..3 * Tape::WAITING as u32 {
            tape.tell(Line::SourceRemoved { id });
        }
        drop(let_go);
        drop(tape);
        let text = String::from_utf8(memory.0.lock().unwrap().clone()).unwrap();
        // It may say so more than once: the writer can be late with its very first line.
        let dropped: u64 = text
            .lines()
            .filter_map(|line| match serde_json::from_str(line) {
                Ok(Line::Dropped { lines }) => Some(lines),
                _ => None,
            })
            .sum();
        // All but what waits and the one line that the writer holds.
        assert!(dropped >= 2 * Tape::WAITING as u64 - 1, "{dropped}");
    }

    #[test]
    fn numbers_keep_their_last_bit() {
        for number in [0.1 + 0.2, 1e-300, f64::MAX, -0.0, 5e-324, 1.0 / 3.0] {
            let text = serde_json::to_string(&Exact(number)).unwrap();
            let Exact(back) = serde_json::from_str(&text).unwrap();
            assert_eq!(back.to_bits(), number.to_bits(), "{text}");
        }
    }
}
