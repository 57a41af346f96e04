//! What the gateway says about itself: one log line, one set of metrics and one span a request. Metadata only; prompts, keys
//! and bodies are never written.

mod metrics;
mod record;
mod trace;

use std::io::{self, IsTerminal};

use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::{
    EnvFilter, Layer, filter::filter_fn, layer::SubscriberExt, util::SubscriberInitExt,
};

pub use metrics::{Attempt, Metrics};
pub use record::{Decided, Outcome, Record};
pub use trace::{adopt, inject};

use crate::config::{LogFormat, Telemetry};

/// Keeps the exporter alive; flushes it when dropped.
#[derive(Debug)]
pub struct Guard(Option<SdkTracerProvider>);

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(provider) = &self.0 {
            let _ = provider.shutdown(); // the last spans are lost if the collector is gone; nothing else is
        }
    }
}

/// Starts logging to standard error and, when `otlp` is set, tracing.
///
/// # Errors
/// When the filter or the collector's address is no good, or logging runs already.
pub fn start(settings: &Telemetry) -> anyhow::Result<Guard> {
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    let lines = match settings.format {
        LogFormat::Json => lines
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .boxed(),
        LogFormat::Text => lines.boxed(),
    };
    // Request spans are for the collector; a log line carries what it needs itself.
    let filter = EnvFilter::try_new(&settings.log)?;
    let lines = lines
        .with_filter(filter)
        .with_filter(filter_fn(|metadata| metadata.target() != trace::TARGET));
    let provider = settings.otlp.as_ref().map(trace::provider).transpose()?;
    let spans = provider.as_ref().map(trace::layer);
    tracing_subscriber::registry()
        .with(lines)
        .with(spans)
        .try_init()?;
    Ok(Guard(provider))
}
