//! The `thinkgate` command.

use std::process::ExitCode;

/// Requests are many small allocations made on one thread and freed on another, which the system's allocator is slow at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    thinkgate::cli::main()
}
