//! How long an agent waits: round trips of tool calls through real pipes to a server process.
//! Run with `cargo bench -p chronotick --bench mcp`.

use chronotick::config::Mcp;
use chronotick::door::Door;
use chronotick::feed::Feed;
use chronotick::mcp::Server;
use chronotick_clock::{Clock, Writer};
use serde_json::json;
use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

const ROUNDS: usize = 10_000;
/// Tells the second process, which is this program again, to be the server.
const SERVE: &str = "serve";

fn main() -> Result<(), Box<dyn Error>> {
    if std::env::args().any(|argument| argument == SERVE) {
        let page = Writer::in_memory()?;
        let door = Door::within(Clock::of(&page), Feed::default());
        return Ok(Server::new(Arc::new(door), &Mcp::default())?.serve_stdio()?);
    }
    let begun = Instant::now();
    let mut server = Command::new(std::env::current_exe()?)
        .arg(SERVE)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut input = server.stdin.take().ok_or("no pipe")?;
    let mut output = BufReader::new(server.stdout.take().ok_or("no pipe")?);
    for (n, tool) in ["get_time", "get_daemon_status"].into_iter().enumerate() {
        let mut line = call(tool);
        line.push('\n');
        let mut answer = String::new();
        let mut times = Vec::with_capacity(ROUNDS);
        for round in 0..ROUNDS {
            let sent = Instant::now();
            input.write_all(line.as_bytes())?;
            answer.clear();
            output.read_line(&mut answer)?;
            times.push(sent.elapsed());
            if n == 0 && round == 0 {
                println!("from starting the process to its first answer: {:?}", begun.elapsed());
            }
        }
        assert!(answer.contains("structuredContent"), "{answer}");
        report(tool, &mut times);
    }
    drop(input);
    assert!(server.wait()?.success(), "the server ends well when its client leaves");
    Ok(())
}

fn call(tool: &str) -> String {
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "_meta": meta}})
        .to_string()
}

fn report(tool: &str, times: &mut [Duration]) {
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    println!("{tool}: p50 {:?}, p99 {:?} over {} calls", at(0.5), at(0.99), times.len());
}
