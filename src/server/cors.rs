//! CORS as vLLM does it: only for requests with an `Origin`, any method and header.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, header};
use tower::{Layer, ServiceExt};
use tower_http::cors::{AllowOrigin, Any, CorsLayer};

use crate::live::Live;

/// What `server.cors` means; `None` when CORS is off.
fn layer(origins: &[String]) -> Option<CorsLayer> {
    let layer = CorsLayer::new()
        .allow_methods(Any)
        .allow_headers(Any)
        .expose_headers(Any);
    match origins {
        [] => None,
        some if some.iter().any(|origin| origin == "*") => Some(layer.allow_origin(Any)),
        some => {
            let origins = some
                .iter()
                .filter_map(|origin| HeaderValue::try_from(origin).ok());
            Some(layer.allow_origin(AllowOrigin::list(origins)))
        }
    }
}

/// Answers preflights and marks answers, for browsers; any other client sees no difference.
pub async fn apply(State(live): State<Arc<Live>>, request: Request, next: Next) -> Response {
    let is_from_browser = request.headers().contains_key(header::ORIGIN);
    match is_from_browser
        .then(|| layer(&live.config.server.cors))
        .flatten()
    {
        Some(layer) => layer.layer(next).oneshot(request).await.into_response(),
        None => next.run(request).await,
    }
}
