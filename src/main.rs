//! The `thinkgate` command.

use std::{env, os::unix::process::CommandExt, process::Command, process::ExitCode};

/// Requests are many small allocations made on one thread and freed on another, which the system's allocator is slow at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What has to be in the environment before the first allocation, or before a library is loaded; what the operator set stays.
const NEEDED: [(&str, &str); 3] = [
    // ONNX Runtime 1.32 keeps a database and a device's name under `~/.cache/Microsoft` and sends events to its makers without
    // it; its own call to turn that off comes too late for the files.
    ("ORT_DISABLE_TELEMETRY", "1"),
    // The kernel would make huge pages of mimalloc's after some twelve minutes, most of which nobody ever wrote to: 20 MB more.
    ("MIMALLOC_ALLOW_THP", "0"),
    // mimalloc 3 keeps what is freed for a second; after 10 ms, as mimalloc 2 does, less stays resident behind a burst, at no
    // measurable cost. At 0 a request takes more processor time.
    ("MIMALLOC_PURGE_DELAY", "10"),
];

fn main() -> ExitCode {
    let lacks = |(name, _): &(&str, &str)| env::var_os(name).is_none();
    if NEEDED.iter().any(lacks) {
        start_anew_with(NEEDED.into_iter().filter(lacks));
    }
    thinkgate::cli::main()
}

/// Becomes the same program with these variables set: to set one in a process that runs is unsafe. Returns only if that fails.
fn start_anew_with(variables: impl Iterator<Item = (&'static str, &'static str)>) {
    let mut args = env::args_os();
    if let (Ok(program), Some(name)) = (env::current_exe(), args.next()) {
        let _ = Command::new(program)
            .arg0(name)
            .args(args)
            .envs(variables)
            .exec();
    }
}
