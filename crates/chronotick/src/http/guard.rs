//! Who may ask: by the name that the server is called by, by the page that asks, and by the token.
//!
//! A page of a stranger can make a browser send requests to loopback, under the page's own name if it has that name
//! resolve to loopback (DNS rebinding). So a `Host` must be `localhost`, an address, or a name that is configured, and
//! an `Origin` must be this server itself or one that is configured.

use super::StartError;
use super::problem::Problem;
use crate::config;
use axum::body::{Body, HttpBody, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::io::Read;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use subtle::ConstantTimeEq;

/// The largest body that is read, in bytes.
const BODY: usize = 64 * 1024;
/// How long a body may take.
const BODY_TIME: Duration = Duration::from_secs(10);
/// The shortest token that is taken: 16 characters of 4 bits are beyond guessing.
const TOKEN: std::ops::RangeInclusive<usize> = 16..=4096;
/// What a watcher without a token may ask: whether the clock is well, and the page, which holds no data itself.
pub(super) const OPEN: [&str; 3] = ["/", "/health", "/ready"];

/// Who may ask.
pub(super) struct Guard {
    token: Option<String>,
    hosts: Vec<String>,
    origins: Vec<String>,
}

impl Guard {
    pub(super) fn new(settings: &config::Http) -> Result<Guard, StartError> {
        let token = settings.token_file.as_deref().map(read_token).transpose()?;
        let (hosts, origins) = (settings.allowed_hosts.clone(), settings.allowed_origins.clone());
        Ok(Guard { token, hosts, origins })
    }

    fn admit(&self, request: &Request) -> Result<Option<HeaderValue>, Problem> {
        let forbidden = |detail: String| Problem::new(StatusCode::FORBIDDEN, detail);
        let headers = request.headers();
        let host = the_only(headers, header::HOST)?.ok_or_else(|| {
            Problem::new(StatusCode::BAD_REQUEST, "the request has no Host; HTTP/1.1 wants one")
        })?;
        if !self.is_called(host) {
            return Err(forbidden(
                "this server is not known by the Host of the request; add the name to http.allowed_hosts"
                    .into(),
            ));
        }
        let origin = the_only(headers, header::ORIGIN)?;
        let foreign = origin.filter(|origin| !is_same(origin, host));
        if foreign.is_some_and(|origin| !self.origins.iter().any(|o| o.eq_ignore_ascii_case(origin))) {
            let detail = "pages of this Origin may not ask; add it to http.allowed_origins if they shall";
            return Err(forbidden(detail.into()));
        }
        let preflight = request.method() == Method::OPTIONS && foreign.is_some();
        if !preflight && !OPEN.contains(&request.uri().path()) && !self.knows(headers) {
            let detail = "send the token of http.token_file as `Authorization: Bearer TOKEN`";
            return Err(Problem::new(StatusCode::UNAUTHORIZED, detail));
        }
        Ok(foreign.and_then(|origin| HeaderValue::from_str(origin).ok()))
    }

    fn is_called(&self, host: &str) -> bool {
        let name = without_port(host).trim_end_matches('.').to_ascii_lowercase();
        let address = match name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(inside) => inside.parse::<Ipv6Addr>().is_ok(),
            None => name.parse::<Ipv4Addr>().is_ok(),
        };
        address || name == "localhost" || self.hosts.contains(&name)
    }

    fn knows(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.token else { return true };
        let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let shown = shown.and_then(|value| value.split_once(' '));
        shown.is_some_and(|(scheme, shown)| {
            scheme.eq_ignore_ascii_case("bearer")
                && bool::from(shown.trim().as_bytes().ct_eq(token.as_bytes()))
        })
    }
}

/// The value of a header that may be there once, and must be text.
fn the_only(headers: &HeaderMap, name: header::HeaderName) -> Result<Option<&str>, Problem> {
    let mut values = headers.get_all(&name).iter();
    let refused =
        || Problem::new(StatusCode::BAD_REQUEST, format!("the header {name} must be there once, as text"));
    let value = values.next().map(|value| value.to_str().map_err(|_| refused())).transpose()?;
    if values.next().is_some() { Err(refused()) } else { Ok(value) }
}

/// Whether a page of this origin was served under the same name and port.
fn is_same(origin: &str, host: &str) -> bool {
    let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    }
}

/// The token in a file: its only line.
fn read_token(path: &Path) -> Result<String, StartError> {
    let refuse = |why: String| StartError::Token { path: path.into(), why };
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(2 * *TOKEN.end() as u64).read_to_string(&mut text))
        .map_err(|e| refuse(format!("{e}; write the token into it, readable to this user only")))?;
    let token = text.trim();
    if !TOKEN.contains(&token.len()) || !token.bytes().all(|b| b.is_ascii_graphic()) {
        let mend =
            "must hold one line of 16 or more printable ASCII characters; `openssl rand -hex 32` makes one";
        return Err(refuse(mend.into()));
    }
    Ok(token.to_owned())
}

/// Lets through who may ask, with a body that is there in whole.
pub(super) async fn guarded(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let foreign = match guard.admit(&request) {
        Ok(foreign) => foreign,
        Err(problem) => return dressed(problem.into_response(), None),
    };
    if request.method() == Method::OPTIONS && foreign.is_some() {
        return dressed(StatusCode::NO_CONTENT.into_response(), foreign);
    }
    let response = match whole(request).await {
        Ok(request) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    dressed(response, foreign)
}

/// The request with its whole body, which may be neither long nor slow.
async fn whole(request: Request) -> Result<Request, Problem> {
    if request.body().is_end_stream() {
        return Ok(request);
    }
    let too_large = || {
        let detail = format!("the body could not be read, or is longer than {BODY} bytes");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
    };
    if request.body().size_hint().lower() > BODY as u64 {
        return Err(too_large());
    }
    let (head, body) = request.into_parts();
    match tokio::time::timeout(BODY_TIME, to_bytes(body, BODY)).await {
        Ok(Ok(bytes)) => Ok(Request::from_parts(head, Body::from(bytes))),
        Ok(Err(_)) => Err(too_large()),
        Err(_) => {
            let detail = format!("the body did not come within {} s", BODY_TIME.as_secs());
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, detail))
        }
    }
}

/// The response as every one leaves: never guessed at, never kept, and readable to the page that may read it.
fn dressed(mut response: Response, foreign: Option<HeaderValue>) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    if let Some(origin) = foreign {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::VARY, HeaderValue::from_static("Origin"));
        let methods = HeaderValue::from_static("GET, HEAD, POST, OPTIONS");
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
        let sent = "Authorization, Content-Type, Last-Event-ID, Mcp-Protocol-Version, Mcp-Method, Mcp-Name";
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(sent));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(token: Option<&str>) -> Guard {
        Guard {
            token: token.map(Into::into),
            hosts: vec!["clock.example".into()],
            origins: vec!["https://board.example".into()],
        }
    }

    fn admitted(guard: &Guard, path: &str, headers: &[(&str, &str)]) -> u16 {
        let mut request = Request::builder().uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        guard
            .admit(&request.body(Body::empty()).unwrap())
            .map_or_else(|p| p.into_response().status().as_u16(), |_| 200)
    }

    #[test]
    fn only_known_names_are_answered() {
        let of = |host| admitted(&guard(None), "/v1/time", &[("host", host)]);
        for known in [
            "localhost",
            "LOCALHOST:8037",
            "127.0.0.1:1",
            "[::1]:80",
            "[::1]",
            "clock.example.:80",
            "10.0.0.7",
        ] {
            assert_eq!(of(known), 200, "{known}");
        }
        for unknown in
            ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "", "::", "a:b", "[::1"]
        {
            assert_ne!(of(unknown), 200, "{unknown}");
        }
        assert_eq!(admitted(&guard(None), "/", &[]), 400);
        assert_eq!(admitted(&guard(None), "/", &[("host", "localhost"), ("host", "localhost")]), 400);
    }

    #[test]
    fn only_its_own_and_configured_pages_are_answered() {
        let of =
            |origin| admitted(&guard(None), "/v1/time", &[("host", "localhost:8037"), ("origin", origin)]);
        assert_eq!((of("http://localhost:8037"), of("https://board.example")), (200, 200));
        for stranger in ["http://localhost:1", "http://evil.example", "null", "https://board.example.evil"] {
            assert_eq!(of(stranger), 403, "{stranger}");
        }
    }

    #[test]
    fn the_token_opens_all_but_what_a_watcher_needs() {
        let guard = guard(Some("0123456789abcdef"));
        let of =
            |path, shown: &str| admitted(&guard, path, &[("host", "localhost"), ("authorization", shown)]);
        assert_eq!((of("/v1/time", "Bearer 0123456789abcdef"), of("/health", "")), (200, 200));
        for wrong in
            ["", "Bearer", "Bearer ", "Basic 0123456789abcdef", "Bearer 0123456789abcdeg", "Bearer 0"]
        {
            assert_eq!(of("/v1/time", wrong), 401, "{wrong}");
        }
    }

    #[test]
    fn a_token_that_can_be_guessed_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            read_token(&path)
        };
        assert_eq!(read(" 0123456789abcdef\n").unwrap(), "0123456789abcdef");
        for poor in ["", "short", "0123456789abcdef\nsecond", &"x".repeat(4097)] {
            assert!(read(poor).unwrap_err().to_string().contains("16 or more"), "{poor}");
        }
        assert!(read_token(Path::new("/nowhere/token")).unwrap_err().to_string().contains("/nowhere/token"));
    }
}
