//! The classifier behind the gateway: other models, limits and failures.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use thinkgate::app;

use super::support::{EASY, Gateway, HARD, Server, chat, config, fixture};

#[tokio::test]
async fn another_model_gives_other_decisions_and_a_subject_classifier_works() {
    let server = Server::friendly().await;
    let tiny = Gateway::before(&server).await;
    let yaml = format!(
        "classifier: {{ model: '{}' }}",
        fixture("models/subjects").display()
    );
    let subjects = Gateway::with(&server, &yaml).await;
    let prompts = [
        HARD,
        EASY,
        "Who wrote Hamlet?",
        "Compute the force on a 2 kg mass.",
        "What is the capital of France?",
    ];
    let mut differ = 0;
    for prompt in prompts {
        let (a, b) = (
            tiny.chat(&chat(prompt)).await,
            subjects.chat(&chat(prompt)).await,
        );
        assert_eq!(
            (a.decision().1, b.decision().1),
            ("classifier", "classifier")
        );
        differ += usize::from(a.header("x-thinkgate-score") != b.header("x-thinkgate-score"));
    }
    assert!(differ >= 3, "{differ} of {} differ", prompts.len());
}

#[tokio::test]
async fn a_domain_can_force_a_mode() {
    let server = Server::friendly().await;
    let label = Gateway::before(&server)
        .await
        .chat(&chat(EASY))
        .await
        .header("x-thinkgate-domain")
        .unwrap()
        .to_owned();
    let gateway = Gateway::with(
        &server,
        &format!("routing: {{ domains: {{ '{label}': reasoning }} }}"),
    )
    .await;
    assert_eq!(
        gateway.chat(&chat(EASY)).await.decision(),
        ("reasoning", "classifier")
    );
    let unknown_domain = config(&[&server], "routing: { domains: { cooking: direct } }");
    let error = app::build(unknown_domain).unwrap_err().to_string();
    assert!(
        error.contains("routing.domains.cooking") && error.contains(&label),
        "{error}"
    );
}

#[tokio::test]
async fn a_prompt_of_five_megabytes_is_classified_within_the_deadline() {
    let server = Server::friendly().await;
    let gateway = Gateway::with(&server, "classifier: { deadline_ms: 1000 }").await;
    let prompt = format!("{} {} {HARD}", HARD, "lorem ipsum ".repeat(450_000));
    let answer = gateway.chat(&chat(&prompt)).await;
    assert_eq!(answer.decision().1, "classifier");
    let explained = gateway.post("/explain", &chat(&prompt)).await.json();
    assert_eq!(explained["turns"][0]["truncated"], true);
}

#[tokio::test]
async fn a_late_classifier_falls_back_within_the_deadline() {
    let server = Server::friendly().await;
    let gateway = Gateway::with(
        &server,
        "classifier: { deadline_ms: 1, cache: 0 }\nrouting: { fallback: direct }",
    )
    .await;
    let prompt = "why ".repeat(900);
    let began = Instant::now();
    let answers = futures_util::future::join_all((0..40).map(|_| {
        let body = chat(&prompt);
        {
            let gateway = &gateway;
            async move { gateway.chat(&body).await }
        }
    }))
    .await;
    assert!(began.elapsed() < Duration::from_secs(10));
    let late = answers
        .iter()
        .filter(|answer| answer.decision() == ("direct", "fallback"))
        .count();
    assert!(late > 0, "none of 40 was late");
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert!(
        server
            .arrived()
            .last()
            .unwrap()
            .text()
            .contains("\"enable_thinking\":false")
    );
}

#[tokio::test]
async fn a_full_queue_refuses_at_once_and_the_request_falls_back() {
    let server = Server::friendly().await;
    let gateway = Gateway::with(&server, "classifier: { queue: 1, cache: 0 }").await;
    let prompt = "why ".repeat(900);
    let answers = futures_util::future::join_all((0..40).map(|_| {
        let body = chat(&prompt);
        {
            let gateway = &gateway;
            async move { gateway.chat(&body).await }
        }
    }))
    .await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    let full = answers
        .iter()
        .filter(|answer| answer.decision() == ("unchanged", "fallback"))
        .count();
    assert!(full > 0 && full < 40, "{full} of 40 fell back");
    let text = gateway.get("/metrics").await;
    assert!(
        text.text()
            .contains("thinkgate_fallbacks_total{miss=\"full\"}"),
        "{}",
        text.text()
    );
}

#[tokio::test]
async fn the_same_prompt_from_many_clients_at_once_is_classified_once() {
    let server = Server::friendly().await;
    let gateway = Gateway::with(&server, "classifier: { deadline_ms: 10000 }").await;
    let prompt = chat(&"why ".repeat(900));
    let answers = futures_util::future::join_all((0..20).map(|_| gateway.chat(&prompt))).await;
    assert!(
        answers
            .iter()
            .all(|answer| answer.decision().1 == "classifier")
    );
    let text = gateway.get("/metrics").await;
    for line in [
        "thinkgate_classifier_scores_total{from=\"model\"} 1\n",
        "thinkgate_classifier_scores_total{from=\"cache\"} 19\n",
    ] {
        assert!(text.text().contains(line), "{line}{}", text.text());
    }
}

#[tokio::test]
async fn a_missing_or_broken_file_is_one_message_with_the_file_and_the_command() {
    let error_of = |change: &dyn Fn(&Path)| {
        let dir = tempfile::tempdir().unwrap();
        for file in ["model.onnx", "tokenizer.json", "config.json"] {
            fs::copy(fixture("models/tiny").join(file), dir.path().join(file)).unwrap();
        }
        change(dir.path());
        let yaml = format!("classifier: {{ model: '{}' }}", dir.path().display());
        app::build(config(&[], &yaml)).unwrap_err().to_string()
    };
    let replace = |file: &'static str, text: &'static str| {
        move |dir: &Path| fs::write(dir.join(file), text).unwrap()
    };
    for (error, expected) in [
        (
            error_of(&|dir| fs::remove_file(dir.join("model.onnx")).unwrap()),
            "model.onnx is missing",
        ),
        (
            error_of(&|dir| fs::remove_file(dir.join("tokenizer.json")).unwrap()),
            "tokenizer.json is missing",
        ),
        (
            error_of(&replace("model.onnx", "not a model")),
            "model.onnx cannot be used",
        ),
        (
            error_of(&replace("tokenizer.json", "{}")),
            "tokenizer.json cannot be used",
        ),
        (
            error_of(&replace("config.json", "{}")),
            "config.json cannot be used",
        ),
        (
            error_of(&replace("config.json", r#"{"id2label":{"0":"a","1":"b"}}"#)),
            "does not say which labels mean reasoning",
        ),
        (
            error_of(&replace(
                "config.json",
                r#"{"id2label":{"0":"a","1":"b","2":"c"},"thinkgate":{"reasoning_labels":["a"]}}"#,
            )),
            "has the shape",
        ),
    ] {
        assert!(
            error.contains(expected) && error.contains("scripts/export_onnx.py"),
            "{error}"
        );
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    let mut settings = config(&[], "{}");
    settings.classifier.providers = vec![thinkgate::config::Provider::Cuda];
    let error = app::build(settings).unwrap_err().to_string();
    assert!(
        error.contains("`cuda` did not load") && error.contains("onnxruntime-gpu"),
        "{error}"
    );
}
