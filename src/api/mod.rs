//! The wire, pure: what we read of an OpenAI request, how we change its bytes, and what we see of the answer.
//!
//! Nothing here waits, allocates per event, or knows of models. Fields we do not know stay byte for byte.

mod byte_edits;
mod chat;
mod json_object;
mod message;
mod model_field;
mod sse;
mod usage;

/// The path of chat requests, the ones that are judged.
pub const CHAT: &str = "/v1/chat/completions";

pub use byte_edits::{Change, apply};
pub use chat::ChatRequest;
pub use json_object::Object;
pub use message::Message;
pub use model_field::ModelField;
pub use sse::SseScanner;
pub use usage::{JsonUsage, Usage};
