//! The client's own choice: any form in which a request can already say whether to reason.

use crate::api::{ChatRequest, REASONING_FIELDS, ReasoningFields};

/// The field by which the client made its own choice, if it did. `null` counts as absent.
pub fn of(request: &ChatRequest) -> Option<&'static str> {
    REASONING_FIELDS
        .iter()
        .find_map(|fields| chosen_in(request, fields))
}

fn chosen_in(request: &ChatRequest, fields: &ReasoningFields) -> Option<&'static str> {
    let mut names = fields.names.iter().copied();
    let Some(parent) = fields.parent else {
        return names.find(|name| request.get(name).is_some());
    };
    let value = request.get(parent)?;
    match request.nested(parent) {
        Some((object, _)) => names.find(|name| object.get(value, name).is_some()),
        None => names.next(), // `"reasoning": "high"`: no server takes it, but the client does choose
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(body: &'static str) -> Option<&'static str> {
        of(&ChatRequest::read(body.into()).unwrap())
    }

    #[test]
    fn every_form_of_choice_is_found() {
        for body in [
            r#"{"reasoning_effort":"low"}"#,
            r#"{"reasoning":{"effort":"none"}}"#,
            r#"{"reasoning":{"enabled":false}}"#,
            r#"{"thinking":{"type":"disabled"}}"#,
            r#"{"think":false}"#,
            r#"{"enable_thinking":true}"#,
            r#"{"thinking_budget":0}"#,
            r#"{"thinking_token_budget":100}"#,
            r#"{"chat_template_kwargs":{"enable_thinking":false}}"#,
            r#"{"chat_template_kwargs":{"x":1,"th\u0069nking":true}}"#,
            r#"{"chat_template_kwargs":{"thinking_mode":"adaptive"}}"#,
            r#"{"chat_template_kwargs":{"low_effort":true}}"#,
            r#"{"reasoning":"high"}"#,
        ] {
            assert!(chosen(body).is_some(), "{body}");
        }
    }

    #[test]
    fn other_fields_are_no_choice() {
        for body in [
            "{}",
            r#"{"reasoning_effort":null}"#,
            r#"{"chat_template_kwargs":null}"#,
            r#"{"chat_template_kwargs":{"enable_thinking":null,"x":1}}"#,
            r#"{"reasoning":{"exclude":true}}"#,
            r#"{"include_reasoning":false}"#,
            r#"{"extra_body":{"enable_thinking":false}}"#,
        ] {
            assert_eq!(chosen(body), None, "{body}");
        }
    }
}
