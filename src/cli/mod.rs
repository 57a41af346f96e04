//! The command line: each command is a thin caller of the other folders. Only commands write to standard output.
//!
//! The `thinkgate` binary re-executes itself once at its start, before it calls [`main`]: `src/main.rs` sets environment variables
//! that its allocator and ONNX Runtime read. A program that calls [`main`] itself sets them itself.

mod check_config;
mod classify;
mod demo;
mod model_server;
mod serve;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};

use crate::{
    config::{self, Config, Flags},
    routing::Family,
};

/// Decides, per request, whether a reasoning model should think.
#[derive(Debug, Parser)]
#[command(name = "thinkgate", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the gateway. `--upstream URL` alone is enough: models come from its /v1/models.
    Serve(ServeArgs),
    /// Runs the gateway in front of a small built-in model server, to try it without a GPU.
    Demo(DemoArgs),
    /// Checks a configuration: prints every problem with its path, or the effective configuration.
    CheckConfig(CheckArgs),
    /// Classifies texts: prints one JSON line per argument, or per line of standard input.
    Classify(ClassifyArgs),
}

#[derive(Debug, Args)]
struct ServeArgs {
    /// A configuration file. Can be repeated; later files win.
    #[arg(long, value_name = "FILE")]
    config: Vec<PathBuf>,
    /// A model server whose models are served; the URL may end in /v1 or carry a path prefix. Can be repeated.
    #[arg(long, value_name = "URL")]
    upstream: Vec<String>,
    /// The key for every --upstream: env:NAME or file:PATH.
    #[arg(long, value_name = "env:NAME")]
    upstream_key: Option<String>,
    /// The address to listen on, such as 0.0.0.0:8080.
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
}

#[derive(Debug, Args)]
struct DemoArgs {
    /// The address to listen on.
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
}

#[derive(Debug, Args)]
struct CheckArgs {
    /// A configuration file. Can be repeated; later files win.
    #[arg(long, value_name = "FILE", required_unless_present = "print_default")]
    config: Vec<PathBuf>,
    /// Prints every setting at its default, with its documentation (configs/default.yaml).
    #[arg(long)]
    print_default: bool,
}

#[derive(Debug, Args)]
struct ClassifyArgs {
    /// Texts; without any, lines of standard input. A JSON line with `text` or `messages` works too.
    text: Vec<String>,
    /// How many are classified at a time.
    #[arg(long, value_name = "N", default_value_t = 1)]
    batch: usize,
    /// A configuration file. Can be repeated; later files win.
    #[arg(long, value_name = "FILE")]
    config: Vec<PathBuf>,
}

/// Parses the command line, runs the command, and returns the exit status of the process.
pub fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Serve(args) => serve::run(&args.flags()),
        Command::Demo(args) => demo::run(args.listen),
        Command::CheckConfig(args) => check_config::run(args.config, args.print_default),
        Command::Classify(args) => classify::run(args.text, args.batch, args.config),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("thinkgate: {error:#}");
            ExitCode::FAILURE
        }
    }
}

impl ServeArgs {
    fn flags(self) -> Flags {
        Flags {
            files: self.config,
            upstreams: self.upstream,
            upstream_key: self.upstream_key,
            listen: self.listen,
        }
    }
}

/// Reads and validates the configuration.
///
/// # Errors
/// Every problem, one line each.
fn load_config(flags: &Flags) -> anyhow::Result<Config> {
    Ok(config::read(flags, &Family::ids()).validated()?)
}
