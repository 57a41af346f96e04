//! Takes up a changed configuration while requests run: on SIGHUP, and when one of its files changes.
//!
//! Read, check and build everything first, then swap. A request that runs keeps what it came in under; servers that are still
//! there keep their health, their breakers and their connections. A configuration that is not taken up is said to the log with
//! every problem, and to a gauge; the one before it is served on.

use std::{
    collections::BTreeMap,
    fs,
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
    app,
    config::{self, Flags, ParsedConfig, Problem, Problems},
    routing::Family,
    state::{AppState, StateHandle},
    telemetry::Metrics,
};

/// How often the files are looked at. They are read, not watched: a ConfigMap swaps a link two folders up, and network folders
/// tell nobody.
const LOOK: Duration = Duration::from_secs(1);
/// How long files have to stay as they are; an editor writes in several steps.
const SETTLED: Duration = Duration::from_millis(200);

/// Where the configuration comes from, and what serves by it.
#[derive(Debug)]
pub struct Reload {
    /// Serves.
    pub state_handle: StateHandle,
    /// What the command line said when the process started.
    pub flags: Flags,
    /// The files of what is written, as they were when they were read last.
    pub seen: Files,
}

/// Files, and what was in them when they were looked at, in short; `None`: they could not be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files(BTreeMap<PathBuf, Option<u64>>);

/// Reads the configuration. Its files, and those it names whether it can be taken up or not, are looked at before anybody opens
/// them: what changes from then on is news.
pub fn read(flags: &Flags) -> (ParsedConfig, Files) {
    let own = Files::look(flags.files.iter().cloned());
    let written = config::read(flags, &Family::ids());
    let mut files = Files::look(written.config.files().into_iter());
    files.0.extend(own.0);
    (written, files)
}

impl Files {
    fn look(files: impl Iterator<Item = PathBuf>) -> Self {
        let short = |content: Vec<u8>| {
            let mut hasher = DefaultHasher::new();
            content.hash(&mut hasher);
            hasher.finish()
        };
        let looked = files.map(|file| {
            let content = fs::read(&file).ok().map(short);
            (file, content)
        });
        Self(looked.collect())
    }

    /// Waits until they have another content than this, and keep it.
    async fn changed(&self) {
        let mut last = self.clone();
        loop {
            sleep(if last == *self { LOOK } else { SETTLED }).await;
            let files = self.clone();
            // A network folder may take its time; what else runs on this thread does not wait for it.
            let looked = spawn_blocking(move || Self::look(files.0.into_keys())).await;
            let Ok(now) = looked else { continue };
            if now == last && now != *self {
                return;
            }
            last = now;
        }
    }
}

impl Reload {
    /// Takes up what changes, and everything on SIGHUP. Never returns.
    pub async fn run(mut self, mut hangup: Signal) {
        self.state_handle.load().metrics.set_reload_ok(true);
        loop {
            tokio::select! {
                _ = hangup.recv() => tracing::info!("SIGHUP: reading the configuration again"),
                () = self.seen.changed() => tracing::info!("the configuration's files changed"),
            }
            let (state_handle, flags) = (self.state_handle.clone(), self.flags.clone());
            let taken = spawn_blocking(move || take_up(&state_handle, &flags)).await;
            settle(&mut self.seen, taken, &self.state_handle.load().metrics);
        }
    }
}

/// Remembers what was seen of the files. A reload that panicked has failed like one that was refused.
fn settle(seen: &mut Files, taken: Result<Files, JoinError>, metrics: &Metrics) {
    match taken {
        Ok(now) => *seen = now,
        Err(error) => {
            tracing::error!(%error, "the configuration could not be read");
            metrics.set_reload_ok(false);
        }
    }
}

/// Serves by what is written now, or says why not; the files as they were read.
fn take_up(state_handle: &StateHandle, flags: &Flags) -> Files {
    let before = state_handle.load();
    let (written, seen) = read(flags);
    let taken = rebuilt(&before, written);
    let is_ok = taken.is_ok();
    match taken {
        Ok(state) => {
            for warning in state.config.warnings() {
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
    before.metrics.set_reload_ok(is_ok); // last: whoever reads it may rely on it
    seen
}

/// What a running gateway would be with this configuration, or everything that is in the way.
fn rebuilt(before: &AppState, written: ParsedConfig) -> Result<AppState, Problems> {
    let mut problems = written.problems();
    if written.is_whole {
        problems.add(app::obstacles(before, &written.config));
    }
    if !problems.0.is_empty() {
        return Err(problems);
    }
    app::rebuild(before, written.config)
        .map_err(|error| Problems(vec![Problem::new("configuration", format!("{error:#}"))]))
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn what_is_edited_while_the_gateway_starts_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let (file, key) = (folder.path().join("a.yaml"), folder.path().join("key"));
        // The key is missing, so that the configuration is refused.
        let yaml = format!(
            "{{auth: {{keys: [{{name: a, key: 'file:{}'}}]}}, listen: x}}",
            key.display()
        );
        fs::write(&file, yaml).unwrap();
        let flags = Flags {
            files: vec![file.clone()],
            ..Flags::default()
        };
        let (written, seen) = read(&flags);
        assert!(written.validated().is_err());
        fs::write(&key, "sk-a").unwrap();
        timeout(SOON, seen.changed()).await.unwrap();
        let (_, seen) = read(&flags);
        fs::write(&file, "{}").unwrap();
        timeout(SOON, seen.changed()).await.unwrap();
    }

    #[tokio::test]
    async fn a_reload_that_panics_shows_as_one_that_failed() {
        let metrics = Metrics::new().unwrap();
        metrics.set_reload_ok(true);
        let mut seen = Files::default();
        let panics = spawn_blocking(|| -> Files { panic!("a defect") }).await;
        settle(&mut seen, panics, &metrics);
        let text = String::from_utf8(metrics.render()).unwrap();
        let is_zero = |line: &str| line == "thinkgate_config_reload_ok 0";
        assert!(text.lines().any(is_zero), "{text}");
    }
}
