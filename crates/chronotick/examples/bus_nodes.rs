//! Many nodes on one machine, for measuring what a watcher costs: each publishes a reading a second and answers questions,
//! all over one connection. One in a hundred is a second ahead.
//!
//! `cargo run --release -p chronotick --features nats --example bus_nodes -- nats://127.0.0.1:4222 1000 60`

use chronotick::config::NodeName;
use chronotick::fleet::bus::{ASK, Told, subject};
use chronotick_clock::ClockPair;
use futures_util::StreamExt;
use std::error::Error;
use std::time::Duration;
use tokio::time::{Instant, interval, sleep_until};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let server = arguments.next().ok_or("say which server: nats://127.0.0.1:4222")?;
    let nodes: u64 = arguments.next().map_or(Ok(1000), |n| n.parse())?;
    let seconds: u64 = arguments.next().map_or(Ok(60), |n| n.parse())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(publish(&server, nodes.clamp(1, 100_000), seconds))
}

async fn publish(server: &str, nodes: u64, seconds: u64) -> Result<(), Box<dyn Error>> {
    let client = async_nats::connect(server).await?;
    let mut asked = client.subscribe(ASK).await?;
    let names =
        (0..nodes).map(|i| format!("node-{i:05}").parse::<NodeName>()).collect::<Result<Vec<_>, _>>()?;
    let end = Instant::now() + Duration::from_secs(seconds);
    // Each has its own instant within the second, as daemons that were started one by one.
    let mut turn = interval(Duration::from_secs(1) / nodes as u32);
    let (mut next, mut sequence) = (0, 0);
    loop {
        tokio::select! {
            () = sleep_until(end) => return Ok(client.flush().await?),
            _ = turn.tick() => {
                sequence += 1;
                client.publish(subject(&names[next]), told(&names, next, sequence, None)?.into()).await?;
                next = (next + 1) % names.len();
            }
            Some(question) = asked.next() => {
                let number = std::str::from_utf8(&question.payload).ok().and_then(|n| u64::from_str_radix(n, 16).ok());
                for (i, name) in names.iter().enumerate() {
                    sequence += 1;
                    client.publish(subject(name), told(&names, i, sequence, number)?.into()).await?;
                }
            }
        }
    }
}

fn told(
    names: &[NodeName],
    index: usize,
    sequence: u64,
    asked: Option<u64>,
) -> Result<Vec<u8>, serde_json::Error> {
    let ahead = if index % 100 == 7 { 1_000_000_000 } else { 0 };
    let now = ClockPair::now().system.as_nanos() + ahead;
    serde_json::to_vec(&Told {
        node: names[index].as_str().to_owned(),
        run: 1,
        sequence,
        state: "synced".into(),
        estimate_ns: Some(now),
        earliest_ns: Some(now - 5_000_000),
        latest_ns: Some(now + 5_000_000),
        system_offset_ns: Some(0),
        asked,
    })
}
