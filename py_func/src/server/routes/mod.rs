//! What can be asked of the server, one file for each kind of thing. The handlers' attributes are what the description at
//! `/openapi.json` is made of.

mod calls;
mod files;
mod functions;
mod invoke;
mod message;
mod page;
mod service;
mod state;

use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, Uri};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse as _, Response};
use utoipa::OpenApi;
use utoipa::openapi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) use files::clean as clean_path;
pub use files::{Folder, FolderEntry};
pub use functions::FunctionDocument;
#[cfg(any(test, fuzzing))]
pub(super) use message::Message;
pub use service::RuntimeDocument;
pub use state::Keys;

use super::json::Json;
use super::problem::{PROBLEM_JSON, Problem};
use super::{App, access, observe};

/// The description of the interface, to which the routes add themselves.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "py_func",
        description = "Runs Python functions, each call in a sandbox of its own. Errors are `application/problem+json`. Where \
            tokens are set up, they are sent as `Authorization: Bearer TOKEN`.",
    ),
    modifiers(&Bearer),
    security((), ("token" = []))
)]
struct Description;

struct Bearer;

impl utoipa::Modify for Bearer {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        openapi.components.get_or_insert_default().add_security_scheme("token", scheme);
    }
}

/// All routes.
pub(super) fn router(app: Arc<App>) -> Router {
    let mut guarded = OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(functions::list))
        .routes(routes!(functions::get, functions::put, functions::delete))
        .routes(routes!(functions::versions))
        .routes(routes!(functions::rollback))
        .routes(routes!(invoke::invoke))
        .routes(routes!(message::message))
        .routes(routes!(calls::list))
        .routes(routes!(calls::get, calls::delete))
        .routes(routes!(calls::output))
        .routes(routes!(calls::result))
        .routes(routes!(calls::logs))
        .routes(routes!(state::list))
        .routes(routes!(state::get, state::put, state::delete))
        .routes(routes!(files::list))
        .routes(routes!(files::get, files::put, files::delete))
        .routes(routes!(service::runtime, service::upgrade))
        .routes(routes!(service::put_runtime))
        .routes(routes!(service::flush))
        .routes(routes!(service::metrics))
        .route_layer(from_fn_with_state(Arc::clone(&app), access::guard));
    let open = OpenApiRouter::new()
        .routes(routes!(service::healthz))
        .routes(routes!(service::readyz))
        .routes(routes!(page::page));
    describe_guard(guarded.get_openapi_mut());
    let (router, mut description) = guarded.merge(open).split_for_parts();
    // The router's way of saying that a part may have slashes is none of OpenAPI's.
    let paths = std::mem::take(&mut description.paths.paths);
    description.paths.paths = paths.into_iter().map(|(path, item)| (path.replace("{*", "{"), item)).collect();
    router
        .route("/openapi.json", axum::routing::get(async move || Json(description)))
        .merge(page::router())
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(from_fn_with_state(Arc::clone(&app), observe::observe))
        .with_state(app)
}

/// Adds what any guarded operation may answer.
fn describe_guard(description: &mut openapi::OpenApi) {
    let problem = |description: &str| {
        let schema = openapi::Ref::from_schema_name("Problem");
        let content = openapi::ContentBuilder::new().schema(Some(schema)).build();
        openapi::ResponseBuilder::new().description(description).content(PROBLEM_JSON, content).build()
    };
    for item in description.paths.paths.values_mut() {
        let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete];
        for operation in operations.into_iter().flatten() {
            for (status, description) in [
                ("400", "the request cannot be understood"),
                ("401", "a token is needed, and none that is known was sent"),
                ("403", "the token is for other users, or the request comes from a web page of elsewhere"),
                ("429", "the client makes more requests a second than it may"),
            ] {
                let responses = &mut operation.responses.responses;
                responses.entry(status.to_owned()).or_insert_with(|| problem(description).into());
            }
        }
    }
}

async fn no_route(uri: Uri) -> Problem {
    let detail = format!("there is nothing at {}", uri.path());
    Problem::new(StatusCode::NOT_FOUND, "no-route", detail).hint("/openapi.json describes what there is")
}

/// The router adds the header `Allow`.
async fn no_method(uri: Uri) -> Response {
    let detail = format!("{} has no such method", uri.path());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "no-method", detail).into_response()
}
