//! Logs, metrics and traces. Prompts, keys and bodies are never written.

mod counter;
mod log_format;
mod log_writer;
mod metrics;
mod otlp;
mod record;
mod request_line;
mod request_metrics;
mod trace;

use std::{
    io::{self, IsTerminal},
    time::Duration,
};

use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Dispatch;
use tracing_appender::non_blocking::NonBlocking;
use tracing_subscriber::{EnvFilter, Layer, layer::SubscriberExt, util::SubscriberInitExt};

use log_format::JsonFormat;
use log_writer::LogGuard;

pub use metrics::{AttemptOutcome, Metrics};
pub use record::{DecisionRecord, Outcome, Record};
pub use request_line::RequestLine;
pub use trace::{inject, set_parent};

use crate::config::{LogFormat, Telemetry};

/// Time limit for sending the last spans, and the last metrics, to the collector at exit.
const LAST_EXPORT: Duration = Duration::from_secs(1);

/// Keeps the log thread and the span exporter alive, and flushes them when it is dropped.
#[derive(Debug)]
pub struct Guard {
    traces: Option<SdkTracerProvider>,
    _log: LogGuard,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(provider) = &self.traces {
            let _ = provider.shutdown_with_timeout(LAST_EXPORT); // without a collector the spans are lost
        }
    }
}

/// Starts logging to standard error, and tracing when `telemetry.otlp` is set.
///
/// # Errors
/// When the filter or the collector's address is invalid, or logging runs already.
pub fn start(settings: &Telemetry) -> anyhow::Result<Guard> {
    let (writer, log) = log_writer::start(io::stderr());
    let traces = settings.otlp.as_ref().map(trace::provider).transpose()?;
    dispatch(settings, writer, traces.as_ref())?.try_init()?;
    Ok(Guard { traces, _log: log })
}

/// Builds the subscriber of events and spans.
fn dispatch(
    settings: &Telemetry,
    writer: NonBlocking,
    traces: Option<&SdkTracerProvider>,
) -> anyhow::Result<Dispatch> {
    let log = tracing_subscriber::fmt::layer()
        .with_writer(writer)
        .with_ansi(io::stderr().is_terminal());
    let log = match settings.format {
        LogFormat::Json => log.event_format(JsonFormat).boxed(),
        LogFormat::Text => log.boxed(),
    };
    // Request spans are for the collector; a log line carries all its fields itself. They are switched off in the one filter with
    // levels: a second filter without a level would make every library below build its own spans.
    let no_spans = format!("{}=off", trace::TARGET).parse()?;
    let filter = EnvFilter::try_new(&settings.log)?.add_directive(no_spans);
    let subscriber = tracing_subscriber::registry().with(log.with_filter(filter));
    // Without a collector there is no layer at all: an `Option` that is `None` takes every span, and each request would build one.
    Ok(match traces {
        Some(provider) => subscriber.with(trace::layer(provider)).into(),
        None => subscriber.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_collector_a_request_has_no_span() {
        let (writer, _guard) = log_writer::start(io::sink());
        let dispatch = dispatch(&Telemetry::default(), writer, None).unwrap();
        tracing::dispatcher::with_default(&dispatch, || {
            assert!(tracing::info_span!(target: trace::TARGET, "request").is_disabled());
        });
    }
}
