//! Measures how long a classification takes, with the default model and its worker threads in this process.
//!
//! ```text
//! cargo bench --bench classifier [-- one|many|cached|start]
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a bench that fails should name the place"
)]

mod model;

use std::{hint::black_box, time::Duration};

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group};
use futures_util::future::join_all;
use thinkgate::{classifier::Classifier, tenant::Tenant};
use tokio::runtime::Runtime;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

criterion_group!(benches, one_at_a_time, many_at_once, cached, start_to_ready);

fn main() {
    model::without_telemetry();
    benches();
    Criterion::default().configure_from_args().final_summary();
}

const CALLERS: usize = 32;

/// From the call to the score, with an empty queue.
fn one_at_a_time(criterion: &mut Criterion) {
    let (runtime, classifier) = (runtime(), Classifier::start(&model::options(0)).unwrap());
    let mut group = criterion.benchmark_group("one at a time");
    for tokens in [16, 64, 128] {
        let text = model::text(tokens, 0);
        let seen = runtime
            .block_on(classifier.classify(&text, &Tenant::Unknown))
            .unwrap();
        assert_eq!(seen.tokens, tokens, "the text has the wrong length");
        group.bench_function(BenchmarkId::from_parameter(tokens), |bencher| {
            bencher.iter(|| {
                runtime
                    .block_on(classifier.classify(&text, &Tenant::Unknown))
                    .unwrap()
            });
        });
    }
    group.finish();
}

/// From the first call to the last score, with as many callers as scripts/compare has connections.
fn many_at_once(criterion: &mut Criterion) {
    let (runtime, classifier) = (runtime(), Classifier::start(&model::options(0)).unwrap());
    let mut group = criterion.benchmark_group("many at once");
    group.throughput(Throughput::Elements(CALLERS as u64));
    group.sample_size(20);
    for tokens in [16, 64, 128] {
        // Of different lengths, because only rows of similar length run together.
        let lengths = (0..CALLERS).map(|number| tokens - tokens / 2 * number / CALLERS);
        let texts: Vec<String> = lengths
            .enumerate()
            .map(|(number, length)| model::text(length, number))
            .collect();
        group.bench_function(BenchmarkId::new("32 texts of up to", tokens), |bencher| {
            bencher.iter(|| {
                let all = join_all(
                    texts
                        .iter()
                        .map(|text| classifier.classify(text, &Tenant::Unknown)),
                );
                for seen in runtime.block_on(all) {
                    black_box(seen.unwrap());
                }
            });
        });
    }
    group.finish();
}

/// A score from the cache: the text is only cut and hashed.
fn cached(criterion: &mut Criterion) {
    let (runtime, classifier) = (runtime(), Classifier::start(&model::options(1024)).unwrap());
    let mut group = criterion.benchmark_group("cached");
    for tokens in [64, 8192] {
        let text = model::text(tokens, 0);
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(BenchmarkId::from_parameter(tokens), |bencher| {
            bencher.iter(|| {
                runtime
                    .block_on(classifier.classify(&text, &Tenant::Unknown))
                    .unwrap()
            });
        });
    }
    group.finish();
}

/// Loads every session and runs each once in its largest shapes.
fn start_to_ready(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("start");
    group.sample_size(10);
    group.measurement_time(Duration::from_secs(10));
    group.bench_function("to ready", |bencher| {
        bencher.iter_batched(
            || model::options(0),
            |options| Classifier::start(&options).unwrap(),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.build().unwrap()
}
