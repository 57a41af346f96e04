//! Front door 1: HTTP. All routes and all middleware on one screen.

mod body;
mod chat;
mod coalesce;
mod cors;
mod entered;
mod error_response;
mod explain;
mod middleware;
mod models;
mod ops;
mod passthrough;
mod request_id;

pub use middleware::Dressed;

use std::sync::Arc;

use self::entered::Entered;
use crate::{
    api::CHAT,
    error::Error,
    pipeline::{NOT_FOR_CLIENTS, UNVERSIONED},
    state::{AppState, StateHandle},
};
use axum::{
    Router,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::{any, get, post},
};

/// The HTTP door of one gateway.
pub fn routes(state_handle: StateHandle) -> Dressed {
    let mut routes = match &state_handle.load().config.ops {
        None => for_operators(),
        Some(_) => Router::new(), // they have a door of their own
    };
    routes = routes
        // judged: decide, forward, stream (called by name where it can be, see `middleware`)
        .route(CHAT, post(chat::handle))
        // answered here
        .route("/v1/models", get(models::list))
        .route("/v1/models/{*id}", get(models::one))
        .route("/health", get(ops::health))
        .route("/ready", get(ops::ready))
        // forwarded as they come
        .route("/v1/{*rest}", any(passthrough::handle));
    for path in UNVERSIONED {
        routes = routes.route(path, post(passthrough::handle));
    }
    for path in NOT_FOR_CLIENTS {
        routes = routes.route(path, any(unknown));
    }
    dressed(routes, state_handle, true)
}

/// The door for operators alone.
pub fn ops_routes(state_handle: StateHandle) -> Dressed {
    let routes = for_operators()
        .route("/health", get(ops::health))
        .route("/ready", get(ops::ready));
    dressed(routes, state_handle, false)
}

/// What clients need not see.
fn for_operators() -> Router<StateHandle> {
    Router::new()
        .route("/explain", post(explain::handle))
        .route("/metrics", get(ops::metrics))
}

/// Routes with all that is around them.
fn dressed(routes: Router<StateHandle>, state_handle: StateHandle, judges: bool) -> Dressed {
    let routes = routes
        .fallback(unknown)
        .method_not_allowed_fallback(not_allowed)
        .with_state(state_handle.clone());
    Dressed::new(state_handle, routes, judges)
}

async fn unknown(State(state): State<Arc<AppState>>, request: Request) -> Response {
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
    Entered::turn_away(&state, request, &error)
}

async fn not_allowed(State(state): State<Arc<AppState>>, request: Request) -> Response {
    let error = Error::MethodNotAllowed(request.method().to_string());
    Entered::turn_away(&state, request, &error)
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        error_response::answer(&self)
    }
}
