//! CORS as vLLM does it: any method and header, for the configured origins.

use http::HeaderValue;
use tower_http::cors::{AllowOrigin, Any, CorsLayer};

/// The layer that answers preflights and marks answers for browsers. `origins` is `server.cors`; `None` when it is empty, which
/// turns CORS off.
pub fn layer(origins: &[String]) -> Option<CorsLayer> {
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
