//! Finds the turns of the user in a chat request, and which of them can be judged.

use std::borrow::Cow;

use super::followup::is_followup;
use crate::{
    api::{ChatRequest, text_of},
    error::Error,
};

/// The parts of a conversation that a decision depends on, borrowed from the request's bytes.
#[derive(Debug)]
pub struct Conversation<'r> {
    /// The raw JSON of the messages.
    messages: &'r str,
    /// The turns of the user, oldest first.
    turns: Vec<Turn>,
    /// The text of the last turn, decoded once because it is used several times.
    last: Cow<'r, str>,
    in_tool_loop: bool,
}

/// A turn of the user. It is small, because there may be a million of them in 16 MB.
#[derive(Debug, Clone, Copy)]
struct Turn {
    /// Its index among all messages.
    message_index: u32,
    /// Where its content stands in the raw JSON of the messages.
    start: u32,
    length: u32,
}

impl<'r> Conversation<'r> {
    /// Reads the conversation of a request.
    ///
    /// # Errors
    /// A 400 when the messages are missing, malformed or too many.
    pub fn of(request: &'r ChatRequest) -> Result<Self, Error> {
        let mut conversation = Self {
            messages: request.get("messages").unwrap_or_default(),
            turns: Vec::new(),
            last: Cow::Borrowed(""),
            in_tool_loop: false,
        };
        for (index, message) in request.messages()?.enumerate() {
            let message = message?;
            conversation.in_tool_loop = message.is_tool_result();
            if message.is_user() {
                conversation.push(index, message.content)?;
            }
        }
        let last = conversation
            .turns
            .last()
            .map(|turn| conversation.text(turn));
        conversation.last = last.unwrap_or_default();
        Ok(conversation)
    }

    fn push(&mut self, index: usize, content: &'r str) -> Result<(), Error> {
        let start = match content {
            "" => 0,
            _ => content.as_ptr() as usize - self.messages.as_ptr() as usize, // it is a part of them
        };
        let small = |number: usize| {
            let too_long = |_| Error::invalid_field("messages", "`messages` is longer than 4 GiB.");
            u32::try_from(number).map_err(too_long)
        };
        self.turns.push(Turn {
            message_index: small(index)?,
            start: small(start)?,
            length: small(content.len())?,
        });
        Ok(())
    }

    fn text(&self, turn: &Turn) -> Cow<'r, str> {
        let start = turn.start as usize;
        let content = self.messages.get(start..start + turn.length as usize);
        text_of(content.unwrap_or_default())
    }

    /// True when it ends with the result of a tool call: the turn continues and keeps its mode.
    pub fn is_in_tool_loop(&self) -> bool {
        self.in_tool_loop
    }

    /// The text of the last turn of the user; empty when there is none or it holds no text. Later messages of other roles do not
    /// matter.
    pub fn last_turn(&self) -> &str {
        &self.last
    }

    /// The number of turns of the user.
    pub(super) fn turns(&self) -> usize {
        self.turns.len()
    }

    /// The index of a turn among all messages.
    pub(super) fn message_index(&self, turn: usize) -> usize {
        self.turns
            .get(turn)
            .map_or(0, |turn| turn.message_index as usize)
    }

    /// The text of a turn that can be judged; `None` for a turn without text and for a follow-up. The first turn is never a
    /// follow-up.
    pub(super) fn judgeable(&self, turn: usize) -> Option<Cow<'_, str>> {
        let text = if turn + 1 == self.turns.len() {
            Cow::Borrowed(&*self.last)
        } else {
            self.text(self.turns.get(turn)?)
        };
        let has_nothing_to_judge = text.trim().is_empty() || (turn > 0 && is_followup(&text));
        (!has_nothing_to_judge).then_some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with<T>(messages: &str, look: impl FnOnce(Conversation) -> T) -> T {
        let request = ChatRequest::read(format!("{{\"messages\":{messages}}}").into()).unwrap();
        look(Conversation::of(&request).unwrap())
    }

    #[test]
    fn the_turns_of_the_user_are_found_among_the_messages() {
        let messages = r#"[{"role":"system","content":"s"},{"role":"user","content":"first"},{"role":"assistant","content":"a"},{"role":"user","content":"what was the second?"},{"role":"system","content":"s"}]"#;
        with(messages, |chat| {
            assert_eq!(
                (chat.turns(), chat.message_index(0), chat.message_index(1)),
                (2, 1, 3)
            );
            assert_eq!(chat.last_turn(), "what was the second?");
            assert_eq!(chat.judgeable(0).unwrap(), "first");
            assert_eq!(chat.judgeable(1).unwrap(), "what was the second?");
            assert!(!chat.is_in_tool_loop());
        });
    }

    #[test]
    fn a_tool_result_at_the_end_keeps_the_turn() {
        let messages = r#"[{"role":"user","content":"q"},{"role":"assistant","content":null},{"role":"tool","content":"42"}]"#;
        with(messages, |chat| {
            assert_eq!((chat.last_turn(), chat.is_in_tool_loop()), ("q", true));
        });
    }

    #[test]
    fn a_short_turn_is_judged_when_it_is_the_first_and_a_followup_after_another() {
        let messages = r#"[{"role":"user","content":"hi"},{"role":"user","content":"hi"}]"#;
        with(messages, |chat| {
            assert_eq!(chat.judgeable(0).unwrap(), "hi");
            assert_eq!(chat.judgeable(1), None);
        });
    }

    #[test]
    fn neither_an_image_alone_nor_a_yes_after_it_is_judged() {
        let image =
            r#"{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:"}}]}"#;
        with(
            &format!(r#"[{image},{{"role":"user","content":"yes"}}]"#),
            |chat| {
                assert_eq!((chat.judgeable(0), chat.judgeable(1)), (None, None));
            },
        );
        with(r#"[{"role":"system","content":"s"}]"#, |chat| {
            assert_eq!((chat.turns(), chat.last_turn()), (0, ""));
        });
    }
}
