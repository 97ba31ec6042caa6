//! Connections: accepted, bounded in number, size and patience, counted, and ended gracefully.

use super::Shared;
use crate::metrics::Family;
use axum::Router;
use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, Sleep, sleep};
use tower::Service;

/// Connections at the same time; fewer where the system grants fewer descriptors.
const CONNECTIONS: u64 = 4096;
/// Descriptors that the rest of the daemon keeps.
const RESERVED: u64 = 128;
/// How long a request line with its headers may take, and how long a kept connection may be idle.
const HEADERS: Duration = Duration::from_secs(20);
/// The largest request line with its headers, in bytes.
const HEADER_BYTES: usize = 32 * 1024;
/// A connection on which nothing moves for so long is dropped; longer than any answer takes.
const STILL: Duration = Duration::from_secs(75);
/// How long the last answers may take when the daemon stops.
const FAREWELL: Duration = Duration::from_secs(2);
/// How long until a taken address is tried again.
const AGAIN: Duration = Duration::from_secs(2);

/// What the server counts of itself.
#[derive(Default)]
pub(super) struct Counts {
    requests: Mutex<BTreeMap<(String, u16), u64>>,
    connections: Arc<AtomicUsize>,
    missed: AtomicU64,
}

impl Counts {
    /// The same for monitoring.
    pub(super) fn families(&self) -> [Family; 3] {
        let help = "Requests answered, by route and status code.";
        let mut requests = Family::counter("chronotick_http_requests_total", help);
        for ((route, code), count) in &*self.requests.lock().unwrap_or_else(PoisonError::into_inner) {
            requests.add(&[("route", route), ("code", &code.to_string())], *count as f64);
        }
        let open = self.connections.load(Ordering::Relaxed) as f64;
        let missed = self.missed.load(Ordering::Relaxed) as f64;
        let help = "News of the daemon that came too fast for this server.";
        [
            requests,
            Family::gauge("chronotick_http_connections", "Connections that are open.").is(open),
            Family::counter("chronotick_http_missed_news_total", help).is(missed),
        ]
    }

    /// So many more news came too fast for this server.
    pub(super) fn missed(&self, more: u64) {
        self.missed.fetch_add(more, Ordering::Relaxed);
    }
}

/// Counts the answer by its route, so that no caller can invent names.
pub(super) async fn counted(State(served): State<Shared>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("other", |path| path.as_str()).to_owned();
    let response = next.run(request).await;
    let key = (route, response.status().as_u16());
    *served.counts.requests.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default() += 1;
    response
}

/// Serves until `stopped` has no sender any more.
pub(super) async fn serve(
    address: SocketAddr,
    routes: Router,
    counts: &Counts,
    mut stopped: watch::Receiver<()>,
) {
    if let Some(listener) = listen(address, &mut stopped).await {
        accept(listener, seats(), routes, counts, stopped).await;
    }
}

/// Serves so many connections at the same time; others wait.
async fn accept(
    listener: TcpListener,
    seats: usize,
    routes: Router,
    counts: &Counts,
    mut stopped: watch::Receiver<()>,
) {
    let seats = Arc::new(Semaphore::new(seats));
    let farewell = GracefulShutdown::new();
    loop {
        let seat = tokio::select! {
            seat = seats.clone().acquire_owned() => seat,
            // Callers that keep every seat do not keep the daemon.
            _ = stopped.changed() => break,
        };
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(e) => {
                    // Out of descriptors, or a caller that is gone already.
                    log::debug!("HTTP: no connection: {e}");
                    sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
            _ = stopped.changed() => break,
        };
        // Nagle's algorithm would hold the end of a small answer back for 40 ms.
        let _ = stream.set_nodelay(true);
        let routes = routes.clone();
        let answer = hyper::service::service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
            request.extensions_mut().insert(ConnectInfo(peer));
            routes.clone().call(request)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADERS)
            .max_buf_size(HEADER_BYTES)
            .serve_connection(TokioIo::new(Watched::new(stream)), answer);
        let connection = farewell.watch(connection);
        let open = Open::new(&counts.connections);
        tokio::spawn(async move {
            if let Err(e) = connection.await {
                log::debug!("HTTP: {peer}: {e}");
            }
            drop((seat, open));
        });
    }
    drop(listener);
    let _ = tokio::time::timeout(FAREWELL, farewell.shutdown()).await;
}

/// The listening socket, when it can be had. Time is measured without it.
async fn listen(address: SocketAddr, stopped: &mut watch::Receiver<()>) -> Option<TcpListener> {
    let mut complained = false;
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => {
                let address = listener.local_addr().unwrap_or(address);
                log::info!("HTTP on http://{address}");
                return Some(listener);
            }
            Err(e) if !complained => {
                let mend = match e.kind() {
                    io::ErrorKind::AddrInUse => "another process has it; stop that one or set http.listen",
                    io::ErrorKind::AddrNotAvailable => "no interface of this machine has it; set http.listen",
                    io::ErrorKind::PermissionDenied => "ports below 1024 need a privilege; set http.listen",
                    _ => "set http.listen to another",
                };
                log::error!(
                    "HTTP: {address} cannot be listened on: {e}: {mend}. Time is measured without it, and it is tried again every {} s",
                    AGAIN.as_secs()
                );
                complained = true;
            }
            Err(_) => {}
        }
        tokio::select! {
            () = sleep(AGAIN) => {}
            _ = stopped.changed() => return None,
        }
    }
}

/// How many connections there may be; raises this process's limit of descriptors as far as it may.
fn seats() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = CONNECTIONS + RESERVED;
    let granted = match current {
        Some(current) if current < wanted => {
            let raised = maximum.map_or(wanted, |most| most.min(wanted));
            let raise = setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum });
            raise.map_or(current, |()| raised)
        }
        _ => wanted,
    };
    granted.saturating_sub(RESERVED).clamp(8, CONNECTIONS) as usize
}

/// Counts a connection as long as it lives.
struct Open(Arc<AtomicUsize>);

impl Open {
    fn new(count: &Arc<AtomicUsize>) -> Open {
        count.fetch_add(1, Ordering::Relaxed);
        Open(count.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection that fails when nothing has moved on it for [`STILL`]: a caller that neither sends nor reads holds no
/// memory for ever.
struct Watched {
    stream: TcpStream,
    still: Pin<Box<Sleep>>,
    /// What is to be watched again from now on: setting a timer for each piece would cost more than the piece.
    moved: bool,
}

impl Watched {
    fn new(stream: TcpStream) -> Watched {
        Watched { stream, still: Box::pin(sleep(STILL)), moved: false }
    }

    /// What came of moving something, or that nothing has moved for too long.
    fn judge<T>(&mut self, cx: &mut Context<'_>, moved: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if moved.is_ready() {
            self.moved = true;
            return moved;
        }
        if std::mem::take(&mut self.moved) {
            self.still.as_mut().reset(Instant::now() + STILL);
        }
        ready!(self.still.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.judge(cx, read)
    }
}

// Flushing and shutting down move nothing themselves.
impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.judge(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.judge(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn callers_who_keep_every_seat_do_not_keep_the_daemon() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(());
        let counts = Arc::new(Counts::default());
        let own = counts.clone();
        let served = tokio::spawn(async move { accept(listener, 1, Router::new(), &own, stopped).await });
        let _caller = TcpStream::connect(address).await.unwrap();
        while counts.connections.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        drop(stop);
        // Far longer than the farewell: it ends at all.
        tokio::time::timeout(10 * FAREWELL, served).await.expect("it ends").unwrap();
    }
}
