//! `chronotick demo`: a simulated machine clock and four NTP servers of our own on loopback, one of them lying, through
//! the very same daemon; estimate, bound and truth side by side. Every line says that it is a simulation.

mod world;

use crate::cli::args::Demo;
use crate::config::{Config, TimeServer};
use crate::daemon::{Daemon, Machine, Outlets, Stop};
use crate::door::Door;
use crate::watch::{self, Column, Manner};
use chronotick_clock::{ClockPair, Offset, Reading, Span};
use serde_json::json;
use std::io::{self, Write};
use std::time::{Duration, Instant};
use world::{Server, World};

/// Runs the demonstration for the asked time, or until it is interrupted.
///
/// # Errors
/// If loopback cannot be used, or standard output is closed.
pub fn execute(options: &Demo) -> Result<(), Box<dyn std::error::Error>> {
    let world = World::new();
    let config = Config {
        ntp: crate::config::Ntp { servers: servers(world)?, ..Config::default().ntp },
        ..Config::default()
    };
    let (outlets, door) = Outlets::within()?;
    let stop = Stop::new()?;
    let daemon = Daemon::new(&config, Box::new(world), outlets, stop.clone(), None);
    let daemon = std::thread::Builder::new().name("daemon".into()).spawn(move || daemon.run())?;
    let shown = if options.watch {
        watch::follow(&door, &world, Manner { interval: Duration::from_secs(1), sort: Column::default() })
    } else {
        show(options, world, &door)
    };
    stop.ask();
    daemon.join().map_err(|_| "the daemon failed")??;
    // Whoever closes the pipe has seen enough.
    match shown {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

/// Three honest servers at different distances, and one that is 250 ms ahead and claims to be the nearest.
fn servers(world: World) -> io::Result<Vec<TimeServer>> {
    let honest = |delay, jitter| Server {
        delay: Duration::from_micros(delay),
        jitter: Duration::from_micros(jitter),
        lie: Span::ZERO,
    };
    let liar = Server { lie: Span::from_millis(250), ..honest(100, 20) };
    let servers = [honest(2_000, 200), honest(5_000, 500), honest(9_000, 1_000), liar];
    servers
        .into_iter()
        .enumerate()
        .map(|(i, server)| {
            let address = server.start(world, 0x5EED + i as u64)?;
            Ok(address.to_string().parse().expect("an address with its port is a server"))
        })
        .collect()
}

fn show(options: &Demo, world: World, door: &Door) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if !options.json {
        writeln!(
            out,
            "SIMULATION: a simulated clock, four servers on loopback, one of them lying by 250 ms."
        )?;
        writeln!(out, "Errors are against the simulation's true time; nothing here is the real time.\n")?;
        writeln!(
            out,
            "{:>5}  {:<9} {:>14} {:>14} {:>14} {:>6}  {:>14}  sources",
            "s", "state", "error", "95 % interval", "bound", "truth", "system clock"
        )?;
    }
    let begun = Instant::now();
    let seconds = options.seconds.unwrap_or(u32::MAX);
    for second in 1..=seconds {
        std::thread::sleep(
            (begun + Duration::from_secs(second.into())).saturating_duration_since(Instant::now()),
        );
        let pair = ClockPair::now();
        let reading = door.clock.at(world.local(pair.raw));
        let line = line(options.json, second, world, pair, &reading, door);
        writeln!(out, "{line}")?;
        out.flush()?;
    }
    Ok(())
}

fn line(json: bool, second: u32, world: World, pair: ClockPair, reading: &Reading, door: &Door) -> String {
    let truth = world.truth(pair.raw);
    let error = reading.estimate - truth;
    let inside = reading.earliest <= truth && truth <= reading.latest;
    let system = Offset::between(truth, world.system(pair));
    let snapshot = door.snapshot();
    let sources = snapshot.as_ref().map(|s| s.sources.as_slice()).unwrap_or_default();
    if json {
        let verdicts: Vec<_> =
            sources.iter().map(|s| json!({"address": s.address, "verdict": s.verdict})).collect();
        return json!({
            "simulation": true,
            "second": second,
            "state": reading.state.name(),
            "reason": reading.reason.to_string(),
            "true_time_ns": truth.as_nanos().to_string(),
            "estimate_ns": reading.estimate.as_nanos().to_string(),
            "earliest_ns": reading.earliest.as_nanos().to_string(),
            "latest_ns": reading.latest.as_nanos().to_string(),
            "error_ns": error.as_nanos(),
            "interval95_ns": reading.interval(0.95).as_nanos(),
            "truth_inside_bound": inside,
            "system_offset_ns": system.correction().as_nanos(),
            "sources": verdicts,
            "compared": snapshot.as_ref().map_or(0, |s| s.traffic.compared),
            "worse": snapshot.as_ref().map_or(0, |s| s.traffic.worse),
        })
        .to_string();
    }
    let marks: String = sources
        .iter()
        .map(|s| match s.verdict.as_str() {
            "trusted" => '+',
            "falseticker" => 'x',
            _ => '?',
        })
        .collect();
    if reading.max_error() > Span::from_secs(86_400) {
        return format!("{second:>5}  {:<9} nothing is known yet  {marks}  (simulation)", reading.state);
    }
    format!(
        "{second:>5}  {:<9} {:>14} {:>14} {:>14} {:>6}  {:>14}  {marks}  (simulation)",
        reading.state,
        error.to_string(),
        format!("±{}", reading.interval(0.95)),
        format!("±{}", reading.max_error()),
        if inside { "inside" } else { "OUTSIDE" },
        system.to_string(),
    )
}
