//! Every layer between a connection and the routes: request id, CORS, panics, and the guard.
//!
//! They are plain tower services. Middleware made with `axum::middleware` would box the future of each layer for every request.
//! Each layer calls the next one in place, as all of them are always ready ([`HttpService`]): a clone of them for every request
//! would count references that all threads share.

use std::panic::AssertUnwindSafe;

use axum::{Router, extract::Request, response::Response};
use futures_util::{
    FutureExt,
    future::{Either, ready},
};
use http::{HeaderMap, HeaderValue, Version, header};
use tower::{Layer, ServiceBuilder, ServiceExt, layer::layer_fn, service_fn};

use super::{
    admission::{self, Guarded},
    cors, error_response,
};
use crate::{
    error::Error,
    net::HttpService,
    pipeline::{self, REQUEST_ID, RequestId, Route},
    state::{AppState, StateHandle},
};

/// The most headers of a request: hyper's own limit over HTTP/1, which it has not over HTTP/2; and the id that every request has
/// by now.
const MAX_HEADERS: usize = 100 + 1;

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
fn with_request_id<S: HttpService>(mut next: S) -> impl HttpService {
    service_fn(move |mut request: Request| {
        let id = RequestId::of(request.headers());
        let value = id.header.clone();
        request.headers_mut().insert(REQUEST_ID, value.clone());
        request.extensions_mut().insert(id);
        let answered = next.call(request);
        async move {
            let mut response = answered.await?;
            response.headers_mut().insert(REQUEST_ID, value);
            Ok(response)
        }
    })
}

/// Answers the preflights of browsers, and marks the answers that they may read. A request without `Origin` passes as it is.
fn with_cors<S: HttpService>(handle: StateHandle, mut next: S) -> impl HttpService {
    service_fn(move |request: Request| {
        let from_browser = request.headers().contains_key(header::ORIGIN);
        let layer = from_browser.then(|| cors::layer(&handle.load().config.server.cors));
        match layer.flatten() {
            None => Either::Left(next.call(request)),
            // Boxed, because it is large, and what holds it is moved with every request.
            Some(layer) => Either::Right(layer.layer(next.clone()).oneshot(request).boxed()),
        }
    })
}

/// Answers a request whose handler panicked with a 500. The panic hook has printed where it happened.
fn catching_panics<S: HttpService>(mut next: S) -> impl HttpService {
    service_fn(move |request: Request| {
        let answered = AssertUnwindSafe(next.call(request)).catch_unwind();
        answered.map(|answered| {
            answered.unwrap_or_else(|_| Ok(error_response::answer(&Error::Internal)))
        })
    })
}

/// Rejects requests that are ambiguous or lack a key, and notes the key's owner for the routes.
fn guarded<S: HttpService>(handle: StateHandle, mut next: S) -> impl HttpService {
    service_fn(
        move |request: Request| match check(&handle.peek(), request) {
            Ok(request) => Either::Left(next.call(request)),
            Err(rejection) => Either::Right(ready(Ok(rejection))),
        },
    )
}

#[expect(
    clippy::result_large_err,
    reason = "an answer is what the caller returns either way"
)]
fn check(state: &AppState, mut request: Request) -> Result<Request, Response> {
    let is_without_host =
        request.version() == Version::HTTP_11 && !request.headers().contains_key(header::HOST);
    if is_without_host || is_ambiguous(request.headers()) {
        let error = Error::invalid(match is_without_host {
            true => "The request has no Host header, which HTTP/1.1 requires.",
            false => "The request names two hosts, or a transfer coding but chunked.",
        });
        let mut response = admission::reject(state, request, &error);
        let close = HeaderValue::from_static("close"); // a proxy in front of us may take the next request for part of this one
        response.headers_mut().insert(header::CONNECTION, close);
        return Err(response);
    }
    if request.headers().len() > MAX_HEADERS {
        return Err(admission::reject(state, request, &Error::HeadersTooLarge));
    }
    if matches!(request.uri().path(), "/health" | "/ready" | "/metrics") {
        return Ok(request);
    }
    let mut info =
        admission::request_info(request.extensions(), request.method(), request.uri(), "-");
    let method = request.method().as_str();
    let checked = pipeline::guard(state, &mut info, method, request.headers())
        .and_then(|()| Route::of(request.uri().path()).map(|route| route.label()));
    request.extensions_mut().insert(Guarded {
        caller: info.caller,
        route: checked.as_ref().map_or("-", |route| route),
    });
    match checked {
        Ok(_) => Ok(request),
        Err(error) => Err(admission::reject(state, request, &error)),
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
