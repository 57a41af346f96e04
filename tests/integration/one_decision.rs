//! One rule for a decision: the same request is decided alike by `classify`, by `POST /explain`, and through both doors.

use std::{collections::BTreeSet, fs};

use serde_json::{Value, json};

use super::{
    commands::run_with_input,
    support::{
        EASY, Gateway, HARD, Server, chat, config,
        envoy::{Buffered, ClientRequest, FullDuplexStreamed, through},
    },
};

const COUNT: usize = 200;

/// A decision as every way shows it: mode, why, score with three digits, subject.
type Shown = (String, String, Option<String>, Option<String>);

/// Conversations: plain, long, without text, unreadable, with turns that lean on others, in the middle of a tool loop.
fn conversations() -> Vec<Value> {
    let user = |text: &str| json!({"role": "user", "content": text});
    let assistant = |text: &str| json!({"role": "assistant", "content": text});
    let call = json!({"role": "assistant", "content": null, "tool_calls": [
        {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]});
    let result = json!({"role": "tool", "tool_call_id": "c", "content": "42"});
    let image =
        json!({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}]});
    let parts = json!({"role": "user", "content": [
        {"type": "text", "text": "Look at this."}, {"type": "text", "text": HARD}]});
    vec![
        json!([user(HARD)]),
        json!([user(EASY)]),
        json!([user("hi")]),
        json!([user("")]),
        json!([user("\u{e000}\u{e001}\u{e002}\u{e003}")]),
        json!([user(&EASY.repeat(400))]),
        json!([{"role": "system", "content": "Be brief."}, user(HARD)]),
        json!([{"role": "system", "content": "Be brief."}]),
        json!([
            user(HARD),
            assistant("Suppose it is rational."),
            user("go on")
        ]),
        json!([user(EASY), assistant("At nine."), user("thanks")]),
        json!([user(EASY), assistant("At nine."), user(HARD)]),
        json!([user(HARD), assistant("Done."), user(EASY)]),
        json!([user(HARD), call, result]),
        json!([user(EASY), call, result]),
        json!([image]),
        json!([image, user("yes")]),
        json!([parts]),
        json!([user("我想退掉昨天买的两张电影票，请问手续费是多少？")]),
        json!([user(&format!("{EASY} /no_think"))]),
    ]
}

fn requests() -> Vec<String> {
    let models = [
        "qwen",
        "oss",
        "deepseek",
        "thinker",
        "left_alone",
        "mystery",
        "auto",
    ];
    let fields = [
        json!({}),
        json!({"max_tokens": 60}),
        json!({"max_tokens": 700}),
        json!({"max_completion_tokens": 100_000}),
        json!({"tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]}),
        json!({"reasoning_effort": "low"}),
        json!({"chat_template_kwargs": {"enable_thinking": null, "x": 1}}),
        json!({"chat_template_kwargs": {"enable_thinking": false}}),
        json!({"think": null, "stream": false, "temperature": 0.2}),
    ];
    let conversations = conversations();
    let at = |index: usize| {
        let mut request = json!({
            "model": models[index % models.len()],
            "messages": conversations[index % conversations.len()],
        });
        let more = &fields[(index / 3) % fields.len()];
        for (key, value) in more.as_object().unwrap() {
            request[key] = value.clone();
        }
        request.to_string()
    };
    (0..COUNT).map(at).collect()
}

fn yaml(server: &Server, label: &str) -> String {
    let model = |family: &str, more: &str| {
        format!(
            "{{ family: {family}, {more} endpoints: [{{ url: '{}' }}] }}",
            server.url()
        )
    };
    format!(
        "ext_proc: {{ listen: '127.0.0.1:0' }}
listen: '127.0.0.1:0'
routing: {{ threshold: 0.5, domains: {{ '{label}': reasoning }} }}
models:
  qwen: {}
  oss: {}
  deepseek: {}
  thinker: {}
  left_alone: {}
  mystery: {}
aliases:
  auto: {{ reasoning: thinker, direct: oss, unchanged: qwen }}
",
        model("qwen3", ""),
        model("gpt_oss", ""),
        model("deepseek_v3_1", ""),
        model("always", ""),
        model("qwen3", "gate: false,"),
        model("auto", ""),
    )
}

/// The subject that the classifier sees in an easy prompt, so that forcing it changes modes.
async fn subject_of_easy(server: &Server) -> String {
    let gateway = Gateway::before(server).await;
    let explained = gateway.post("/explain", &chat(EASY)).await.json();
    explained["domain"]["label"].as_str().unwrap().to_owned()
}

fn shown(json: &Value) -> Shown {
    let text = |key: &str| json[key].as_str().unwrap().to_owned();
    // A score is shown where it decided: a fallback for want of readable text keeps it.
    let score = json["score"].as_f64().map(|score| format!("{score:.3}"));
    let domain = json["domain"]["label"].as_str().map(str::to_owned);
    (text("mode"), text("why"), score, domain)
}

fn shown_by_headers<'a>(header: impl Fn(&str) -> Option<&'a str>) -> Shown {
    let text = |name: &str| header(&format!("x-thinkgate-{name}")).map(str::to_owned);
    (
        text("mode").unwrap(),
        text("why").unwrap(),
        text("score"),
        text("domain"),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_requests_are_decided_alike_wherever_they_are_asked() {
    let server = Server::friendly().await;
    let label = subject_of_easy(&server).await;
    let yaml = yaml(&server, &label);
    let gateway = Gateway::start(config(&[], &yaml)).await;
    let requests = requests();

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("thinkgate.yaml");
    fs::write(&file, &yaml).unwrap();
    let args = ["classify", "--config", file.to_str().unwrap()];
    let (status, out, err) = run_with_input(&args, &requests.join("\n"));
    assert_eq!(status, Some(0), "{err}");
    let lines: Vec<Value> = out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), COUNT);

    let mut reasons = BTreeSet::new();
    let mut forced = 0;
    for (index, (request, line)) in requests.iter().zip(&lines).enumerate() {
        let classified = shown(line);
        let explained = shown(&gateway.post("/explain", request).await.json());
        let answer = gateway.chat(request).await;
        assert_eq!(answer.status, 200, "{request}: {}", answer.text());
        let answered = shown_by_headers(|name| answer.header(name));
        let mode = [Buffered, FullDuplexStreamed][index % 2];
        let sent = through(gateway.envoy.unwrap(), mode, &ClientRequest::chat(request)).await;
        let sent = sent.sent();
        let through_envoy = shown_by_headers(|name| sent.answer.get(name).map(String::as_str));
        assert_eq!(classified, explained, "{request}");
        assert_eq!(explained, answered, "{request}");
        assert_eq!(answered, through_envoy, "{request}");
        let (mode, why, score, _) = classified;
        let is_low = score.is_some_and(|score| score.parse::<f64>().unwrap() < 0.5);
        forced += usize::from(why == "classifier" && mode == "reasoning" && is_low);
        reasons.insert(why);
    }
    // The requests are varied enough: everything that can decide has decided.
    let all = [
        "budget",
        "classifier",
        "client",
        "fallback",
        "fixed",
        "tool_loop",
        "unknown",
    ];
    assert_eq!(reasons, all.map(str::to_owned).into());
    assert!(forced > 0, "no subject was forced");
}
