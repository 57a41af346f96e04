//! What every request of this door goes through before a route sees it, and every answer after it: an id, CORS, the guard, and a
//! panic that is caught. One function instead of a layer each: axum boxes and clones every layer anew for each request, which took
//! as long as reading the request.

use std::{convert::Infallible, panic::AssertUnwindSafe, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::Response,
};
use futures_util::FutureExt;
use http::Method;
use hyper::body::Incoming;
use tower::{Layer, ServiceExt, service_fn};

use super::{chat, cors, error_response, request_id};
use crate::{
    api::CHAT,
    error::Error,
    net::Handler,
    pipeline::REQUEST_ID,
    state::{AppState, StateHandle},
};

/// Routes with all of that around them.
#[derive(Debug, Clone)]
pub struct Dressed {
    state_handle: StateHandle,
    routes: Router,
    /// True for the door of clients.
    judges: bool,
}

impl Dressed {
    /// Around `routes`. `judges`: chat requests are judged, by the handler that `routes` name.
    pub(super) fn new(state_handle: StateHandle, routes: Router, judges: bool) -> Self {
        Self {
            state_handle,
            routes,
            judges,
        }
    }

    /// Answers; browsers get the marks they ask for.
    async fn cross_origin(&self, state: &Arc<AppState>, request: Request) -> Response {
        let Some(layer) = cors::layer(request.headers(), &state.config.server.cors) else {
            return self.guarded(state, request).await;
        };
        let answers =
            service_fn(async |request| Ok::<_, Infallible>(self.guarded(state, request).await));
        // Apart, for it is large, and what holds it is copied for every request.
        let Ok(response) = Box::pin(layer.layer(answers).oneshot(request)).await;
        response
    }

    /// The route that nearly all take is called by name: a match in axum's router, three boxes and as many copies of the handler's
    /// future are a tenth of what a request touches of the processor's caches.
    async fn routed(&self, state: &Arc<AppState>, request: Request) -> Response {
        if self.judges && request.uri().path() == CHAT && request.method() == Method::POST {
            return Box::pin(chat::handle(State(state.clone()), request)).await;
        }
        let Ok(response) = self.routes.clone().oneshot(request).await;
        response
    }

    async fn guarded(&self, state: &Arc<AppState>, request: Request) -> Response {
        let answered = async {
            match error_response::guard(state, request) {
                Ok(request) => self.routed(state, request).await,
                Err(refused) => refused,
            }
        };
        let caught = AssertUnwindSafe(answered).catch_unwind().await; // the panic hook has said where
        caught.unwrap_or_else(|_| error_response::answer(&Error::Internal))
    }
}

impl Handler for Dressed {
    async fn handle(&self, request: http::Request<Incoming>) -> Response {
        let mut request = request.map(Body::new);
        let id = request_id::stamp(&mut request);
        let state = self.state_handle.load();
        let mut response = self.cross_origin(&state, request).await;
        response.headers_mut().insert(REQUEST_ID, id);
        response
    }
}
