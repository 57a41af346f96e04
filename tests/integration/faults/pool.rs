//! A model with several servers, some of which fail.

use std::{
    fs,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use tokio::{net::TcpListener, process::Command, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{settled, until};
use crate::support::{
    EASY, Gateway, Process, Server, Step, chat, config,
    server::{MODELS, OK_BODY, chunk, json, sse_head},
    streaming,
};

const BUSY: &str = r#"{"error":{"message":"busy","type":"x"}}"#;

/// A gateway whose model has these servers.
async fn gateway_of(servers: &[&Server], upstream: &str) -> Gateway {
    let urls: Vec<String> = servers
        .iter()
        .map(|server| format!("{{ url: '{}' }}", server.url()))
        .collect();
    let yaml = format!(
        "{{ upstream: {{ {upstream} }}, models: {{ Qwen3-tiny: {{ endpoints: [{}] }} }} }}",
        urls.join(", ")
    );
    Gateway::start(config(&[], &yaml)).await
}

#[tokio::test]
async fn a_429_from_every_server_is_relayed_and_ejects_none() {
    let calm = Arc::new(AtomicBool::new(false));
    let busy = || {
        let calm = calm.clone();
        Server::start(move |_| {
            match calm.load(Ordering::Relaxed) {
            true => json("200 OK", OK_BODY),
            false => vec![Step::Send(
                format!("HTTP/1.1 429 Too Many Requests\r\ncontent-type: application/json\r\nretry-after: 7\r\ncontent-length: {}\r\n\r\n{BUSY}", BUSY.len()).into(),
            )],
        }
        })
    };
    let (one, two, three) = (busy().await, busy().await, busy().await);
    let gateway = gateway_of(&[&one, &two, &three], "").await;
    let body = chat(EASY);
    let storm = (0..10).map(|_| async {
        for _ in 0..40 {
            let answer = gateway.chat(&body).await;
            assert_eq!((answer.status, answer.text()), (429, BUSY));
            assert_eq!(answer.header("retry-after"), Some("7"), "the server's own");
        }
    });
    join_all(storm).await;
    let asked = [&one, &two, &three].map(|server| server.arrived().len());
    let asked: usize = asked.iter().sum();
    assert!(
        asked < 400 * 2,
        "retries do not multiply the load: {asked} for 400"
    );
    calm.store(true, Ordering::Relaxed);
    for _ in 0..20 {
        assert_eq!(
            gateway.chat(&body).await.status,
            200,
            "a busy server is not ejected"
        );
    }
    settled(&gateway).await;
}

#[tokio::test]
async fn clients_do_not_see_that_one_of_three_servers_comes_and_goes() {
    let (one, two) = (Server::friendly().await, Server::friendly().await);
    let third = Server::friendly().await;
    let address = third.address;
    let gateway = gateway_of(&[&one, &two, &third], "failures: 3, open_ms: 100").await;
    let mut third = Some(third);
    for round in 0..6 {
        for _ in 0..20 {
            let answer = gateway.chat(&chat(EASY)).await;
            assert_eq!(
                (answer.status, answer.text()),
                (200, OK_BODY),
                "round {round}"
            );
        }
        third = match third {
            Some(_) => None, // dropped: its connections are closed and its port is shut
            None => {
                let listener = TcpListener::bind(address).await.unwrap();
                Some(Server::on(listener, MODELS, |_| json("200 OK", OK_BODY)).await)
            }
        };
        sleep(Duration::from_millis(50)).await;
    }
    settled(&gateway).await;
}

#[tokio::test]
async fn a_slow_server_gets_less_than_its_share() {
    let slow = Server::start(|_| {
        let pause = Step::Wait(Duration::from_millis(700));
        [vec![pause], json("200 OK", "slow")].concat()
    })
    .await;
    let (one, two) = (Server::friendly().await, Server::friendly().await);
    let gateway = gateway_of(&[&slow, &one, &two], "").await;
    let body = chat(EASY);
    let clients = (0..6).map(|_| async {
        for _ in 0..50 {
            assert_eq!(gateway.chat(&body).await.status, 200);
        }
    });
    join_all(clients).await;
    let share = slow.arrived().len();
    // It is picked if it is drawn twice, in a ninth of the cases, and rarely otherwise.
    assert!(share <= 70, "the slow one got {share} of 300");
    settled(&gateway).await;
}

#[tokio::test]
async fn two_endpoints_of_one_model_get_their_own_switches() {
    let (first, second) = (Server::friendly().await, Server::friendly().await);
    let yaml = format!(
        "models: {{ both: {{ endpoints: [{{ url: '{}', model: Qwen3-8B }}, {{ url: '{}', model: DeepSeek-V3.1 }}] }} }}",
        first.url(),
        second.url()
    );
    let gateway = Gateway::start(config(&[], &yaml)).await;
    for _ in 0..24 {
        let answer = gateway
            .chat(&chat(EASY).replace("Qwen3-tiny", "both"))
            .await;
        assert_eq!(answer.decision(), ("direct", "classifier"));
    }
    for (server, name, switch) in [
        (&first, "Qwen3-8B", r#"{"enable_thinking":false}"#),
        (&second, "DeepSeek-V3.1", r#"{"thinking":false}"#),
    ] {
        let all = server.arrived();
        assert!(!all.is_empty());
        for request in all {
            assert!(
                request.text().contains(name) && request.text().contains(switch),
                "{}",
                request.text()
            );
        }
    }
}

#[tokio::test]
async fn a_network_cut_under_many_streams_does_not_eject_the_server() {
    let cut = CancellationToken::new();
    let cut_off = cut.clone();
    let first = Server::start(move |request| match request.text().contains("stream") {
        false => json("200 OK", "first"),
        true => vec![
            sse_head(),
            chunk("data: 1\n\n"),
            Step::Until(cut_off.clone()),
            Step::Reset,
        ],
    })
    .await;
    let second = Server::friendly().await;
    let yaml = format!(
        "{{ upstream: {{ failures: 5, open_ms: 600000 }}, models: {{ Qwen3-tiny: {{ endpoints: [{{ url: '{}', weight: 1000000 }}, {{ url: '{}' }}] }} }} }}",
        first.url(),
        second.url()
    );
    let gateway = Gateway::start(config(&[], &yaml)).await;
    let body = streaming(EASY);
    let streams = join_all((0..20).map(|_| gateway.chat(&body)));
    let (answers, ()) = tokio::join!(streams, async {
        until("all run", async || first.arrived().len() == 20).await;
        sleep(Duration::from_millis(100)).await; // until their first event has passed
        cut.cancel();
    });
    for answer in answers {
        assert!(
            answer.text().contains("upstream_reset"),
            "{}",
            answer.text()
        );
    }
    assert_eq!(gateway.chat(&chat(EASY)).await.text(), "first");
}

/// A hung engine sends only the head of every stream. One that dies of every request sends a chunk more.
#[tokio::test]
async fn a_server_whose_streams_all_break_is_ejected_despite_their_heads() {
    let arrives = || Step::Wait(Duration::from_millis(100));
    for broken in [
        vec![sse_head(), arrives(), Step::Reset],
        vec![sse_head(), chunk("data: 1\n\n"), arrives(), Step::Close],
        vec![sse_head(), Step::Hang],
    ] {
        let is_healthy = Arc::new(AtomicBool::new(false));
        let flag = is_healthy.clone();
        let first = Server::start(move |_| match flag.load(Ordering::Relaxed) {
            true => json("200 OK", "first"),
            false => broken.clone(),
        })
        .await;
        let second = Server::friendly().await;
        let yaml = format!(
            "{{ upstream: {{ failures: 3, open_ms: 2000, first_chunk_ms: 150 }}, models: {{ Qwen3-tiny: {{ endpoints: [{{ url: '{}', weight: 1000000 }}, {{ url: '{}' }}] }} }} }}",
            first.url(),
            second.url()
        );
        let gateway = Gateway::start(config(&[], &yaml)).await;
        let body = streaming(EASY);
        for _ in 0..3 {
            let answer = gateway.chat(&body).await;
            assert!(answer.text().contains("upstream_"), "{}", answer.text());
        }
        for _ in 0..4 {
            assert_eq!(gateway.chat(&body).await.text(), OK_BODY);
        }
        assert_eq!(
            first.arrived().len(),
            3,
            "it got no request while it was ejected"
        );
        sleep(Duration::from_millis(2_100)).await;
        for _ in 0..4 {
            gateway.chat(&body).await;
        }
        assert_eq!(first.arrived().len(), 4, "one request tries it again");
        is_healthy.store(true, Ordering::Relaxed);
        sleep(Duration::from_millis(2_100)).await;
        for _ in 0..4 {
            assert_eq!(gateway.chat(&body).await.text(), "first", "it is back");
        }
        settled(&gateway).await;
    }
}

/// Names are resolved for each new connection. The process has a mount namespace with an /etc/hosts of its own.
#[tokio::test]
async fn a_name_is_resolved_again_when_its_old_address_is_dead() {
    if !may_unshare().await {
        println!("skipped: no namespaces here (unshare -rm)");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let hosts = folder.path().join("hosts");
    let old_at = TcpListener::bind("127.0.0.2:0").await.unwrap();
    let port = old_at.local_addr().unwrap().port();
    let new_at = TcpListener::bind(("127.0.0.3", port)).await.unwrap();
    let old = Server::on(old_at, MODELS, |_| json("200 OK", "old")).await;
    let new = Server::on(new_at, MODELS, |_| json("200 OK", "new")).await;
    fs::write(&hosts, "127.0.0.2 vllm.test\n").unwrap();
    let url = format!("http://vllm.test:{port}");
    let plain = Process::command(&["--upstream", &url], &[]);
    let plain = plain.as_std();
    let mut command = Command::new("unshare");
    command
        .args([
            "-rm",
            "sh",
            "-c",
            "mount --bind \"$0\" /etc/hosts && exec \"$@\"",
        ])
        .arg(&hosts)
        .arg(plain.get_program())
        .args(plain.get_args())
        .envs(
            plain
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        );
    let process = Process::of(command).await;
    until("ready", async || process.get("/ready").await.status == 200).await;
    assert_eq!(process.chat(&chat(EASY)).await.text(), "old");
    fs::write(&hosts, "127.0.0.3 vllm.test\n").unwrap(); // in place: the mount is of this very file
    drop(old);
    let died = Instant::now();
    until("the new server answers", async || {
        let answer = process.chat(&chat(EASY)).await;
        assert!(matches!(answer.status, 200 | 502), "{}", answer.status);
        answer.status == 200 && answer.text() == "new"
    })
    .await;
    assert!(
        died.elapsed() < Duration::from_secs(5),
        "{:?}",
        died.elapsed()
    );
    assert!(!new.arrived().is_empty());
    assert_eq!(process.stop().await.0, Some(0));
}

async fn may_unshare() -> bool {
    let mut tried = Command::new("unshare");
    tried.args(["-rm", "true"]).stderr(Stdio::null());
    tried.status().await.is_ok_and(|status| status.success())
}
