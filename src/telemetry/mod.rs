//! What the gateway says about itself: one log line, one set of metrics and one span a request. Metadata only; prompts, keys
//! and bodies are never written.

mod alike;
mod json;
mod lines;
mod metrics;
mod record;
mod trace;

use std::{
    io::{self, IsTerminal},
    time::Duration,
};

use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Dispatch;
use tracing_subscriber::{EnvFilter, Layer, layer::SubscriberExt, util::SubscriberInitExt};

use json::Json;
use lines::{Lines, Writing};

pub use metrics::{AttemptOutcome, Metrics};
pub use record::{DecisionRecord, Outcome, Record};
pub use trace::{inject, set_parent};

use crate::config::{LogFormat, Telemetry};

/// The last spans have this long to reach the collector at the end.
const LAST_SPANS: Duration = Duration::from_secs(1);

/// Keeps the exporters alive; flushes them when dropped.
#[derive(Debug)]
pub struct Guard {
    traces: Option<SdkTracerProvider>,
    _lines: Writing,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(provider) = &self.traces {
            let _ = provider.shutdown_with_timeout(LAST_SPANS); // lost if the collector is gone; nothing else is
        }
    }
}

/// Starts logging to standard error and, when `otlp` is set, tracing.
///
/// # Errors
/// When the filter or the collector's address is no good, or logging runs already.
pub fn start(settings: &Telemetry) -> anyhow::Result<Guard> {
    let (writer, writing) = Lines::start(io::stderr())?;
    let provider = settings.otlp.as_ref().map(trace::provider).transpose()?;
    dispatch(settings, writer, provider.as_ref())?.try_init()?;
    Ok(Guard {
        traces: provider,
        _lines: writing,
    })
}

/// What takes events and spans.
fn dispatch(
    settings: &Telemetry,
    writer: Lines,
    provider: Option<&SdkTracerProvider>,
) -> anyhow::Result<Dispatch> {
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(writer)
        .with_ansi(io::stderr().is_terminal());
    let lines = match settings.format {
        LogFormat::Json => lines.event_format(Json).boxed(),
        LogFormat::Text => lines.boxed(),
    };
    // Request spans are for the collector; a log line carries what it needs itself. One filter with a level, no second one
    // beside it: a filter that cannot say which levels it wants makes every library below us build its own trace spans.
    let no_spans = format!("{}=off", trace::TARGET).parse()?;
    let filter = EnvFilter::try_new(&settings.log)?.add_directive(no_spans);
    let lines = tracing_subscriber::registry().with(lines.with_filter(filter));
    // No layer at all where there is no collector: one that is `None` takes every span, and each request would make one.
    Ok(match provider {
        Some(provider) => lines.with(trace::layer(provider)).into(),
        None => lines.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_collector_a_request_makes_no_span() {
        let (writer, _writing) = Lines::start(io::sink()).unwrap();
        let dispatch = dispatch(&Telemetry::default(), writer, None).unwrap();
        tracing::dispatcher::with_default(&dispatch, || {
            assert!(tracing::info_span!(target: trace::TARGET, "request").is_disabled());
        });
    }
}
