//! The gateway's own requests to model servers: `GET /v1/models` and `GET /health`.

use http::Method;

use super::{
    catalog::Listing,
    client::{Client, read_limited, root_cause},
    server::ModelServer,
};

/// The longest model list that is read, in bytes: about ten thousand models.
const MAX_LISTING_BYTES: usize = 8 << 20;

/// The models that the server lists now.
///
/// # Errors
/// Why there is no list, in words for the log.
pub async fn list_models(client: &Client, server: &ModelServer) -> Result<Listing, String> {
    let request = client.control_request(Method::GET, server, "/v1/models");
    let response = request.send().await.map_err(|error| root_cause(&error))?;
    match response.status() {
        status if status.is_success() => {}
        status if status.as_u16() == 401 => {
            return Err("answered 401: it wants a key (--upstream-key env:NAME, or api_key in the configuration)".into());
        }
        status => return Err(format!("answered {status}")),
    }
    let body = read_limited(response, MAX_LISTING_BYTES).await;
    let body = body
        .map_err(|error| root_cause(&error))?
        .ok_or_else(|| format!("its list of models is longer than {MAX_LISTING_BYTES} bytes"))?;
    serde_json::from_slice(&body)
        .map_err(|error| format!("its list of models is not OpenAI's: {error}"))
}

/// Requests `/health`. Any status below 500 means healthy, also from a server without this route; vLLM answers 503 when its
/// engine has died.
///
/// # Errors
/// What is wrong with the server, in words for the log.
pub async fn check_health(client: &Client, server: &ModelServer) -> Result<(), String> {
    let request = client.control_request(Method::GET, server, "/health");
    match request.send().await {
        Ok(response) if response.status().is_server_error() => {
            Err(format!("answered {}", response.status()))
        }
        Ok(_) => Ok(()),
        Err(error) => Err(root_cause(&error)),
    }
}
