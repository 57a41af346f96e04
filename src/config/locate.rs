//! Finds the files of a relative path, so that the binary finds its model from any working directory.

use std::{
    env,
    path::{Path, PathBuf},
};

use super::ClassifierConfig;

impl ClassifierConfig {
    /// The folder of `classifier.model`, found from any working directory.
    pub fn model_folder(&self) -> PathBuf {
        locate(&self.model)
    }

    /// The library of `classifier.runtime`, found from any working directory.
    pub fn runtime_library(&self) -> PathBuf {
        locate(&self.runtime)
    }
}

/// Finds a relative `path` in the working directory, beside the executable, or in a folder above the executable (the checkout above
/// `target/`, or `/opt/thinkgate` above `bin/`). A path that exists nowhere is returned as it is, for the error message.
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
