//! The model, and texts of a length.

use std::{env, os::unix::process::CommandExt, path::PathBuf, process::Command, time::Duration};

use thinkgate::{app, classifier::Options, config::Config};

/// Tokens that frame a text.
const FRAME: usize = 2;
/// Each is one token.
const WORDS: &str = "the museum opens early on sunday and many people walk from the central station to see old ships before \
    they meet friends near a small green park where music plays until late every summer night while boats cross the wide river";

/// As the gateway loads it by default, but for a deadline that nothing here is to miss. `cache`: scores that are kept. The model is
/// another where a folder is given: `cargo bench --bench NAME -- FOLDER`; its vocabulary must hold the words below.
pub fn options(cache: usize) -> Options {
    let mut config = Config::from_yaml("{}").unwrap();
    let mut folders = env::args().skip(1).map(PathBuf::from);
    if let Some(folder) = folders.rfind(|path| path.is_dir()) {
        config.classifier.model = folder;
    }
    Options {
        deadline: Duration::from_secs(60),
        cache,
        ..app::classifier_options(&config.classifier)
    }
}

/// A text of so many tokens, special ones included; another for every number.
pub fn text(tokens: usize, number: usize) -> String {
    let words: Vec<&str> = WORDS.split_whitespace().collect();
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
