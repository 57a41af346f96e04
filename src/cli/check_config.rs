//! `thinkgate check-config`: `serve` without binding.

use std::{io::Write, path::PathBuf};

use super::load_config;
use crate::config::{DEFAULT_YAML, Flags};

/// Prints the effective configuration, or fails with every problem.
pub fn run(files: Vec<PathBuf>, print_default: bool) -> anyhow::Result<()> {
    let text = match print_default {
        true => DEFAULT_YAML.to_owned(),
        false => serde_yaml::to_string(&load_config(&Flags {
            files,
            ..Flags::default()
        })?)?,
    };
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}
