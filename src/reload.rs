//! Takes up a changed configuration while requests run: on SIGHUP, and when one of its files changes.
//!
//! Read, check and build everything first, then swap. A request that runs keeps what it came in under; servers that are still
//! there keep their health, their breakers and their connections. A configuration that is not taken up is said to the log with
//! every problem, and to a gauge; the one before it is served on.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use tokio::{signal::unix::Signal, time::sleep};

use crate::{
    app,
    config::{self, Config, Flags, Problem},
    live::Serving,
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
    pub serving: Serving,
    /// What the command line said when the process started.
    pub flags: Flags,
}

impl Reload {
    /// Takes up what changes, and everything on SIGHUP. Never returns.
    pub async fn run(self, mut hangup: Signal) {
        let mut seen = self.content();
        self.serving.live().metrics.reload_ok(true);
        loop {
            tokio::select! {
                _ = hangup.recv() => tracing::info!("SIGHUP: reading the configuration again"),
                () = self.changed(seen) => tracing::info!("the configuration's files changed"),
            }
            seen = self.content(); // before it is read: what changes from now on is seen
            self.take_up();
        }
    }

    fn take_up(&self) {
        let before = self.serving.live();
        let taken = config::load(&self.flags)
            .and_then(|config| checked(&before.config, config))
            .and_then(|config| {
                app::rebuild(&before, config)
                    .map_err(|error| vec![Problem::new("configuration", format!("{error:#}"))])
            });
        let is_ok = taken.is_ok();
        match taken {
            Ok(live) => {
                for warning in live.config.warnings() {
                    tracing::warn!(setting = warning.path, "{}", warning.message);
                }
                self.serving.replace(live);
                tracing::info!("the configuration is taken up");
            }
            Err(problems) => {
                for Problem { path, message } in problems {
                    tracing::error!(setting = path, "{message}");
                }
                tracing::error!(
                    "the configuration is not taken up; the one before it is served on"
                );
            }
        }
        before.metrics.reload_ok(is_ok); // last: whoever reads it may rely on it
    }

    /// Waits until the files have another content than `seen`, and keep it.
    async fn changed(&self, seen: u64) {
        let mut last = seen;
        loop {
            sleep(if last == seen { LOOK } else { SETTLED }).await;
            let now = self.content();
            if now == last && now != seen {
                return;
            }
            last = now;
        }
    }

    /// The content of every file of the configuration, in short.
    fn content(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        let named = self.serving.live().config.files();
        for file in self.flags.files.iter().chain(&named) {
            fs::read(file).ok().hash(&mut hasher);
        }
        hasher.finish()
    }
}

/// A configuration that a running gateway can take up.
fn checked(before: &Config, config: Config) -> Result<Config, Vec<Problem>> {
    let fixed = before.needs_restart(&config).into_iter();
    let mut problems: Vec<Problem> = fixed
        .map(|path| Problem::new(path, "takes a restart; it differs from what is served with"))
        .collect();
    problems.extend(config.idle().map(|why| Problem::new("models", why)));
    match problems.is_empty() {
        true => Ok(config),
        false => Err(problems),
    }
}
