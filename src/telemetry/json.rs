//! A log event as one line of JSON: `timestamp`, `level`, the event's fields, `target`. Written straight into one buffer: the
//! subscriber's own format, through a map of values, took a twelfth of a whole request's time.

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
    /// The line that is being written; kept, so that no line allocates.
    static LINE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// The format.
#[derive(Debug, Clone, Copy)]
pub struct Json;

impl<S, N> FormatEvent<S, N> for Json
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
        // A value that logs while it is formatted, so that the buffer is taken, gets one of its own.
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

/// Writes each field behind a comma.
struct Fields<'a>(&'a mut String);

impl Fields<'_> {
    fn name(&mut self, name: &str) {
        self.0.push(',');
        self.quote(name);
        self.0.push(':');
    }

    fn quote(&mut self, text: &str) {
        let is_plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
        // To the end, whatever was found: that is done many bytes at a time.
        match text.bytes().fold(true, |all, byte| all & is_plain(byte)) {
            true => self.0.extend(["\"", text, "\""]),
            false => self.0.push_str(&Value::from(text).to_string()),
        }
    }

    fn string(&mut self, name: &str, text: &str) {
        self.name(name);
        self.quote(text);
    }

    fn bare(&mut self, name: &str, value: impl fmt::Display) {
        self.name(name);
        let _ = write!(self.0, "{value}"); // memory takes all
    }
}

impl Visit for Fields<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        match value.is_finite() {
            true => self.bare(field.name(), value),
            false => self.bare(field.name(), "null"),
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.bare(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.bare(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.bare(field.name(), value);
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
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Kept {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    /// Logs while it is formatted.
    struct Talks;

    impl fmt::Display for Talks {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            tracing::warn!("inner");
            f.write_str("talked")
        }
    }

    #[test]
    fn a_line_is_an_object_whatever_is_in_it() {
        let kept = Kept::default();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(kept.clone())
            .event_format(Json)
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
                "said {}",
                "so"
            );
            tracing::warn!("{}", Talks);
        });
        let written = String::from_utf8(kept.0.lock().clone()).unwrap();
        let lines: Vec<Value> = written
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let line = &lines[0];
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["message"], "said so");
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
        assert_eq!(lines.last().unwrap()["message"], "talked");
    }
}
