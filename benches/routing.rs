//! The cost of a request between its last byte from the client and its first byte to the server, without the classifier:
//! reading, the scan of the turns, recognising a family, writing its switch. Also the cost of watching a stream.
//!
//! ```text
//! cargo bench --bench routing [-- read|scan|decide|write|recognise|stream]
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a bench that cannot go on should say where it stopped"
)]

mod model;

use std::{hint::black_box, sync::Arc};

use bytes::Bytes;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group};
use serde_json::{Value, json};
use thinkgate::{
    api::{ChatRequest, SseScanner},
    classifier::{Classification, Classifier},
    config,
    routing::{Conversation, Family, Mode, Policy, Router, Target},
    tenant::Tenant,
};
use tokio::runtime::Runtime;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

criterion_group!(benches, read, scan, decide, write, recognise, stream);

fn main() {
    model::without_telemetry();
    benches();
    Criterion::default().configure_from_args().final_summary();
}

const TURNS: usize = 64;

/// Reads the bytes of a request and finds its turns.
fn read(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("read");
    for (name, body) in bodies() {
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let request = ChatRequest::read(body.clone()).unwrap();
                black_box(Conversation::of(&request).unwrap().last_turn());
            });
        });
    }
    group.finish();
}

/// Scans from the last turn backwards. No score is decisive, so all turns are scanned.
fn scan(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("scan");
    group.throughput(Throughput::Elements(TURNS as u64));
    let policy = undecided();
    let request = ChatRequest::read(turns(TURNS)).unwrap();
    let conversation = Conversation::of(&request).unwrap();
    group.bench_function("64 turns, scores known", |bencher| {
        bencher.iter(|| {
            let mut turns = policy.scan(&conversation);
            while let Some(text) = turns.next_text() {
                black_box(text);
                turns.observe(unclear());
            }
            black_box(turns.finish(None))
        });
    });
    group.finish();
}

/// Everything between a request that was read and its decision, with scores from the cache.
fn decide(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decide");
    let (runtime, router) = router(undecided());
    let target = target("qwen3");
    for (name, body) in bodies() {
        group.throughput(Throughput::Bytes(body.len() as u64));
        let request = ChatRequest::read(body).unwrap();
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || request.clone(),
                |request| {
                    let routed =
                        runtime.block_on(router.route(request, None, &target, &Tenant::Unknown));
                    assert!(black_box(routed.unwrap()).decision.score.is_some());
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

/// Writes a family's switch into the bytes.
fn write(criterion: &mut Criterion) {
    let (runtime, router) = router(undecided());
    let mut group = criterion.benchmark_group("write");
    for (name, body) in bodies() {
        for family in ["qwen3", "gpt_oss", "qwen3_soft"] {
            let target = target(family);
            let request = ChatRequest::read(body.clone()).unwrap();
            let routed = router.route(request, Some(Mode::Direct), &target, &Tenant::Unknown);
            let routed = runtime.block_on(routed).unwrap();
            let family = Family::by_id(family, "");
            group.throughput(Throughput::Bytes(body.len() as u64));
            group.bench_function(BenchmarkId::new(family.unwrap().id, &name), |bencher| {
                bencher.iter(|| black_box(routed.render(family, None)));
            });
        }
    }
    group.finish();
}

/// Finds the family of a model: near the top of the table, near its end, and not in it.
fn recognise(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("recognise");
    for id in [
        "Qwen/Qwen3-8B",
        "meta-llama/Llama-3.3-70B-Instruct",
        "in-house-7b",
    ] {
        let name = id.rsplit('/').next().unwrap();
        group.bench_function(name, |bencher| {
            bencher.iter(|| Family::recognise(black_box(id), None, None));
        });
    }
    group.finish();
}

/// Watches events pass: one per chunk, several per chunk, and split anywhere.
fn stream(criterion: &mut Criterion) {
    let events: Vec<String> = (0..1_000).map(event).collect();
    let whole = events.concat() + "data: [DONE]\n\n";
    let whole = whole.as_bytes();
    let mut group = criterion.benchmark_group("stream");
    group.throughput(Throughput::Bytes(whole.len() as u64));
    let mut bench = |name: &str, pieces: Vec<&[u8]>| {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut scanner = SseScanner::default();
                pieces.iter().for_each(|piece| scanner.scan(piece));
                assert!(scanner.is_terminated());
            });
        });
    };
    let mut alone: Vec<&[u8]> = events.iter().map(|event| event.as_bytes()).collect();
    alone.push(b"data: [DONE]\n\n");
    bench("an event a chunk", alone);
    bench("chunks of 16 KB", whole.chunks(16 << 10).collect());
    bench("chunks of 100 bytes", whole.chunks(100).collect());
    group.finish();
}

fn event(number: usize) -> String {
    let delta = json!({"content": format!(" word{number}")});
    let event = json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 0, "model": "Qwen3-8B",
        "choices": [{"index": 0, "delta": delta, "logprobs": null, "finish_reason": null}]});
    format!("data: {event}\n\n")
}

/// Requests of several sizes, and a conversation.
fn bodies() -> Vec<(String, Bytes)> {
    let sized = [("1 KB", 1 << 10), ("64 KB", 64 << 10), ("1 MB", 1 << 20)];
    let of_size = |(name, size): (&str, usize)| {
        let line = "The bus to the \"old\" museum leaves at ten,\nand the next one an hour later. ";
        let text = line.repeat(size / line.len());
        (
            name.to_owned(),
            chat(json!([{"role": "user", "content": text}])),
        )
    };
    let mut bodies: Vec<_> = sized.into_iter().map(of_size).collect();
    bodies.push((format!("{TURNS} turns"), turns(TURNS)));
    bodies
}

/// A conversation in which every turn of the user can be judged.
fn turns(count: usize) -> Bytes {
    let mut messages = Vec::new();
    for number in 0..count {
        messages.push(json!({"role": "user", "content": model::text(40, number)}));
        messages.push(json!({"role": "assistant", "content": model::text(80, number)}));
    }
    messages.pop();
    chat(messages.into())
}

fn chat(messages: Value) -> Bytes {
    let body = json!({"model": "Qwen3-8B", "messages": messages, "temperature": 0.7});
    body.to_string().into()
}

/// A router whose classifier caches scores; only the first decision about a text runs the model.
fn router(policy: Policy) -> (Runtime, Router) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    let classifier = Classifier::start(&model::options(1 << 10)).unwrap();
    (runtime.unwrap(), Router::new(Arc::new(classifier), policy))
}

fn target(family: &str) -> Target {
    Target::Model {
        name: "Qwen3-8B".into(),
        family: Family::by_id(family, ""),
        gate: true,
    }
}

/// The default policy, except that no score is far enough from the threshold to end a scan.
fn undecided() -> Policy {
    Policy::new(config::Routing {
        switch_margin: 0.6,
        ..config::Routing::default()
    })
}

fn unclear() -> Classification {
    Classification {
        score: 0.5,
        domain: None,
        tokens: 40,
        truncated: false,
        unreadable: false,
    }
}
