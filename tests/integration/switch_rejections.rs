//! A server that rejects our switch gets the request again without it. Any other error is relayed to the client.

use std::time::Duration;

use tokio::{net::TcpListener, time::sleep};
use tokio_util::sync::CancellationToken;

use super::support::{
    Answer, EASY, Gateway, Server, Step, chat, config,
    server::{MODELS, OK_BODY, chunk, json, last_chunk},
};

const SWITCH_REJECTION: &str =
    r#"{"error":{"message":"chat_template_kwargs: extra fields not permitted","code":400}}"#;

/// An answer without a length, in these pieces.
fn chunked(status: &str, pieces: &[&str]) -> Vec<Step> {
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nx-own: kept\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    let pieces = pieces.iter().map(|piece| chunk(piece));
    let head = [Step::Send(head.into())];
    head.into_iter()
        .chain(pieces)
        .chain([last_chunk()])
        .collect()
}

/// A server that answers requests with a switch by these steps, and all others with 200.
async fn server_that_rejects_the_switch(steps: Vec<Step>) -> Server {
    Server::start(
        move |request| match request.text().contains("chat_template_kwargs") {
            true => steps.clone(),
            false => json("200 OK", OK_BODY),
        },
    )
    .await
}

/// The answer to a request, and the number of requests that the server saw.
async fn send_and_count(server: &Server) -> (Answer, usize) {
    let gateway = Gateway::before(server).await;
    let answer = gateway.chat(&chat(EASY)).await;
    (answer, server.arrived().len())
}

#[tokio::test]
async fn any_4xx_that_names_the_switch_is_a_rejection_however_it_is_framed() {
    let (begins, ends) = SWITCH_REJECTION.split_at(20); // within the name of the field
    for steps in [
        chunked("400 Bad Request", &[SWITCH_REJECTION]),
        chunked("422 Unprocessable Entity", &[begins, ends]),
        json("409 Conflict", SWITCH_REJECTION),
        json("415 Unsupported Media Type", SWITCH_REJECTION),
    ] {
        let (answer, requests) = send_and_count(&server_that_rejects_the_switch(steps).await).await;
        assert_eq!(
            (answer.status, answer.text(), requests),
            (200, OK_BODY, 2),
            "{}",
            answer.head
        );
        assert_eq!(answer.decision(), ("unchanged", "refused"));
    }
}

#[tokio::test]
async fn a_rejection_is_remembered_when_the_first_listing_comes_after_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let listed = CancellationToken::new();
    let told = listed.clone();
    let server = Server::whole(listener, move |request| {
        match request.line.split(' ').nth(1).unwrap() {
            "/v1/models" => [vec![Step::Until(told.clone())], json("200 OK", MODELS)].concat(),
            "/v1/chat/completions" if request.text().contains("chat_template_kwargs") => {
                json("400 Bad Request", SWITCH_REJECTION)
            }
            "/v1/chat/completions" => json("200 OK", OK_BODY),
            _ => json("404 Not Found", "{}"),
        }
    });
    let yaml = format!(
        "models: {{ Qwen3-tiny: {{ endpoints: [{{ url: '{}' }}] }} }}",
        server.url()
    );
    let gateway = Gateway::start(config(&[], &yaml)).await;
    let ask = async || assert_eq!(gateway.chat(&chat(EASY)).await.status, 200);
    ask().await;
    listed.cancel();
    sleep(Duration::from_millis(500)).await;
    ask().await;
    let asked = server.arrived();
    let switched = asked
        .iter()
        .filter(|request| request.text().contains("enable_thinking"));
    assert_eq!((switched.count(), asked.len()), (1, 3));
}

#[tokio::test]
async fn a_4xx_about_the_key_the_model_or_the_time_is_no_rejection_of_the_switch() {
    for status in [401, 403, 404, 408, 413, 429] {
        let steps = json(&format!("{status} X"), SWITCH_REJECTION);
        let (answer, requests) = send_and_count(&server_that_rejects_the_switch(steps).await).await;
        assert_eq!((answer.status, answer.text()), (status, SWITCH_REJECTION));
        assert_eq!(requests, 1);
    }
}

#[tokio::test]
async fn an_error_that_does_not_name_the_switch_is_relayed_unchanged() {
    let longer = format!("{{\"long\":\"{}", "x".repeat(60_000));
    let whole = [&*longer, &*longer, SWITCH_REJECTION].concat(); // the name comes later than we look
    for (steps, body) in [
        (
            chunked("400 Bad Request", &["{\"a\"", ":1}"]),
            "{\"a\":1}".into(),
        ),
        (chunked("409 Conflict", &[]), String::new()),
        (
            chunked("400 Bad Request", &[&longer, &longer, SWITCH_REJECTION]),
            whole.clone(),
        ),
        (json("422 Unprocessable Entity", &whole), whole),
    ] {
        let status = String::from_utf8_lossy(match &steps[0] {
            Step::Send(head) => &head[9..12],
            _ => panic!("no head"),
        })
        .parse();
        let has_own = steps.len() > 1;
        let (answer, requests) = send_and_count(&server_that_rejects_the_switch(steps).await).await;
        assert_eq!(Ok(answer.status), status);
        assert!(answer.complete && answer.text() == body, "{}", answer.head);
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("x-own"), has_own.then_some("kept"));
        assert_eq!(requests, 1);
        assert_eq!(answer.decision(), ("direct", "classifier"));
    }
}

#[tokio::test]
async fn only_the_server_that_rejects_the_switch_gets_requests_without_it() {
    let (refuses, takes) = (
        server_that_rejects_the_switch(chunked("400 Bad Request", &[SWITCH_REJECTION])).await,
        Server::start(|_| json("200 OK", "taken")).await,
    );
    let yaml = format!(
        "models: {{ Qwen3-tiny: {{ endpoints: [{{ url: '{}' }}, {{ url: '{}' }}] }} }}",
        refuses.url(),
        takes.url()
    );
    let gateway = Gateway::start(config(&[], &yaml)).await;
    let mut refused = 0;
    for _ in 0..24 {
        let answer = gateway.chat(&chat(EASY)).await;
        let is_taken = answer.text() == "taken";
        refused += usize::from(!is_taken);
        let decision = match is_taken {
            true => ("direct", "classifier"),
            false => ("unchanged", "refused"),
        };
        assert_eq!((answer.status, answer.decision()), (200, decision));
    }
    assert!((1..24).contains(&refused), "{refused}");
    let switched = |server: &Server| {
        let arrived = server.arrived();
        let switched = arrived
            .iter()
            .filter(|request| request.text().contains("enable_thinking"));
        (switched.count(), arrived.len())
    };
    assert_eq!(switched(&refuses), (1, refused + 1), "it is remembered");
    assert_eq!(switched(&takes), (24 - refused, 24 - refused));
    let metrics = gateway.get("/metrics").await;
    for (mode, why, count) in [
        ("unchanged", "refused", refused),
        ("direct", "classifier", 24 - refused),
    ] {
        let counted = metrics.text().lines().any(|line| {
            line.starts_with("thinkgate_requests_total")
                && line.contains(&format!("mode=\"{mode}\""))
                && line.contains(&format!("why=\"{why}\""))
                && line.ends_with(&format!("}} {count}"))
        });
        assert!(counted, "{why} {count}: {}", metrics.text());
    }
}
