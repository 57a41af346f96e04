//! Responses recorded from a real vLLM, replayed through the gateway and compared byte by byte.

use super::support::{
    Gateway, Server, Step, fixture,
    http::{exchange, find, parse},
};

#[tokio::test]
async fn every_recorded_response_reaches_the_client_byte_for_byte() {
    let mut names: Vec<String> = std::fs::read_dir(fixture("vllm"))
        .unwrap()
        .filter_map(|entry| {
            entry
                .unwrap()
                .file_name()
                .to_str()
                .unwrap()
                .strip_suffix(".request")
                .map(str::to_owned)
        })
        .collect();
    names.sort();
    assert!(names.len() >= 50, "{} recordings", names.len());
    let mut replayed = 0;
    for name in names {
        let request = std::fs::read(fixture(&format!("vllm/{name}.request"))).unwrap();
        let recorded = std::fs::read(fixture(&format!("vllm/{name}.response"))).unwrap();
        if !reaches_the_server(&request) {
            continue;
        }
        let answer = recorded.clone();
        let models = r#"{"data":[{"id":"tiny-qwen3","root":"Qwen3-0.6B"}]}"#;
        let server = Server::listing(models, move |_| vec![Step::Send(answer.clone())]).await;
        let gateway = Gateway::before(&server).await;
        let got = exchange(gateway.address, &request).await;
        if server.arrived().is_empty() {
            // The gateway refused the request itself, with OpenAI's error body.
            assert!((400..500).contains(&got.status), "{name}: {}", got.status);
            got.error();
            continue;
        }
        let want = parse(&recorded);
        assert_eq!(got.status, want.status, "{name}");
        assert!(got.body == want.body, "{name}: the body differs");
        assert_eq!(got.complete, want.complete, "{name}");
        for header in ["content-type", "server", "date", "vary", "content-length"] {
            assert_eq!(got.header(header), want.header(header), "{name}: {header}");
        }
        replayed += 1;
    }
    assert!(replayed >= 40, "{replayed} were replayed");
}

/// False for recordings of routes that the gateway answers itself or does not have.
fn reaches_the_server(request: &[u8]) -> bool {
    let line = String::from_utf8_lossy(&request[..find(request, b"\r\n").unwrap()]).into_owned();
    let path = line.split(' ').nth(1).unwrap();
    let unversioned = [
        "/tokenize",
        "/detokenize",
        "/rerank",
        "/score",
        "/pooling",
        "/classify",
    ];
    (path.starts_with("/v1/") && !path.starts_with("/v1/models")) || unversioned.contains(&path)
}
