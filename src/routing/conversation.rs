//! From a conversation to the text that is judged.

use crate::{error::Error, openai::ChatRequest, openai::last_user};

/// What of a conversation the decision looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The last turn of the user; empty when there is none or it holds no text.
    pub text: String,
    /// True when the conversation ends in the result of a tool call: the turn goes on, and so does its mode.
    pub in_tool_loop: bool,
}

impl Subject {
    /// Picks the text to judge.
    ///
    /// # Errors
    /// A 400 when the messages are missing or malformed.
    pub fn of(request: &ChatRequest) -> Result<Self, Error> {
        let messages = request.messages()?;
        let text = last_user(&messages)
            .map(|turn| turn.text().into_owned())
            .unwrap_or_default();
        Ok(Self {
            text,
            in_tool_loop: messages
                .last()
                .is_some_and(|message| message.is_tool_result()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(messages: &str) -> Subject {
        Subject::of(&ChatRequest::read(format!("{{\"messages\":{messages}}}").into()).unwrap())
            .unwrap()
    }

    #[test]
    fn the_last_turn_of_the_user_is_judged() {
        let got = subject(
            r#"[{"role":"user","content":"first"},{"role":"assistant","content":"a"},{"role":"user","content":"second"},{"role":"system","content":"s"}]"#,
        );
        assert_eq!(
            got,
            Subject {
                text: "second".into(),
                in_tool_loop: false
            }
        );
    }

    #[test]
    fn a_tool_result_keeps_the_turn() {
        let got = subject(
            r#"[{"role":"user","content":"q"},{"role":"assistant","content":null},{"role":"tool","content":"42"}]"#,
        );
        assert_eq!(
            got,
            Subject {
                text: "q".into(),
                in_tool_loop: true
            }
        );
    }

    #[test]
    fn an_image_alone_is_nothing_to_read() {
        assert_eq!(
            subject(
                r#"[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:"}}]}]"#
            )
            .text,
            ""
        );
        assert_eq!(subject(r#"[{"role":"system","content":"s"}]"#).text, "");
    }
}
