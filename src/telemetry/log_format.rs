//! Formats a log event as one line of JSON: `timestamp`, `level`, the event's fields, `target`.
//!
//! It writes into one buffer. The format of `tracing-subscriber` builds a map of values first, a twelfth of a request's time.

use std::{
    cell::RefCell,
    error::Error,
    fmt::{self, Write},
};

use serde_json::Value;
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::Writer,
        time::{FormatTime, SystemTime},
    },
    registry::LookupSpan,
};

thread_local! {
    /// The buffer of the line; reused, so that a line allocates nothing.
    static LINE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// The JSON format of log lines.
#[derive(Debug, Clone, Copy)]
pub struct JsonFormat;

impl<S, N> FormatEvent<S, N> for JsonFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        // The buffer is in use when a value logs while it is formatted; that inner line gets a buffer of its own.
        LINE.with(|line| match line.try_borrow_mut() {
            Ok(mut line) => write(&mut line, &mut writer, event),
            Err(_) => write(&mut String::new(), &mut writer, event),
        })
    }
}

fn write(line: &mut String, writer: &mut Writer<'_>, event: &Event<'_>) -> fmt::Result {
    line.clear();
    writer.write_str("{\"timestamp\":\"")?;
    SystemTime.format_time(writer)?;
    let metadata = event.metadata();
    write!(writer, "\",\"level\":\"{}\"", metadata.level())?;
    let mut fields = Fields(line);
    event.record(&mut fields);
    fields.string("target", metadata.target());
    writer.write_str(line)?;
    writer.write_str("}\n")
}

/// Appends each field to the line, after a comma.
struct Fields<'a>(&'a mut String);

impl Fields<'_> {
    fn name(&mut self, name: &str) {
        self.0.push(',');
        self.quote(name);
        self.0.push(':');
    }

    fn quote(&mut self, text: &str) {
        let is_plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
        // Without an early exit the compiler checks many bytes at a time.
        match text.bytes().fold(true, |all, byte| all & is_plain(byte)) {
            true => self.0.extend(["\"", text, "\""]),
            false => self.0.push_str(&Value::from(text).to_string()),
        }
    }

    fn string(&mut self, name: &str, text: &str) {
        self.name(name);
        self.quote(text);
    }

    fn unquoted(&mut self, name: &str, value: impl fmt::Display) {
        self.name(name);
        let _ = write!(self.0, "{value}"); // writing to memory does not fail
    }
}

impl Visit for Fields<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        match value.is_finite() {
            true => self.unquoted(field.name(), value),
            false => self.unquoted(field.name(), "null"),
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.unquoted(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.unquoted(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.unquoted(field.name(), value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.string(field.name(), value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.string(field.name(), &value.to_string());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.string(field.name(), &format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;
    use tracing_subscriber::fmt::MakeWriter;

    use super::*;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Buffer {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    /// Logs while it is formatted.
    struct LogsInFmt;

    impl fmt::Display for LogsInFmt {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            tracing::warn!("inner");
            f.write_str("outer")
        }
    }

    #[test]
    fn every_line_is_a_json_object() {
        let buffer = Buffer::default();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(buffer.clone())
            .event_format(JsonFormat)
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            let failure = std::io::Error::other("a \"quoted\"\nline");
            tracing::info!(
                score = 0.25,
                nothing = f64::NAN,
                big = u64::MAX,
                less = -3,
                stream = true,
                left_out = None::<&str>,
                named = "ü\u{1}\"",
                error = &failure as &(dyn Error + 'static),
                debug = ?[1, 2],
                "a {}",
                "message"
            );
            tracing::warn!("{}", LogsInFmt);
        });
        let written = String::from_utf8(buffer.0.lock().clone()).unwrap();
        let lines: Vec<Value> = written
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let line = &lines[0];
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["message"], "a message");
        assert_eq!(line["target"], module_path!());
        assert_eq!(
            (&line["score"], &line["nothing"]),
            (&0.25.into(), &Value::Null)
        );
        assert_eq!(
            (&line["big"], &line["less"]),
            (&u64::MAX.into(), &(-3).into())
        );
        assert_eq!(
            (&line["stream"], line.get("left_out")),
            (&true.into(), None)
        );
        assert_eq!(line["named"], "ü\u{1}\"");
        assert_eq!(line["error"], "a \"quoted\"\nline");
        assert_eq!(line["debug"], "[1, 2]");
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z'));
        assert_eq!(lines.last().unwrap()["message"], "outer");
    }
}
