//! The one-line JSON of an older system, for scripts that ask it still: a line such as `{"tool": "get_daemon_status"}` on
//! a port of loopback is answered by a line of JSON, and the connection is closed, so that every `nc` ends by itself.

use super::Server;
use super::arguments::{Mend, printable};
use rmcp::model::JsonObject;
use serde_json::{Value, json};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// How long a question may take to come, and an answer to be taken.
const PATIENCE: Duration = Duration::from_secs(2);

/// Answers on a port of loopback (0 for any that is free) until the process ends, on a thread of its own; gives the address.
///
/// # Errors
/// If the port is taken.
pub fn start(server: &Server, port: u16) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    let address = listener.local_addr()?;
    let server = server.by("probe");
    std::thread::Builder::new().name("probe".into()).spawn(move || {
        for stream in listener.incoming() {
            // One after the other: who does not end his line holds up other probes for two seconds, and nothing else.
            if let Err(e) = stream.and_then(|stream| converse(&server, stream)) {
                log::debug!("a probe was not answered: {e}");
            }
        }
    })?;
    Ok(address)
}

fn converse(server: &Server, mut stream: TcpStream) -> io::Result<()> {
    stream.set_write_timeout(Some(PATIENCE))?;
    let line = question(&stream)?;
    let answer = match std::str::from_utf8(&line).map(str::trim) {
        Ok("") => return Ok(()),
        Ok(line) => server.respond(line),
        Err(_) => failure("", "the line is not UTF-8"),
    };
    stream.write_all(format!("{answer}\n").as_bytes())?;
    // What was sent beyond the line is taken up: closing over unread bytes would tear the answer away.
    stream.shutdown(std::net::Shutdown::Write)?;
    stream.set_read_timeout(Some(Duration::from_millis(200)))?;
    let _ = stream.take(super::LONGEST as u64).read_to_end(&mut Vec::new());
    Ok(())
}

/// The first line, or what came instead of its end.
fn question(stream: &TcpStream) -> io::Result<Vec<u8>> {
    let until = Instant::now() + PATIENCE;
    let (mut line, mut reader) = (Vec::new(), BufReader::new(stream));
    while !line.contains(&b'\n') && line.len() < super::LONGEST {
        let left = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero());
        stream.set_read_timeout(Some(left.ok_or(io::ErrorKind::TimedOut)?))?;
        let read = reader.fill_buf()?;
        if read.is_empty() {
            break;
        }
        let taken = read.len();
        line.extend_from_slice(read);
        reader.consume(taken);
    }
    let end = line.iter().position(|b| *b == b'\n').unwrap_or(line.len());
    line.truncate(end);
    Ok(line)
}

impl Server {
    /// The answer to one line.
    pub(crate) fn respond(&self, line: &str) -> Value {
        const EXAMPLE: &str = "send one line such as {\"tool\": \"get_daemon_status\"}, with \"arguments\" where the tool takes any";
        let Ok(Value::Object(mut question)) = serde_json::from_str(line) else { return failure("", EXAMPLE) };
        let Some(Value::String(tool)) = question.shift_remove("tool") else { return failure("", EXAMPLE) };
        let given = match question.shift_remove("arguments") {
            None | Some(Value::Null) => JsonObject::new(),
            Some(Value::Object(given)) => given,
            Some(_) => return failure(&tool, "arguments must be an object"),
        };
        let Some(name) = self.tool(&tool) else { return failure(&tool, "there is no such tool") };
        let refused = || Mend::Refused("a probe does not wait: ask over the Model Context Protocol".into());
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let answer = runtime
            .map_err(|e| Mend::Refused(e.to_string()))
            .and_then(|runtime| runtime.block_on(self.call(name, given, None, |_| async { Err(refused()) })));
        answer.unwrap_or_else(|mend| failure(&tool, &mend.to_string()))
    }
}

fn failure(tool: &str, error: &str) -> Value {
    json!({"error": error, "tool": printable(tool)})
}
