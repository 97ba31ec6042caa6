//! Lets one engine live through months of a simulated world and prints once a simulated month what the process's memory is by the
//! operating system's count, and how often the bound failed: `cargo run --release -p chronotick-sim --example soak -- [DAYS]`
//!
//! The world's own tables (its oscillator, second by second) are made before the first line: about 2 MB a day.

use chronotick_core::{Disruption, Engine, RawInstant, Settings, SourceId, Span, State};
use chronotick_sim::{Client, Moment, Reply, Scenario, World};
use std::process::ExitCode;

/// Four sources over a domestic line, and a room with warm days.
const SCENARIO: &str = r#"
name = "soak"
what = "Months at home."
poll = "64 s"

[[temperatures]]
sine = { amplitude = "0.8 ppm", period = "24 h" }

[[sources]]
delays = ["11 ms", "14 ms", "22 ms", "27 ms"]
jitter = [{ exponential = { mean = "0.5 ms" } }]
loss = 0.02
"#;

const MONTH: Span = Span::from_secs(365 * 86_400 / 12);

/// Resident memory of this process, in kB; `None` where `/proc` does not tell.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.trim().trim_end_matches(" kB").parse().ok()
}

struct Soak {
    engine: Engine,
    sources: Vec<SourceId>,
    start: Option<RawInstant>,
    months: i64,
    measurements: u64,
    asked: u64,
    failed: u64,
    synced: u64,
    resident: Vec<u64>,
}

impl Soak {
    fn line(&mut self) {
        let resident = resident().unwrap_or(0);
        self.resident.push(resident);
        println!(
            "{:>5} {resident:>9} {:>12} {:>9} {:>9.4}",
            self.months,
            self.measurements,
            self.failed,
            self.synced as f64 / self.asked.max(1) as f64
        );
    }
}

impl Client for Soak {
    fn interval(&mut self, _: u32, now: RawInstant) -> Span {
        self.engine.poll_interval(now)
    }

    fn receive(&mut self, reply: &Reply) {
        let measurement = reply.measurement();
        let source = self.sources[measurement.source.0 as usize];
        self.engine.measure(&chronotick_core::Measurement { source, ..measurement });
        self.measurements += 1;
        while self.engine.next_event().is_some() {}
    }

    fn disrupted(&mut self, disruption: Disruption, now: RawInstant) {
        self.engine.disrupted(disruption, now);
    }

    fn compare(&mut self, moment: &Moment) {
        let start = *self.start.get_or_insert(moment.raw);
        if moment.raw - start >= MONTH.times(self.months) {
            self.line();
            self.months += 1;
        }
        if self.engine.last_trusted().is_none() {
            return;
        }
        let reading = self.engine.solution(moment.raw).reading(moment.raw);
        self.asked += 1;
        self.synced += u64::from(reading.state == State::Synced);
        self.failed += u64::from(!(reading.earliest..=reading.latest).contains(&moment.utc));
    }
}

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let days: u32 = std::env::args().nth(1).map_or(Ok(365), |days| days.parse())?;
    let file = std::env::temp_dir().join(format!("chronotick-soak-{}.toml", std::process::id()));
    std::fs::write(&file, format!("duration = \"{days} d\"\n{SCENARIO}"))?;
    let loaded = Scenario::load(&file);
    std::fs::remove_file(&file)?;
    let world = World::new(&loaded?, 1);
    let settings =
        Settings { min_poll: Span::from_secs(64), max_poll: Span::from_secs(64), ..Settings::default() };
    let mut engine = Engine::new(settings, world.raw_at_start());
    let sources = (0..4).map(|i| engine.add_source(format!("source {i}"))).collect();
    let mut soak = Soak {
        engine,
        sources,
        start: None,
        months: 0,
        measurements: 0,
        asked: 0,
        failed: 0,
        synced: 0,
        resident: Vec::new(),
    };
    println!("month    RSS kB measurements  failures    synced");
    world.run(Span::from_secs(60), &mut soak);
    soak.line();
    // The first line is of an engine that knows nothing yet.
    let grown = soak.resident.iter().max().unwrap_or(&0) - soak.resident.get(1).unwrap_or(&0);
    println!("since the first month {grown} kB more; the bound failed {} times", soak.failed);
    Ok(if grown < 4_096 && soak.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
