//! Finds out which switch a model obeys, by how its server renders a chat: vLLM's `/tokenize` applies the chat template.
//!
//! The family table goes by model names, but a template may differ from what the name promises. Rendering the same chat with the
//! switch on and off shows three things: whether the switch changes the prompt, which mode is the default, and where the two prompts
//! diverge. If they diverge at the head, every change of mode loses the whole prefix cache.
//!
//! The table alone decides where a probe cannot: for a server without the route or with another meaning of it, and for a switch that
//! is no template variable, since vLLM's `/tokenize` ignores those (0.32).

use std::time::Duration;

use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::timeout;

use super::{
    client::{Client, read_limited},
    server::ModelServer,
};
use crate::{
    api::{Change, ChatRequest, apply},
    routing::{Family, Mode},
};

/// The time limit of one probe, which is up to seven requests; vLLM answers each in 2 to 3 ms.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// The longest `/tokenize` answer that is read, in bytes: some million tokens, for a chat of one word.
const MAX_RENDERED_BYTES: usize = 16 << 20;

/// Template variables that are tried where the table's switch changes nothing. They are ids of families.
const FALLBACK_SWITCHES: [&str; 2] = ["enable_thinking", "thinking"];

/// What a probe found out about one model at one server.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct ProbeFindings {
    /// The family whose switch the template obeys; `fixed` if it obeys none that we know.
    #[serde(serialize_with = "serialize_id")]
    pub family: &'static Family,
    /// The mode without a switch; `None` if the template then renders a third prompt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<Mode>,
    /// Where the prompts of the two modes diverge; `None` if there is no switch.
    #[serde(rename = "changes", skip_serializing_if = "Option::is_none")]
    pub diverges_at: Option<DivergesAt>,
}

/// Why a probe found nothing out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeError {
    /// The server cannot tell, and a second probe would not help: it has no such route, means something else by it, or wants a key.
    Unsupported,
    /// A later probe may succeed: the server was busy or too slow, or the connection broke.
    Transient,
}

/// Where the prompts of the two modes diverge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DivergesAt {
    /// Before the user's first words: one mode cannot use the other's prefix cache.
    Head,
    /// After the user's first words.
    Tail,
}

fn serialize_id<S: serde::Serializer>(family: &Family, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(family.id)
}

/// Probes how the server renders a chat with `model`. `family`: the one that the table expects.
///
/// # Errors
/// Why nothing was found out.
pub async fn probe(
    client: &Client,
    server: &ModelServer,
    model: &str,
    family: Option<&'static Family>,
) -> Result<ProbeFindings, ProbeError> {
    if family.is_some_and(|family| !is_in_template(family)) {
        return Err(ProbeError::Unsupported);
    }
    let probe = Probe {
        client,
        server,
        model,
    };
    let findings = timeout(PROBE_TIMEOUT, probe.run(family)).await;
    findings.unwrap_or(Err(ProbeError::Transient))
}

/// True if the family's switch consists of template variables only.
fn is_in_template(family: &Family) -> bool {
    let is_variable =
        |change: &Change| matches!(change, Change::Set(["chat_template_kwargs", _], _));
    family.can_switch()
        && family
            .reasoning
            .iter()
            .chain(family.direct)
            .all(is_variable)
}

struct Probe<'a> {
    client: &'a Client,
    server: &'a ModelServer,
    model: &'a str,
}

impl Probe<'_> {
    async fn run(&self, family: Option<&'static Family>) -> Result<ProbeFindings, ProbeError> {
        let without = self.render("hi", &[]).await?;
        // Where the user's words begin. A server that renders other words to the same prompt does not read `messages`.
        let words_at = common_prefix(&without, &self.render("yo", &[]).await?);
        if words_at >= without.len() {
            return Err(ProbeError::Unsupported);
        }
        let fallbacks = FALLBACK_SWITCHES.iter();
        let fallbacks = fallbacks.filter_map(|id| Family::by_id(id, self.model));
        for family in family.into_iter().chain(fallbacks) {
            let on = self.render("hi", family.reasoning).await?;
            let off = self.render("hi", family.direct).await?;
            if on == off {
                continue;
            }
            let default = match (without == on, without == off) {
                (true, _) => Some(Mode::Reasoning),
                (_, true) => Some(Mode::Direct),
                _ => None,
            };
            let diverges_at = Some(match common_prefix(&on, &off) <= words_at {
                true => DivergesAt::Head,
                false => DivergesAt::Tail,
            });
            return Ok(ProbeFindings {
                family,
                default,
                diverges_at,
            });
        }
        // An unknown model that obeys none of these switches may still have another one.
        let fixed = family.and_then(|_| Family::by_id("fixed", self.model));
        Ok(ProbeFindings {
            family: fixed.ok_or(ProbeError::Unsupported)?,
            default: None,
            diverges_at: None,
        })
    }

    /// The tokens of a chat with one user message.
    async fn render(&self, text: &str, changes: &[Change]) -> Result<Vec<u32>, ProbeError> {
        #[derive(Deserialize)]
        struct Tokens {
            tokens: Vec<u32>,
        }
        let chat = json!({"model": self.model, "messages": [{"role": "user", "content": text}]});
        let chat =
            ChatRequest::read(chat.to_string().into()).map_err(|_| ProbeError::Unsupported)?;
        let request = self
            .client
            .control_request(Method::POST, self.server, "/tokenize")
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(apply(&chat, changes).into_bytes());
        let response = request.send().await.map_err(|_| ProbeError::Transient)?;
        match response.status() {
            StatusCode::OK => {}
            status if is_transient(status) => return Err(ProbeError::Transient),
            _ => return Err(ProbeError::Unsupported),
        }
        let body = read_limited(response, MAX_RENDERED_BYTES).await;
        let body = body.map_err(|_| ProbeError::Transient)?.ok_or_else(|| {
            let (model, server) = (self.model, &self.server.url);
            tracing::warn!(model, %server, "what /tokenize says of it is longer than {MAX_RENDERED_BYTES} bytes");
            ProbeError::Unsupported
        })?;
        let tokens: Tokens = serde_json::from_slice(&body).map_err(|_| ProbeError::Unsupported)?;
        Ok(tokens.tokens)
    }
}

/// True for a status that may be another one next time, so that it says nothing about the route.
fn is_transient(status: StatusCode) -> bool {
    match status {
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => true,
        StatusCode::NOT_IMPLEMENTED => false,
        status => status.is_server_error(),
    }
}

fn common_prefix(one: &[u32], other: &[u32]) -> usize {
    one.iter().zip(other).take_while(|(a, b)| a == b).count()
}
