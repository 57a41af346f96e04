//! What the tests stand on: a gateway on port 0, a model server with a script, and raw HTTP.

pub mod envoy;
pub mod gateway;
pub mod http;
pub mod http2;
pub mod process;
pub mod server;
pub mod steps;

use std::time::{Duration, Instant};

use tokio::time::sleep;

use self::http::PATIENCE;

pub use gateway::{Gateway, config};
pub use http::{Answer, send};
pub use process::Process;
pub use server::{Server, Step};

/// A prompt that the tests' classifier finds needs thought, and one that does not.
pub const HARD: &str = "Prove that the square root of two is irrational.";
pub const EASY: &str = "what time do you open";

/// A chat request for `prompt`.
pub fn chat(prompt: &str) -> String {
    format!(r#"{{"model":"Qwen3-tiny","messages":[{{"role":"user","content":"{prompt}"}}]}}"#)
}

/// A chat request for a stream.
pub fn streaming(prompt: &str) -> String {
    chat(prompt).replace("\"model\"", "\"stream\":true,\"model\"")
}

/// Waits until a condition is true. Panics with its name `what` if that takes too long even for a busy machine.
pub async fn until(what: &str, mut is_true: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !is_true().await {
        assert!(began.elapsed() < PATIENCE, "never: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// The path of a fixture.
pub fn fixture(path: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(path)
}
