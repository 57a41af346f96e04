//! `thinkgate check-config`: builds what `serve` builds, and binds no address.

use std::{io::Write, path::PathBuf};

use super::load_config;
use crate::{
    app,
    config::{DEFAULT_YAML, Flags},
};

/// Prints the effective configuration.
///
/// # Errors
/// Every problem of the configuration.
pub fn run(files: Vec<PathBuf>, print_default: bool) -> anyhow::Result<()> {
    if print_default {
        return Ok(std::io::stdout().write_all(DEFAULT_YAML.as_bytes())?);
    }
    let config = load_config(&Flags {
        files,
        ..Flags::default()
    })?;
    if let Some(message) = config.nothing_to_serve() {
        eprintln!("thinkgate: warning: {message}"); // only a warning: --upstream may add a server
    }
    let state = app::build(config.clone())?; // finds the problems of certificates and the classifier
    for warning in app::warnings(&state) {
        eprintln!("thinkgate: warning: {warning}");
    }
    let text = serde_yaml::to_string(&config)?;
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}
