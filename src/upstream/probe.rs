//! Which switch a model obeys, by how its server writes the prompt: vLLM's `/tokenize` renders a chat with its template.
//!
//! The table of families goes by names; a template may differ from what the name promises. Rendering the same chat with the
//! switch ON and OFF shows whether it changes anything, which side is the default, and where the prompt changes: at its head,
//! every change of mode costs the whole prefix cache. A server without the route, or with one that means something else, is
//! left to the table, and so is every switch that is no variable of the template: vLLM's `/tokenize` ignores those (0.32).

use std::time::Duration;

use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::timeout;

use super::{Client, Server, discover::whole};
use crate::{
    api::{Change, ChatRequest, apply},
    routing::Family,
};

/// The most all questions to one endpoint may take; vLLM answers each in 2 to 3 ms.
const PROBE: Duration = Duration::from_secs(2);

/// The longest answer that is read, in bytes: some million tokens, of a chat of one word.
const LONGEST: usize = 16 << 20;

/// Switches that templates obey under names of their own, tried where the table's does nothing.
const OTHERS: [&str; 2] = ["enable_thinking", "thinking"];

/// What a probe found out of one model at one server.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Probed {
    /// The family whose switch the template obeys; `fixed` when it obeys none that we know.
    #[serde(serialize_with = "id")]
    pub family: &'static Family,
    /// What it does when nothing is said; absent when the template does something third.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<Side>,
    /// Which end of the prompt changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changes: Option<End>,
}

/// Why a probe found nothing out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    /// The server does not say, and would not the next time: it has no such route, means something else by it, or wants a key.
    Unsaid,
    /// By chance: it was busy or too slow, or the connection broke.
    Unheard,
}

/// One of the two positions of a switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// ON.
    Reasoning,
    /// OFF.
    Direct,
}

/// At which end of the prompt the two modes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum End {
    /// Before the first words of the user: nothing of one mode's prefix cache serves the other.
    Head,
    /// After them.
    Tail,
}

fn id<S: serde::Serializer>(family: &Family, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(family.id)
}

/// Asks the server how it renders `model`, which the table takes for `family`.
///
/// # Errors
/// Why it cannot be said.
pub async fn probe(
    client: &Client,
    server: &Server,
    model: &str,
    family: Option<&'static Family>,
) -> Result<Probed, Unknown> {
    if family.is_some_and(|family| !is_in_template(family)) {
        return Err(Unknown::Unsaid);
    }
    let probe = Probe {
        client,
        server,
        model,
    };
    let found = timeout(PROBE, probe.run(family)).await;
    found.unwrap_or(Err(Unknown::Unheard))
}

/// True when the switch is variables of the template and nothing else.
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
    server: &'a Server,
    model: &'a str,
}

impl Probe<'_> {
    async fn run(&self, family: Option<&'static Family>) -> Result<Probed, Unknown> {
        let unsaid = self.render("hi", &[]).await?;
        // Where the user's words begin; a server that renders all words alike does not read messages.
        let words = common_prefix(&unsaid, &self.render("yo", &[]).await?);
        if words >= unsaid.len() {
            return Err(Unknown::Unsaid);
        }
        let others = OTHERS.iter().filter_map(|id| Family::by_id(id, self.model));
        for family in family.into_iter().chain(others) {
            let on = self.render("hi", family.reasoning).await?;
            let off = self.render("hi", family.direct).await?;
            if on == off {
                continue;
            }
            let default = match (unsaid == on, unsaid == off) {
                (true, _) => Some(Side::Reasoning),
                (_, true) => Some(Side::Direct),
                _ => None,
            };
            let changes = Some(match common_prefix(&on, &off) <= words {
                true => End::Head,
                false => End::Tail,
            });
            return Ok(Probed {
                family,
                default,
                changes,
            });
        }
        // Of a model that nobody knows it can only be said what it does not obey.
        let fixed = family.and_then(|_| Family::by_id("fixed", self.model));
        Ok(Probed {
            family: fixed.ok_or(Unknown::Unsaid)?,
            default: None,
            changes: None,
        })
    }

    /// The tokens of a chat of one turn.
    async fn render(&self, text: &str, changes: &[Change]) -> Result<Vec<u32>, Unknown> {
        #[derive(Deserialize)]
        struct Tokens {
            tokens: Vec<u32>,
        }
        let chat = json!({"model": self.model, "messages": [{"role": "user", "content": text}]});
        let chat = ChatRequest::read(chat.to_string().into()).map_err(|_| Unknown::Unsaid)?;
        let request = self.client.ask(Method::POST, self.server, "/tokenize");
        let request = request
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(apply(&chat, changes));
        let response = request.send().await.map_err(|_| Unknown::Unheard)?;
        match response.status() {
            StatusCode::OK => {}
            status if passes(status) => return Err(Unknown::Unheard),
            _ => return Err(Unknown::Unsaid),
        }
        let body = whole(response, LONGEST).await;
        let body = body.map_err(|_| Unknown::Unheard)?.ok_or_else(|| {
            let (model, server) = (self.model, &self.server.url);
            tracing::warn!(model, %server, "what /tokenize says of it is longer than {LONGEST} bytes");
            Unknown::Unsaid
        })?;
        let tokens: Tokens = serde_json::from_slice(&body).map_err(|_| Unknown::Unsaid)?;
        Ok(tokens.tokens)
    }
}

/// True of a status that speaks of the moment, not of the route.
fn passes(status: StatusCode) -> bool {
    match status {
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => true,
        StatusCode::NOT_IMPLEMENTED => false,
        status => status.is_server_error(),
    }
}

fn common_prefix(one: &[u32], other: &[u32]) -> usize {
    one.iter().zip(other).take_while(|(a, b)| a == b).count()
}
