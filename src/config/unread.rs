//! The settings of a configuration that could not be read.
//!
//! They have their defaults, or are missing. A problem that follows from that would be a false one: a model whose only endpoint has
//! an address that is none does not lack an endpoint.

use super::problem::is_within;

/// The paths of the settings that could not be read.
#[derive(Debug, Default)]
pub struct Unread {
    paths: Vec<String>,
    is_everything: bool,
}

impl Unread {
    /// Adds a setting, by its path in the file.
    pub fn add(&mut self, path: String) {
        self.paths.push(path);
    }

    /// Adds all settings, because a file of the configuration could not be read.
    pub fn everything(&mut self) {
        self.is_everything = true;
    }

    /// True if the setting at `path`, one around it or one within it was not read.
    pub fn concerns(&self, path: &str) -> bool {
        self.is_everything || self.overlaps(path)
    }

    /// The same, of the settings that were named alone.
    pub fn overlaps(&self, path: &str) -> bool {
        const SEPARATORS: [&str; 2] = [".", "["];
        self.paths.iter().any(|unread| {
            unread.is_empty() // the whole configuration
                || is_within(path, unread, &SEPARATORS)
                || is_within(unread, path, &SEPARATORS)
        })
    }
}
