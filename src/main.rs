//! The binary: parses the command line, runs the command, reports what went wrong.

use std::process::ExitCode;

use clap::Parser as _;
use freshk::cli::{self, Cli, output};
use freshk::domain::Help as _;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli::run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::note(&format!("error: {error}"));
            let help = error.help();
            if !help.is_empty() {
                output::note(&format!("help: {help}"));
            }
            ExitCode::from(error.exit_code(&cli.command))
        }
    }
}
