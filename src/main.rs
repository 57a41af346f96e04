//! The `thinkgate` binary: re-executes itself once with the environment variables that it needs, then runs the command line.
//!
//! The allocator reads its variables before `main` begins, and setting a variable in a running process is unsafe. So the process
//! replaces itself (`exec`) with the same program, arguments and process id. Variables that the operator set are kept.

use std::{env, os::unix::process::CommandExt, process::Command, process::ExitCode};

/// Requests make many small allocations on one thread and free them on another, which is slow with the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The variables that must be set before the first allocation or before ONNX Runtime is loaded.
const REQUIRED_VARIABLES: [(&str, &str); 3] = [
    // Turns off the telemetry of ONNX Runtime 1.32: it sends events to Microsoft, and keeps a database and a device name under
    // `~/.cache/Microsoft`. The runtime's own function to turn it off comes too late for these files.
    ("ORT_DISABLE_TELEMETRY", "1"),
    // Turns off huge pages for mimalloc. After some twelve minutes the kernel would merge its mostly unused pages into huge ones,
    // which costs 20 MB.
    ("MIMALLOC_ALLOW_THP", "0"),
    // Returns freed memory to the system after 10 ms, as mimalloc 2 does; the default of mimalloc 3 is a second. Less memory stays
    // resident after a burst, at no measurable cost. With 0 a request takes more processor time.
    ("MIMALLOC_PURGE_DELAY", "10"),
];

fn main() -> ExitCode {
    let is_missing = |(name, _): &(&str, &str)| env::var_os(name).is_none();
    if REQUIRED_VARIABLES.iter().any(is_missing) {
        re_execute_with(REQUIRED_VARIABLES.into_iter().filter(is_missing));
    }
    thinkgate::cli::main()
}

/// Replaces this process by the same program with these variables set. Returns only if that fails; then the program continues
/// without them.
fn re_execute_with(variables: impl Iterator<Item = (&'static str, &'static str)>) {
    let mut args = env::args_os();
    if let (Ok(program), Some(name)) = (env::current_exe(), args.next()) {
        let _ = Command::new(program)
            .arg0(name)
            .args(args)
            .envs(variables)
            .exec();
    }
}
