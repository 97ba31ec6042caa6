//! A world written down: the files of a [`trace`](crate::trace) and a description of what happened in it.

use crate::network::Reply;
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
    pub replies: Vec<Reply>,
    /// The truth.
    pub moments: Vec<Moment>,
    /// What became of the requests.
    pub passage: Passage,
    description: String,
    name: String,
}

struct Recorder {
    replies: Vec<Reply>,
    moments: Vec<Moment>,
}

impl Client for Recorder {
    fn interval(&mut self, _source: u32, _now: RawInstant) -> Span {
        Recording::POLL
    }
    fn receive(&mut self, reply: &Reply) {
        self.replies.push(*reply);
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
        let mut recorder = Recorder { replies: Vec::new(), moments: Vec::new() };
        let passage = world.run(Recording::GRID, &mut recorder);
        let name = format!("{}.{}", world.scenario().name(), world.seed());
        let Recorder { replies, moments } = recorder;
        let description = describe(&name, world, passage, moments.len());
        Recording { replies, moments, passage, description, name }
    }

    /// Writes `NAME.SEED.packets.csv.gz`, `NAME.SEED.truth.csv.gz` and `NAME.SEED.json` into a folder.
    ///
    /// # Errors
    /// The folder does not exist or cannot be written to.
    pub fn write(&self, folder: &Path) -> std::io::Result<()> {
        let mut packets = String::from("t1,t2,t3,t4,server,stratum,root_delay,root_dispersion\n");
        for e in &self.replies {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Scenario;
    use crate::trace::Trace;
    use proptest::prelude::*;

    fn recording(name: &str, seed: u64) -> Recording {
        Recording::of(&World::new(&Scenario::built_in(name).unwrap(), seed))
    }

    /// FNV-1a of every stamp and every truth.
    fn digest(recording: &Recording) -> u64 {
        let stamps = recording.replies.iter().flat_map(|e| e.stamps.map(Span::as_nanos));
        let truths = recording.moments.iter().flat_map(|m| [m.raw.as_nanos(), m.utc.as_nanos()]);
        let bytes = stamps.chain(truths).flat_map(i64::to_le_bytes);
        bytes.fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3))
    }

    #[test]
    fn a_world_is_the_same_to_the_bit_on_every_machine() {
        let found = ["everything", "mobile", "e4"].map(|name| digest(&recording(name, 7)));
        assert_eq!(found, [3_811_065_709_131_086_435, 5_143_435_421_770_714_505, 16_599_016_780_987_835_833]);
        assert_ne!(digest(&recording("e4", 8)), found[2]);
    }

    #[test]
    fn what_is_written_can_be_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let recording = recording("bufferbloat", 3);
        recording.write(folder.path()).unwrap();
        assert_eq!(Trace::names(folder.path()).unwrap(), ["bufferbloat.3"]);
        let trace = Trace::load(folder.path(), "bufferbloat.3").unwrap();
        assert_eq!(trace.measurements.len(), recording.replies.len());
        for (read, written) in trace.measurements.iter().zip(&recording.replies) {
            let dispersion = written.root_dispersion;
            assert_eq!(
                *read,
                chronotick_core::Measurement { root_dispersion: dispersion, ..written.measurement() }
            );
        }
        let same = trace.truth.iter().zip(&recording.moments).all(|(t, m)| (t.raw, t.utc) == (m.raw, m.utc));
        assert!(same && trace.truth.len() == recording.moments.len());
        let text = std::fs::read_to_string(folder.path().join("bufferbloat.3.json")).unwrap();
        let description: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(description["exchanges"], recording.replies.len());
    }

    #[test]
    fn an_outage_leaves_a_gap_and_is_listed() {
        let g = recording("g", 1);
        let seconds = |s: Span| s.as_secs_f64();
        let inside = |e: &&Reply| (7210.0..9000.0).contains(&seconds(e.stamps[3]));
        assert_eq!(g.replies.iter().filter(inside).count(), 0);
        assert!(
            g.description.contains("\"outages\": [\n    [\n      7200.0,\n      9000.0"),
            "{}",
            g.description
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        /// Whatever the world: answers come in order, and an honest one is wrong by no more than half its delay.
        #[test]
        fn exchanges_keep_the_laws(which in 0..Scenario::BUILT_IN.len(), seed: u64) {
            let (name, text) = Scenario::BUILT_IN[which];
            let scenario = Scenario::parse(text).unwrap();
            let world = World::new(&scenario, seed);
            let recording = Recording::of(&world);
            prop_assert!(recording.replies.len() as u64 == recording.passage.answered);
            prop_assert!(recording.moments.windows(2).all(|w| w[0].raw < w[1].raw && w[0].utc <= w[1].utc));
            if !scenario.machine.is_empty() {
                return Ok(());
            }
            prop_assert!(recording.replies.windows(2).all(|w| w[0].stamps[3] <= w[1].stamps[3]));
            let lies = text.contains("offset =") || text.contains("drift =");
            for e in recording.replies.iter().filter(|_| !lies) {
                let m = e.measurement();
                let raw = m.at - RawInstant::from_nanos(0);
                // The truth is known every ten seconds; at 50 ppm it moves by less than 0.5 ms meanwhile.
                let after = recording.moments.partition_point(|t| t.raw < m.at).min(recording.moments.len() - 1);
                let truth = recording.moments[after];
                let correction = (truth.utc - crate::trace::EPOCH) - (truth.raw - RawInstant::from_nanos(0));
                let error = ((m.utc - crate::trace::EPOCH) - raw) - correction;
                prop_assert!(error.abs() <= m.max_error() + Span::from_micros(700), "{name}: {error}");
            }
        }
    }
}
