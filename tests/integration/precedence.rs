//! The order of precedence: which rule decides, and what each one reports.

use super::support::{
    EASY, Gateway, HARD, Server, chat, config,
    server::{OK_BODY, json},
};

#[tokio::test]
async fn the_clients_own_choice_wins_in_every_form_and_its_bytes_are_unchanged() {
    let server = Server::friendly().await;
    let gateway = Gateway::before(&server).await;
    for choice in [
        r#""reasoning_effort":"high""#,
        r#""reasoning":{"effort":"low"}"#,
        r#""thinking":{"type":"disabled"}"#,
        r#""think":true"#,
        r#""enable_thinking":false"#,
        r#""thinking_token_budget":100"#,
        r#""chat_template_kwargs":{"enable_thinking":true}"#,
        r#""chat_template_kwargs":{"thinking":false}"#,
        r#""chat_template_kwargs":{"reasoning_effort":"low"}"#,
    ] {
        let body = chat(EASY).replace("\"model\"", &format!("{choice}, \"model\""));
        assert_eq!(
            gateway.chat(&body).await.decision(),
            ("unchanged", "client"),
            "{choice}"
        );
        assert_eq!(server.arrived().last().unwrap().text(), body);
    }
    let soft = chat(&format!("{HARD} /no_think"));
    assert_eq!(
        gateway.chat(&soft).await.decision(),
        ("unchanged", "client")
    );
}

#[tokio::test]
async fn the_header_wins_over_the_body_and_replaces_our_field_only() {
    let server = Server::friendly().await;
    let gateway = Gateway::before(&server).await;
    let body = chat(HARD).replace("\"model\"", "\"reasoning_effort\":\"high\",\"chat_template_kwargs\":{\"enable_thinking\": true}, \"model\"");
    let answer = gateway
        .post_with(
            "/v1/chat/completions",
            &[("x-thinkgate-mode", "direct")],
            &body,
        )
        .await;
    assert_eq!(answer.decision(), ("direct", "header"));
    assert_eq!(
        server.only().text(),
        body.replace("\"enable_thinking\": true", "\"enable_thinking\": false")
    );
    let answer = gateway
        .post_with(
            "/v1/chat/completions",
            &[("x-thinkgate-mode", "unchanged")],
            &chat(HARD),
        )
        .await;
    assert_eq!(answer.decision(), ("unchanged", "header"));
    assert_eq!(server.arrived()[1].text(), chat(HARD));
    let answer = gateway
        .post_with(
            "/v1/chat/completions",
            &[("x-thinkgate-mode", "auto")],
            &chat(HARD),
        )
        .await;
    assert_eq!(answer.decision(), ("reasoning", "classifier"));
    let answer = gateway
        .post_with(
            "/v1/chat/completions",
            &[("x-thinkgate-mode", "on")],
            &chat(HARD),
        )
        .await;
    assert_eq!(answer.error().0, 400);
}

#[tokio::test]
async fn requests_for_unknown_ungated_and_fixed_models_are_unchanged_and_say_why() {
    let models = r#"{"data":[{"id":"house-model"},{"id":"QwQ-32B"},{"id":"Qwen3-8B"}]}"#;
    let server = Server::listing(models, |_| json("200 OK", OK_BODY)).await;
    let yaml = format!(
        "models: {{ Qwen3-8B: {{ gate: false, endpoints: [{{ url: '{}' }}] }} }}",
        server.url()
    );
    let gateway = Gateway::start(config(&[&server], &yaml)).await;
    for (model, why) in [
        ("house-model", "unknown"),
        ("QwQ-32B", "fixed"),
        ("Qwen3-8B", "unknown"),
    ] {
        let body = chat(HARD).replace("Qwen3-tiny", model);
        assert_eq!(
            gateway.chat(&body).await.decision(),
            ("unchanged", why),
            "{model}"
        );
        assert_eq!(server.arrived().last().unwrap().text(), body);
    }
    let asked = gateway
        .post_with(
            "/v1/chat/completions",
            &[("x-thinkgate-mode", "direct")],
            &chat(HARD).replace("Qwen3-tiny", "QwQ-32B"),
        )
        .await;
    assert_eq!(asked.decision(), ("unchanged", "header"));
}

#[tokio::test]
async fn a_small_token_limit_is_not_spent_on_thinking() {
    let server = Server::friendly().await;
    let gateway = Gateway::before(&server).await;
    let limited = |limit: &str| chat(HARD).replace("\"model\"", &format!("\"{limit}, \"model\""));
    let answer = gateway.chat(&limited("max_tokens\": 900")).await;
    assert_eq!(answer.decision(), ("direct", "budget"));
    assert_eq!(
        answer.header("x-thinkgate-score"),
        None,
        "nothing is scored"
    );
    let sent = server.only();
    assert!(sent.text().contains("\"enable_thinking\":false"));
    assert!(sent.text().contains("\"max_tokens\": 900"));
    for (limit, decision) in [
        ("max_completion_tokens\": 5", ("direct", "budget")),
        ("max_tokens\": 4096", ("reasoning", "classifier")),
        ("max_tokens\": null", ("reasoning", "classifier")),
    ] {
        assert_eq!(gateway.chat(&limited(limit)).await.decision(), decision);
    }
}

#[tokio::test]
async fn a_tool_result_keeps_the_turns_mode() {
    let server = Server::friendly().await;
    let gateway = Gateway::before(&server).await;
    let body = format!(
        r#"{{"model":"Qwen3-tiny","messages":[{{"role":"user","content":"{HARD}"}},{{"role":"assistant","content":null,"tool_calls":[]}},{{"role":"tool","content":"42"}}]}}"#
    );
    assert_eq!(
        gateway.chat(&body).await.decision(),
        ("reasoning", "tool_loop")
    );
}

#[tokio::test]
async fn a_trailing_system_message_and_images_do_not_hide_the_question() {
    let server = Server::friendly().await;
    let gateway = Gateway::before(&server).await;
    let body = format!(
        r#"{{"messages":[{{"role":"user","content":[{{"type":"image_url","image_url":{{"url":"data:,"}}}},{{"type":"text","text":"{HARD}"}}]}},{{"role":"system","content":"{EASY}"}}]}}"#
    );
    assert_eq!(
        gateway.chat(&body).await.decision(),
        ("reasoning", "classifier")
    );
    let body = r#"{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:,"}}]}]}"#;
    let answer = gateway.chat(body).await;
    assert_eq!(
        (answer.decision(), answer.header("x-thinkgate-score")),
        (("unchanged", "fallback"), None)
    );
}

#[tokio::test]
async fn a_judged_answer_carries_the_decision_and_a_server_cannot_forge_it() {
    let server = Server::start(|_| {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-thinkgate-mode: forged\r\nx-thinkgate-other: forged\r\ncontent-length: 2\r\n\r\n{}";
        vec![super::support::Step::Send(head.into())]
    })
    .await;
    let gateway = Gateway::before(&server).await;
    let answer = gateway.chat(&chat(HARD)).await;
    assert_eq!(answer.decision(), ("reasoning", "classifier"));
    let score = answer.header("x-thinkgate-score").unwrap();
    assert!(
        score.len() == 5 && score.parse::<f64>().unwrap() > 0.5,
        "{score}"
    );
    assert!(answer.header("x-thinkgate-domain").is_some());
    assert_eq!(answer.header("x-thinkgate-model"), Some("Qwen3-tiny"));
    assert_eq!(answer.header("x-thinkgate-other"), None);
    assert_eq!(answer.head.matches("x-thinkgate-mode:").count(), 1);
}
