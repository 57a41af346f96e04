//! The model of the benches, and texts of a given length.

use std::{env, os::unix::process::CommandExt, path::PathBuf, process::Command};

use thinkgate::config::ClassifierConfig;

/// Special tokens before and after a text.
const SPECIAL_TOKENS: usize = 2;
/// Words of texts that need all layers of the default model. Each word is one token.
const HARD: &str = "the price of a share may fall when more people want to sell than to buy and a bank that holds many of them could \
    lose its trust so which rule should the state change before the next crisis and why would firms follow it";
/// Words of texts that leave the default model at its early exit.
const EASY: &str = "please set an alarm for seven in the morning and play some quiet music in the kitchen then turn off the lights \
    in the hall and tell me what the weather will be like at the beach on sunday for my family";

/// The default configuration, with a deadline that no bench reaches. `cache`: scores that are kept. To measure another model, name its
/// folder: `cargo bench --bench NAME -- FOLDER`. Its vocabulary must contain the words above.
pub fn options(cache: usize) -> ClassifierConfig {
    let mut settings = ClassifierConfig {
        deadline_ms: 60_000,
        cache,
        ..ClassifierConfig::default()
    };
    let mut folders = env::args().skip(1).map(PathBuf::from);
    if let Some(folder) = folders.rfind(|path| path.is_dir()) {
        settings.model = folder;
    }
    settings
}

/// A text of this many tokens, including special ones, different for every number. The tested ones need all layers of the default model.
pub fn text(tokens: usize, number: usize) -> String {
    text_of(HARD, tokens, number)
}

/// A text of this many tokens that leaves the default model at its early exit.
#[allow(dead_code, reason = "not every bench uses it")]
pub fn early_exit_text(tokens: usize) -> String {
    text_of(EASY, tokens, 0)
}

/// A text of these words, different for every number.
fn text_of(words: &str, tokens: usize, number: usize) -> String {
    let words: Vec<&str> = words.split_whitespace().collect();
    // First the digits of the number, written in words, so that texts differ; then words of the list.
    let mut state = number;
    let text: Vec<&str> = (0..tokens - SPECIAL_TOKENS)
        .map(|place| {
            let word = words[(state + place * 7) % words.len()];
            state /= words.len();
            word
        })
        .collect();
    text.join(" ")
}

/// Runs this program again with the telemetry of ONNX Runtime switched off, as the gateway does.
pub fn without_telemetry() {
    const OFF: &str = "ORT_DISABLE_TELEMETRY";
    if env::var_os(OFF).is_none() {
        let mut program = Command::new(env::current_exe().unwrap());
        let error = program.args(env::args_os().skip(1)).env(OFF, "1").exec();
        panic!("cannot run this program again: {error}");
    }
}
