//! Where a relative path of the configuration lies: so that the binary finds its model from any working directory.

use std::{
    env,
    path::{Path, PathBuf},
};

use super::Classifier;

impl Classifier {
    /// The folder of `classifier.model`, located.
    pub fn model_folder(&self) -> PathBuf {
        locate(&self.model)
    }

    /// The library of `classifier.runtime`, located.
    pub fn runtime_library(&self) -> PathBuf {
        locate(&self.runtime)
    }
}

/// Finds a relative `path` in the working directory, else beside the executable or in a folder above it (a checkout with its
/// `target/`, or `/opt/thinkgate/bin`). What is found nowhere is returned as it was, for the message.
fn locate(path: &Path) -> PathBuf {
    if path.is_absolute() || path.exists() {
        return path.to_owned();
    }
    let executable = env::current_exe().unwrap_or_default();
    let found = executable
        .ancestors()
        .skip(1)
        .map(|folder| folder.join(path))
        .find(|candidate| candidate.exists());
    found.unwrap_or_else(|| path.to_owned())
}
