//! A model server that costs next to nothing: 1 KB of JSON, or 52 events, each written by itself; `"seed":6` asks for all in one
//! write, `"seed":7` for events 2 ms apart, `"seed":8` for a pause of two minutes behind the first, `"seed":9` for one of 10 ms.

use std::{convert::Infallible, time::Duration};

use axum::body::Body;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use tokio::{net::TcpListener, time::sleep};
use tower::service_fn;

const EVENTS: usize = 50;

pub async fn serve(listener: TcpListener) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        tokio::spawn(async move {
            let service = TowerToHyperService::new(service_fn(answer));
            let builder = Builder::new(TokioExecutor::new());
            let _ = builder
                .serve_connection(TokioIo::new(stream), service)
                .await; // the client left
        });
    }
}

async fn answer(request: Request<hyper::body::Incoming>) -> Result<Response<Body>, hyper::Error> {
    let is_list = request.uri().path() == "/v1/models";
    let body = request.into_body().collect().await?.to_bytes();
    let holds = |text: &[u8]| memchr::memmem::find(&body, text).is_some();
    if is_list {
        let list = r#"{"object":"list","data":[{"id":"Qwen3-8B","object":"model"}]}"#;
        return Ok(json(list.into()));
    }
    if !holds(b"\"stream\":true") {
        let text = "x".repeat(700);
        return Ok(json(format!(
            r#"{{"id":"chatcmpl-1","object":"chat.completion","created":0,"model":"Qwen3-8B","choices":[{{"index":0,"message":{{"role":"assistant","content":"{text}"}},"finish_reason":"stop"}}],"usage":{{"prompt_tokens":150,"completion_tokens":200,"total_tokens":350}}}}"#
        )));
    }
    let pauses: fn(usize) -> u64 = match () {
        () if holds(b"\"seed\":7") => |index| if index == 0 { 20 } else { 2 },
        () if holds(b"\"seed\":8") => |index| if index == 1 { 120_000 } else { 0 },
        () if holds(b"\"seed\":9") => |index| if index == 1 { 10 } else { 0 },
        () => |_| 0,
    };
    let at_once = holds(b"\"seed\":6");
    let events = stream::iter(0..EVENTS + 2).then(move |index| async move {
        let pause = pauses(index);
        if pause > 0 {
            sleep(Duration::from_millis(pause)).await;
        } else if !at_once {
            tokio::task::yield_now().await; // an event leaves before the next is made, as from a real server
        }
        Ok::<_, Infallible>(event(index))
    });
    let mut response = Response::new(Body::from_stream(events));
    response.headers_mut().insert(
        "content-type",
        http::HeaderValue::from_static("text/event-stream; charset=utf-8"),
    );
    Ok(response)
}

fn event(index: usize) -> Bytes {
    if index > EVENTS {
        return Bytes::from_static(b"data: [DONE]\n\n");
    }
    Bytes::from(format!(
        "data: {{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":0,\"model\":\"Qwen3-8B\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\" word{index}\"}}}}]}}\n\n"
    ))
}

fn json(text: String) -> Response<Body> {
    let mut response = Response::new(text.into());
    response.headers_mut().insert(
        "content-type",
        http::HeaderValue::from_static("application/json"),
    );
    response
}
