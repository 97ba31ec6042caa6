//! What an agent asks: the Model Context Protocol over standard input and output, one JSON-RPC message a line.
//!
//! Three tools, each answered at once from the clock page and the status snapshot: `get_time`, `get_daemon_status`,
//! `get_time_with_future_uncertainty`. Every answer says by itself whether it may be relied on; what is not known is
//! `null`, never a default. Both eras of the protocol are served: the handshake of 2024-11-05 to 2025-11-25, and
//! 2026-07-28, which has none.

mod status;
mod time;
mod tools;

use crate::door::Door;
use rmcp::handler::server::ServerHandler;
use rmcp::model::{
    CacheScope, CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ErrorData,
    Implementation, ListToolsResult, PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::{RequestContext, RoleServer, ServerInitializeError, serve_server};
use rmcp::transport::async_rw::AsyncRwTransport;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};

/// A line longer than this is dropped; no request of ours needs a hundredth of it.
const LONGEST_LINE: usize = 64 * 1024;
/// The tools change only with the program: a client may keep their list for a day.
const TOOLS_FRESH_FOR: Duration = Duration::from_secs(86_400);

const INSTRUCTIONS: &str = "Corrected time with its uncertainty. Where it matters what time it is, or how exactly \
    that is known, call get_time instead of reading the system clock, and act on `trustworthy` and `advice`.";

/// Why serving ended before the client did.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// What the client sent first was not a request that this protocol begins with.
    #[error("the client did not begin as the Model Context Protocol asks: {0}")]
    Start(#[source] Box<ServerInitializeError>),
    /// The operating system gives no event loop, or took it away.
    #[error("standard input and output cannot be waited for: {0}")]
    Wait(#[from] io::Error),
}

/// Serves the client on standard input and output until it closes its end.
///
/// # Errors
/// If the client does not speak the protocol. A client that leaves without a word is not an error.
pub fn serve_stdio(door: Arc<Door>) -> Result<(), ServeError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let served = runtime.block_on(async {
        let (input, output) = rmcp::transport::io::stdio_pipes();
        serve(door, input, output).await
    });
    // Where standard input is no pipe a thread may still be waiting for it: leave without it.
    runtime.shutdown_background();
    served
}

/// Serves the client on any pair of streams until it closes its end.
///
/// # Errors
/// As [`serve_stdio`].
pub async fn serve<R, W>(door: Arc<Door>, input: R, output: W) -> Result<(), ServeError>
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + Unpin + 'static,
{
    let transport = AsyncRwTransport::new_server(input, output).with_max_line_length(LONGEST_LINE);
    let server = Server { door, latency: Latency::default() };
    match serve_server(server, transport).await {
        Ok(running) => {
            running.waiting().await.map_err(io::Error::from)?;
            Ok(())
        }
        Err(ServerInitializeError::ConnectionClosed(_)) => Ok(()),
        Err(e) => Err(ServeError::Start(Box::new(e))),
    }
}

struct Server {
    door: Arc<Door>,
    latency: Latency,
}

/// How long the answers took that this server gave.
#[derive(Default)]
struct Latency {
    answers: AtomicU64,
    nanos: AtomicU64,
}

impl Latency {
    fn note(&self, begun: Instant) {
        self.answers.fetch_add(1, Ordering::Relaxed);
        self.nanos.fetch_add(begun.elapsed().as_nanos() as u64, Ordering::Relaxed);
    }

    /// The mean over all answers, the one that has `begun` included.
    fn mean_ms(&self, begun: Instant) -> f64 {
        let answers = self.answers.load(Ordering::Relaxed) + 1;
        let nanos = self.nanos.load(Ordering::Relaxed) + begun.elapsed().as_nanos() as u64;
        nanos as f64 / answers as f64 / 1e6
    }
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        let mut about = Implementation::new("chronotick", env!("CARGO_PKG_VERSION"));
        about.title = Some("ChronoTick".into());
        about.description = Some(env!("CARGO_PKG_DESCRIPTION").into());
        let mut config = ServerConfig::new(ServerCapabilities::builder().enable_tools().build());
        config.server_info = about;
        config.with_instructions(INSTRUCTIONS)
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let list = ListToolsResult::with_all_items(tools::LIST.clone());
        Ok(list.with_ttl_ms(TOOLS_FRESH_FOR.as_millis() as u64).with_cache_scope(CacheScope::Public))
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        tools::LIST.iter().find(|tool| tool.name == name).cloned()
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let begun = Instant::now();
        let Some(call) = tools::Call::parse(&request.name, request.arguments.unwrap_or_default()) else {
            let name = tools::printable(&request.name);
            return Err(ErrorData::invalid_params(format!("there is no tool \"{name}\""), None));
        };
        let result = match call {
            Ok(call) => CallToolResult::structured(self.answer(call, begun)),
            Err(mend) => CallToolResult::error(vec![ContentBlock::text(mend.to_string())]),
        };
        self.latency.note(begun);
        Ok(result.into())
    }
}

impl Server {
    fn answer(&self, call: tools::Call, begun: Instant) -> serde_json::Value {
        let door = &self.door;
        let status = || status::Status::read(door, self.latency.mean_ms(begun));
        let answer = match call {
            tools::Call::Time { stats } => {
                let detailed_stats = stats.then(status);
                serde_json::to_value(time::WithStats { time: time::Time::read(door), detailed_stats })
            }
            tools::Call::Status => serde_json::to_value(status()),
            tools::Call::Future(ahead) => serde_json::to_value(time::Future::read(door, ahead)),
        };
        answer.expect("numbers, words and lists have a JSON form")
    }
}
