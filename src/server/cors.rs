//! CORS as vLLM does it: only for requests with an `Origin`, any method and header.

use http::{HeaderMap, HeaderValue, header};
use tower_http::cors::{AllowOrigin, Any, CorsLayer};

/// What answers preflights and marks answers, for a request from a browser; any other client sees no difference. `origins`:
/// `server.cors`, with none of which CORS is off.
pub fn layer(request: &HeaderMap, origins: &[String]) -> Option<CorsLayer> {
    if !request.contains_key(header::ORIGIN) {
        return None;
    }
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
