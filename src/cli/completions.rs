//! `freshk completions`: what a shell needs to complete the command line.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::output::Output;
use super::{Cli, CliError};

/// Which shell.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  freshk completions bash > /etc/bash_completion.d/freshk
  freshk completions zsh > \"${fpath[1]}/_freshk\"
  freshk completions fish > ~/.config/fish/completions/freshk.fish")]
pub struct CompletionsArgs {
    /// The shell
    pub shell: Shell,
}

/// Prints the script.
///
/// # Errors
/// An answer that cannot be written.
pub fn run(args: &CompletionsArgs, output: &mut Output) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "freshk", &mut script);
    Ok(output.text(&String::from_utf8_lossy(&script))?)
}
