//! The binary: parses the command line, runs the command, reports what went wrong.

use std::process::ExitCode;

use clap::Parser as _;
use freshk::cli::{self, Cli, output};

/// Much of a request's own time is spent on small, short-lived strings.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match cli::run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::note(&format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}
