//! The API keys of model servers are read once per configuration.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    net::TcpListener,
    time::{sleep, timeout},
};

use super::support::{
    EASY, Process, Server, chat,
    http::PATIENCE,
    server::{OK_BODY, json},
};

#[tokio::test]
async fn an_emptied_key_file_does_not_take_the_key_away_when_the_listing_changes() {
    let folder = tempfile::tempdir().unwrap();
    let (file, key) = (
        folder.path().join("thinkgate.yaml"),
        folder.path().join("key"),
    );
    let is_new = Arc::new(AtomicBool::new(false));
    let lists_new = is_new.clone();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = Server::whole(listener, move |request| {
        let is_known = request.header("authorization") == Some("Bearer sk-old");
        let id = match lists_new.load(Ordering::Relaxed) {
            true => "Qwen3-new",
            false => "Qwen3-old",
        };
        match request.line.split(' ').nth(1) {
            _ if !is_known => json("401 Unauthorized", "{}"),
            Some("/v1/models") => json("200 OK", &format!(r#"{{"data":[{{"id":"{id}"}}]}}"#)),
            Some("/tokenize") => json("404 Not Found", "{}"),
            _ => json("200 OK", OK_BODY),
        }
    });
    let (url, key_at) = (server.url(), key.display());
    let configured = format!("{{url: '{url}', api_key: 'file:{key_at}'}}");
    let written = format!(
        "{{discover: [{configured}], models: {{mine: {{endpoints: [{configured}]}}}}, upstream: {{discover_ms: 50}}}}"
    );
    fs::write(&key, "sk-old\n").unwrap();
    fs::write(&file, written).unwrap();
    let process = Process::start(&["--config", &file.display().to_string()], &[]).await;
    fs::write(&key, "").unwrap();
    process.said_text("the configuration is not taken up").await;
    is_new.store(true, Ordering::Relaxed);
    let listed = async {
        while !process.get("/v1/models").await.text().contains("Qwen3-new") {
            sleep(Duration::from_millis(20)).await;
        }
    };
    let listed = timeout(PATIENCE, listed).await;
    listed.expect("the server is still polled with its key");
    for model in ["Qwen3-new", "mine"] {
        let body = chat(EASY).replace("Qwen3-tiny", model);
        assert_eq!(process.chat(&body).await.status, 200, "{model}");
    }
    fs::write(&key, "sk-other").unwrap();
    process.said_text("the configuration is taken up").await;
    let body = chat(EASY).replace("Qwen3-tiny", "mine");
    assert_eq!(process.chat(&body).await.status, 401, "the new key is sent");
}
