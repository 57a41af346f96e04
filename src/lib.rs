//! placeholder
pub mod error;
pub mod openai;
