//! How much of each thing a request may hold. A server could do nothing useful with more, and reading it costs us and the server
//! more than its bytes.

/// Members of a request's top level, and of an object in it that we read (`chat_template_kwargs`, `reasoning`, ..). The APIs of
/// model servers have about a hundred fields, and chat templates a handful of variables.
pub const MAX_MEMBERS: usize = 1_024;

/// Messages of a chat request. The longest context of any model is ten million tokens, and a chat template spends about ten on
/// every message.
pub const MAX_MESSAGES: usize = 1 << 20;

/// Parts in the contents of all messages together, for the same reason.
pub const MAX_CONTENT_PARTS: usize = 1 << 20;

/// A model's name, in bytes. The longest names are paths of folders, and a segment of a path has 255 bytes at most.
pub const MAX_MODEL_NAME_BYTES: usize = 512;

/// Parts of a form: starlette, which reads the forms that vLLM gets, takes 1,000 files and 1,000 fields.
pub const MAX_FORM_PARTS: usize = 2_000;

/// The head of a part of a form, in bytes: the same as what a server in front of Python takes for a whole request's headers.
pub const MAX_PART_HEAD_BYTES: usize = 16 << 10;
