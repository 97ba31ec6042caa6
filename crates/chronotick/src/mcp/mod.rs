//! What an agent asks: the Model Context Protocol over standard input and output, one JSON-RPC message a line, and over
//! streamable HTTP ([`http`]).
//!
//! Each tool is answered at once from the clock page and the status snapshot; only `wait_until` waits, for nobody but
//! the clock. Every answer says by itself whether it may be relied on; what is not known is `null`, never a default.
//! Both eras of the protocol are served: the handshake of 2024-11-05 to 2025-11-25, and 2026-07-28, which has none.
//! Beside them [`probe`] answers the one-line JSON of an older system.

mod arguments;
mod audit;
mod call;
mod causal;
mod compare;
mod explain;
#[cfg(feature = "conformance-fixtures")]
pub mod fixtures;
mod handler;
pub mod http;
mod limits;
mod past;
pub mod probe;
mod resources;
mod status;
mod time;
mod tools;
mod wait;
mod zones;

use crate::config;
use crate::door::Door;
use crate::utc::rfc3339;
use arguments::{Mend, printable};
use audit::{Audit, Entry};
use call::Call;
use chronotick_clock::Hlc;
use limits::Limits;
use resources::Subscription;
use rmcp::model::JsonObject;
use rmcp::service::{ServerInitializeError, serve_server};
use rmcp::transport::async_rw::AsyncRwTransport;
use serde_json::Value;
use std::io;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncWrite};
use tools::Name;

/// A line or a body longer than this is not taken; no request of ours needs a hundredth of it.
const LONGEST: usize = 64 * 1024;

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

/// The audit log cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("{}: the audit log cannot be written: {source}; name another file, or none", .path.display())]
pub struct AuditError {
    path: PathBuf,
    source: io::Error,
}

/// The door for agents; clones are the same.
#[derive(Clone, Debug)]
pub struct Server {
    inner: Arc<Inner>,
    /// How this clone is asked: `stdio`, `http` or `probe`.
    by: &'static str,
    /// Whether its client can be told something after an answer.
    lasting: bool,
    subscription: Arc<Subscription>,
}

#[derive(Debug)]
struct Inner {
    door: Arc<Door>,
    all_tools: bool,
    latency: Latency,
    limits: Limits,
    causal: Hlc,
    audit: Option<Audit>,
}

impl Server {
    /// A door that answers from `door`.
    ///
    /// # Errors
    /// If the audit log cannot be opened.
    pub fn new(door: Arc<Door>, settings: &config::Mcp) -> Result<Server, AuditError> {
        let open =
            |path: &PathBuf| Audit::open(path).map_err(|source| AuditError { path: path.clone(), source });
        let inner = Inner {
            door,
            all_tools: settings.all_tools,
            latency: Latency::default(),
            limits: Limits::new(NonZeroU32::new(settings.calls_per_second)),
            causal: Hlc::new(causal::MAX_AHEAD),
            audit: settings.audit_file.as_ref().map(open).transpose()?,
        };
        Ok(Server { inner: Arc::new(inner), by: "stdio", lasting: true, subscription: Arc::default() })
    }

    /// The same, asked in another way, call by call.
    fn by(&self, way: &'static str) -> Server {
        Server { inner: self.inner.clone(), by: way, lasting: false, subscription: Arc::default() }
    }

    /// The same, for one client for as long as it stays.
    fn lasting(self) -> Server {
        Server { lasting: true, ..self }
    }

    /// Serves the client on standard input and output until it closes its end.
    ///
    /// # Errors
    /// If the client does not speak the protocol. A client that leaves without a word is not an error.
    pub fn serve_stdio(self) -> Result<(), ServeError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let served = runtime.block_on(async {
            let (input, output) = rmcp::transport::io::stdio_pipes();
            self.serve(input, output).await
        });
        // Where standard input is no pipe a thread may still be waiting for it: leave without it.
        runtime.shutdown_background();
        served
    }

    /// Serves the client on any pair of streams until it closes its end.
    ///
    /// # Errors
    /// As [`serve_stdio`](Server::serve_stdio).
    pub async fn serve<R, W>(self, input: R, output: W) -> Result<(), ServeError>
    where
        R: AsyncRead + Send + Unpin + 'static,
        W: AsyncWrite + Send + Unpin + 'static,
    {
        let transport = AsyncRwTransport::new_server(input, output).with_max_line_length(LONGEST);
        match serve_server(self, transport).await {
            Ok(running) => {
                running.waiting().await.map_err(io::Error::from)?;
                Ok(())
            }
            Err(ServerInitializeError::ConnectionClosed(_)) => Ok(()),
            Err(e) => Err(ServeError::Start(Box::new(e))),
        }
    }

    /// The tool of this name, if it is one of those that are served.
    fn tool(&self, name: &str) -> Option<Name> {
        Name::of(name).filter(|name| self.inner.all_tools || name.is_usual())
    }

    /// Answers a call and writes it down. `wait` answers the one call that is not answered at once.
    async fn call<F>(
        &self,
        name: Name,
        given: JsonObject,
        client: Option<&str>,
        wait: impl FnOnce(wait::Target) -> F,
    ) -> Result<Value, Mend>
    where
        F: Future<Output = Result<wait::Waited, Mend>>,
    {
        let begun = Instant::now();
        let inner = &self.inner;
        let noted = inner.is_noted().then(|| Entry::arguments(&given));
        let answer = match inner.limits.admit(name).and_then(|()| Call::parse(name, given)) {
            Ok(Call::Wait(target)) => wait(target).await.and_then(|waited| call::json(&waited)),
            Ok(call) => inner.answer(&call, begun),
            Err(mend) => Err(mend),
        };
        if name != Name::Wait {
            inner.latency.note(begun);
        }
        if let Some(arguments) = noted {
            self.note(name.text(), arguments, client, outcome(&answer), begun);
        }
        answer
    }

    fn note(
        &self,
        tool: &str,
        arguments: String,
        client: Option<&str>,
        outcome: &'static str,
        begun: Instant,
    ) {
        let took_us = begun.elapsed().as_micros();
        let client = client.map(printable);
        log::debug!("{} call of {tool} with {arguments} by {client:?}: {outcome} in {took_us} us", self.by);
        let Some(audit) = &self.inner.audit else { return };
        let time = rfc3339(self.inner.door.clock.now().estimate);
        audit.note(Entry {
            time,
            by: self.by,
            client,
            tool: tool.into(),
            arguments,
            outcome,
            took_us,
            lost: 0,
        });
    }
}

/// The word of the audit log for what became of a call.
fn outcome(answer: &Result<Value, Mend>) -> &'static str {
    match answer {
        Ok(_) => "answered",
        Err(Mend::TooOften { .. }) => "limited",
        Err(_) => "refused",
    }
}

impl Inner {
    fn is_noted(&self) -> bool {
        self.audit.is_some() || log::log_enabled!(log::Level::Debug)
    }
}

/// How long the answers took that this server gave.
#[derive(Debug, Default)]
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
