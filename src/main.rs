//! The `thinkgate` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    thinkgate::cli::main()
}
