//! The page at `/`, which is a client like any other. All of it is in this program; nothing is loaded from elsewhere.

use std::sync::Arc;

use axum::Router;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;

use crate::server::App;

/// Scripts and styles come from here alone, and nothing the page shows can become a script.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Show the page for people.
#[utoipa::path(
    get,
    path = "/",
    tag = "service",
    responses((status = 200, description = "the page", body = String, content_type = "text/html"))
)]
pub(super) async fn page() -> Response {
    file("text/html", include_str!("../page/page.html"))
}

/// What the page is made of. Like the page it shows nothing of anybody, so it needs no token.
pub(super) fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/page.css", get(async || file("text/css", include_str!("../page/page.css"))))
        .route("/page.js", get(async || file("text/javascript", include_str!("../page/page.js"))))
}

fn file(kind: &str, content: &'static str) -> Response {
    let headers = [
        (CONTENT_TYPE, format!("{kind}; charset=utf-8")),
        // The next version of the program has another page.
        (CACHE_CONTROL, "no-cache".to_owned()),
        (CONTENT_SECURITY_POLICY, POLICY.to_owned()),
        (REFERRER_POLICY, "no-referrer".to_owned()),
        (X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (X_FRAME_OPTIONS, "DENY".to_owned()),
    ];
    (headers, content).into_response()
}
