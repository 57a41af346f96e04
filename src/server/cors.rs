//! CORS, for the configured origins only: any method, and the headers that the page asks for.

use std::time::Duration;

use http::HeaderValue;
use tower_http::cors::{AllowHeaders, AllowOrigin, Any, CorsLayer};

/// How long a browser may keep the answer to a preflight. Chromium caps it at two hours, starlette's default is ten minutes.
const MAX_AGE: Duration = Duration::from_secs(600);

/// The layer that answers preflights and marks answers for browsers. `origins` is `server.cors`; `None` when it is empty, which
/// turns CORS off.
pub fn layer(origins: &[String]) -> Option<CorsLayer> {
    let layer = CorsLayer::new()
        .allow_methods(Any)
        // By name: `*` does not stand for `Authorization`.
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(Any)
        .max_age(MAX_AGE);
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
