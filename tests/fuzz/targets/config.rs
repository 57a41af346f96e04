//! Fuzzes the configuration reader: any file is accepted, or every problem names its path.
#![no_main]

use std::{fs, path::PathBuf, sync::LazyLock};

use libfuzzer_sys::fuzz_target;
use thinkgate::{
    config::{self, Config, Flags, Problem},
    routing::Family,
};

/// A file of this process, in memory where possible.
static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    let memory = PathBuf::from("/dev/shm");
    let folder = if memory.is_dir() {
        memory
    } else {
        std::env::temp_dir()
    };
    folder.join(format!("thinkgate-fuzz-{}.yaml", std::process::id()))
});

fuzz_target!(|text: &[u8]| {
    if let Ok(text) = std::str::from_utf8(text) {
        let _ = Config::from_yaml(text);
    }
    match read(text) {
        Ok(config) => {
            config.warnings().iter().for_each(check);
            // What check-config prints must read as the same configuration, unless it hides a hash.
            let printed = serde_yaml::to_string(&config).expect("a configuration can be printed");
            if !printed.contains("sha256:(hidden)") {
                assert_eq!(read(printed.as_bytes()), Ok(config), "{printed}");
            }
        }
        Err(problems) => {
            assert!(!problems.is_empty());
            problems.iter().for_each(check);
        }
    }
});

fn read(text: &[u8]) -> Result<Config, Vec<Problem>> {
    fs::write(&*FILE, text).expect("the file can be written");
    let files = vec![FILE.clone()];
    let flags = Flags {
        files,
        ..Flags::default()
    };
    let parsed = config::read(&flags, &Family::ids());
    parsed.validated().map_err(|problems| problems.0)
}

/// A problem must name its path and have a message.
fn check(problem: &Problem) {
    let says_where = !matches!(&*problem.path, "" | ".");
    assert!(says_where && !problem.message.is_empty(), "{problem:?}");
}
