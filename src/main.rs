//! The binary: parses the command line, runs the command, reports what went wrong.

use std::process::ExitCode;

use clap::Parser as _;
use freshk::cli::{self, Cli, output};

fn main() -> ExitCode {
    match cli::run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::note(&format!("error: {error}"));
            ExitCode::from(error.exit_code())
        }
    }
}
