//! Fuzzes the SSE scanner: its results must not depend on how the bytes are split, and must match a simple reader's.
#![no_main]

use libfuzzer_sys::fuzz_target;
use thinkgate::api::{Object, SseScanner, Usage};

/// A longer line is only read when it arrives in one chunk.
const MAX_LINE_BYTES: usize = 64 << 10;

fuzz_target!(|stream: &[u8]| {
    if lines(stream).iter().any(|line| line.len() > MAX_LINE_BYTES) {
        return read(stream.chunks(997), |_, _| {});
    }
    let mut whole = SseScanner::default();
    whole.scan(stream);
    if let Ok(text) = std::str::from_utf8(stream) {
        assert_eq!(
            results(&whole),
            reference(stream, whole.usage()),
            "{text:?}"
        );
    }
    // Byte by byte. After each byte the results are the same as for all bytes so far at once.
    read(stream.chunks(1), |scanner, so_far| {
        if stream.len() < 100 {
            let mut at_once = SseScanner::default();
            at_once.scan(&stream[..so_far]);
            assert_eq!(results(scanner), results(&at_once), "after {so_far}");
        } else if so_far == stream.len() {
            assert_eq!(results(scanner), results(&whole));
        }
    });
    for size in [2, 3, 5, 64] {
        read(stream.chunks(size), |scanner, so_far| {
            if so_far == stream.len() {
                assert_eq!(results(scanner), results(&whole), "in chunks of {size}");
            }
        });
    }
    let lines = stream.split_inclusive(|byte| matches!(byte, b'\r' | b'\n'));
    read(lines, |scanner, so_far| {
        if so_far == stream.len() {
            assert_eq!(results(scanner), results(&whole), "line by line");
        }
    });
});

/// Scans a stream in chunks, empty ones among them, and calls `check` after each.
fn read<'a>(chunks: impl Iterator<Item = &'a [u8]>, check: impl Fn(&SseScanner, usize)) {
    let mut scanner = SseScanner::default();
    let mut so_far = 0;
    for chunk in chunks {
        scanner.scan(chunk);
        scanner.scan(b"");
        so_far += chunk.len();
        assert!(
            scanner.buffered_bytes() <= 4 * MAX_LINE_BYTES,
            "{} bytes are buffered",
            scanner.buffered_bytes()
        );
        check(&scanner, so_far);
    }
}

fn results(scanner: &SseScanner) -> (bool, bool, Usage) {
    (
        scanner.at_boundary(),
        scanner.is_terminated(),
        scanner.usage(),
    )
}

/// The same results, found the slow and obvious way. The token counts are taken from the scanner.
fn reference(stream: &[u8], usage: Usage) -> (bool, bool, Usage) {
    let lines = lines(stream);
    let Some((unfinished, lines)) = lines.split_last() else {
        return (true, false, usage);
    };
    let (mut at_boundary, mut is_terminated, mut in_error) = (true, false, false);
    let mut event: Vec<&[u8]> = Vec::new();
    for line in lines {
        at_boundary = line.is_empty();
        if at_boundary {
            in_error = false;
            is_terminated |= is_error(&event.join(&b'\n'));
            event.clear();
        } else if let Some(name) = line.strip_prefix(b"event:") {
            in_error = name.trim_ascii() == b"error";
        } else if let Some(data) = line.strip_prefix(b"data:") {
            let data = data.strip_prefix(b" ").unwrap_or(data);
            is_terminated |= data.trim_ascii() == b"[DONE]" || in_error || is_error(data);
            event.push(data);
        }
    }
    let is_done = |data: &[u8]| data.trim_ascii() == b"[DONE]";
    is_terminated |= unfinished.strip_prefix(b"data:").is_some_and(is_done);
    (at_boundary && unfinished.is_empty(), is_terminated, usage)
}

fn is_error(data: &[u8]) -> bool {
    let data = std::str::from_utf8(data).expect("the stream is UTF-8");
    Object::read(data).is_ok_and(|event| {
        event.repeated(&["error"]).is_none() && event.get(data, "error").is_some()
    })
}

/// The lines of a stream, for all kinds of line ends. The last one is unfinished.
fn lines(stream: &[u8]) -> Vec<&[u8]> {
    let (mut lines, mut rest) = (Vec::new(), stream);
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')) {
        lines.push(&rest[..at]);
        let length = if rest[at..].starts_with(b"\r\n") {
            2
        } else {
            1
        };
        rest = &rest[at + length..];
    }
    lines.push(rest);
    lines
}
