//! Reloads of the configuration while requests run.

use std::{fs, path::Path, time::Duration};

use tokio::time::sleep;

use super::{
    support::{
        EASY, Process, Server, Step, chat, send,
        server::{chunk, json, last_chunk, sse_head},
    },
    tls::certificate,
};

fn models(server: &Server, rest: &str) -> String {
    format!(
        "{{models: {{Qwen3-tiny: {{endpoints: [{{url: '{}'}}]}}}}, {rest}}}",
        server.url()
    )
}

async fn start(config: &Path) -> Process {
    Process::start(&["--config", &config.display().to_string()], &[]).await
}

/// Waits until the gauge of reloads has the value `ok`.
async fn wait_for_reload_gauge(process: &Process, ok: f64) {
    while process.metric("thinkgate_config_reload_ok").await != Some(ok) {
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_changed_file_is_reloaded_and_running_streams_keep_their_server() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("thinkgate.yaml");
    let slow = Server::start(|_| {
        let pause = Step::Wait(Duration::from_millis(3_000));
        vec![
            sse_head(),
            chunk("data: 1\n\n"),
            pause,
            chunk("data: [DONE]\n\n"),
            last_chunk(),
        ]
    })
    .await;
    let other = Server::start(|_| json("200 OK", "the other")).await;
    fs::write(&file, models(&slow, "")).unwrap();
    let process = start(&file).await;
    let address = process.address;
    let running = tokio::spawn(async move {
        send(address, "POST", "/v1/chat/completions", &[], &chat(EASY)).await
    });
    while slow.arrived().is_empty() {
        sleep(Duration::from_millis(5)).await;
    }
    fs::write(&file, models(&other, "")).unwrap();
    process.said_text("the configuration is taken up").await;
    assert_eq!(process.chat(&chat(EASY)).await.text(), "the other");
    let answer = running.await.unwrap();
    assert!(answer.complete && answer.text().ends_with("data: [DONE]\n\n"));
    assert_eq!(process.stop().await.0, Some(0));
}

#[tokio::test]
async fn a_replaced_config_map_is_reloaded() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (
        Server::friendly().await,
        Server::start(|_| json("200 OK", "new")).await,
    );
    for (version, server) in [("..1", &one), ("..2", &other)] {
        fs::create_dir(folder.path().join(version)).unwrap();
        fs::write(
            folder.path().join(version).join("thinkgate.yaml"),
            models(server, ""),
        )
        .unwrap();
    }
    let link = |target: &str, name: &str| {
        std::os::unix::fs::symlink(target, folder.path().join(name)).unwrap()
    };
    link("..1", "..data");
    link("..data/thinkgate.yaml", "thinkgate.yaml");
    let process = start(&folder.path().join("thinkgate.yaml")).await;
    link("..2", "..data_tmp");
    fs::rename(
        folder.path().join("..data_tmp"),
        folder.path().join("..data"),
    )
    .unwrap();
    process.said_text("the configuration is taken up").await;
    assert_eq!(process.chat(&chat(EASY)).await.text(), "new");
}

#[tokio::test]
async fn a_bad_file_keeps_the_old_configuration_and_shows_in_log_and_gauge() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("thinkgate.yaml");
    let server = Server::friendly().await;
    fs::write(&file, models(&server, "")).unwrap();
    let process = start(&file).await;
    wait_for_reload_gauge(&process, 1.0).await;
    for (bad, why) in [
        ("", "is empty"),
        ("{models: ", "is not YAML"),
        ("{modls: {}}", "modls"),
        ("{models: {m: {family: qwen33}}}", "`qwen33` is no family"),
        (
            &models(&server, "routing: {threshold: 2}"),
            "routing.threshold",
        ),
        (
            &models(&server, "classifier: {threads: 3}"),
            "takes a restart",
        ),
        (
            &models(&server, "server: {tls: {cert: /no/such, key: /no/such}}"),
            "server.tls",
        ),
        ("{routing: {threshold: 0.4}}", "nothing to serve"),
    ] {
        fs::write(&file, bad).unwrap();
        process.signal("HUP").await;
        process.said_text(why).await;
        wait_for_reload_gauge(&process, 0.0).await;
        assert_eq!(process.chat(&chat(EASY)).await.status, 200);
    }
    fs::write(&file, models(&server, "routing: {threshold: 0.0}")).unwrap();
    process.signal("HUP").await;
    wait_for_reload_gauge(&process, 1.0).await;
    let answer = process.chat(&chat(EASY)).await;
    assert_eq!(answer.header("x-thinkgate-mode"), Some("reasoning"));
}

#[tokio::test]
async fn changed_keys_limits_and_origins_apply_to_the_next_request() {
    let folder = tempfile::tempdir().unwrap();
    let (file, key) = (
        folder.path().join("thinkgate.yaml"),
        folder.path().join("key"),
    );
    let server = Server::friendly().await;
    let written = models(
        &server,
        &format!(
            "auth: {{keys: [{{name: a, key: 'file:{}'}}]}}, server: {{cors: ['*']}}",
            key.display()
        ),
    );
    fs::write(&key, "sk-old").unwrap();
    fs::write(&file, &written).unwrap();
    let process = start(&file).await;
    let status = async |key: &str| {
        let headers = [("authorization", key), ("origin", "http://a")];
        let answer = send(
            process.address,
            "POST",
            "/v1/chat/completions",
            &headers,
            &chat(EASY),
        )
        .await;
        (
            answer.status,
            answer
                .header("access-control-allow-origin")
                .map(str::to_owned),
        )
    };
    let any = Some("*".to_owned());
    assert_eq!(status("Bearer sk-old").await, (200, any.clone()));
    fs::write(&key, "sk-new").unwrap(); // a key in a file is part of the configuration
    process.said_text("the configuration is taken up").await;
    assert_eq!(status("Bearer sk-old").await.0, 401);
    assert_eq!(status("Bearer sk-new").await, (200, any));
    fs::write(
        &file,
        written.replace("{cors: ['*']}", "{max_body_bytes: 10, cors: []}"),
    )
    .unwrap();
    while status("Bearer sk-new").await != (413, None) {
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_renewed_certificate_is_used_for_the_next_connection() {
    thinkgate::net::tls::install_crypto_provider(); // for the client of this test
    let (folder, renewed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = Server::friendly().await;
    let (cert, key) = certificate(folder.path());
    let file = folder.path().join("thinkgate.yaml");
    fs::write(
        &file,
        models(
            &server,
            &format!("server: {{tls: {{cert: '{cert}', key: '{key}'}}}}"),
        ),
    )
    .unwrap();
    let process = Process::of(Process::command(
        &["--config", &file.display().to_string()],
        &[],
    ))
    .await;
    let trusting = |pem: &[u8]| {
        let trusted = reqwest::Certificate::from_pem(pem).unwrap();
        let client = reqwest::Client::builder().no_proxy();
        client
            .tls_certs_only([trusted])
            .resolve("localhost", process.address)
            .build()
            .unwrap()
    };
    let url = format!("https://localhost:{}/health", process.address.port());
    let old = fs::read(&cert).unwrap();
    assert!(trusting(&old).get(&url).send().await.is_ok());
    let (new_cert, new_key) = certificate(renewed.path());
    fs::copy(&new_cert, &cert).unwrap();
    fs::copy(&new_key, &key).unwrap();
    process.said_text("the configuration is taken up").await;
    assert!(
        trusting(&old).get(&url).send().await.is_err(),
        "the old certificate is not used any more"
    );
    assert!(
        trusting(&fs::read(&new_cert).unwrap())
            .get(&url)
            .send()
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn an_endpoint_that_is_still_configured_keeps_its_breaker() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("thinkgate.yaml");
    let (bad, good) = (
        Server::start(|_| vec![Step::Reset]).await,
        Server::friendly().await,
    );
    let written = |rest: &str| {
        let (bad, good) = (bad.url(), good.url());
        format!(
            "{{models: {{Qwen3-tiny: {{endpoints: [{{url: '{bad}', weight: 1000}}, {{url: '{good}'}}]}}}}, upstream: {{failures: 2, open_ms: 600000}}, {rest}}}"
        )
    };
    fs::write(&file, written("")).unwrap();
    let process = start(&file).await;
    for _ in 0..4 {
        assert_eq!(process.chat(&chat(EASY)).await.status, 200);
    }
    let tried = bad.arrived().len();
    fs::write(&file, written("routing: {threshold: 0.6}")).unwrap();
    process.said_text("the configuration is taken up").await;
    for _ in 0..4 {
        assert_eq!(process.chat(&chat(EASY)).await.status, 200);
    }
    assert_eq!(bad.arrived().len(), tried, "the endpoint is still ejected");
}

#[tokio::test]
async fn an_added_server_that_is_down_leaves_the_gateway_ready() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("thinkgate.yaml");
    let server = Server::friendly().await;
    let discover = |more: &str| format!("{{discover: [{{url: '{}'}}{more}]}}", server.url());
    fs::write(&file, discover("")).unwrap();
    let process = start(&file).await;
    fs::write(&file, discover(", {url: 'http://127.0.0.1:1'}")).unwrap();
    process.said_text("the configuration is taken up").await;
    assert_eq!(process.get("/ready").await.status, 200);
    assert_eq!(process.chat(&chat(EASY)).await.status, 200);
}

#[tokio::test]
async fn an_unhealthy_server_gets_requests_again_when_health_checks_are_turned_off() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("thinkgate.yaml");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let sick = Server::whole(listener, |request| match request.line.contains("/health") {
        true => json("503 Service Unavailable", ""),
        false => json("200 OK", "{}"),
    });
    let well = Server::friendly().await;
    let written = |health_ms: u64| {
        let (sick, well) = (sick.url(), well.url());
        format!(
            "{{models: {{Qwen3-tiny: {{endpoints: [{{url: '{sick}', weight: 1000}}, {{url: '{well}'}}]}}}}, upstream: {{health_results: 1, health_ms: {health_ms}}}}}"
        )
    };
    fs::write(&file, written(20)).unwrap();
    let process = start(&file).await;
    process.said_text("the server is not well").await;
    fs::write(&file, written(0)).unwrap();
    process.said_text("the configuration is taken up").await;
    while sick.arrived().is_empty() {
        assert_eq!(process.chat(&chat(EASY)).await.status, 200);
    }
}

#[tokio::test]
async fn the_health_gauge_of_a_removed_server_disappears() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("thinkgate.yaml");
    let (old, new) = (Server::friendly().await, Server::friendly().await);
    let gauge = |server: &Server| {
        let url = server.url();
        format!("thinkgate_endpoint_healthy{{server=\"{url}\"}}")
    };
    fs::write(&file, models(&old, "")).unwrap();
    let process = start(&file).await;
    while process.metric(&gauge(&old)).await != Some(1.0) {
        sleep(Duration::from_millis(20)).await;
    }
    fs::write(&file, models(&new, "")).unwrap();
    process.said_text("the configuration is taken up").await;
    while process.metric(&gauge(&new)).await != Some(1.0) {
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(process.metric(&gauge(&old)).await, None);
}

#[tokio::test]
async fn the_files_of_a_rejected_configuration_are_watched_too() {
    let folder = tempfile::tempdir().unwrap();
    let (file, key) = (
        folder.path().join("thinkgate.yaml"),
        folder.path().join("key"),
    );
    let server = Server::friendly().await;
    fs::write(&file, models(&server, "")).unwrap();
    let process = start(&file).await;
    let keys = format!(
        "auth: {{keys: [{{name: a, key: 'file:{}'}}]}}",
        key.display()
    );
    fs::write(&file, models(&server, &keys)).unwrap();
    process.said_text("is missing, unreadable or empty").await;
    fs::write(&key, "sk-a").unwrap();
    process.said_text("the configuration is taken up").await;
    assert_eq!(process.chat(&chat(EASY)).await.status, 401);
}

#[tokio::test]
async fn wrong_settings_and_those_that_need_a_restart_are_reported_together() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("thinkgate.yaml");
    let server = Server::friendly().await;
    fs::write(&file, models(&server, "")).unwrap();
    let process = start(&file).await;
    let bad = "classifier: {threads: 3, queue: many}, routing: {threshold: 2, domains: {astrology: direct}}, ext_proc: {listen: 7}";
    fs::write(&file, models(&server, bad)).unwrap();
    process.said_text("the configuration is not taken up").await;
    let reports = |path: &str| {
        let line = |line: &String| line.contains(&format!("\"setting\":\"{path}\""));
        process.lines().iter().filter(|found| line(found)).count()
    };
    for path in [
        "classifier.threads",
        "classifier.queue",
        "routing.threshold",
        "routing.domains.astrology",
        "ext_proc.listen",
    ] {
        assert_eq!(reports(path), 1, "{path} in {:#?}", process.lines());
    }
    assert_eq!(reports("ext_proc"), 0, "its value could not be read");
}
