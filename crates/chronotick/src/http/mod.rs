//! HTTP: the clock page and the status for machines, over a small fixed API (`docs/http.md`).
//!
//! The server has a thread of its own, and a second one follows the daemon's [`Feed`](crate::feed::Feed) into a
//! `chronicle` of the last hour. A request reads the clock page, the newest status or the chronicle: it waits for no
//! measurement, and takes no lock that the measuring thread needs. That the server cannot start never stops the daemon.
//!
//! * `serve` accepts connections and bounds what they may take; `guard` decides who may ask.
//! * `time`, `status`, `history`, `events`, `health`, `older` and `page` answer; `openapi` describes all of it.

mod chronicle;
mod events;
mod guard;
mod health;
mod history;
mod older;
mod openapi;
mod page;
mod problem;
mod scrape;
mod serve;
mod status;
mod time;

use crate::config;
use crate::feed::Follower;
use crate::metrics::Subject;
use crate::monitor::machine::{self, Machine};
use axum::Router;
use axum::routing::get;
use chronicle::Chronicle;
use guard::Guard;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// What every answer is made from.
struct Served {
    subject: Subject,
    chronicle: Chronicle,
    machine: Machine,
    counts: serve::Counts,
    strict: bool,
}

type Shared = Arc<Served>;

/// A server that runs until its feed ends.
#[derive(Debug)]
pub struct Server(Vec<std::thread::JoinHandle<()>>);

/// Why the server cannot be started. That an address is taken is not among them: it is tried again and again.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The file with the token cannot be used.
    #[error("http.token_file {}: {why}", path.display())]
    Token {
        /// The file.
        path: PathBuf,
        /// Why, and the mend.
        why: String,
    },
    /// There is no thread or no descriptor left.
    #[error("the HTTP server cannot start: {0}")]
    System(#[from] std::io::Error),
}

impl Server {
    /// Serves what `subject` shows and `follower` hears, until its feed ends; nothing if no address is configured.
    /// `more` are further routes with paths of their own, behind the same guard.
    ///
    /// # Errors
    /// If the token cannot be read, or the system has no thread left.
    pub fn start(
        settings: &config::Http,
        subject: impl Into<Subject>,
        follower: Follower,
        more: Router,
    ) -> Result<Option<Server>, StartError> {
        let Some(address) = settings.listen else { return Ok(None) };
        let (running, stopped) = watch::channel(());
        let (served, routes) = routes(settings, subject.into(), more)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (counted, watched) = (served.clone(), Arc::downgrade(&served));
        let serving = std::thread::Builder::new().name("http".into()).spawn(move || {
            runtime.block_on(serve::serve(address, routes, &counted.counts, stopped));
        })?;
        let following = std::thread::Builder::new().name("http-feed".into()).spawn(move || {
            // The server ends with the feed: `running` goes with this thread.
            let _running = running;
            while let Ok(news) = follower.next(Duration::from_secs(60)) {
                if let Some(news) = news {
                    served.chronicle.take(&news);
                }
                served.counts.missed(follower.missed());
            }
            served.chronicle.end();
        })?;
        // Its sleep holds up nobody: the thread ends with the process, or finds nothing left to look for.
        std::thread::Builder::new().name("http-machine".into()).spawn(move || {
            while let Some(served) = watched.upgrade() {
                served.machine.look(Some(&served.subject.door));
                drop(served);
                std::thread::sleep(machine::EVERY);
            }
        })?;
        Ok(Some(Server(vec![following, serving])))
    }

    /// Waits until the last answers are sent, or have had their time.
    pub fn join(self) {
        for thread in self.0 {
            if thread.join().is_err() {
                log::error!("HTTP: a thread of the server has failed");
            }
        }
    }
}

/// Whether a server with these settings would start, as far as that can be told without one.
///
/// # Errors
/// If the token cannot be read.
pub(crate) fn check(settings: &config::Http) -> Result<(), StartError> {
    settings.listen.map_or(Ok(()), |_| Guard::new(settings).map(|_| ()))
}

/// What answers are made from, and everything that can be asked for.
fn routes(settings: &config::Http, subject: Subject, more: Router) -> Result<(Shared, Router), StartError> {
    let guard = Arc::new(Guard::new(settings)?);
    let served = Arc::new(Served {
        subject,
        chronicle: Chronicle::new(),
        machine: Machine::default(),
        counts: serve::Counts::default(),
        strict: settings.strict_health,
    });
    Ok((served.clone(), router(served, guard, more)))
}

/// The routes without a server, before the daemon has told any news.
///
/// # Errors
/// If the token cannot be read.
pub(crate) fn quiet(settings: &config::Http, subject: impl Into<Subject>) -> Result<Router, StartError> {
    routes(settings, subject.into(), Router::new()).map(|(_, routes)| routes)
}

/// Everything that can be asked for.
fn router(served: Shared, guard: Arc<Guard>, more: Router) -> Router {
    let routes = Router::new()
        .route("/", get(page::page))
        .route("/v1/time", get(time::time))
        .route("/v1/status", get(status::status))
        .route("/v1/sources", get(status::sources))
        .route("/v1/history", get(history::history))
        .route("/v1/events", get(events::events))
        .route("/health", get(health::health))
        .route("/ready", get(health::ready))
        .route("/system/health", get(older::system_health))
        .route("/time/status", get(older::time_status))
        .route("/time/drift/history", get(older::drift_history))
        .route("/openapi.json", get(openapi::openapi))
        .route("/metrics", get(scrape::metrics))
        .fallback(problem::no_such_path)
        .method_not_allowed_fallback(problem::no_such_method)
        .with_state(served.clone());
    let counted = axum::middleware::from_fn_with_state(served, serve::counted);
    let guarded = axum::middleware::from_fn_with_state(guard, guard::guarded);
    routes.merge(more).layer(guarded).layer(counted)
}
