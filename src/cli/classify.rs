//! `thinkgate classify`: decides for texts and requests as the gateway would, offline. It waits for every score.

use std::{
    io::{self, BufRead, Write},
    path::PathBuf,
    sync::Arc,
    time::Instant,
};

use anyhow::{Context, bail};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{load_config, serve::block_on};
use crate::{
    api::ChatRequest,
    classifier::{Classifier, FallbackReason},
    config::{Config, Flags},
    error::Error,
    routing::{Family, Policy, Routed, Router, Target},
    telemetry,
    tenant::Tenant,
    upstream::{Catalog, ServerFacts, ServerKeys},
};

/// The family that decides where no configured model does: its switch stands at the prompt's end, and a thought needs 1,024 tokens.
const DEFAULT_FAMILY: &str = "qwen3";

/// Classifies `texts`, or the lines of standard input, `batch` at a time. Prints one JSON line each, in order.
pub fn run(texts: Vec<String>, batch: usize, files: Vec<PathBuf>) -> anyhow::Result<()> {
    let config = load_config(&Flags {
        files,
        ..Flags::default()
    })?;
    let _telemetry = telemetry::start(&config.telemetry)?;
    let decider = Decider::new(config)?;
    let lines: Box<dyn Iterator<Item = io::Result<String>>> = match texts.is_empty() {
        true => Box::new(io::stdin().lock().lines()),
        false => Box::new(texts.into_iter().map(Ok)),
    };
    let answers = stream::iter(lines.enumerate()).map(|(index, line)| {
        let decider = &decider;
        async move {
            let line = line.map_err(anyhow::Error::from).and_then(read_line);
            let answer = match line {
                Ok(request) => decider.answer(request).await,
                Err(error) => Err(error),
            };
            answer.with_context(|| format!("line {}", index + 1))
        }
    });
    let print = answers
        .buffered(batch.max(1))
        .try_for_each(|answer| async move { Ok(writeln!(io::stdout().lock(), "{answer}")?) });
    block_on(print)
}

/// What decides, without a gateway around it.
struct Decider {
    router: Router,
    catalog: Catalog,
    /// True when the configuration names models, aliases, or servers to discover.
    has_models: bool,
}

impl Decider {
    fn new(config: Config) -> anyhow::Result<Self> {
        let classifier = Classifier::start(&config.classifier)?;
        let keys = ServerKeys::read(&config).map_err(anyhow::Error::msg)?;
        Ok(Self {
            router: Router::patient(Arc::new(classifier), Policy::new(config.routing.clone())),
            catalog: Catalog::build(&config, Arc::new(keys), ServerFacts::default()),
            has_models: !(config.models.is_empty()
                && config.aliases.is_empty()
                && config.discover.is_empty()),
        })
    }

    async fn answer(&self, request: ChatRequest) -> anyhow::Result<Value> {
        let began = Instant::now();
        let target = self.target(request.model().as_deref());
        let target = target.map_err(anyhow::Error::new)?;
        let routed = self
            .router
            .route(request, None, &target, &Tenant::Unknown)
            .await;
        let routed = routed.map_err(anyhow::Error::new)?;
        if routed.decision.fallback_reason == Some(FallbackReason::Failed) {
            bail!("the classifier failed");
        }
        Ok(answer(&routed, began.elapsed().as_secs_f64() * 1e3))
    }

    /// What a request's model name stands for, as far as the configuration says. The servers are not asked for their lists, so the
    /// family of a model that would be discovered is recognised by its name.
    fn target(&self, model: Option<&str>) -> Result<Target, Error> {
        let assumed = |name: &str, family| Target::Model {
            name: name.into(),
            family,
            gate: true,
        };
        match model {
            Some(name) if self.has_models => match self.catalog.resolve(Some(name)) {
                Err(Error::NoEndpoint(_)) => Ok(assumed(name, Family::recognise(name, None, None))),
                resolved => resolved,
            },
            _ => Ok(assumed(
                model.unwrap_or_default(),
                Family::by_id(DEFAULT_FAMILY, ""),
            )),
        }
    }
}

fn answer(routed: &Routed, elapsed_ms: f64) -> Value {
    let decision = &routed.decision;
    let seen = routed.deciding_classification();
    json!({
        "mode": decision.mode,
        "why": decision.why,
        "score": seen.map(|seen| seen.score),
        "domain": routed.domain(),
        "tokens": seen.map(|seen| seen.tokens),
        "truncated": seen.map(|seen| seen.truncated),
        "unreadable": seen.map(|seen| seen.unreadable),
        "elapsed_ms": (elapsed_ms * 1e3).round() / 1e3,
    })
}

/// Reads one line of input: a whole request, or a text as it stands or as the member `text` of a JSON object.
fn read_line(line: String) -> anyhow::Result<ChatRequest> {
    #[derive(Deserialize)]
    struct Wire {
        text: Option<String>,
        messages: Option<Value>,
    }
    let body = match serde_json::from_str(&line) {
        _ if !line.trim_start().starts_with('{') => request_of_text(&line),
        Err(_) => request_of_text(&line), // a text that begins with a brace
        Ok(Wire {
            text: Some(text), ..
        }) => request_of_text(&text),
        Ok(Wire {
            messages: Some(_), ..
        }) => line,
        Ok(_) => bail!("the JSON object has neither `text` nor `messages`"),
    };
    ChatRequest::read(body.into()).map_err(anyhow::Error::new)
}

fn request_of_text(text: &str) -> String {
    json!({"messages": [{"role": "user", "content": text}]}).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::Conversation;

    #[test]
    fn a_line_is_a_text_or_a_json_object_that_holds_one() {
        let text_of = |line: &str| {
            let request = read_line(line.to_owned()).ok()?;
            let conversation = Conversation::of(&request).ok()?;
            Some(conversation.last_turn().to_owned())
        };
        for (line, text) in [
            ("plain", Some("plain")),
            ("a \"quoted\" \\ line", Some("a \"quoted\" \\ line")),
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
