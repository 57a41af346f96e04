//! Fuzzes the reader of paths: its time must grow with the length only, and no spelling of a route with rules passes as another one.
#![no_main]

mod growth;

use libfuzzer_sys::fuzz_target;
use thinkgate::{api::CHAT, pipeline::Route};

fuzz_target!(|input: &[u8]| {
    let Ok(path) = std::str::from_utf8(input) else {
        return;
    };
    for route in [Route::of(path), Route::behind_prefix(path)] {
        if let Ok(Route::Forwarded(_)) = route {
            assert_ne!(plain(path), CHAT, "{path:?} passes unjudged");
            assert!(!plain(path).ends_with("_lora_adapter"), "{path:?} passes");
        }
    }
    let read = |path: &[u8]| {
        let path = String::from_utf8_lossy(path);
        let _ = (
            Route::of(&path).is_ok(),
            Route::behind_prefix(&path).is_ok(),
        );
    };
    for start in [&b"/v1/"[..], b"/v1/models/", b"/"] {
        growth::assert_linear(start, input, read);
    }
});

/// The path as a server may read it: decoded once, in lower case, with single slashes.
fn plain(path: &str) -> String {
    let decoded = percent_encoding::percent_decode_str(path).decode_utf8_lossy();
    let lower = decoded.to_ascii_lowercase().replace('\\', "/");
    let segments = lower.split('/').filter(|segment| !segment.is_empty());
    segments.map(|segment| format!("/{segment}")).collect()
}
