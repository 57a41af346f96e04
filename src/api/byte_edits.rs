//! Edits a request's bytes: each change replaces its own value and leaves all other bytes as they are.

use std::{borrow::Cow, ops::Range};

use bytes::Bytes;

use super::{BodyPieces, ChatRequest, Object};

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
pub fn apply(request: &ChatRequest, changes: &[Change]) -> BodyPieces {
    if changes.is_empty() {
        return request.bytes().clone().into();
    }
    let mut edits = Edits(Vec::with_capacity(2));
    let mut top = Members::of(request.object(), 0);
    for (index, change) in changes.iter().enumerate() {
        match change {
            Change::Set([key], json) => top.set(&mut edits, key, json.to_string()),
            Change::Set([parent, ..], _) => {
                let first =
                    |other: &Change| matches!(other, Change::Set([key, _], _) if key == parent);
                if changes.iter().position(first) == Some(index) {
                    set_in(request, parent, changes, &mut top, &mut edits);
                }
            }
            Change::Set([], _) => {}
            Change::LastUser(text) => edits.append(request.append_points().last_user, text),
            Change::System(text) => match request.append_points().system {
                Some(quote) => edits.append(Some(quote), &format!("\n{text}")),
                None => edits.add_system(request, text),
            },
            Change::Model(name) => top.set(&mut edits, "model", quoted(name)),
        }
    }
    edits.apply(request.bytes())
}

/// Applies every change inside the object at `parent`.
fn set_in(
    request: &ChatRequest,
    parent: &str,
    changes: &[Change],
    top: &mut Members<'_>,
    edits: &mut Edits,
) {
    let children = changes.iter().filter_map(|change| match change {
        Change::Set([key, child], json) if *key == parent => Some((*child, json)),
        _ => None,
    });
    if let Some((object, start)) = request.nested(parent) {
        let mut members = Members::of(&object, start);
        children.for_each(|(child, json)| members.set(edits, child, json.to_string()));
        return;
    }
    let members: Vec<String> = children
        .map(|(child, json)| format!("{}:{json}", quoted(child)))
        .collect();
    top.set(edits, parent, format!("{{{}}}", members.join(",")));
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The members of one object, as they are set.
struct Members<'o> {
    object: &'o Object,
    /// Where the object's text begins in the request.
    start: usize,
    /// True when the next new member needs a comma in front of it.
    needs_comma: bool,
}

impl<'o> Members<'o> {
    fn of(object: &'o Object, start: usize) -> Self {
        Self {
            object,
            start,
            needs_comma: !object.is_empty(),
        }
    }

    fn set(&mut self, edits: &mut Edits, key: &str, json: String) {
        let (span, text) = match self.object.span(key) {
            Some(span) => (span, json),
            None => {
                let comma = match std::mem::replace(&mut self.needs_comma, true) {
                    true => ",",
                    false => "",
                };
                let end = self.object.end();
                (end..end, format!("{comma}{}:{json}", quoted(key)))
            }
        };
        edits
            .0
            .push((self.start + span.start..self.start + span.end, text));
    }
}

/// Replacements in a text, applied in one pass.
struct Edits(Vec<(Range<usize>, String)>);

impl Edits {
    /// Inserts `text` before a closing quote.
    fn append(&mut self, quote: Option<usize>, text: &str) {
        let escaped = quoted(text);
        let inner = escaped.get(1..escaped.len() - 1).unwrap_or_default();
        self.0.extend(quote.map(|at| (at..at, inner.to_owned())));
    }

    /// Adds a system prompt in front of the messages.
    fn add_system(&mut self, request: &ChatRequest, text: &str) {
        let Some(span) = request.object().span("messages") else {
            return;
        };
        let message = format!(r#"{{"role":"system","content":{}}},"#, quoted(text));
        self.0.push((span.start + 1..span.start + 1, message));
    }

    fn apply(mut self, body: &Bytes) -> BodyPieces {
        self.0.sort_by_key(|(span, _)| span.start); // stable: insertions at one position keep their order
        BodyPieces::replaced(body, self.0)
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
        String::from_utf8(apply(&request, changes).into_bytes().to_vec()).unwrap()
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

    #[test]
    fn edits_work_behind_a_byte_order_mark_and_beside_what_json_has_not() {
        for (body, want) in [
            (
                "\u{feff}{\"logit_bias\":{\"5\":-Infinity}}",
                "\u{feff}{\"logit_bias\":{\"5\":-Infinity},\"chat_template_kwargs\":{\"enable_thinking\":false}}",
            ),
            (
                "\u{feff} {\"chat_template_kwargs\":{\"x\":NaN}}",
                "\u{feff} {\"chat_template_kwargs\":{\"x\":NaN,\"enable_thinking\":false}}",
            ),
            (
                "\u{feff}{}",
                "\u{feff}{\"chat_template_kwargs\":{\"enable_thinking\":false}}",
            ),
        ] {
            assert_eq!(edited(body, &[OFF]), want);
        }
        let body =
            "\u{feff}{\"messages\":[{\"role\":\"user\",\"content\":\"a\\ud83d\",\"x\":NaN}]}";
        let want = body.replace("ud83d", "ud83d /no_think");
        assert_eq!(edited(body, &[Change::LastUser(" /no_think")]), want);
    }
}
