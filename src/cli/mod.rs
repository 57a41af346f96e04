//! The commands: thin callers of the stages, and the only ones that write to standard output.

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
    /// The gateway. `--upstream URL` alone is enough: models come from its /v1/models.
    Serve(ServeArgs),
    /// The gateway in front of a small built-in model server: a first try without a GPU.
    Demo(DemoArgs),
    /// Checks a configuration: every problem with its path, or the effective configuration.
    CheckConfig(CheckArgs),
    /// Classifies texts: one JSON line out per argument, or per line of standard input.
    Classify(ClassifyArgs),
}

#[derive(Debug, Args)]
struct ServeArgs {
    /// A configuration file; later ones win.
    #[arg(long, value_name = "FILE")]
    config: Vec<PathBuf>,
    /// A server whose models are served; may end in /v1 or carry a path prefix.
    #[arg(long, value_name = "URL")]
    upstream: Vec<String>,
    /// The key for every --upstream: env:NAME or file:PATH.
    #[arg(long, value_name = "env:NAME")]
    upstream_key: Option<String>,
    /// Where to listen, such as 0.0.0.0:8080.
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
}

#[derive(Debug, Args)]
struct DemoArgs {
    /// Where to listen.
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
}

#[derive(Debug, Args)]
struct CheckArgs {
    /// A configuration file; later ones win.
    #[arg(long, value_name = "FILE", required_unless_present = "print_default")]
    config: Vec<PathBuf>,
    /// Prints the documented defaults, as in configs/default.yaml.
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
    /// A configuration file; later ones win.
    #[arg(long, value_name = "FILE")]
    config: Vec<PathBuf>,
}

/// Runs the command line; the process's exit status.
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

/// Loads the configuration, or fails with every problem, a line each.
fn load_config(flags: &Flags) -> anyhow::Result<Config> {
    Ok(config::read(flags, &Family::ids()).validated()?)
}
