//! What the model server receives is the client's body with only the switch changed.

use super::support::{EASY, Gateway, HARD, Server, chat};

#[tokio::test]
async fn the_switch_is_sent_on_and_off_and_nothing_else_changes() {
    let server = Server::friendly().await;
    let gateway = Gateway::before(&server).await;
    for (prompt, mode, value) in [(HARD, "reasoning", "true"), (EASY, "direct", "false")] {
        let body = format!(
            "{{ \"temperature\": 1.0,\n\t\"n\":1e0, \"stop\":[\"\\u00e9\\/\"],\"unknown\": {{\"a\":[ ]}},\n\
             \"m\\u006fdel\":\"Qwen3-tiny\" , \"messages\" : [ {{\"content\":\"{prompt}\",\"role\":\"user\"}} ] \n}}\n"
        );
        let answer = gateway.chat(&body).await;
        assert_eq!(answer.decision(), (mode, "classifier"));
        let want = body.replace(
            " ] \n}\n",
            &format!(" ],\"chat_template_kwargs\":{{\"enable_thinking\":{value}}} \n}}\n"),
        );
        assert_eq!(server.arrived().last().unwrap().text(), want);
    }
}

#[tokio::test]
async fn the_switch_is_merged_into_existing_kwargs() {
    let server = Server::friendly().await;
    let gateway = Gateway::before(&server).await;
    let body = chat(EASY).replace(
        "\"model\"",
        "\"chat_template_kwargs\": {\"x\" : 1.0 }, \"model\"",
    );
    assert_eq!(
        gateway.chat(&body).await.decision(),
        ("direct", "classifier")
    );
    let want = body.replace("1.0 }", "1.0,\"enable_thinking\":false }");
    assert_eq!(server.only().text(), want);
}

#[tokio::test]
async fn request_headers_are_forwarded_except_ours_and_hop_by_hop() {
    let server = Server::friendly().await;
    let gateway = Gateway::before(&server).await;
    let headers = [
        ("x-custom", "a"),
        ("authorization", "Bearer theirs"),
        ("x-thinkgate-mode", "auto"),
        ("x-thinkgate-model", "forged"),
        ("accept-encoding", "gzip"),
        ("x-request-id", "my-id"),
        ("te", "trailers"),
    ];
    let answer = gateway
        .post_with("/v1/chat/completions?a=%2F&b=1", &headers, &chat(EASY))
        .await;
    assert_eq!(answer.header("x-request-id"), Some("my-id"));
    let arrived = server.only();
    assert_eq!(arrived.line, "POST /v1/chat/completions?a=%2F&b=1 HTTP/1.1");
    let got = |name| arrived.header(name);
    assert_eq!(
        (got("x-custom"), got("authorization"), got("x-request-id")),
        (Some("a"), Some("Bearer theirs"), Some("my-id"))
    );
    assert_eq!(
        (got("accept-encoding"), got("te"), got("x-thinkgate-model")),
        (Some("identity"), None, None)
    );
    assert_eq!(got("host"), Some(server.address.to_string().as_str()));
    assert_eq!(
        got("content-length"),
        Some(arrived.body.len().to_string().as_str())
    );
}

#[tokio::test]
async fn a_body_in_many_chunks_is_one_body() {
    let server = Server::friendly().await;
    let gateway = Gateway::before(&server).await;
    let body = chat(EASY);
    let mut request = b"POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for byte in body.bytes() {
        request.extend_from_slice(format!("1\r\n{}\r\n", char::from(byte)).as_bytes());
    }
    request.extend_from_slice(b"0\r\n\r\n");
    let answer = super::support::http::exchange(gateway.address, &request).await;
    assert_eq!(answer.status, 200);
    assert!(server.only().text().starts_with(body.trim_end_matches('}')));
}
