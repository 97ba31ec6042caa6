//! What the engine costs: `cargo bench -p chronotick-core --bench engine` prints µs for one measurement and for one
//! solution, with 1, 4 and 8 sources that are polled in turn; medians over batches after an hour of warming up. The
//! last column is what the estimator alone takes for the measurement.

use chronotick_core::estimate::Estimator;
use chronotick_core::*;
use std::hint::black_box;
use std::time::Instant;

const BATCH: i64 = 200;
const BATCHES: usize = 101;
/// Sixteen seconds between two polls of one source.
const POLL: i64 = 16_000_000_000;

fn main() {
    println!("{:>7} {:>13} {:>10} {:>11}", "sources", "measurement", "solution", "estimator");
    for sources in [1, 4, 8] {
        let mut engine = Engine::new(Settings::default(), RawInstant::from_nanos(0));
        (0..sources).for_each(|i| {
            engine.add_source(format!("source {i}"));
        });
        let mut estimator = Estimator::default();
        let mut coming = (1..).map(|i| packet(i, sources));
        coming.by_ref().take(3600 / 16 * sources as usize).for_each(|m| {
            engine.measure(&m);
            estimator.observe(&m);
        });
        let mut costs = [const { Vec::new() }; 3];
        for _ in 0..BATCHES {
            let packets: Vec<Measurement> = coming.by_ref().take(BATCH as usize).collect();
            let mut spent = [0.0; 3];
            for m in &packets {
                spent[0] += micros(|| engine.measure(m));
                let now = m.received + Span::from_millis(500);
                spent[1] += micros(|| {
                    black_box(engine.solution(now));
                });
            }
            // Apart, or the filters of one would evict those of the other from the cache.
            packets.iter().for_each(|m| spent[2] += micros(|| estimator.observe(m)));
            costs.iter_mut().zip(spent).for_each(|(all, sum)| all.push(sum / BATCH as f64));
        }
        let [measurement, solution, estimator] = costs.map(|mut all| {
            all.sort_by(f64::total_cmp);
            all[BATCHES / 2]
        });
        println!("{sources:>7} {measurement:>13.1} {solution:>10.1} {estimator:>11.1}");
    }
}

fn micros(work: impl FnOnce()) -> f64 {
    let begun = Instant::now();
    work();
    begun.elapsed().as_secs_f64() * 1e6
}

/// The i-th packet: sources in turn, each 10 ms and more away, with a queue of up to 1 ms that looks random.
fn packet(i: i64, sources: i64) -> Measurement {
    let source = i % sources;
    let noise =
        |salt: u64| (((i as u64 + salt).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) % 500) as i64 * 1_000;
    let (up, down) = (5_000_000 * (source + 1) + noise(0), 5_000_000 * (source + 1) + noise(77));
    let sent = RawInstant::from_nanos(i * POLL / sources);
    let at = sent + Span::from_nanos((up + down) / 2);
    Measurement {
        source: SourceId(source as u32),
        at,
        received: sent + Span::from_nanos(up + down),
        utc: Timestamp::from_nanos(1_700_000_000_000_000_000 + sent.as_nanos() + up),
        delay: Span::from_nanos(up + down),
        root_delay: Span::ZERO,
        root_dispersion: Span::from_micros(1),
        stratum: 1,
        leap: Leap::None,
        stamps: Stamps::Kernel,
    }
}
