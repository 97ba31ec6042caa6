//! The same server over streamable HTTP: stateless, with plain JSON replies; a reply is an event stream only where
//! something is told before it, as `wait_until` and subscriptions do.

use super::{LONGEST, Server};
use axum::Router;
use rmcp::handler::server::ServerHandler;
use rmcp::transport::streamable_http_server::session::SessionManager;
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use std::sync::Arc;

/// Where agents ask.
pub const PATH: &str = "/mcp";

/// The door for agents at [`PATH`], in both eras of the protocol.
///
/// Who may ask is decided before: whoever mounts it lets through known hosts, known origins and, beyond loopback, bearers of
/// the token only, as [`crate::http`] does for everything that it serves.
pub fn router(server: &Server) -> Router {
    let server = server.by("http");
    // A clone for each request: a subscription is of one request.
    routed(move || server.by("http"), Arc::new(NeverSessionManager::default()), false)
}

/// Any handler of the protocol at [`PATH`]; with `sessions` in the era that has them.
pub(super) fn routed<H: ServerHandler>(
    make: impl Fn() -> H + Send + Sync + 'static,
    manager: Arc<impl SessionManager>,
    sessions: bool,
) -> Router {
    let config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(sessions)
        .with_json_response(true)
        .with_max_request_body_bytes(LONGEST)
        .disable_allowed_hosts()
        .disable_allowed_origins();
    Router::new().route_service(PATH, StreamableHttpService::new(move || Ok(make()), manager, config))
}
