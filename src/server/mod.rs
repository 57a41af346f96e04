//! Front door 1: HTTP. All routes and all middleware on one screen.

mod body;
mod cors;
mod dress;
mod entered;
mod explain;
mod forwarded;
mod gather;
mod judged;
mod models;
mod ops;
mod refusal;
mod request_id;

pub use dress::Dressed;

use std::sync::Arc;

use self::entered::Entered;
use crate::{
    error::Error,
    intake::{NOT_FOR_CLIENTS, UNVERSIONED},
    live::{Live, Serving},
    openai::CHAT,
};
use axum::{
    Router,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::{any, get, post},
};

/// The HTTP door of one gateway.
pub fn routes(serving: Serving) -> Dressed {
    let mut routes = match &serving.live().config.ops {
        None => for_operators(),
        Some(_) => Router::new(), // they have a door of their own
    };
    routes = routes
        // judged: decide, forward, stream (called by name where it can be, see `dress`)
        .route(CHAT, post(judged::handle))
        // answered here
        .route("/v1/models", get(models::list))
        .route("/v1/models/{*id}", get(models::one))
        .route("/health", get(ops::health))
        .route("/ready", get(ops::ready))
        // forwarded as they come
        .route("/v1/{*rest}", any(forwarded::handle));
    for path in UNVERSIONED {
        routes = routes.route(path, post(forwarded::handle));
    }
    for path in NOT_FOR_CLIENTS {
        routes = routes.route(path, any(unknown));
    }
    dressed(routes, serving, true)
}

/// The door for operators alone.
pub fn ops_routes(serving: Serving) -> Dressed {
    let routes = for_operators()
        .route("/health", get(ops::health))
        .route("/ready", get(ops::ready));
    dressed(routes, serving, false)
}

/// What clients need not see.
fn for_operators() -> Router<Serving> {
    Router::new()
        .route("/explain", post(explain::handle))
        .route("/metrics", get(ops::metrics))
}

/// Routes with all that is around them.
fn dressed(routes: Router<Serving>, serving: Serving, judges: bool) -> Dressed {
    let routes = routes
        .fallback(unknown)
        .method_not_allowed_fallback(not_allowed)
        .with_state(serving.clone());
    Dressed::new(serving, routes, judges)
}

async fn unknown(State(live): State<Arc<Live>>, request: Request) -> Response {
    let path = request.uri().path();
    let hint = match path {
        "/chat/completions" | "/completions" | "/models" | "/embeddings" | "/responses"
        | "/messages" => {
            format!(" The base URL is missing `/v1`: use /v1{path}.")
        }
        "/v1/chat/completions/" => " Leave out the slash at the end.".to_owned(),
        _ => String::new(),
    };
    let error = Error::RouteNotFound(format!("There is nothing at {path}.{hint}"));
    Entered::turn_away(&live, request, &error)
}

async fn not_allowed(State(live): State<Arc<Live>>, request: Request) -> Response {
    let error = Error::Method(request.method().to_string());
    Entered::turn_away(&live, request, &error)
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        refusal::answer(&self)
    }
}
