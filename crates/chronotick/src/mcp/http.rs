//! The same server over streamable HTTP, in both eras of the protocol. A call is stateless, and answered with plain JSON; a
//! reply is an event stream only where something is told before it, as `wait_until` and subscriptions do.
//!
//! Only a client of the older era that begins with `initialize` has a session, because nothing else lets it be told of what it
//! subscribed to. There are few of them at a time, and each ends by itself: who finds no place is answered without.

use super::{LONGEST, Server};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use rmcp::handler::server::ServerHandler;
use rmcp::transport::streamable_http_server::session::SessionManager;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use serde::Deserialize;
use std::sync::Arc;

/// Where agents ask.
pub const PATH: &str = "/mcp";
/// Sessions at the same time. Each ends five minutes after the last word.
const SESSIONS: usize = 256;

/// The door for agents at [`PATH`], in both eras of the protocol.
///
/// Who may ask is decided before: whoever mounts it lets through known hosts, known origins and, beyond loopback, bearers of
/// the token only, as [`crate::http`] does for everything that it serves.
pub fn router(server: &Server) -> Router {
    let (once, lasting) = (server.by("http"), server.by("http"));
    let sessions = Arc::new(LocalSessionManager::default());
    let doors = Doors {
        // A clone for each request: a subscription is of one request.
        once: service(move || once.by("http"), Arc::new(NeverSessionManager::default()), false),
        lasting: service(move || lasting.by("http").lasting(), sessions.clone(), true),
        sessions,
    };
    Router::new().route(PATH, any(enter)).with_state(doors)
}

#[derive(Clone)]
struct Doors {
    once: StreamableHttpService<Server, NeverSessionManager>,
    lasting: StreamableHttpService<Server, LocalSessionManager>,
    sessions: Arc<LocalSessionManager>,
}

/// Through the door of sessions goes who has one, and who begins one.
async fn enter(State(doors): State<Doors>, request: Request) -> Response {
    if request.headers().contains_key("mcp-session-id") {
        let ends = request.method() == Method::DELETE;
        let answer = doors.lasting.handle(request).await;
        // Clients take "accepted" for a failure to end a session.
        return match ends && answer.status() == StatusCode::ACCEPTED {
            true => StatusCode::NO_CONTENT.into_response(),
            false => answer.map(Body::new),
        };
    }
    if request.method() != Method::POST {
        return doors.once.handle(request).await.map(Body::new);
    }
    let (head, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, LONGEST).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let begins = is_hello(&body) && doors.sessions.sessions.read().await.len() < SESSIONS;
    let request = Request::from_parts(head, Body::from(body));
    match begins {
        true => doors.lasting.handle(request).await.map(Body::new),
        false => doors.once.handle(request).await.map(Body::new),
    }
}

/// Whether a client of the older era introduces itself.
fn is_hello(body: &Bytes) -> bool {
    #[derive(Deserialize)]
    struct Message<'a> {
        method: Option<&'a str>,
    }
    const HELLO: &[u8] = b"initialize";
    // Most are none, and need not be read twice.
    body.windows(HELLO.len()).any(|part| part == HELLO)
        && serde_json::from_slice::<Message>(body).is_ok_and(|m| m.method == Some("initialize"))
}

/// Any handler of the protocol at [`PATH`]; with `sessions` in the era that has them.
#[cfg(feature = "conformance-fixtures")]
pub(super) fn routed<H: ServerHandler>(
    make: impl Fn() -> H + Send + Sync + 'static,
    manager: Arc<impl SessionManager>,
    sessions: bool,
) -> Router {
    Router::new().route_service(PATH, service(make, manager, sessions))
}

fn service<H: ServerHandler, M: SessionManager>(
    make: impl Fn() -> H + Send + Sync + 'static,
    manager: Arc<M>,
    sessions: bool,
) -> StreamableHttpService<H, M> {
    let config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(sessions)
        .with_json_response(true)
        .with_max_request_body_bytes(LONGEST)
        .disable_allowed_hosts()
        .disable_allowed_origins();
    StreamableHttpService::new(move || Ok(make()), manager, config)
}
