//! The model, and texts of a length.

use std::{env, os::unix::process::CommandExt, path::PathBuf, process::Command};

use thinkgate::config::Classifier;

/// Tokens that frame a text.
const FRAME: usize = 2;
/// Each word is one token of the default router's.
const GREY: &str = "the price of a share may fall when more people want to sell than to buy and a bank that holds many of them could \
    lose its trust so which rule should the state change before the next crisis and why would firms follow it";
const PLAIN: &str = "please set an alarm for seven in the morning and play some quiet music in the kitchen then turn off the lights \
    in the hall and tell me what the weather will be like at the beach on sunday for my family";

/// As the gateway loads it by default, but for a deadline that nothing here is to miss. `cache`: scores that are kept. The model is
/// another where a folder is given: `cargo bench --bench NAME -- FOLDER`; its vocabulary must hold the words below.
pub fn options(cache: usize) -> Classifier {
    let mut settings = Classifier {
        deadline_ms: 60_000,
        cache,
        ..Classifier::default()
    };
    let mut folders = env::args().skip(1).map(PathBuf::from);
    if let Some(folder) = folders.rfind(|path| path.is_dir()) {
        settings.model = folder;
    }
    settings
}

/// A text of so many tokens, special ones included; another for every number. Those tried go through the default router's layers.
pub fn text(tokens: usize, number: usize) -> String {
    walk(GREY, tokens, number)
}

/// The same, of one that leaves the default router at its exit.
#[allow(dead_code, reason = "not every bench asks for one")]
pub fn plain_text(tokens: usize) -> String {
    walk(PLAIN, tokens, 0)
}

fn walk(words: &str, tokens: usize, number: usize) -> String {
    let words: Vec<&str> = words.split_whitespace().collect();
    // The digits of the number, written in words, and then a walk through the list.
    let mut state = number;
    let text: Vec<&str> = (0..tokens - FRAME)
        .map(|place| {
            let word = words[(state + place * 7) % words.len()];
            state /= words.len();
            word
        })
        .collect();
    text.join(" ")
}

/// Starts this program anew with ONNX Runtime's telemetry off, as the gateway does.
pub fn without_telemetry() {
    const OFF: &str = "ORT_DISABLE_TELEMETRY";
    if env::var_os(OFF).is_none() {
        let mut program = Command::new(env::current_exe().unwrap());
        let error = program.args(env::args_os().skip(1)).env(OFF, "1").exec();
        panic!("cannot start anew: {error}");
    }
}
