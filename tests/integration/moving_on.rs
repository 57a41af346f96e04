//! Retries: another endpoint gets the request only while none has answered it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::support::{
    EASY, Gateway, Server, Step, chat, config,
    server::{OK_BODY, chunk, json, sse_head},
};

#[tokio::test]
async fn a_503_a_429_or_a_closed_connection_is_retried_elsewhere() {
    let second = Server::friendly().await;
    for steps in [
        json("503 Service Unavailable", "{}"),
        json("429 Too Many Requests", "{}"),
        vec![],
        vec![Step::Reset],
    ] {
        let first = Server::start(move |_| steps.clone()).await;
        let gateway = Gateway::preferring(&first, &second).await;
        for _ in 0..8 {
            assert_eq!(gateway.chat(&chat(EASY)).await.status, 200);
        }
        assert!(!first.arrived().is_empty());
    }
}

#[tokio::test]
async fn with_no_endpoint_left_the_last_answer_is_relayed() {
    let busy = || {
        Server::start(|_| {
            json(
                "503 Service Unavailable",
                r#"{"error":{"message":"busy","type":"x"}}"#,
            )
        })
    };
    let (first, second) = (busy().await, busy().await);
    let gateway = Gateway::preferring(&first, &second).await;
    let answer = gateway.chat(&chat(EASY)).await;
    assert_eq!(
        (answer.status, answer.json()["error"]["message"].as_str()),
        (503, Some("busy"))
    );
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(first.arrived().len() + second.arrived().len(), 2);
}

#[tokio::test]
async fn a_servers_503_is_not_hidden_by_another_server_that_is_down() {
    let busy = Server::start(|_| json("503 Service Unavailable", "busy")).await;
    let down = Server::friendly().await;
    let gateway = Gateway::preferring(&busy, &down).await;
    drop(down);
    for _ in 0..4 {
        let answer = gateway.chat(&chat(EASY)).await;
        assert_eq!((answer.status, answer.text()), (503, "busy"));
    }
}

#[tokio::test]
async fn an_answer_that_began_or_a_final_error_is_not_retried() {
    let second = Server::friendly().await;
    for steps in [
        json("400 Bad Request", "{}"),
        json("500 Internal Server Error", "{}"),
        vec![
            sse_head(),
            chunk("data: 1\n\n"),
            Step::Wait(Duration::from_millis(50)),
            Step::Reset,
        ],
    ] {
        let first = Server::start(move |_| steps.clone()).await;
        let yaml = format!(
            "models: {{ Qwen3-tiny: {{ endpoints: [{{ url: '{}' }}] }} }}",
            first.url()
        );
        let alone = Gateway::start(config(&[], &yaml))
            .await
            .chat(&chat(EASY))
            .await;
        let before = second.arrived().len();
        let gateway = Gateway::preferring(&first, &second).await;
        let mut by_second = 0;
        for _ in 0..4 {
            let answer = gateway.chat(&chat(EASY)).await;
            by_second += usize::from(answer.text() == OK_BODY);
            assert!(
                answer.text() == OK_BODY
                    || (answer.status, &answer.body) == (alone.status, &alone.body)
            );
        }
        assert_eq!(
            second.arrived().len() - before,
            by_second,
            "the second gets only requests that it was picked for"
        );
    }
}

/// A 4xx to a request with our switch is read before it is relayed. The answer has begun all the same.
#[tokio::test]
async fn a_4xx_that_breaks_off_while_we_read_it_is_not_retried() {
    let steps = vec![
        Step::Send(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 100\r\n\r\n{\"half".into()),
        Step::Wait(Duration::from_millis(50)),
        Step::Reset,
    ];
    let first = Server::start(move |_| steps.clone()).await;
    let second = Server::friendly().await;
    let gateway = Gateway::preferring(&first, &second).await;
    let (status, _, code) = gateway.chat(&chat(EASY)).await.error();
    assert_eq!((status, code.as_str()), (502, "upstream_reset"));
    assert_eq!((first.arrived().len(), second.arrived().len()), (1, 0));
}

#[tokio::test]
async fn a_rejected_switch_is_left_out_and_remembered() {
    let body = r#"{"error":{"message":"chat_template is not supported for Mistral tokenizers.","type":"BadRequestError","code":400}}"#;
    let server =
        Server::start(
            move |request| match request.text().contains("chat_template_kwargs") {
                true => json("400 Bad Request", body),
                false => json("200 OK", OK_BODY),
            },
        )
        .await;
    let gateway = Gateway::before(&server).await;
    for _ in 0..3 {
        let answer = gateway.chat(&chat(EASY)).await;
        assert_eq!(
            (answer.status, answer.decision()),
            (200, ("unchanged", "refused"))
        );
    }
    let arrived = server.arrived();
    assert_eq!(arrived.len(), 4, "only the first was sent with the switch");
    assert!(
        arrived[1..]
            .iter()
            .all(|request| request.text() == chat(EASY))
    );
    let explained = gateway.post("/explain", &chat(EASY)).await.json();
    assert_eq!(
        (explained["mode"].as_str(), explained["why"].as_str()),
        (Some("unchanged"), Some("refused"))
    );
}

#[tokio::test]
async fn a_400_that_is_not_about_our_switch_is_relayed() {
    for (body, requests) in [
        (r#"{"error":{"message":"max_tokens is too large"}}"#, 1),
        (
            r#"{"error":{"message":"too long: {chat_template_kwargs: .., max_tokens: 9}"}}"#,
            2,
        ),
    ] {
        let server = Server::start(move |_| json("400 Bad Request", body)).await;
        let gateway = Gateway::before(&server).await;
        let answer = gateway.chat(&chat(EASY)).await;
        assert_eq!((answer.status, answer.text()), (400, body));
        assert_eq!(server.arrived().len(), requests);
        gateway.chat(&chat(EASY)).await;
        assert!(
            server.arrived()[requests]
                .text()
                .contains("enable_thinking"),
            "the switch is still sent"
        );
    }
}

#[tokio::test]
async fn an_endpoint_that_is_down_is_ejected_and_used_again_when_it_is_back() {
    let down = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = down.local_addr().unwrap();
    drop(down);
    let up = Server::friendly().await;
    let yaml = format!(
        "{{ upstream: {{ failures: 2, open_ms: 400 }}, models: {{ Qwen3-tiny: {{ endpoints: [{{ url: 'http://{address}', weight: 1000000 }}, {{ url: '{}' }}] }} }} }}",
        up.url()
    );
    let gateway = Gateway::start(config(&[], &yaml)).await;
    let unreachable = async || {
        let metrics = gateway.get("/metrics").await;
        let line = metrics.text().lines().find_map(|line| {
            line.starts_with("thinkgate_upstream_attempts_total")
                .then_some(line)
                .filter(|line| line.contains("unreachable"))?
                .rsplit(' ')
                .next()
        });
        line.map_or(0, |count| count.parse().unwrap())
    };
    for _ in 0..8 {
        assert_eq!(gateway.chat(&chat(EASY)).await.status, 200);
    }
    assert_eq!(
        unreachable().await,
        2,
        "it got no request while it was ejected"
    );
    tokio::time::sleep(Duration::from_millis(450)).await;
    for _ in 0..4 {
        assert_eq!(gateway.chat(&chat(EASY)).await.status, 200);
    }
    assert_eq!(unreachable().await, 3, "one request tries it again");
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    let back = Server::on(listener, r#"{"data":[]}"#, |_| json("200 OK", OK_BODY)).await;
    tokio::time::sleep(Duration::from_millis(450)).await;
    for _ in 0..4 {
        assert_eq!(gateway.chat(&chat(EASY)).await.status, 200);
    }
    assert_eq!(back.arrived().len(), 4, "it is back");
}

#[tokio::test]
async fn an_ejected_endpoint_is_tried_before_the_request_fails() {
    let turned = Arc::new(AtomicBool::new(false));
    let answers_when = |is: bool| {
        let turned = turned.clone();
        Server::start(move |_| match turned.load(Ordering::Relaxed) == is {
            true => json("200 OK", OK_BODY),
            false => vec![Step::Reset],
        })
    };
    let (first, second) = (answers_when(true).await, answers_when(false).await);
    let yaml = format!(
        "{{ upstream: {{ failures: 1, open_ms: 600000 }}, models: {{ Qwen3-tiny: {{ endpoints: [{{ url: '{}', weight: 1000000 }}, {{ url: '{}' }}] }} }} }}",
        first.url(),
        second.url()
    );
    let gateway = Gateway::start(config(&[], &yaml)).await;
    for is_turned in [false, true] {
        turned.store(is_turned, Ordering::Relaxed);
        assert_eq!(gateway.chat(&chat(EASY)).await.status, 200);
    }
}

#[tokio::test]
async fn a_server_with_retry_after_gets_no_requests_for_that_time() {
    let busy = Server::start(|_| {
        let head = "HTTP/1.1 429 Too Many Requests\r\nretry-after: 30\r\ncontent-length: 0\r\n\r\n";
        vec![Step::Send(head.into())]
    })
    .await;
    let other = Server::friendly().await;
    let gateway = Gateway::preferring(&busy, &other).await;
    for _ in 0..8 {
        assert_eq!(gateway.chat(&chat(EASY)).await.status, 200);
    }
    assert_eq!(busy.arrived().len(), 1, "one request, then none");
    // The only server of a model gets requests anyway: its answer says when to retry.
    let alone = Gateway::before(&busy).await;
    for _ in 0..2 {
        let answer = alone.chat(&chat(EASY)).await;
        assert_eq!(
            (answer.status, answer.header("retry-after")),
            (429, Some("30"))
        );
    }
}
