//! The wire, pure: what we read of an OpenAI request, how we change its bytes, and what we see of the answer.
//!
//! Nothing here waits, allocates per event, or knows of models. Fields we do not know stay byte for byte.

mod edit;
mod message;
mod named;
mod object;
mod request;
mod sse;
mod usage;

/// The path of chat requests, the ones that are judged.
pub const CHAT: &str = "/v1/chat/completions";

pub use edit::{Change, apply};
pub use message::Message;
pub use named::NamedModel;
pub use object::Object;
pub use request::ChatRequest;
pub use sse::SseScanner;
pub use usage::{JsonUsage, Usage};
