//! placeholder
pub mod error;
pub mod openai;
pub mod routing;
pub mod classifier;
pub mod config;
