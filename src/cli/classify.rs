//! `thinkgate classify`: the decision's score for texts, offline. It waits: no deadline, no refusal.

use std::{
    io::{self, BufRead, Write},
    path::PathBuf,
    time::Instant,
};

use anyhow::{Context, bail};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;
use serde_json::json;

use super::{load_config, serve::block_on};
use crate::{
    app::classifier_options,
    classifier::{Classification, Classifier},
    config::Flags,
    openai::ChatRequest,
    routing::{Mode, Subject, rounded},
    telemetry,
};

/// Classifies `texts`, or the lines of standard input, `batch` at a time, in order.
pub fn run(texts: Vec<String>, batch: usize, files: Vec<PathBuf>) -> anyhow::Result<()> {
    let config = load_config(&Flags {
        files,
        ..Flags::default()
    })?;
    let _telemetry = telemetry::start(&config.telemetry)?;
    let classifier = Classifier::start(&classifier_options(&config.classifier))?;
    let threshold = config.routing.threshold;
    let lines: Box<dyn Iterator<Item = io::Result<String>>> = match texts.is_empty() {
        true => Box::new(io::stdin().lock().lines()),
        false => Box::new(texts.into_iter().map(Ok)),
    };
    let answers = stream::iter(lines.enumerate()).map(|(index, line)| {
        let classifier = &classifier;
        async move {
            let text = line
                .map_err(anyhow::Error::from)
                .and_then(|line| text_of(&line));
            let text = text.with_context(|| format!("line {}", index + 1))?;
            let began = Instant::now();
            let seen = classifier.classify_patiently(&text).await;
            let seen =
                seen.map_err(|_| anyhow::anyhow!("line {}: the classifier failed", index + 1))?;
            Ok::<_, anyhow::Error>((seen, began.elapsed().as_secs_f64() * 1e3))
        }
    });
    let print = answers
        .buffered(batch.max(1))
        .try_for_each(|(seen, elapsed_ms)| async move {
            let mut out = io::stdout().lock();
            Ok(writeln!(out, "{}", answer(&seen, threshold, elapsed_ms))?)
        });
    block_on(print)
}

fn answer(seen: &Classification, threshold: f64, elapsed_ms: f64) -> serde_json::Value {
    let mode = if rounded(seen.score) >= threshold {
        Mode::Reasoning
    } else {
        Mode::Direct
    };
    json!({
        "mode": mode, "score": seen.score, "domain": seen.domain, "tokens": seen.tokens, "truncated": seen.truncated,
        "unreadable": seen.unreadable, "elapsed_ms": (elapsed_ms * 1e3).round() / 1e3,
    })
}

/// A line is a text, unless it is a JSON object with `text` or `messages`.
fn text_of(line: &str) -> anyhow::Result<String> {
    #[derive(Deserialize)]
    struct Line {
        text: Option<String>,
        messages: Option<serde_json::Value>,
    }
    if !line.trim_start().starts_with('{') {
        return Ok(line.to_owned());
    }
    match serde_json::from_str(line) {
        Err(_) => Ok(line.to_owned()), // a text that begins with a brace
        Ok(Line {
            text: Some(text), ..
        }) => Ok(text),
        Ok(Line {
            messages: Some(_), ..
        }) => {
            let request = ChatRequest::read(line.to_owned().into()).map_err(anyhow::Error::new)?;
            Ok(Subject::of(&request)?.text)
        }
        Ok(_) => bail!("the JSON object has neither `text` nor `messages`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_text_or_a_json_object_that_holds_one() {
        assert_eq!(text_of("plain").unwrap(), "plain");
        assert_eq!(text_of("{x} is a set").unwrap(), "{x} is a set");
        assert_eq!(text_of(r#"{"text":"a\nb","id":7}"#).unwrap(), "a\nb");
        assert_eq!(
            text_of(r#"{"messages":[{"role":"user","content":"q"}]}"#).unwrap(),
            "q"
        );
        assert!(text_of(r#"{"id":7}"#).is_err());
        assert!(text_of(r#"{"messages":[]}"#).is_err());
    }
}
