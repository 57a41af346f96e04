//! Every layer between a connection and the routes, from the outside in.
//!
//! The layers are tower services of our own kind, and not axum middleware: axum boxes each of its layers anew for every request.

use std::{convert::Infallible, panic::AssertUnwindSafe};

use axum::{Router, extract::Request, response::Response};
use futures_util::FutureExt;
use http::{HeaderMap, HeaderValue, header};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, layer::layer_fn, service_fn};

use super::{
    admission::{self, Authenticated},
    cors, error_response,
};
use crate::{
    error::Error,
    pipeline::{self, REQUEST_ID, RequestId},
    state::StateHandle,
};

/// A service that answers every request; a failure is an answer too.
pub trait HttpService:
    Service<Request, Response = Response, Error = Infallible, Future: Send>
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S> HttpService for S where
    S: Service<Request, Response = Response, Error = Infallible, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static
{
}

/// Puts every layer around the routes of a listener.
pub fn layered(handle: &StateHandle, routes: Router) -> impl HttpService + use<> {
    let (for_cors, for_guard) = (handle.clone(), handle.clone());
    ServiceBuilder::new()
        .layer(layer_fn(with_request_id))
        .layer(layer_fn(move |next| with_cors(for_cors.clone(), next)))
        .layer(layer_fn(catching_panics))
        .layer(layer_fn(move |next| guarded(for_guard.clone(), next)))
        .service(routes)
}

/// Gives every request an id, and its answer the same.
fn with_request_id<S: HttpService>(next: S) -> impl HttpService {
    service_fn(move |mut request: Request| {
        let id = RequestId::of(request.headers());
        let value = id.header.clone();
        request.headers_mut().insert(REQUEST_ID, value.clone());
        request.extensions_mut().insert(id);
        let answered = next.clone().oneshot(request);
        async move {
            let mut response = answered.await?;
            response.headers_mut().insert(REQUEST_ID, value);
            Ok(response)
        }
    })
}

/// Answers preflights of browsers, and marks the answers that they may read. Requests of other clients pass as they are.
fn with_cors<S: HttpService>(handle: StateHandle, next: S) -> impl HttpService {
    service_fn(move |request: Request| {
        let layer = cors::layer(request.headers(), &handle.load().config.server.cors);
        let next = next.clone();
        async move {
            match layer {
                None => next.oneshot(request).await,
                // Boxed, because it is large, and what holds it is moved with every request.
                Some(layer) => Box::pin(layer.layer(next).oneshot(request)).await,
            }
        }
    })
}

/// Answers a request whose handler panicked with a 500. The panic hook has printed where it happened.
fn catching_panics<S: HttpService>(next: S) -> impl HttpService {
    service_fn(move |request: Request| {
        let answered = AssertUnwindSafe(next.clone().oneshot(request)).catch_unwind();
        async move {
            let answered = answered.await;
            answered.unwrap_or_else(|_| Ok(error_response::answer(&Error::Internal)))
        }
    })
}

/// Lets pass what has one meaning and a key, and tells the routes whose key it is.
fn guarded<S: HttpService>(handle: StateHandle, next: S) -> impl HttpService {
    service_fn(move |request: Request| {
        let next = next.clone();
        let checked = check(&handle, request);
        async move {
            match checked {
                Ok(request) => next.oneshot(request).await,
                Err(rejection) => Ok(rejection),
            }
        }
    })
}

#[expect(
    clippy::result_large_err,
    reason = "an answer is what the caller returns either way"
)]
fn check(handle: &StateHandle, mut request: Request) -> Result<Request, Response> {
    let state = handle.load();
    if is_ambiguous(request.headers()) {
        let error =
            Error::invalid("The request names two hosts, or a transfer coding but chunked.");
        let mut response = admission::reject(&state, request, &error);
        let close = HeaderValue::from_static("close"); // a proxy in front of us may take the next request for part of this one
        response.headers_mut().insert(header::CONNECTION, close);
        return Err(response);
    }
    if matches!(request.uri().path(), "/health" | "/ready" | "/metrics") {
        return Ok(request);
    }
    let mut info = admission::request_info(request.extensions(), "-");
    let path = request.uri().path();
    let checked = pipeline::guard(&state, &mut info, path, request.headers());
    request.extensions_mut().insert(Authenticated(info.caller));
    match checked {
        Ok(()) => Ok(request),
        Err(error) => Err(admission::reject(&state, request, &error)),
    }
}

/// True when another server may read another request out of the same bytes. What HTTP itself forbids, such as two lengths, is
/// refused before it comes here; a length beside a coding is dropped (RFC 9112, 6.3).
fn is_ambiguous(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let is_plain = codings
        .next()
        .is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
    !is_plain || codings.next().is_some() || headers.get_all(header::HOST).iter().nth(1).is_some()
}
