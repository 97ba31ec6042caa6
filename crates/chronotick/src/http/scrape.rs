//! `/metrics`: what Prometheus scrapes.

use super::Shared;
use crate::metrics::{self, Dialect};
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::IntoResponse;

pub(super) async fn metrics(State(served): State<Shared>, headers: HeaderMap) -> impl IntoResponse {
    let accepted = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let dialect = Dialect::accepted(accepted);
    let mut families = metrics::of(&served.subject);
    families.push(metrics::events(&served.chronicle.happened()));
    families.extend(served.counts.families());
    ([(header::CONTENT_TYPE, dialect.content_type())], metrics::text(&families, dialect))
}
