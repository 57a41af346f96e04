//! The API of model servers as bytes: reads an OpenAI request, changes its bytes, and watches the bytes of the response.
//!
//! Nothing here waits or knows of models. Fields that are not known stay byte for byte.

mod body_buffer;
mod body_pieces;
mod byte_edits;
mod chat;
mod form;
mod form_part;
mod json_cursor;
mod json_object;
mod json_string;
pub mod limits;
mod media_type;
mod message;
mod model_field;
mod model_name;
mod reasoning_fields;
mod sse;
mod text_encoding;
mod url;
mod usage;

/// The path of chat requests, which are judged.
pub const CHAT: &str = "/v1/chat/completions";

pub use body_buffer::BodyBuffer;
pub use body_pieces::BodyPieces;
pub use byte_edits::{Change, apply};
pub use chat::ChatRequest;
pub use json_cursor::JsonError;
pub use json_object::Object;
pub use media_type::{content_type, form_boundary, is_media_type};
pub use message::{Message, Messages, text_of};
pub use model_field::ModelField;
pub use model_name::check_model_name;
pub use reasoning_fields::{REASONING_FIELDS, ReasoningFields};
pub use sse::SseScanner;
pub use url::url_as_written;
pub use usage::{JsonUsage, Usage};
