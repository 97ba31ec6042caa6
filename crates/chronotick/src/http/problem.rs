//! What goes wrong, as a problem document (RFC 9457): what, and the mend.

use axum::Json;
use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;

/// Why a request is not answered as it was meant (RFC 9457).
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(super) struct Problem {
    /// the status code's own words
    title: &'static str,
    /// the status code
    status: u16,
    /// what is the matter, and what to do
    detail: String,
}

impl Problem {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Problem {
        let title = status.canonical_reason().unwrap_or("error");
        Problem { title, status: status.as_u16(), detail: detail.into() }
    }

    /// Nothing was measured yet.
    pub(super) fn too_early(why: &std::io::Error) -> Problem {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, format!("{why}; ask again in a second"))
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let code = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (code, Json(self)).into_response();
        let problem = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, problem);
        match code {
            StatusCode::UNAUTHORIZED => {
                response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response
    }
}

/// The parameters of a request, or what is wrong with them and which there are.
pub(super) fn asked<T>(query: Result<Query<T>, QueryRejection>, known: &str) -> Result<T, Problem> {
    let wrong = |e: QueryRejection| {
        Problem::new(StatusCode::BAD_REQUEST, format!("{}; the parameters are {known}", e.body_text()))
    };
    query.map(|Query(asked)| asked).map_err(wrong)
}

pub(super) async fn no_such_path(uri: Uri) -> Problem {
    let path: String = uri.path().chars().take(80).collect();
    Problem::new(
        StatusCode::NOT_FOUND,
        format!("there is nothing at {path}; /openapi.json lists what there is"),
    )
}

pub(super) async fn no_such_method(method: Method) -> Problem {
    let detail = format!("{method} is not for this path; use GET or HEAD");
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail)
}
