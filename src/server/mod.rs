//! Door 1, HTTP: all routes are in this file, all layers around them in `middleware`.

mod admission;
mod body;
mod chat;
mod cors;
mod error_response;
mod explain;
mod flush;
mod middleware;
mod models;
mod ops;
mod own_answer;
mod passthrough;

use std::sync::Arc;

pub use own_answer::own_answer;

use axum::{
    Router,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::{any, get, post},
};

use crate::{
    api::CHAT,
    error::Error,
    net::HttpService,
    pipeline::{self, UNVERSIONED},
    state::{AppState, StateHandle},
};

/// The routes for clients; also those for operators, where these have no listener of their own.
pub fn routes(handle: StateHandle) -> impl HttpService {
    let mut routes = match &handle.load().config.ops {
        None => operator_routes(),
        Some(_) => Router::new(),
    };
    routes = routes
        // judged: decide, forward, stream
        .route(CHAT, post(chat::handle))
        // answered here
        .route("/v1/models", get(models::list))
        .route("/v1/models/{*id}", get(models::one))
        .route("/health", get(ops::health))
        .route("/ready", get(ops::ready))
        // forwarded as they come
        .route("/v1/{*rest}", any(passthrough::handle));
    for (path, _reason) in UNVERSIONED {
        routes = routes.route(path, post(passthrough::handle));
    }
    with_layers(routes, handle)
}

/// The routes of the listener for operators.
pub fn ops_routes(handle: StateHandle) -> impl HttpService {
    let routes = operator_routes()
        .route("/health", get(ops::health))
        .route("/ready", get(ops::ready));
    with_layers(routes, handle)
}

/// What clients need not see.
fn operator_routes() -> Router<StateHandle> {
    Router::new()
        .route("/explain", post(explain::handle))
        .route("/metrics", get(ops::metrics))
}

fn with_layers(routes: Router<StateHandle>, handle: StateHandle) -> impl HttpService {
    let routes = routes
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(handle.clone());
    middleware::layered(&handle, routes)
}

async fn not_found(State(state): State<Arc<AppState>>, request: Request) -> Response {
    let error = pipeline::unlisted(request.uri().path());
    admission::reject(&state, request, &error)
}

async fn method_not_allowed(State(state): State<Arc<AppState>>, request: Request) -> Response {
    let error = Error::MethodNotAllowed(request.method().to_string());
    admission::reject(&state, request, &error)
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        error_response::answer(&self)
    }
}
