//! Trouble with what the gateway runs on: a full disk, a clock that jumps, a configuration that changes under load.

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

use super::{process_let_go, room_for, until};
use crate::support::{
    EASY, Process, Server, Step, chat, fixture,
    http::{PATIENCE, ask, parse, rest},
    send,
    server::{OK_BODY, chunk, json, last_chunk, sse_head},
    streaming,
};

/// Starts it in front of `server` with its log going to `log`, and waits until it is ready. It cannot say where it listens, so it
/// is told.
async fn logging_to(log: Stdio, server: &Server) -> (Child, SocketAddr) {
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

/// Asks it to stop, and waits until it has ended with status 0.
async fn ends(mut child: Child) {
    let pid = child.id().unwrap().to_string();
    let stop = Command::new("kill").args(["-TERM", &pid]).status().await;
    assert!(stop.unwrap().success());
    let ended = tokio::time::timeout(PATIENCE, child.wait()).await;
    assert_eq!(ended.unwrap().unwrap().code(), Some(0));
}

#[tokio::test]
async fn a_full_disk_for_logs_is_not_seen_by_clients() {
    let server = Server::friendly().await;
    let full = fs::File::create("/dev/full").unwrap();
    let (child, address) = logging_to(full.into(), &server).await;
    for _ in 0..50 {
        let answer = send(address, "POST", "/v1/chat/completions", &[], &chat(EASY)).await;
        assert_eq!((answer.status, answer.text()), (200, OK_BODY));
    }
    ends(child).await;
}

#[tokio::test]
async fn a_reader_of_the_log_that_is_stuck_is_not_seen_by_clients_nor_keeps_it_from_ending() {
    let server = Server::friendly().await;
    let (child, address) = logging_to(Stdio::piped(), &server).await; // which nobody reads
    for _ in 0..400 {
        let answer = send(address, "GET", "/nowhere", &[], "").await; // a line each, more than a pipe holds
        assert_eq!(answer.status, 404);
    }
    ends(child).await;
}

/// Builds what moves the wall clock of one process, and of nothing else on this machine; `None` without a C compiler.
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
async fn a_clock_that_jumps_neither_ends_a_wait_nor_makes_it_longer() {
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
async fn a_reload_during_a_thousand_streams_is_not_seen_in_any() {
    let count = room_for(4_500) / 4; // each is two connections here and two there
    let count = count.min(1_000);
    let go = CancellationToken::new();
    let until_told = go.clone();
    let old = Server::start(move |_| {
        let held = Step::Until(until_told.clone());
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
    let and_another = models(&new).replace(
        "models: {",
        "models: { another: { endpoints: [{ url: 'http://127.0.0.1:1' }] },",
    );
    fs::write(&file, and_another).unwrap();
    process.signal("HUP").await;
    let told = Instant::now();
    until("it is taken up", async || {
        process.get("/v1/models").await.text().contains("another")
    })
    .await;
    assert_eq!(process.chat(&chat(EASY)).await.text(), "new");
    assert!(
        told.elapsed() < Duration::from_secs(5),
        "{:?}",
        told.elapsed()
    );
    let reload_ok = async |ok| process.metric("thinkgate_config_reload_ok").await == Some(ok);
    until("it is said", async || reload_ok(1.0).await).await;
    fs::write(&file, "models: {").unwrap();
    process.signal("HUP").await;
    until("a bad one is said", async || reload_ok(0.0).await).await;
    assert_eq!(
        process.metric("thinkgate_in_flight ").await,
        Some(count as f64)
    );
    go.cancel();
    let answers = join_all(streams.iter_mut().map(rest)).await;
    for answer in answers {
        let answer = parse(&answer);
        assert!(answer.complete && answer.text() == "data: 1\n\ndata: [DONE]\n\n");
    }
    process_let_go(&process, &old).await;
    assert_eq!(process.stop().await.0, Some(0));
}
