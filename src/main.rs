//! The `thinkgate` command.

use std::{env, os::unix::process::CommandExt, process::Command, process::ExitCode};

/// Requests are many small allocations made on one thread and freed on another, which the system's allocator is slow at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// ONNX Runtime 1.32 keeps a database and a device's name under `~/.cache/Microsoft` and sends events to its makers, unless
/// this is in the environment when it is loaded; its own call to turn that off comes too late for the files.
const NO_TELEMETRY: &str = "ORT_DISABLE_TELEMETRY";

fn main() -> ExitCode {
    if env::var_os(NO_TELEMETRY).is_none() {
        start_anew_without_telemetry();
    }
    thinkgate::cli::main()
}

/// Becomes the same program with the variable set: to set it in a process that runs is unsafe. Returns only if that fails.
fn start_anew_without_telemetry() {
    let mut args = env::args_os();
    if let (Ok(program), Some(name)) = (env::current_exe(), args.next()) {
        let _ = Command::new(program)
            .arg0(name)
            .args(args)
            .env(NO_TELEMETRY, "1")
            .exec();
    }
}
