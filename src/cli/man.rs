//! `freshk man`: manual pages, from the same words as the help.

use std::path::PathBuf;

use clap::{Args, CommandFactory as _};

use super::output::Output;
use super::{Cli, CliError};

/// Where the pages go.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  freshk man | man -l -                     read it
  freshk man /usr/local/share/man/man1      a page for freshk and one for each of its commands")]
pub struct ManArgs {
    /// A directory for all pages [default: freshk's own, on standard output]
    pub dir: Option<PathBuf>,
}

/// Prints the page of the program, or writes all of them.
///
/// # Errors
/// A directory that cannot be written.
pub fn run(args: &ManArgs, output: &mut Output) -> Result<(), CliError> {
    let Some(dir) = &args.dir else {
        let mut page = Vec::new();
        clap_mangen::Man::new(Cli::command()).render(&mut page)?;
        return Ok(output.text(&String::from_utf8_lossy(&page))?);
    };
    clap_mangen::generate_to(Cli::command(), dir).map_err(|error| {
        CliError::refused(
            format!("no pages could be written to {}: {error}", dir.display()),
            "name a directory that exists and can be written",
        )
    })?;
    Ok(output.text(&format!("the pages are in {}\n", dir.display()))?)
}
