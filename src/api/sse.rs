//! Watches an SSE stream: event boundaries, the final event, and token counts.
//!
//! The bytes are never changed or delayed. Lines end in `\n`, `\r\n` or `\r` (WHATWG HTML, 9.2), comments
//! included, and a line may arrive in any number of chunks.

use std::sync::LazyLock;

use memchr::memmem::Finder;
use serde::Deserialize;

use super::Usage;

/// Searched for in every event, so built once.
static ERROR: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"error\""));
static USAGE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"usage\""));

/// Follows one stream from its first byte.
#[derive(Debug)]
pub struct SseScanner {
    partial: Vec<u8>,
    too_long: bool,
    in_line: bool,
    after_cr: bool,
    at_boundary: bool,
    is_terminated: bool,
    in_error_event: bool,
    /// The `data` lines of the event so far, joined by line feeds; empty when they are too long.
    event: Vec<u8>,
    event_lines: usize,
    usage: Usage,
}

impl Default for SseScanner {
    fn default() -> Self {
        Self {
            partial: Vec::new(),
            too_long: false,
            in_line: false,
            after_cr: false,
            at_boundary: true,
            is_terminated: false,
            in_error_event: false,
            event: Vec::new(),
            event_lines: 0,
            usage: Usage::default(),
        }
    }
}

impl SseScanner {
    /// A longer line that arrives in several chunks is not read, nor are several lines of one event that are longer together: an event
    /// of 5 MB costs no memory.
    const MAX_LINE_BYTES: usize = 64 << 10;

    /// Takes the next chunk of the stream.
    pub fn scan(&mut self, mut chunk: &[u8]) {
        if self.after_cr && !chunk.is_empty() {
            self.after_cr = false;
            chunk = chunk.strip_prefix(b"\n").unwrap_or(chunk);
        }
        while let Some(end) = memchr::memchr2(b'\n', b'\r', chunk) {
            let (line, rest) = chunk.split_at(end);
            self.end_of_line(line);
            chunk = match rest {
                [b'\r', b'\n', rest @ ..] => rest,
                [b'\r'] => {
                    self.after_cr = true; // the `\n` of this line end may come with the next chunk
                    return;
                }
                [_, rest @ ..] => rest,
                [] => rest,
            };
        }
        if !chunk.is_empty() {
            self.in_line = true;
            self.at_boundary = false;
            self.buffer(chunk);
        }
    }

    /// True between two events: text inserted here starts a new event.
    pub fn at_boundary(&self) -> bool {
        self.at_boundary
    }

    /// True once the server sent `[DONE]` or an error event. The end of its line may be missing.
    pub fn is_terminated(&self) -> bool {
        self.is_terminated
            || (self.in_line && self.partial.strip_prefix(b"data:").is_some_and(is_done))
    }

    /// The token counts seen so far.
    pub fn usage(&self) -> Usage {
        self.usage
    }

    /// Memory held for an unfinished line and event, in bytes; at most four times the longest line that is read.
    pub fn buffered_bytes(&self) -> usize {
        self.partial.capacity() + self.event.capacity()
    }

    fn buffer(&mut self, chunk: &[u8]) {
        if self.partial.len() + chunk.len() > Self::MAX_LINE_BYTES {
            self.too_long = true;
            self.partial = Vec::new();
        } else if !self.too_long {
            self.partial.extend_from_slice(chunk);
        }
    }

    fn end_of_line(&mut self, line: &[u8]) {
        if !self.in_line {
            return self.line(line);
        }
        self.buffer(line);
        let complete = std::mem::take(&mut self.partial);
        self.in_line = false;
        if !std::mem::take(&mut self.too_long) {
            self.line(&complete);
            self.partial = complete; // keeps its capacity
            self.partial.clear();
        }
    }

    fn line(&mut self, line: &[u8]) {
        self.at_boundary = line.is_empty();
        if line.is_empty() {
            self.end_of_event();
        } else if let Some(data) = line.strip_prefix(b"data:") {
            let data = data.strip_prefix(b" ").unwrap_or(data);
            self.is_terminated |= is_done(data) || self.in_error_event;
            self.data(data);
            self.join(data);
        } else if let Some(name) = line.strip_prefix(b"event:") {
            self.in_error_event = name.trim_ascii() == b"error";
        }
    }

    /// Keeps a line of data for the case that another one follows it in the same event.
    fn join(&mut self, data: &[u8]) {
        self.event_lines += 1;
        let is_cut = self.event_lines > 1 && self.event.is_empty();
        if is_cut || self.event.len() + data.len() > Self::MAX_LINE_BYTES {
            self.event = Vec::new();
            return;
        }
        if self.event_lines > 1 {
            self.event.push(b'\n');
        }
        self.event.extend_from_slice(data);
    }

    fn end_of_event(&mut self) {
        self.in_error_event = false;
        if self.event_lines > 1 {
            let event = std::mem::take(&mut self.event);
            self.data(&event);
            self.event = event; // keeps its capacity
        }
        self.event.clear();
        self.event_lines = 0;
    }

    /// Reads one line of data, or the lines of an event together.
    fn data(&mut self, data: &[u8]) {
        let contains = |word: &Finder<'_>| word.find(data).is_some();
        if contains(&ERROR) && is_error(data) {
            self.is_terminated = true;
        } else if contains(&USAGE) {
            self.usage.read(data);
        }
    }
}

/// True for the data of the last event of a stream. Some servers write a blank behind it.
fn is_done(data: &[u8]) -> bool {
    data.trim_ascii() == b"[DONE]"
}

/// True for OpenAI's `{"error": {..}}`. The word inside a text or a nested object does not count.
fn is_error(data: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Event {
        error: Option<serde::de::IgnoredAny>,
    }
    serde_json::from_slice::<Event>(data).is_ok_and(|event| event.error.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = ": ping\r\n\r\ndata: {\"choices\":[{\"delta\":{\"content\":\"an \\\"error\\\": no\"}}]}\n\n\
        data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":5}}\r\r\ndata: [DONE]\n\n";

    #[test]
    fn a_stream_split_anywhere_reads_the_same() {
        for cut in 0..=STREAM.len() {
            let mut scanner = SseScanner::default();
            scanner.scan(&STREAM.as_bytes()[..cut]);
            assert!(!scanner.is_terminated() || cut >= STREAM.len() - 2, "{cut}");
            scanner.scan(&STREAM.as_bytes()[cut..]);
            assert!(scanner.is_terminated() && scanner.at_boundary(), "{cut}");
            assert_eq!(scanner.usage().completion, Some(5), "{cut}");
        }
        let mut scanner = SseScanner::default();
        STREAM.bytes().for_each(|byte| scanner.scan(&[byte]));
        assert!(scanner.is_terminated() && scanner.at_boundary());
        assert_eq!(scanner.usage().prompt, Some(3));
    }

    #[test]
    fn a_boundary_is_a_blank_line_and_nothing_else() {
        for (text, boundary) in [
            ("", true),
            ("data: x", false),
            ("data: x\n", false),
            ("data: x\n\n", true),
            ("data: x\r\n\r\n", true),
            ("\n", true),
        ] {
            let mut scanner = SseScanner::default();
            scanner.scan(text.as_bytes());
            assert_eq!(scanner.at_boundary(), boundary, "{text:?}");
        }
    }

    #[test]
    fn the_servers_own_error_ends_the_stream() {
        for text in [
            "data: {\"error\": {\"message\": \"x\"}}\n\n",
            "event: error\ndata: {\"type\":\"error\"}\n\n",
        ] {
            let mut scanner = SseScanner::default();
            scanner.scan(text.as_bytes());
            assert!(scanner.is_terminated(), "{text}");
        }
        let mut scanner = SseScanner::default();
        scanner.scan(b"data: {\"error\":null,\"x\":1}\n\n");
        assert!(!scanner.is_terminated());
    }

    #[test]
    fn an_event_of_five_megabytes_costs_no_memory() {
        let mut scanner = SseScanner::default();
        scanner.scan(b"data: ");
        for _ in 0..5_000 {
            scanner.scan(&[b'x'; 1000]);
            assert!(scanner.buffered_bytes() <= 2 * SseScanner::MAX_LINE_BYTES);
        }
        assert!(!scanner.at_boundary());
        scanner.scan(b"\n\ndata: [DONE]\n\n");
        assert!(scanner.is_terminated() && scanner.at_boundary());
    }

    #[test]
    fn an_event_over_several_lines_is_read_as_one() {
        let pretty = "data: {\n\ndata: {\ndata:   \"choices\": [{}\ndata: ],\ndata: \"usage\": {\"prompt_tokens\": 3,\n: ping\ndata: \"completion_tokens\": 5}\ndata: }\n\n";
        for cut in 0..=pretty.len() {
            let mut scanner = SseScanner::default();
            scanner.scan(&pretty.as_bytes()[..cut]);
            scanner.scan(&pretty.as_bytes()[cut..]);
            let usage = scanner.usage();
            assert_eq!(
                (usage.prompt, usage.completion),
                (Some(3), Some(5)),
                "{cut}"
            );
            assert!(!scanner.is_terminated());
        }
        let mut scanner = SseScanner::default();
        scanner.scan(b"data: {\"error\":\ndata: {\"message\": \"x\"}}\n\n");
        assert!(scanner.is_terminated());
        // Two events are not one.
        let mut scanner = SseScanner::default();
        scanner.scan(b"data: {\"usage\":\n\ndata: {\"prompt_tokens\":3}}\n\n");
        assert_eq!(scanner.usage().prompt, None);
    }

    #[test]
    fn a_blank_behind_done_or_a_missing_line_end_changes_nothing() {
        for text in [
            "data: [DONE] ",
            "data: [DONE] \n\n",
            "data:[DONE]\t\r\n",
            "data: [DONE]",
            "data: {}\n\ndata:  [DONE]\n",
        ] {
            let mut scanner = SseScanner::default();
            scanner.scan(text.as_bytes());
            assert!(scanner.is_terminated(), "{text:?}");
        }
        for text in [
            "data: [DONE",
            "data: \"[DONE]\"\n",
            "data: [DONE] x",
            ": [DONE]\n",
        ] {
            let mut scanner = SseScanner::default();
            scanner.scan(text.as_bytes());
            assert!(!scanner.is_terminated(), "{text:?}");
        }
    }

    #[test]
    fn an_event_of_many_lines_costs_no_memory_and_is_left() {
        let mut scanner = SseScanner::default();
        for _ in 0..100_000 {
            scanner.scan(b"data: {\"usage\":\n");
            assert!(scanner.buffered_bytes() <= 4 * SseScanner::MAX_LINE_BYTES);
        }
        scanner.scan(b"\ndata: {\"usage\":{\"prompt_tokens\":3}}\n\n");
        assert_eq!(scanner.usage().prompt, Some(3));
    }
}
