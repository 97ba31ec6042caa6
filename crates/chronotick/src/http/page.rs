//! `/`: the page for people who open the address in a browser.

use axum::http::header;
use axum::response::IntoResponse;

/// The page, with nothing from outside of it.
static PAGE: &str = include_str!("page.html");

/// What the page may do: use what is in it, and ask the server that it came from.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(super) async fn page() -> impl IntoResponse {
    let headers =
        [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CONTENT_SECURITY_POLICY, POLICY)];
    (headers, PAGE)
}
