//! The gateway as a process: the binary itself, its signals, and what it logs.

use std::{
    net::SocketAddr,
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::{
    fixture,
    http::{Answer, PATIENCE, send},
};

/// A running `thinkgate serve`; killed when dropped.
pub struct Process {
    pub address: SocketAddr,
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    reads: JoinHandle<()>,
}

impl Process {
    /// Starts it with the tests' classifier and waits until it is ready.
    pub async fn start(args: &[&str], environment: &[(&str, &str)]) -> Self {
        let process = Self::of(Self::command(args, environment)).await;
        while process.get("/ready").await.status != 200 {
            sleep(Duration::from_millis(10)).await;
        }
        process
    }

    /// What [`Process::start`] starts.
    pub fn command(args: &[&str], environment: &[(&str, &str)]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_thinkgate"));
        command
            .arg("serve")
            .args(args)
            .args(["--listen", "127.0.0.1:0"])
            .env("THINKGATE_CLASSIFIER__MODEL", fixture("models/tiny"))
            .env("THINKGATE_CLASSIFIER__DEADLINE_MS", "5000")
            .envs(environment.iter().copied());
        command
    }

    /// Starts a command that ends up as `thinkgate serve`, and waits until it listens.
    pub async fn of(mut command: Command) -> Self {
        let mut child = command
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut from = BufReader::new(child.stderr.take().unwrap()).lines();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let log = lines.clone();
        let reads = tokio::spawn(async move {
            while let Ok(Some(line)) = from.next_line().await {
                log.lock().unwrap().push(line);
            }
        });
        let mut process = Self {
            address: ([127, 0, 0, 1], 0).into(),
            child,
            lines,
            reads,
        };
        let listens = |line: &Value| line["listen"].as_str().map(|at| at.parse().unwrap());
        process.address = process.said(listens).await;
        process
    }

    /// What it logged so far.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// Waits for a log line that `wanted` finds something in.
    pub async fn said<T>(&self, wanted: impl Fn(&Value) -> Option<T>) -> T {
        let look = async {
            loop {
                let found = self
                    .lines()
                    .iter()
                    .find_map(|line| wanted(&serde_json::from_str(line).ok()?));
                match found {
                    Some(found) => return found,
                    None => sleep(Duration::from_millis(5)).await,
                }
            }
        };
        match timeout(PATIENCE, look).await {
            Ok(found) => found,
            Err(_) => panic!("never said: {:#?}", self.lines()),
        }
    }

    /// Waits for a log line that contains `text`.
    pub async fn said_text(&self, text: &str) {
        self.said(|line| line.to_string().contains(text).then_some(()))
            .await;
    }

    pub async fn get(&self, path: &str) -> Answer {
        send(self.address, "GET", path, &[], "").await
    }

    pub async fn chat(&self, body: &str) -> Answer {
        send(self.address, "POST", "/v1/chat/completions", &[], body).await
    }

    /// The value of the first metric whose line begins with `name`.
    pub async fn metric(&self, name: &str) -> Option<f64> {
        let answer = self.get("/metrics").await;
        let line = answer.text().lines().find(|line| line.starts_with(name))?;
        line.rsplit(' ').next()?.parse().ok()
    }

    pub fn pid(&self) -> u32 {
        self.child.id().unwrap()
    }

    /// Sends a signal, such as `HUP`.
    pub async fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &pid])
            .status();
        assert!(sent.await.unwrap().success());
    }

    /// Asks it to stop; its status and all it logged.
    pub async fn stop(mut self) -> (Option<i32>, Vec<String>) {
        self.signal("TERM").await;
        let status = timeout(PATIENCE, self.child.wait()).await.unwrap().unwrap();
        timeout(PATIENCE, &mut self.reads).await.unwrap().unwrap();
        (status.code(), self.lines())
    }
}
