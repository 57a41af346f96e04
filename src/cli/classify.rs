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
    api::ChatRequest,
    app::{classifier_options, policy},
    classifier::{Classification, Classifier, FallbackReason},
    config::Flags,
    routing::{Conversation, Mode, Policy, round3},
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
    let policy = policy(&config.routing);
    let lines: Box<dyn Iterator<Item = io::Result<String>>> = match texts.is_empty() {
        true => Box::new(io::stdin().lock().lines()),
        false => Box::new(texts.into_iter().map(Ok)),
    };
    let answers = stream::iter(lines.enumerate()).map(|(index, line)| {
        let (classifier, policy) = (&classifier, &policy);
        async move {
            let line = line.map_err(anyhow::Error::from).and_then(Line::read);
            let line = line.with_context(|| format!("line {}", index + 1))?;
            let began = Instant::now();
            let seen = match &line {
                Line::Text(text) => classifier.classify_without_deadline(text).await,
                Line::Chat(request) => {
                    let chat = Conversation::of(request).map_err(anyhow::Error::new)?;
                    deciding_turn(classifier, policy, &chat).await
                }
            };
            let seen =
                seen.map_err(|_| anyhow::anyhow!("line {}: the classifier failed", index + 1))?;
            Ok::<_, anyhow::Error>((seen, began.elapsed().as_secs_f64() * 1e3))
        }
    });
    let print = answers
        .buffered(batch.max(1))
        .try_for_each(|(seen, elapsed_ms)| async move {
            let mut out = io::stdout().lock();
            Ok(writeln!(
                out,
                "{}",
                answer(&seen, policy.threshold, elapsed_ms)
            )?)
        });
    block_on(print)
}

fn answer(seen: &Classification, threshold: f64, elapsed_ms: f64) -> serde_json::Value {
    let mode = if round3(seen.score) >= threshold {
        Mode::Reasoning
    } else {
        Mode::Direct
    };
    json!({
        "mode": mode, "score": seen.score, "domain": seen.domain, "tokens": seen.tokens, "truncated": seen.truncated,
        "unreadable": seen.unreadable, "elapsed_ms": (elapsed_ms * 1e3).round() / 1e3,
    })
}

/// What was seen in the turn that decides, as behind the gateway; in the last one when there is nothing to judge.
async fn deciding_turn(
    classifier: &Classifier,
    policy: &Policy,
    chat: &Conversation<'_>,
) -> Result<Classification, FallbackReason> {
    let mut scan = policy.scan(chat);
    while let Some(text) = scan.next_text() {
        scan.observe(classifier.classify_without_deadline(&text).await?);
    }
    let (_, turns) = scan.finish(None);
    match turns.into_iter().rev().find_map(|turn| turn.classification) {
        Some(seen) => Ok(seen),
        None => classifier.classify_without_deadline(chat.last_turn()).await,
    }
}

/// One line of input: a text, unless it is a JSON object with `text` or `messages`.
enum Line {
    Text(String),
    Chat(ChatRequest),
}

impl Line {
    fn read(line: String) -> anyhow::Result<Self> {
        #[derive(Deserialize)]
        struct Wire {
            text: Option<String>,
            messages: Option<serde_json::Value>,
        }
        if !line.trim_start().starts_with('{') {
            return Ok(Self::Text(line));
        }
        match serde_json::from_str(&line) {
            Err(_) => Ok(Self::Text(line)), // a text that begins with a brace
            Ok(Wire {
                text: Some(text), ..
            }) => Ok(Self::Text(text)),
            Ok(Wire {
                messages: Some(_), ..
            }) => {
                let request = ChatRequest::read(line.into()).map_err(anyhow::Error::new)?;
                Conversation::of(&request).map_err(anyhow::Error::new)?;
                Ok(Self::Chat(request))
            }
            Ok(_) => bail!("the JSON object has neither `text` nor `messages`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_text_or_a_json_object_that_holds_one() {
        let text_of = |line: &str| match Line::read(line.to_owned()) {
            Ok(Line::Text(text)) => Some(text),
            Ok(Line::Chat(request)) => {
                let chat = Conversation::of(&request).unwrap();
                Some(chat.last_turn().to_owned())
            }
            Err(_) => None,
        };
        for (line, text) in [
            ("plain", Some("plain")),
            ("{x} is a set", Some("{x} is a set")),
            (r#"{"text":"a\nb","id":7}"#, Some("a\nb")),
            (r#"{"messages":[{"role":"user","content":"q"}]}"#, Some("q")),
            (r#"{"id":7}"#, None),
            (r#"{"messages":[]}"#, None),
        ] {
            assert_eq!(text_of(line).as_deref(), text, "{line}");
        }
    }
}
