//! Envoy's side of ext_proc, as its filter behaves in each body mode (measured with Envoy 1.40). A real Envoy would need
//! minutes for the same cases.

use std::{collections::BTreeMap, net::SocketAddr};

use envoy_types::pb::envoy::{
    config::core::v3::{HeaderMap, HeaderValue},
    service::ext_proc::v3::{
        BodyMutation, CommonResponse, HeaderMutation, HttpBody, HttpHeaders, HttpTrailers,
        ImmediateResponse, ProcessingRequest, ProcessingResponse, ProtocolConfiguration,
        body_mutation::Mutation, external_processor_client::ExternalProcessorClient,
        processing_request::Request, processing_response::Response,
    },
};
use envoy_types::pb::google::protobuf::{Struct, Value, value::Kind};
use futures_util::stream;
use tokio::{
    sync::mpsc::{UnboundedSender, unbounded_channel},
    time::timeout,
};
use tonic::Streaming;

use super::http::{Answer, PATIENCE};

pub use BodySendMode::{Buffered, FullDuplexStreamed, Streamed};
pub use envoy_types::pb::envoy::extensions::filters::http::ext_proc::v3::processing_mode::BodySendMode;

/// A request as a client sends it to Envoy.
#[derive(Debug, Clone)]
pub struct ClientRequest<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub headers: Vec<(&'a str, &'a str)>,
    /// The body in the chunks it arrives in.
    pub pieces: Vec<&'a [u8]>,
    pub trailers: bool,
}

impl<'a> ClientRequest<'a> {
    /// A chat request whose body arrives at once.
    pub fn chat(body: &'a str) -> Self {
        Self {
            method: "POST",
            path: "/v1/chat/completions",
            headers: vec![("content-type", "application/json")],
            pieces: vec![body.as_bytes()],
            trailers: false,
        }
    }

    pub fn with(mut self, headers: &[(&'a str, &'a str)]) -> Self {
        self.headers.extend(headers);
        self
    }
}

/// What Envoy finally does with a request.
#[derive(Debug)]
pub enum EnvoyResult {
    /// Sends this to the server.
    Sent(Sent),
    /// Answers the client itself.
    Refused(Refused),
}

/// A request as the server gets it, and the headers of the response as the client gets them.
#[derive(Debug, Default)]
pub struct Sent {
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
    /// True when the route was chosen again with the changed headers.
    pub rerouted: bool,
    /// The headers of the response. The server sent `200` with forged headers in our name.
    pub answer: BTreeMap<String, String>,
    /// The size of the largest chunk in which the body came back.
    pub largest: usize,
}

#[derive(Debug)]
pub struct Refused {
    pub status: u32,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl EnvoyResult {
    pub fn sent(self) -> Sent {
        match self {
            Self::Sent(sent) => sent,
            Self::Refused(refused) => panic!("refused: {refused:?}"),
        }
    }

    pub fn refused(self) -> Refused {
        match self {
            Self::Refused(refused) => refused,
            Self::Sent(sent) => panic!("sent: {sent:?}"),
        }
    }
}

/// One stream of Envoy's filter.
pub struct EnvoyStream {
    out: Option<UnboundedSender<ProcessingRequest>>,
    answers: Streaming<ProcessingResponse>,
    first: Option<ProtocolConfiguration>,
    pub observes: bool,
    /// `source.address`, where the filter asks for it (`request_attributes`).
    pub source: Option<&'static str>,
}

impl EnvoyStream {
    pub async fn open(address: SocketAddr, mode: Option<BodySendMode>) -> Self {
        let mut client = ExternalProcessorClient::connect(format!("http://{address}"))
            .await
            .unwrap()
            .max_encoding_message_size(usize::MAX);
        let (out, messages) = unbounded_channel();
        let messages = stream::unfold(messages, |mut messages| async move {
            Some((messages.recv().await?, messages))
        });
        Self {
            out: Some(out),
            answers: client.process(messages).await.unwrap().into_inner(),
            first: mode.map(|mode| ProtocolConfiguration {
                request_body_mode: mode.into(),
                ..ProtocolConfiguration::default()
            }),
            observes: false,
            source: None,
        }
    }

    pub fn send(&mut self, part: Request) {
        let message = ProcessingRequest {
            request: Some(part),
            protocol_config: self.first.take(),
            observability_mode: self.observes,
            attributes: self
                .source
                .take()
                .map(source_attribute)
                .into_iter()
                .collect(),
            ..ProcessingRequest::default()
        };
        self.out.as_ref().unwrap().send(message).unwrap();
    }

    /// Ends Envoy's side of the stream.
    pub fn close(&mut self) {
        self.out = None;
    }

    /// The next reply; `None` at the end of the stream.
    pub async fn next_reply(&mut self) -> Option<Response> {
        let answer = timeout(PATIENCE, self.answers.message())
            .await
            .expect("no answer");
        answer.unwrap()?.response
    }

    pub fn send_headers(&mut self, ask: &ClientRequest<'_>) {
        let pseudo = [(":method", ask.method), (":path", ask.path)];
        let all = pseudo.iter().chain(&ask.headers);
        self.send(Request::RequestHeaders(head(
            all.copied(),
            ask.pieces.is_empty() && !ask.trailers,
        )));
    }

    pub fn send_body(&mut self, piece: &[u8], is_last: bool) {
        self.send(Request::RequestBody(HttpBody {
            body: piece.to_vec(),
            end_of_stream: is_last,
            ..HttpBody::default()
        }));
    }
}

/// The attributes of a first message, as Envoy sends them.
fn source_attribute(address: &str) -> (String, Struct) {
    let kind = Some(Kind::StringValue(address.into()));
    let fields = [("source.address".to_owned(), Value { kind })].into();
    ("envoy.filters.http.ext_proc".into(), Struct { fields })
}

fn head<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>, end_of_stream: bool) -> HttpHeaders {
    let headers = pairs
        .map(|(key, value)| HeaderValue {
            key: key.into(),
            raw_value: value.into(),
            ..HeaderValue::default()
        })
        .collect();
    HttpHeaders {
        headers: Some(HeaderMap { headers }),
        end_of_stream,
        ..HttpHeaders::default()
    }
}

/// Fails unless a request behind Envoy is refused with the status and the body of `answer`, which the other door gave.
pub async fn assert_refused_alike(address: SocketAddr, ask: &ClientRequest<'_>, answer: &Answer) {
    let refused = through(address, Buffered, ask).await.refused();
    assert_eq!(
        (refused.status, &*refused.body),
        (u32::from(answer.status), answer.text()),
        "{}",
        ask.path
    );
}

/// Takes one request through the filter, and a response of the server back.
pub async fn through(
    address: SocketAddr,
    mode: BodySendMode,
    ask: &ClientRequest<'_>,
) -> EnvoyResult {
    let mut stream = EnvoyStream::open(address, Some(mode)).await;
    let mut sent = Sent {
        headers: ask
            .headers
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect(),
        ..Sent::default()
    };
    stream.send_headers(ask);
    let done = match mode {
        FullDuplexStreamed => in_full_duplex(&mut stream, ask, &mut sent).await,
        _ => in_turns(&mut stream, mode, ask, &mut sent).await,
    };
    if let Err(refused) = done {
        assert!(
            stream.next_reply().await.is_none(),
            "a reply after a refusal"
        );
        return EnvoyResult::Refused(refusal(refused));
    }
    let forged = [
        (":status", "200"),
        ("x-thinkgate-why", "forged"),
        ("x-thinkgate-forged", "1"),
    ];
    stream.send(Request::ResponseHeaders(head(forged.into_iter(), false)));
    let Some(Response::ResponseHeaders(answer)) = stream.next_reply().await else {
        panic!("no answer to the response's head")
    };
    sent.answer = [("x-thinkgate-why", "forged"), ("x-thinkgate-forged", "1")]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
    change(&mut sent.answer, answer.response.unwrap().header_mutation);
    stream.close();
    assert!(stream.next_reply().await.is_none(), "a reply too many");
    EnvoyResult::Sent(sent)
}

/// BUFFERED and STREAMED: exactly one reply to every message.
async fn in_turns(
    stream: &mut EnvoyStream,
    mode: BodySendMode,
    ask: &ClientRequest<'_>,
    sent: &mut Sent,
) -> Result<(), ImmediateResponse> {
    match stream.next_reply().await {
        Some(Response::RequestHeaders(answer)) => {
            let common = answer.response.unwrap();
            sent.rerouted |= common.clear_route_cache;
            change(&mut sent.headers, common.header_mutation);
        }
        Some(Response::ImmediateResponse(refused)) => return Err(refused),
        other => panic!("{other:?}"),
    }
    let whole = ask.pieces.concat();
    let mut messages: Vec<(&[u8], bool)> = match mode {
        Streamed => ask.pieces.iter().map(|piece| (*piece, false)).collect(),
        _ => vec![(&whole, !ask.trailers)],
    };
    if ask.pieces.is_empty() {
        messages.clear();
    } else if mode == Streamed && !ask.trailers {
        messages.push((&[], true)); // Envoy ends a streamed body with an empty chunk
    }
    for (piece, is_last) in messages {
        stream.send_body(piece, is_last);
        let common = match stream.next_reply().await {
            Some(Response::RequestBody(answer)) => answer.response.unwrap(),
            Some(Response::ImmediateResponse(refused)) => return Err(refused),
            other => panic!("{other:?}"),
        };
        match (common.body_mutation, common.header_mutation) {
            (_, Some(_)) if mode == Streamed => panic!("the head is gone by now"),
            (Some(body), headers) => {
                change(&mut sent.headers, headers);
                take(sent, body);
                if let Some(length) = sent.headers.get("content-length") {
                    assert_eq!(*length, sent.body.len().to_string(), "Envoy refuses this");
                }
            }
            (None, headers) => {
                change(&mut sent.headers, headers);
                sent.body.extend_from_slice(piece);
            }
        }
        sent.rerouted |= common.clear_route_cache;
    }
    if ask.trailers {
        stream.send(Request::RequestTrailers(HttpTrailers::default()));
        match stream.next_reply().await {
            Some(Response::RequestTrailers(_)) => {}
            Some(Response::ImmediateResponse(refused)) => return Err(refused),
            other => panic!("{other:?}"),
        }
    }
    Ok(())
}

/// FULL_DUPLEX_STREAMED: everything is sent without waiting for replies.
async fn in_full_duplex(
    stream: &mut EnvoyStream,
    ask: &ClientRequest<'_>,
    sent: &mut Sent,
) -> Result<(), ImmediateResponse> {
    for piece in &ask.pieces {
        stream.send_body(piece, false);
    }
    match (ask.trailers, ask.pieces.is_empty()) {
        (true, _) => stream.send(Request::RequestTrailers(HttpTrailers::default())),
        (false, false) => stream.send_body(&[], true),
        (false, true) => {}
    }
    let mut is_first = true;
    loop {
        let common: CommonResponse = match stream.next_reply().await {
            Some(Response::RequestHeaders(answer)) if is_first => {
                let common = answer.response.unwrap();
                sent.rerouted = common.clear_route_cache;
                change(&mut sent.headers, common.header_mutation);
                is_first = false;
                if ask.pieces.is_empty() && !ask.trailers {
                    return Ok(());
                }
                continue;
            }
            Some(Response::RequestBody(answer)) if !is_first => answer.response.unwrap(),
            Some(Response::RequestTrailers(_)) if ask.trailers && !is_first => return Ok(()),
            Some(Response::ImmediateResponse(refused)) => return Err(refused),
            other => panic!("{other:?}"),
        };
        let Some(Mutation::StreamedResponse(piece)) = common.body_mutation.unwrap().mutation else {
            panic!("full duplex takes streamed responses only")
        };
        sent.largest = sent.largest.max(piece.body.len());
        sent.body.extend_from_slice(&piece.body);
        if piece.end_of_stream {
            assert!(!ask.trailers, "the trailers are the end");
            return Ok(());
        }
    }
}

fn take(sent: &mut Sent, body: BodyMutation) {
    match body.mutation.unwrap() {
        Mutation::Body(body) => sent.body.extend_from_slice(&body),
        Mutation::ClearBody(true) => {}
        other => panic!("{other:?}"),
    }
}

/// Removes first and then sets, as Envoy does.
fn change(headers: &mut BTreeMap<String, String>, mutation: Option<HeaderMutation>) {
    let mutation = mutation.unwrap_or_default();
    for name in &mutation.remove_headers {
        headers.remove(name);
    }
    for option in mutation.set_headers {
        let pair = option.header.unwrap();
        headers.insert(pair.key, String::from_utf8(pair.raw_value).unwrap());
    }
}

pub fn refusal(refused: ImmediateResponse) -> Refused {
    let mut headers = BTreeMap::new();
    change(&mut headers, refused.headers);
    Refused {
        status: refused.status.unwrap().code.try_into().unwrap(),
        headers,
        body: String::from_utf8(refused.body).unwrap(),
    }
}
