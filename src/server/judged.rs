//! Chat requests: decide, forward, stream.

use std::{sync::Arc, time::Instant};

use axum::{
    body::Body,
    extract::{Request, State},
    response::Response,
};
use http::request::Parts;

use super::{body, decision, forwarded::Entered, refusal};
use crate::{
    error::Error,
    live::Live,
    openai::ChatRequest,
    routing::Routed,
    upstream::{Catalog, Forward},
};

/// `POST /v1/chat/completions`.
pub async fn handle(State(live): State<Arc<Live>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let mut entered = match Entered::enter(&live, &parts, "/v1/chat/completions") {
        Ok(entered) => entered,
        Err(error) => return refusal::answer_early(&error, body),
    };
    let routed = match route(&live, &mut entered, &parts, body).await {
        Ok(routed) => routed,
        Err((error, rest)) => return entered.refuse(&error, rest),
    };
    let (catalog, mut routed) = routed;
    let Some(model) = catalog.model(&routed.model) else {
        return entered.refuse(
            &Error::NoEndpoint(format!("model `{}`", routed.model)),
            None,
        );
    };
    let forward = Forward {
        method: parts.method.clone(),
        path: parts.uri.path_and_query().map_or("/", |path| path.as_str()),
        headers: &parts.headers,
        pass_credentials: live.keys.are_open(),
        looked_at: true,
        render: |endpoint: &crate::upstream::Endpoint| {
            routed.render(endpoint.family, endpoint.model.as_deref())
        },
    };
    let (permit, record) = entered.into_parts();
    match forward.send(&live.client, model, record).await {
        Ok(mut response) => {
            let endpoint = response.body().endpoint().clone();
            routed.settle_at(endpoint.family);
            let seconds = response
                .body_mut()
                .record()
                .decided
                .as_ref()
                .map_or(0.0, |decided| decided.seconds);
            response.body_mut().record().decided = Some(decision::decided(&routed, seconds));
            response.body_mut().hold(permit);
            let upstream = endpoint.model.as_deref().unwrap_or(&routed.model);
            decision::tell(response.headers_mut(), &routed.decision, upstream);
            response.map(Body::new)
        }
        Err((error, record)) => {
            let mut response = Entered::failed(record, &error, None);
            decision::tell(response.headers_mut(), &routed.decision, &routed.model);
            response
        }
    }
}

/// Reads the request and decides.
async fn route(
    live: &Live,
    entered: &mut Entered,
    parts: &Parts,
    body: Body,
) -> Result<(Arc<Catalog>, Routed), (Error, Option<Body>)> {
    let wish = match decision::wish(&parts.headers) {
        Ok(wish) => wish,
        Err(error) => return Err((error, Some(body))),
    };
    let bytes = body::read(&parts.headers, body, &live.config.server)
        .await
        .map_err(|(error, rest)| (error, Some(rest)))?;
    let record = entered.record();
    record.bytes.0 = bytes.len() as u64;
    let began = Instant::now();
    let read = |error| (error, None);
    let request = ChatRequest::read(bytes).map_err(read)?;
    let catalog = live.catalog.load_full();
    let target = catalog.resolve(request.model().as_deref()).map_err(read)?;
    let routed = live
        .router
        .route(request, wish, &target)
        .await
        .map_err(read)?;
    record.model = routed.model.clone();
    record.decided = Some(decision::decided(&routed, began.elapsed().as_secs_f64()));
    Ok((catalog, routed))
}
