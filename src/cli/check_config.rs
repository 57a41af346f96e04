//! `thinkgate check-config`: `serve` without binding.

use std::{io::Write, path::PathBuf};

use super::load_config;
use crate::{
    app,
    config::{DEFAULT_YAML, Flags},
};

/// Prints the effective configuration, or fails with every problem.
pub fn run(files: Vec<PathBuf>, print_default: bool) -> anyhow::Result<()> {
    if print_default {
        return Ok(std::io::stdout().write_all(DEFAULT_YAML.as_bytes())?);
    }
    let config = load_config(&Flags {
        files,
        ..Flags::default()
    })?;
    for warning in config.warnings() {
        eprintln!("thinkgate: warning: {warning}");
    }
    if let Some(why) = config.idle() {
        eprintln!("thinkgate: warning: {why}"); // --upstream may give what the files do not
    }
    drop(app::build(config.clone())?); // loads what `serve` loads
    let text = serde_yaml::to_string(&config)?;
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}
