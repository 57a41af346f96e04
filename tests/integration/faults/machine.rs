//! Faults of the machine: a full disk, a clock that jumps, a configuration that changes under load.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    process::Stdio,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use tokio::{
    process::{Child, Command},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use super::{process_released, room_for, until};
use crate::support::{
    EASY, Process, Server, Step, chat, fixture,
    http::{PATIENCE, ask, parse, rest},
    send,
    server::{OK_BODY, chunk, json, last_chunk, sse_head},
    streaming,
};

/// Starts the gateway in front of `server` with its log going to `log`, and waits until it is ready. The address is chosen here,
/// because the log that would report it is not read.
async fn start_with_log(log: Stdio, server: &Server) -> (Child, SocketAddr) {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address: SocketAddr = free.local_addr().unwrap();
    drop(free);
    let child = Command::new(env!("CARGO_BIN_EXE_thinkgate"))
        .args(["serve", "--upstream", &server.url()])
        .args(["--listen", &address.to_string()])
        .env("THINKGATE_CLASSIFIER__MODEL", fixture("models/tiny"))
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    until("it listens", async || {
        tokio::net::TcpStream::connect(address).await.is_ok()
    })
    .await;
    until("ready", async || {
        send(address, "GET", "/ready", &[], "").await.status == 200
    })
    .await;
    (child, address)
}

/// Sends SIGTERM, and waits until the process has ended with status 0.
async fn assert_stops(mut child: Child) {
    let pid = child.id().unwrap().to_string();
    let stop = Command::new("kill").args(["-TERM", &pid]).status().await;
    assert!(stop.unwrap().success());
    let ended = tokio::time::timeout(PATIENCE, child.wait()).await;
    assert_eq!(ended.unwrap().unwrap().code(), Some(0));
}

#[tokio::test]
async fn a_full_disk_for_logs_does_not_affect_clients() {
    let server = Server::friendly().await;
    let full = fs::File::create("/dev/full").unwrap();
    let (child, address) = start_with_log(full.into(), &server).await;
    for _ in 0..50 {
        let answer = send(address, "POST", "/v1/chat/completions", &[], &chat(EASY)).await;
        assert_eq!((answer.status, answer.text()), (200, OK_BODY));
    }
    assert_stops(child).await;
}

#[tokio::test]
async fn a_stuck_log_reader_affects_neither_clients_nor_the_exit() {
    let server = Server::friendly().await;
    let (child, address) = start_with_log(Stdio::piped(), &server).await; // which no one reads
    for _ in 0..400 {
        let answer = send(address, "GET", "/nowhere", &[], "").await; // one log line each, more than a pipe holds
        assert_eq!(answer.status, 404);
    }
    assert_stops(child).await;
}

/// Builds a library that moves the wall clock of one process only; `None` without a C compiler.
async fn clock(folder: &std::path::Path) -> Option<String> {
    let source = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/integration/faults/clock.c"
    );
    let built = folder.join("clock.so").display().to_string();
    let mut compile = Command::new("cc");
    compile
        .args(["-shared", "-fPIC", "-o", &built, source])
        .stdout(Stdio::null());
    let compiled = compile.status().await.ok()?;
    assert!(compiled.success(), "{source}");
    Some(built)
}

#[tokio::test]
async fn a_clock_that_jumps_neither_shortens_nor_lengthens_a_timeout() {
    const YEAR: i64 = 365 * 24 * 3600;
    let folder = tempfile::tempdir().unwrap();
    let Some(preload) = clock(folder.path()).await else {
        println!("skipped: no C compiler (cc)");
        return;
    };
    let set = folder.path().join("seconds");
    let server = Server::start(|request| match request.text().contains("\"stream\"") {
        true => {
            let pause = Step::Wait(Duration::from_millis(800));
            let (first, last) = (chunk("data: 1\n\n"), chunk("data: [DONE]\n\n"));
            vec![sse_head(), first, pause, last, last_chunk()]
        }
        false => vec![Step::Hang],
    })
    .await;
    let environment = [
        ("LD_PRELOAD", preload.as_str()),
        ("CLOCK_FILE", set.to_str().unwrap()),
        ("THINKGATE_UPSTREAM__HEADERS_MS", "1500"),
        ("THINKGATE_UPSTREAM__IDLE_MS", "60000"),
    ];
    let process = Process::start(&["--upstream", &server.url()], &environment).await;
    for jump in [10 * YEAR, -10 * YEAR, 3600, -3600] {
        let began = Instant::now();
        let (silent, streams) = (chat(EASY), streaming(EASY));
        let (silent, stream, ()) =
            tokio::join!(process.chat(&silent), process.chat(&streams), async {
                sleep(Duration::from_millis(300)).await;
                fs::write(&set, jump.to_string()).unwrap();
            });
        assert!(stream.complete);
        assert_eq!(stream.text(), "data: 1\n\ndata: [DONE]\n\n", "{jump}");
        let (status, _, code) = silent.error();
        assert_eq!((status, code.as_str()), (504, "upstream_timeout"), "{jump}");
        let waited = began.elapsed();
        assert!(waited >= Duration::from_millis(1_400), "{jump}: {waited:?}");
        assert!(waited < PATIENCE / 2, "{jump}: {waited:?}");
    }
    let (status, lines) = process.stop().await;
    assert_eq!(status, Some(0));
    // Otherwise this test would show nothing: the clock of the log has jumped.
    let year = |line: &String| -> Option<i64> {
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        line["timestamp"].as_str()?.get(..4)?.parse().ok()
    };
    let years: Vec<i64> = lines.iter().filter_map(year).collect();
    let (least, most) = (years.iter().min().unwrap(), years.iter().max().unwrap());
    assert!(most - least >= 19, "{years:?}");
}

#[tokio::test]
async fn a_reload_changes_none_of_a_thousand_running_streams() {
    let count = room_for(4_500) / 4; // each stream takes two connections in this process and two in the gateway
    let count = count.min(1_000);
    let release = CancellationToken::new();
    let released = release.clone();
    let old = Server::start(move |_| {
        let held = Step::Until(released.clone());
        let (first, last) = (chunk("data: 1\n\n"), chunk("data: [DONE]\n\n"));
        vec![sse_head(), first, held, last, last_chunk()]
    })
    .await;
    let new = Server::start(|_| json("200 OK", "new")).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("thinkgate.yaml");
    let models = |server: &Server| {
        let url = server.url();
        format!("models: {{ Qwen3-tiny: {{ endpoints: [{{ url: '{url}' }}] }} }}")
    };
    fs::write(&file, models(&old)).unwrap();
    let process = Process::start(&["--config", &file.display().to_string()], &[]).await;
    let mut streams = Vec::new();
    for _ in 0..count {
        streams.push(ask(process.address, &streaming(EASY)).await);
    }
    let all_run = async || old.arrived().len() == count;
    until("all streams run", all_run).await;
    let with_another = models(&new).replace(
        "models: {",
        "models: { another: { endpoints: [{ url: 'http://127.0.0.1:1' }] },",
    );
    fs::write(&file, with_another).unwrap();
    process.signal("HUP").await;
    let reloaded_at = Instant::now();
    until("the new configuration is served", async || {
        process.get("/v1/models").await.text().contains("another")
    })
    .await;
    assert_eq!(process.chat(&chat(EASY)).await.text(), "new");
    assert!(
        reloaded_at.elapsed() < Duration::from_secs(5),
        "{:?}",
        reloaded_at.elapsed()
    );
    let reload_ok = async |ok| process.metric("thinkgate_config_reload_ok").await == Some(ok);
    until("reload_ok is 1", async || reload_ok(1.0).await).await;
    fs::write(&file, "models: {").unwrap();
    process.signal("HUP").await;
    until("reload_ok is 0 after a bad configuration", async || {
        reload_ok(0.0).await
    })
    .await;
    assert_eq!(
        process.metric("thinkgate_in_flight ").await,
        Some(count as f64)
    );
    release.cancel();
    let answers = join_all(streams.iter_mut().map(rest)).await;
    for answer in answers {
        let answer = parse(&answer);
        assert!(answer.complete && answer.text() == "data: 1\n\ndata: [DONE]\n\n");
    }
    process_released(&process, &old).await;
    assert_eq!(process.stop().await.0, Some(0));
}
