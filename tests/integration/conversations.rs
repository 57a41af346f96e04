//! Conversations: a mode lasts until a turn clearly calls for the other one.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::support::{EASY, Gateway, HARD, Server, http::PATIENCE};

/// With these settings no score of the tests' classifier is decisive.
const STICKY: &str = "threshold: 0.49, switch_margin: 0.5";

/// A chat with these turns of the user. Each but the last has an answer.
fn conversation(turns: &[&str]) -> Value {
    let answered = |turn: &&str| {
        let answer = json!({"role": "assistant", "content": "So it is."});
        [json!({"role": "user", "content": turn}), answer]
    };
    let mut messages: Vec<Value> = turns.iter().flat_map(answered).collect();
    messages.pop();
    json!({"model": "Qwen3-tiny", "messages": messages})
}

async fn mode(gateway: &Gateway, turns: &[&str]) -> String {
    let answer = gateway.chat(&conversation(turns).to_string()).await;
    assert_eq!(answer.decision().1, "classifier", "{turns:?}");
    answer.decision().0.to_owned()
}

#[tokio::test]
async fn a_follow_up_keeps_the_mode_and_a_clear_turn_changes_it_both_ways() {
    let server = Server::friendly().await;
    let gateway = Gateway::before(&server).await;
    for (turns, wanted) in [
        (&[HARD][..], "reasoning"),
        (&[HARD, "yes, go on"], "reasoning"),
        (&[HARD, "yes, go on", "继续", "👍", "why?"], "reasoning"),
        (&[EASY, "ok thanks"], "direct"),
        (&["hello", HARD], "reasoning"),
        (&["hello", HARD, "ok", EASY], "direct"),
        (&["hello", HARD, "ok", EASY, "thanks!"], "direct"),
    ] {
        assert_eq!(mode(&gateway, turns).await, wanted, "{turns:?}");
    }
}

#[tokio::test]
async fn a_wide_margin_keeps_the_mode_of_the_first_turn_and_turns_1_judges_the_last_turn_alone() {
    let server = Server::friendly().await;
    let sticky = Gateway::with(&server, &format!("routing: {{ {STICKY} }}")).await;
    assert_eq!(mode(&sticky, &[EASY, HARD]).await, "direct");
    assert_eq!(mode(&sticky, &[HARD, EASY]).await, "reasoning");
    let yaml = format!("routing: {{ {STICKY}, turns: 1 }}");
    let forgetful = Gateway::with(&server, &yaml).await;
    assert_eq!(mode(&forgetful, &[EASY, HARD]).await, "reasoning");
    assert_eq!(mode(&forgetful, &[HARD, EASY]).await, "direct");
}

#[tokio::test]
async fn a_tool_loop_keeps_the_mode_of_the_turn_it_belongs_to() {
    let server = Server::friendly().await;
    let gateway = Gateway::before(&server).await;
    for (turns, wanted) in [
        (&[HARD, "go on"][..], "reasoning"),
        (&[HARD, EASY], "direct"),
        (&["hello", HARD], "reasoning"),
    ] {
        let mut body = conversation(turns);
        let messages = body["messages"].as_array_mut().unwrap();
        messages.push(json!({"role": "assistant", "content": null, "tool_calls": []}));
        messages.push(json!({"role": "tool", "content": HARD}));
        let answer = gateway.chat(&body.to_string()).await;
        assert_eq!(answer.decision(), (wanted, "tool_loop"), "{turns:?}");
    }
}

#[tokio::test]
async fn explain_shows_the_verdict_of_every_turn_and_no_text() {
    let server = Server::friendly().await;
    let gateway = Gateway::with(&server, &format!("routing: {{ {STICKY} }}")).await;
    let body = conversation(&["hello", HARD, EASY, "yes please"]).to_string();
    let answer = gateway.post("/explain", &body).await;
    let explained = answer.json();
    let of = |field: &str| -> Vec<Value> {
        let turns = explained["turns"].as_array().unwrap();
        turns.iter().map(|turn| turn[field].clone()).collect()
    };
    assert_eq!(of("message"), [6, 4, 2, 0]);
    assert_eq!(
        of("verdict"),
        ["skipped", "undecided", "undecided", "decided"]
    );
    let scores: Vec<Option<f64>> = of("score").iter().map(Value::as_f64).collect();
    assert_eq!(scores[0], None);
    assert!(scores[2] > Some(0.5) && scores[1] < Some(0.5), "{scores:?}");
    let decided = (scores[3].unwrap() * 1000.0).round() / 1000.0;
    assert_eq!(explained["score"].as_f64(), Some(decided));
    assert!(!explained["turns"].to_string().contains("yes please"));
    let chat = gateway.chat(&body).await;
    let score = chat.header("x-thinkgate-score").unwrap();
    assert_eq!(score.parse(), Ok(decided), "the turn that decided");
}

#[tokio::test]
async fn a_long_conversation_gets_the_same_decision_with_and_without_cached_scores() {
    let server = Server::friendly().await;
    let yaml = format!("routing: {{ {STICKY} }}\nclassifier: {{ deadline_ms: 20000 }}");
    let (old, fresh) = (
        Gateway::with(&server, &yaml).await,
        Gateway::with(&server, &yaml).await,
    );
    let turns: Vec<String> = (0..20)
        .map(|turn| format!("{} ({turn})", [EASY, HARD][turn % 2]))
        .collect();
    let turns: Vec<&str> = turns.iter().map(String::as_str).collect();
    for many in 1..=turns.len() {
        mode(&old, &turns[..many]).await;
    }
    let body = conversation(&turns).to_string();
    let (a, b) = (old.chat(&body).await, fresh.chat(&body).await);
    assert_eq!(a.decision(), b.decision());
    let score = "x-thinkgate-score";
    assert_eq!(a.header(score), b.header(score));
}

#[tokio::test]
async fn a_scan_that_takes_longer_than_the_deadline_falls_back_until_its_scores_are_cached() {
    let server = Server::friendly().await;
    let yaml = format!("routing: {{ {STICKY} }}\nclassifier: {{ deadline_ms: 100 }}");
    let gateway = Gateway::with(&server, &yaml).await;
    let long = "lorem ipsum ".repeat(700);
    let turns: Vec<String> = (0..64).map(|turn| format!("{long} {turn}")).collect();
    let turns: Vec<&str> = turns.iter().map(String::as_str).collect();
    let body = conversation(&turns).to_string();
    let first = gateway.post("/explain", &body).await.json();
    assert_eq!(
        (&first["why"], &first["fallback"]),
        (&json!("fallback"), &json!("late"))
    );
    assert_eq!(
        (&first["mode"], &first["score"]),
        (&json!("unchanged"), &Value::Null)
    );
    let known = first["turns"].as_array().unwrap();
    assert!(known.len() < 64 && known.iter().all(|turn| turn["verdict"] == "undecided"));
    // Every try scores a few more turns, so the conversation is decided in the end.
    let until_known = async {
        loop {
            let explained = gateway.post("/explain", &body).await.json();
            if explained["why"] == "classifier" {
                return explained["turns"].as_array().unwrap().len();
            }
            sleep(Duration::from_millis(20)).await; // a text of the last try may still be running
        }
    };
    assert_eq!(timeout(PATIENCE * 3, until_known).await, Ok(64));
}
