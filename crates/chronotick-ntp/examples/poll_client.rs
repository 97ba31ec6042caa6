//! The smallest client: one thread that asks NTP servers and writes down what time it is, once a second.
//!
//! ```text
//! poll_client --server IP[:PORT] [--server …] --poll SECONDS --out DIR [--limit SECONDS]
//! ```
//!
//! It never touches the system clock. `DIR/ticks.tsv` begins with `# raw0 SECONDS chronotick`, the raw clock at the
//! start; then each line has the raw clock since then, what to add to the system clock's reading, and the standard
//! deviation of that, all in seconds with nine decimals. Seconds without an estimate have no line.
//!
//! Everything it waits for, it waits for in `poll(2)`, and every clock is read through the C library.

use std::fs::File;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::path::PathBuf;

use chronotick_core::{Engine, RawInstant, Settings, Span};
use chronotick_ntp::{Association, Settings as AssociationSettings};
use chronotick_os::{ClockPair, TimestampedSocket, random_u64, raw_now, wait};

struct Server {
    name: String,
    socket: TimestampedSocket,
    association: Association,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::parse(std::env::args().skip(1))?;
    let start = raw_now();
    let mut engine = Engine::new(
        Settings { min_poll: arguments.poll, max_poll: arguments.poll, ..Settings::default() },
        start,
    );
    let mut servers = connect(&arguments, &mut engine, start)?;
    let mut ticks = File::create(arguments.out.join("ticks.tsv"))?;
    writeln!(ticks, "# raw0 {} chronotick", seconds(start - RawInstant::from_nanos(0)))?;

    let mut next_tick = start + Span::from_secs(1);
    let mut ready = vec![];
    loop {
        for &i in &ready {
            let server: &mut Server = &mut servers[i];
            receive(server, &mut engine);
        }
        let now = raw_now();
        for server in &mut servers {
            if let Some(request) = server.association.poll(now, random_u64)
                && let Err(error) = server.socket.send(&request)
            {
                eprintln!("{}: {error}", server.name);
            }
        }
        if now >= next_tick {
            tick(&mut engine, start, &mut ticks)?;
            let whole = (now - start).as_nanos() / 1_000_000_000;
            next_tick = start + Span::from_secs(whole + 1);
        }
        if arguments.limit.is_some_and(|limit| now - start >= limit) {
            return Ok(());
        }
        let events = servers.iter().filter_map(|s| s.association.next_event());
        let until = events.fold(next_tick, RawInstant::min);
        let sockets: Vec<_> = servers.iter().map(|s| s.socket.as_fd()).collect();
        ready = wait(&sockets, Some(until - raw_now()))?;
    }
}

fn connect(arguments: &Arguments, engine: &mut Engine, start: RawInstant) -> io::Result<Vec<Server>> {
    let settings = AssociationSettings {
        min_poll: arguments.poll,
        max_poll: arguments.poll,
        burst: 4,
        burst_interval: arguments.poll.min(Span::from_secs(2)),
        ..AssociationSettings::default()
    };
    let server = |&address: &SocketAddr| {
        let name = address.to_string();
        let socket = TimestampedSocket::connect(address)?;
        let association = Association::new(engine.add_source(&name), settings, start);
        Ok(Server { name, socket, association })
    };
    arguments.servers.iter().map(server).collect()
}

/// One datagram per call: `poll(2)` says whether there are more.
fn receive(server: &mut Server, engine: &mut Engine) {
    let mut buffer = [0; 512];
    match server.socket.recv(&mut buffer) {
        Ok(None) => {}
        Ok(Some((datagram, exchange))) => match server.association.receive(datagram, &exchange) {
            Ok(measurement) => engine.measure(&measurement),
            Err(reason) => eprintln!("{}: {reason}", server.name),
        },
        Err(error) => eprintln!("{}: {error}", server.name),
    }
}

/// Writes what is known now, if anything is.
fn tick(engine: &mut Engine, start: RawInstant, ticks: &mut File) -> io::Result<()> {
    let clocks = ClockPair::now();
    let solution = engine.solution(clocks.raw);
    if solution.early == Span::MAX {
        return Ok(());
    }
    let reading = solution.reading(clocks.raw);
    let correction = reading.estimate - clocks.system;
    let columns = [clocks.raw - start, correction, reading.sigma].map(seconds);
    ticks.write_all(format!("{}\n", columns.join("\t")).as_bytes())?;
    ticks.flush()
}

/// With nine decimals.
fn seconds(span: Span) -> String {
    let nanos = span.as_nanos();
    let sign = if nanos < 0 { "-" } else { "" };
    format!("{sign}{}.{:09}", nanos.unsigned_abs() / 1_000_000_000, nanos.unsigned_abs() % 1_000_000_000)
}

struct Arguments {
    servers: Vec<SocketAddr>,
    poll: Span,
    out: PathBuf,
    limit: Option<Span>,
}

impl Arguments {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Arguments, String> {
        let mut found =
            Arguments { servers: vec![], poll: Span::from_secs(16), out: PathBuf::from("."), limit: None };
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or_else(|| format!("{name}: a value is missing"))?;
            let why = |what: &str| format!("{name} {value:?}: {what}");
            let span = || match value.parse::<f64>() {
                Ok(secs) if secs > 0.0 && secs < 1e9 => Ok(Span::from_secs_f64(secs)),
                _ => Err(why("not a positive number of seconds")),
            };
            match name.as_str() {
                "--server" => found.servers.push(address(&value).ok_or_else(|| why("not IP or IP:PORT"))?),
                "--poll" => found.poll = span()?,
                "--limit" => found.limit = Some(span()?),
                "--out" => found.out = PathBuf::from(&value),
                _ => return Err(format!("{name}: not known; there are --server, --poll, --out and --limit")),
            }
        }
        if found.servers.is_empty() {
            return Err("no server to ask: name at least one with --server IP".into());
        }
        Ok(found)
    }
}

fn address(text: &str) -> Option<SocketAddr> {
    text.parse().ok().or_else(|| Some(SocketAddr::new(text.parse::<IpAddr>().ok()?, 123)))
}
