//! Asking before what cannot be undone.

use std::io::{self, BufRead as _, IsTerminal as _};

use super::{CliError, output};

/// Returns if `--yes` was given or a person says yes.
///
/// # Errors
/// [`CliError::Usage`] without `--yes` where nobody can be asked, [`CliError::Refused`] after a no.
pub fn confirm(question: &str, yes: bool) -> Result<(), CliError> {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(CliError::usage(
            format!("{question} This cannot be undone, and there is no terminal to ask at"),
            "add --yes",
        ));
    }
    output::note(&format!("{question}\nThis cannot be undone. Go on? [y/N]"));
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        Ok(())
    } else {
        Err(CliError::refused("nothing was done", "answer y to go on"))
    }
}
