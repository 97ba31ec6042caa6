//! `/`: the page for people who open the address in a browser. It is one file, made of `web/` and committed, with
//! nothing from outside of it; what it shows it asks for under `/v1`.

use axum::http::header;
use axum::response::IntoResponse;

/// The page.
static PAGE: &str = include_str!("page/index.html");

/// What the page may do: run the one script and the one style that are in it, by their hashes, and ask the server that it
/// came from (W3C Content Security Policy Level 3).
static POLICY: &str = include_str!("page/policy.txt");

pub(super) async fn page() -> impl IntoResponse {
    let headers =
        [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CONTENT_SECURITY_POLICY, POLICY)];
    (headers, PAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_fetches_nothing_from_elsewhere() {
        for (i, _) in PAGE.match_indices("://") {
            let (before, after) = (&PAGE[..i], &PAGE[i + 3..]);
            // Names of XML vocabularies are no addresses.
            assert!(before.ends_with("http") && after.starts_with("www.w3.org/"), "{}", &after[..40]);
        }
        assert!(!POLICY.contains("unsafe") && !POLICY.contains('\n'), "{POLICY}");
    }
}
