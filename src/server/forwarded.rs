//! Requests that are not judged: forwarded as they come. And what every forwarded request goes through first.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Request, State},
    response::Response,
};
use bytes::Bytes;
use http::{Extensions, header, request::Parts};
use tokio::sync::OwnedSemaphorePermit;

use super::{body, refusal, refusal::ClientName, request_id::RequestId};
use crate::{
    error::Error,
    live::Live,
    openai::NamedModel,
    routing::Mode,
    telemetry::{self, Outcome, Record},
    upstream::{Endpoint, Forward, Model},
};

/// A request that was let in: it has a place among those in flight, and a record.
pub struct Entered {
    permit: OwnedSemaphorePermit,
    record: Record,
}

impl Entered {
    /// Lets a request in.
    ///
    /// # Errors
    /// When `server.max_in_flight` are being served already; recorded here.
    pub fn enter(live: &Live, parts: &Parts, route: &'static str) -> Result<Self, Error> {
        let mut record = begin(live, &parts.extensions, route);
        telemetry::adopt(&record.span, &parts.headers);
        match live.places.clone().try_acquire_owned() {
            Ok(permit) => Ok(Self { permit, record }),
            Err(_) => {
                record.fail(&Error::Overloaded);
                record.status = Error::Overloaded.status().as_u16();
                Err(Error::Overloaded)
            }
        }
    }

    /// What is recorded of it.
    pub fn record(&mut self) -> &mut Record {
        &mut self.record
    }

    /// The place and the record, for the answer's body to carry.
    pub fn into_parts(self) -> (OwnedSemaphorePermit, Record) {
        (self.permit, self.record)
    }

    /// Answers with an error. `rest`: what of the request was not read.
    pub fn refuse(self, error: &Error, rest: Option<Body>) -> Response {
        Self::failed(self.record, error, rest)
    }

    /// Refuses a request that no route takes; recorded like any other.
    pub fn turn_away(live: &Live, request: Request, error: &Error) -> Response {
        let (parts, body) = request.into_parts();
        Self::failed(begin(live, &parts.extensions, "-"), error, Some(body))
    }

    /// Answers with an error and closes the record.
    pub fn failed(mut record: Record, error: &Error, rest: Option<Body>) -> Response {
        record.fail(error);
        record.status = error.status().as_u16();
        match rest {
            Some(rest) => refusal::answer_early(error, rest),
            None => refusal::answer(error),
        }
    }

    /// Answers with something made here and closes the record.
    pub fn answered(mut self, response: Response) -> Response {
        self.record.status = response.status().as_u16();
        self.record.outcome = Outcome::Complete;
        response
    }
}

/// Begins the record of a request.
fn begin(live: &Live, about: &Extensions, route: &'static str) -> Record {
    let id = about
        .get::<RequestId>()
        .map_or_else(|| "-".into(), |id| id.0.clone());
    let mut record = Record::start(live.metrics.clone(), route, id);
    record.client = about
        .get::<ClientName>()
        .and_then(|client| client.0.clone());
    record
}

/// Any other route of a model server.
pub async fn handle(State(live): State<Arc<Live>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let mut entered = match Entered::enter(&live, &parts, route_name(parts.uri.path())) {
        Ok(entered) => entered,
        Err(error) => return refusal::answer_early(&error, body),
    };
    let bytes = match body::read(&parts.headers, body, &live.config.server).await {
        Ok(bytes) => bytes,
        Err((error, rest)) => return entered.refuse(&error, Some(rest)),
    };
    entered.record().bytes.0 = bytes.len() as u64;
    let (model, named) = match model_for(&live, &parts, &bytes) {
        Ok(found) => found,
        Err(error) => return entered.refuse(&error, None),
    };
    entered.record().model = model.name.clone();
    let forward = Forward {
        method: parts.method.clone(),
        path: parts.uri.path_and_query().map_or("/", |path| path.as_str()),
        headers: &parts.headers,
        pass_credentials: live.keys.are_open(),
        looked_at: false,
        render: |endpoint: &Endpoint| match &named {
            Some(named) => named.rename(&bytes, endpoint.model.as_deref().unwrap_or(&model.name)),
            None => bytes.clone(),
        },
    };
    let (permit, record) = entered.into_parts();
    match forward.send(&live.client, &model, record).await {
        Ok(mut response) => {
            response.body_mut().hold(permit);
            response.map(Body::new)
        }
        Err((error, record)) => Entered::failed(record, &error, None),
    }
}

/// The model a request is for: the one it names, else the only one there is. Of an alias the one for unjudged requests.
fn model_for(
    live: &Live,
    parts: &Parts,
    body: &Bytes,
) -> Result<(Arc<Model>, Option<NamedModel>), Error> {
    let content_type = parts
        .headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let named = NamedModel::find(content_type, body)?;
    let catalog = live.catalog.load();
    let target = catalog.resolve(named.as_ref().map(|named| named.name.as_str()))?;
    let (name, _) = target.choose(Mode::Unchanged);
    let model = catalog
        .model(&name)
        .cloned()
        .ok_or_else(|| Error::NoEndpoint(format!("model `{name}`")))?;
    Ok((model, named))
}

/// The route as a label: one of a closed set, never a client's text.
fn route_name(path: &str) -> &'static str {
    const KNOWN: [&str; 12] = [
        "/v1/completions",
        "/v1/responses",
        "/v1/messages",
        "/v1/embeddings",
        "/v1/audio/transcriptions",
        "/v1/audio/translations",
        "/tokenize",
        "/detokenize",
        "/rerank",
        "/score",
        "/pooling",
        "/classify",
    ];
    KNOWN
        .into_iter()
        .find(|known| *known == path)
        .unwrap_or("/v1/*")
}
