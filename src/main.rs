//! The binary: parses the command line, runs the command, reports what went wrong.

use std::process::ExitCode;

use clap::Parser as _;
use freshk::cli::{self, Cli, output};

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli::run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::note(&format!("error: {error}"));
            ExitCode::from(error.exit_code(&cli.command))
        }
    }
}
