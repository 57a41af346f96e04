//! Edits a request's bytes: each change replaces its own value and leaves all other bytes as they are.

use std::{borrow::Cow, ops::Range};

use bytes::Bytes;

use super::{ChatRequest, Message, Object};

/// One change to a chat request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Sets the field at `path` (one key, or an object's key and a key inside it) to raw JSON. Adds the object when it is
    /// missing or `null`; else merges into it.
    Set(&'static [&'static str], Cow<'static, str>),
    /// Appends text to the last message of the user.
    LastUser(&'static str),
    /// Appends a line to the system prompt, or adds a system prompt.
    System(&'static str),
    /// Sets the model's name.
    Model(String),
}

impl Change {
    /// The names by which a server may reject this change in an error message.
    pub fn fields(&self) -> impl Iterator<Item = &'static str> + use<> {
        let path = match self {
            Self::Set(path, _) => *path,
            _ => &[],
        };
        // Servers without template variables name the template (vLLM with a Mistral tokenizer).
        path.iter().map(|key| {
            if *key == "chat_template_kwargs" {
                "chat_template"
            } else {
                key
            }
        })
    }
}

/// The request with `changes` applied in order. Without changes it returns the same bytes, not a copy.
pub fn apply(request: &ChatRequest, changes: &[Change]) -> Bytes {
    if changes.is_empty() {
        return request.bytes().clone();
    }
    let mut edit = ByteEdits::of(request.object());
    for (index, change) in changes.iter().enumerate() {
        match change {
            Change::Set([key], json) => edit.set(request.object(), key, json.to_string()),
            Change::Set([parent, ..], _) => {
                let first =
                    |other: &Change| matches!(other, Change::Set([key, _], _) if key == parent);
                if changes.iter().position(first) == Some(index) {
                    edit.set(request.object(), parent, merged(request, parent, changes));
                }
            }
            Change::Set([], _) => {}
            Change::LastUser(text) => edit.extend(append_to_last_user(request, text)),
            Change::System(text) => edit.extend(append_to_system(request, text)),
            Change::Model(name) => edit.set(request.object(), "model", quoted(name)),
        }
    }
    edit.apply(request.text()).into()
}

/// The object at `parent` with every change inside it applied.
fn merged(request: &ChatRequest, parent: &str, changes: &[Change]) -> String {
    let children = changes.iter().filter_map(|change| match change {
        Change::Set([key, child], json) if *key == parent => Some((*child, json)),
        _ => None,
    });
    let text = request
        .get(parent)
        .filter(|text| Object::read(text).is_ok())
        .unwrap_or("{}");
    let Ok(object) = Object::read(text) else {
        return text.to_owned(); // cannot happen: `text` was read above, or is `{}`
    };
    let mut edit = ByteEdits::of(&object);
    for (child, json) in children {
        edit.set(&object, child, json.to_string());
    }
    edit.apply(text)
}

fn append_to_last_user(request: &ChatRequest, text: &str) -> Option<(Range<usize>, String)> {
    let messages = request.messages().ok()?;
    append_to(
        request,
        messages.iter().rfind(|message| message.is_user())?,
        text,
    )
}

fn append_to_system(request: &ChatRequest, text: &str) -> Option<(Range<usize>, String)> {
    let messages = request.messages().ok()?;
    let is_system = |message: &&Message| matches!(message.role.as_ref(), "system" | "developer");
    let appended = messages
        .iter()
        .find(is_system)
        .and_then(|message| append_to(request, message, &format!("\n{text}")));
    appended.or_else(|| {
        let start = request.object().span("messages")?.start + 1;
        Some((
            start..start,
            format!(r#"{{"role":"system","content":{}}},"#, quoted(text)),
        ))
    })
}

/// Inserts `text` before the closing quote of the message's last text.
fn append_to(
    request: &ChatRequest,
    message: &Message<'_>,
    text: &str,
) -> Option<(Range<usize>, String)> {
    let value = message.last_text()?;
    let quote = value.as_ptr() as usize - request.bytes().as_ptr() as usize + value.len() - 1;
    let escaped = quoted(text);
    Some((quote..quote, escaped.get(1..escaped.len() - 1)?.to_owned()))
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Replacements in a text, applied in one pass.
struct ByteEdits {
    edits: Vec<(Range<usize>, String)>,
    /// True when the next new member needs a comma in front of it.
    needs_comma: bool,
}

impl ByteEdits {
    fn of(object: &Object) -> Self {
        Self {
            edits: Vec::with_capacity(2),
            needs_comma: !object.is_empty(),
        }
    }

    fn set(&mut self, object: &Object, key: &str, json: String) {
        match object.span(key) {
            Some(span) => self.edits.push((span, json)),
            None => {
                let comma = if std::mem::replace(&mut self.needs_comma, true) {
                    ","
                } else {
                    ""
                };
                self.edits.push((
                    object.end()..object.end(),
                    format!("{comma}{}:{json}", quoted(key)),
                ));
            }
        }
    }

    fn extend(&mut self, edit: Option<(Range<usize>, String)>) {
        self.edits.extend(edit);
    }

    fn apply(mut self, text: &str) -> String {
        self.edits.sort_by_key(|(span, _)| span.start); // stable: insertions at one position keep their order
        let grown: usize = self.edits.iter().map(|(_, text)| text.len()).sum();
        let mut out = String::with_capacity(text.len() + grown);
        let mut done = 0;
        for (span, replacement) in &self.edits {
            out.push_str(text.get(done..span.start).unwrap_or_default());
            out.push_str(replacement);
            done = span.end;
        }
        out.push_str(text.get(done..).unwrap_or_default());
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFF: Change = Change::Set(
        &["chat_template_kwargs", "enable_thinking"],
        Cow::Borrowed("false"),
    );

    fn edited(body: &'static str, changes: &[Change]) -> String {
        let request = ChatRequest::read(Bytes::from_static(body.as_bytes())).unwrap();
        String::from_utf8(apply(&request, changes).to_vec()).unwrap()
    }

    #[test]
    fn nothing_but_the_switch_changes() {
        assert_eq!(
            edited(
                "{ \"t\" : 1.0, \"e\":1e3,\"u\":\"\\u00e9\\/\" ,\n\"messages\": [ ] \n} ",
                &[OFF]
            ),
            "{ \"t\" : 1.0, \"e\":1e3,\"u\":\"\\u00e9\\/\" ,\n\"messages\": [ ],\"chat_template_kwargs\":{\"enable_thinking\":false} \n} "
        );
    }

    #[test]
    fn kwargs_are_merged_and_added_when_null_or_missing() {
        for (body, want) in [
            (
                r#"{"chat_template_kwargs":{"a": 1 }}"#,
                r#"{"chat_template_kwargs":{"a": 1,"enable_thinking":false }}"#,
            ),
            (
                r#"{"chat_template_kwargs":{ }}"#,
                r#"{"chat_template_kwargs":{"enable_thinking":false }}"#,
            ),
            (
                r#"{"chat_template_kwargs":null,"b":2}"#,
                r#"{"chat_template_kwargs":{"enable_thinking":false},"b":2}"#,
            ),
            (
                r#"{"chat_template_kwargs":{"enable_thinking":null}}"#,
                r#"{"chat_template_kwargs":{"enable_thinking":false}}"#,
            ),
            (
                r#"{"chat_template_kwargs":{"enable_\u0074hinking":true}}"#,
                r#"{"chat_template_kwargs":{"enable_\u0074hinking":false}}"#,
            ),
            (
                "{}",
                r#"{"chat_template_kwargs":{"enable_thinking":false}}"#,
            ),
        ] {
            assert_eq!(edited(body, &[OFF]), want);
        }
    }

    #[test]
    fn several_changes_share_one_pass() {
        let both = Change::Set(
            &["chat_template_kwargs", "thinking"],
            Cow::Borrowed("false"),
        );
        let effort = Change::Set(&["reasoning_effort"], Cow::Borrowed("\"low\""));
        assert_eq!(
            edited(
                r#"{"model":"auto","x":[]}"#,
                &[OFF, both, effort, Change::Model("a/\"b".into())]
            ),
            r#"{"model":"a/\"b","x":[],"chat_template_kwargs":{"enable_thinking":false,"thinking":false},"reasoning_effort":"low"}"#
        );
    }

    #[test]
    fn a_field_that_should_be_an_object_and_is_not_is_replaced() {
        let off = Change::Set(&["thinking", "type"], Cow::Borrowed("\"disabled\""));
        assert_eq!(
            edited(r#"{"thinking":true}"#, &[off]),
            r#"{"thinking":{"type":"disabled"}}"#
        );
    }

    #[test]
    fn soft_switches_go_where_the_model_reads_them() {
        let body = r#"{"messages": [{"role":"user","content":[{"type":"text","text":"a\""},{"type":"image_url"}]},{"role":"system","content":"s"}]}"#;
        assert_eq!(
            edited(
                body,
                &[Change::LastUser(" /no_think"), Change::System("/no_think")]
            ),
            r#"{"messages": [{"role":"user","content":[{"type":"text","text":"a\" /no_think"},{"type":"image_url"}]},{"role":"system","content":"s\n/no_think"}]}"#
        );
        assert_eq!(
            edited(
                r#"{"messages":[{"role":"user","content":"q"}]}"#,
                &[Change::System("/no_think")]
            ),
            r#"{"messages":[{"role":"system","content":"/no_think"},{"role":"user","content":"q"}]}"#
        );
    }
}
