//! A world written down: the files of a [`trace`](crate::trace) and a description of what happened in it.

use crate::network::Exchange;
use crate::world::{Client, Moment, Passage, World};
use chronotick_core::{Disruption, RawInstant, Span};
use flate2::{Compression, write::GzEncoder};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

/// Everything that a client which asks regularly would have got, and the truth every ten seconds.
#[derive(Clone, Debug)]
pub struct Recording {
    /// The answers in the order of their arrival.
    pub exchanges: Vec<Exchange>,
    /// The truth.
    pub moments: Vec<Moment>,
    /// What became of the requests.
    pub passage: Passage,
    description: String,
    name: String,
}

struct Recorder {
    exchanges: Vec<Exchange>,
    moments: Vec<Moment>,
}

impl Client for Recorder {
    fn interval(&mut self, _source: u32, _now: RawInstant) -> Span {
        Recording::POLL
    }
    fn receive(&mut self, exchange: &Exchange) {
        self.exchanges.push(*exchange);
    }
    fn disrupted(&mut self, _disruption: Disruption, _now: RawInstant) {}
    fn compare(&mut self, moment: &Moment) {
        self.moments.push(*moment);
    }
}

impl Recording {
    /// Between two rows of the truth.
    pub const GRID: Span = Span::from_secs(10);
    /// Between two requests where the scenario leaves it to the client.
    const POLL: Span = Span::from_secs(16);

    /// Lets a world pass and writes down what arrives.
    pub fn of(world: &World) -> Recording {
        let mut recorder = Recorder { exchanges: Vec::new(), moments: Vec::new() };
        let passage = world.run(Recording::GRID, &mut recorder);
        let name = format!("{}.{}", world.scenario().name(), world.seed());
        let Recorder { exchanges, moments } = recorder;
        let description = describe(&name, world, passage, moments.len());
        Recording { exchanges, moments, passage, description, name }
    }

    /// Writes `NAME.SEED.packets.csv.gz`, `NAME.SEED.truth.csv.gz` and `NAME.SEED.json` into a folder.
    ///
    /// # Errors
    /// The folder does not exist or cannot be written to.
    pub fn write(&self, folder: &Path) -> std::io::Result<()> {
        let mut packets = String::from("t1,t2,t3,t4,server,stratum,root_delay,root_dispersion\n");
        for e in &self.exchanges {
            let [t1, t2, t3, t4] = e.stamps.map(Decimal);
            let (delay, dispersion) = (Decimal(e.root_delay), Decimal(e.root_dispersion));
            let _ = writeln!(packets, "{t1},{t2},{t3},{t4},{},{},{delay},{dispersion}", e.source, e.stratum);
        }
        let mut truth = String::from("raw,correction\n");
        for m in &self.moments {
            let raw = m.raw - RawInstant::from_nanos(0);
            let _ = writeln!(truth, "{},{}", Decimal(raw), Decimal((m.utc - crate::trace::EPOCH) - raw));
        }
        for (kind, text) in [("packets", packets), ("truth", truth)] {
            let file = std::fs::File::create(folder.join(format!("{}.{kind}.csv.gz", self.name)))?;
            let mut packed = GzEncoder::new(file, Compression::default());
            packed.write_all(text.as_bytes())?;
            packed.finish()?;
        }
        std::fs::write(folder.join(format!("{}.json", self.name)), &self.description)
    }
}

fn describe(name: &str, world: &World, passage: Passage, rows: usize) -> String {
    let scenario = world.scenario();
    let happenings = world.happenings();
    let outages: Vec<[f64; 2]> =
        happenings.iter().filter(|h| h.what == "outage").map(|h| [h.start, h.end]).collect();
    let asymmetries: Vec<f64> = world.asymmetries().iter().map(|a| a.as_secs_f64()).collect();
    let json = serde_json::json!({
        "trace": name,
        "scenario": scenario.name(),
        "seed": world.seed(),
        "what": scenario.what(),
        "hours": scenario.duration.0 / 3600.0,
        "poll_s": scenario.poll.map(|p| p.0),
        "servers": scenario.source_count(),
        "raw_at_start": (world.raw_at_start() - RawInstant::from_nanos(0)).as_secs_f64(),
        "exchanges": passage.answered,
        "unanswered": passage.sent - passage.answered,
        "events_true_s": happenings,
        "outages": outages,
        "path_asymmetry_error_s": asymmetries,
        "score_from_s": 600.0,
        "grid_s": Recording::GRID.as_secs_f64(),
        "grid_rows": rows,
    });
    format!("{json:#}\n")
}

/// Decimal seconds, exact to the nanosecond.
struct Decimal(Span);

impl std::fmt::Display for Decimal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let nanos = self.0.as_nanos();
        let (sign, n) = (if nanos < 0 { "-" } else { "" }, nanos.unsigned_abs());
        match n % 1_000_000_000 {
            0 => write!(f, "{sign}{}", n / 1_000_000_000),
            fraction => write!(f, "{sign}{}.{fraction:09}", n / 1_000_000_000),
        }
    }
}
