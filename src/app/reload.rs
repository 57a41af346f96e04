//! Reloads the configuration while requests run: on SIGHUP, and when one of its files changes.
//!
//! A reload reads, checks and builds everything first, and then swaps the state. Running requests keep the state that they began
//! with; servers that are still configured keep their health, their breakers and their connections. If a configuration has
//! problems, each is logged, the gauge `thinkgate_config_reload_ok` becomes 0, and the old configuration stays in use.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    path::PathBuf,
    time::Duration,
};

use tokio::{
    signal::unix::Signal,
    task::{JoinError, spawn_blocking},
    time::sleep,
};

use crate::{
    app::build_state,
    config::{self, Flags, ParsedConfig, Problem, Problems},
    routing::Family,
    state::{AppState, StateHandle},
    telemetry::Metrics,
};

/// The interval at which files are read. They are polled, because file events miss changes: Kubernetes replaces a ConfigMap by
/// moving a link two folders up, and network file systems send no events.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// The time without a change after which a file is complete. An editor writes in several steps.
const QUIET_PERIOD: Duration = Duration::from_millis(200);

/// Reloads the configuration of a running gateway.
#[derive(Debug)]
pub struct Reload {
    /// The state that is replaced.
    pub state_handle: StateHandle,
    /// The flags that the process was started with.
    pub flags: Flags,
    /// The files of the configuration in use, as they were when it was read.
    pub files: FileHashes,
}

/// The hash of every file of a configuration; `None` for a file that could not be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileHashes(BTreeMap<PathBuf, Option<u64>>);

/// Reads the configuration and the hashes of its files, also if it has problems. The hashes are taken before the files are read, so
/// that a later change is always seen.
pub fn read(flags: &Flags) -> (ParsedConfig, FileHashes) {
    let config_files = FileHashes::of(flags.files.iter().cloned());
    let parsed = config::read(flags, &Family::ids());
    let mut files = FileHashes::of(parsed.config.files().into_iter());
    files.0.extend(config_files.0);
    (parsed, files)
}

impl FileHashes {
    fn of(files: impl Iterator<Item = PathBuf>) -> Self {
        let hash = |content: Vec<u8>| {
            let mut hasher = DefaultHasher::new();
            content.hash(&mut hasher);
            hasher.finish()
        };
        let hashes = files.map(|file| {
            let content = config::read_again(&file).map(hash);
            (file, content)
        });
        Self(hashes.collect())
    }

    /// Waits until a file has changed and no file changes any more.
    async fn changed(&self) {
        let mut last = self.clone();
        loop {
            sleep(if last == *self {
                POLL_INTERVAL
            } else {
                QUIET_PERIOD
            })
            .await;
            let files = self.clone();
            // A network file system may be slow, and must not block the other tasks of this thread.
            let hashes = spawn_blocking(move || Self::of(files.0.into_keys())).await;
            let Ok(now) = hashes else { continue };
            if now == last && now != *self {
                return;
            }
            last = now;
        }
    }
}

impl Reload {
    /// Reloads on every change and on SIGHUP. Never returns.
    pub async fn run(mut self, mut hangup: Signal) {
        self.state_handle.load().metrics.set_reload_ok(true);
        loop {
            tokio::select! {
                _ = hangup.recv() => tracing::info!("SIGHUP: reading the configuration again"),
                () = self.files.changed() => tracing::info!("the configuration's files changed"),
            }
            let (state_handle, flags) = (self.state_handle.clone(), self.flags.clone());
            let reloaded = spawn_blocking(move || reload(&state_handle, &flags)).await;
            finish(&mut self.files, reloaded, &self.state_handle.load().metrics);
        }
    }
}

/// Keeps the hashes of a reload. A reload that panicked counts as failed, and its files stay as they were.
fn finish(files: &mut FileHashes, reloaded: Result<FileHashes, JoinError>, metrics: &Metrics) {
    match reloaded {
        Ok(now) => *files = now,
        Err(error) => {
            tracing::error!(%error, "the configuration could not be read");
            metrics.set_reload_ok(false);
        }
    }
}

/// Replaces the state if the configuration has no problems, or logs them. Returns the hashes of the files that were read.
fn reload(state_handle: &StateHandle, flags: &Flags) -> FileHashes {
    let before = state_handle.load();
    let (parsed, files) = read(flags);
    let rebuilt = rebuild(&before, parsed);
    let is_ok = rebuilt.is_ok();
    match rebuilt {
        Ok(state) => {
            for warning in super::warnings(&state) {
                tracing::warn!(setting = warning.path, "{}", warning.message);
            }
            state_handle.replace(state);
            tracing::info!("the configuration is taken up");
        }
        Err(problems) => {
            for Problem { path, message } in problems.0 {
                tracing::error!(setting = path, "{message}");
            }
            tracing::error!("the configuration is not taken up; the one before it is served on");
        }
    }
    before.metrics.set_reload_ok(is_ok); // last, so that the gauge never shows a reload that is not done
    files
}

/// Builds the state for a configuration.
///
/// # Errors
/// Every problem of the configuration.
fn rebuild(before: &AppState, parsed: ParsedConfig) -> Result<AppState, Problems> {
    let mut problems = parsed.problems();
    if parsed.is_complete {
        problems.add(build_state::reload_problems(before, &parsed.config));
    }
    if !problems.0.is_empty() {
        return Err(problems);
    }
    build_state::rebuild(before, parsed.config)
        .map_err(|error| Problems(vec![Problem::new("configuration", format!("{error:#}"))]))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tokio::time::timeout;

    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn an_edit_while_the_gateway_starts_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let (file, key) = (folder.path().join("a.yaml"), folder.path().join("key"));
        // The key is missing, so that the configuration has a problem.
        let yaml = format!(
            "{{auth: {{keys: [{{name: a, key: 'file:{}'}}]}}, listen: x}}",
            key.display()
        );
        fs::write(&file, yaml).unwrap();
        let flags = Flags {
            files: vec![file.clone()],
            ..Flags::default()
        };
        let (parsed, files) = read(&flags);
        assert!(parsed.validated().is_err());
        fs::write(&key, "sk-a").unwrap();
        timeout(SOON, files.changed()).await.unwrap();
        let (_, files) = read(&flags);
        fs::write(&file, "{}").unwrap();
        timeout(SOON, files.changed()).await.unwrap();
    }

    #[tokio::test]
    async fn a_reload_that_panics_shows_as_one_that_failed() {
        let metrics = Metrics::new(None).unwrap();
        metrics.set_reload_ok(true);
        let mut files = FileHashes::default();
        let panics = spawn_blocking(|| -> FileHashes { panic!("a defect") }).await;
        finish(&mut files, panics, &metrics);
        let text = String::from_utf8(metrics.render()).unwrap();
        let is_zero = |line: &str| line == "thinkgate_config_reload_ok 0";
        assert!(text.lines().any(is_zero), "{text}");
    }
}
