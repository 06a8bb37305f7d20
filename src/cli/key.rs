//! `freshk key`: secrets.

use clap::Subcommand;
use serde_json::json;

use super::CliError;
use super::output::Output;
use crate::random::Random;

/// What can be done with secrets.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Print a fresh secret
    #[command(after_long_help = "\
Example:
  echo \"SECRET_KEY=$(freshk key generate)\" >> .env

When the secret is changed, the old one goes to SECRET_KEY_FALLBACKS until its tokens have expired. To have an
existing Django project accept the tokens, use the SECRET_KEY of that project instead.")]
    Generate,
}

/// 384 bits make 64 characters without padding.
const BYTES: usize = 48;

/// Runs a command.
///
/// # Errors
/// When the answer cannot be written.
pub fn run(command: &KeyCommand, random: &dyn Random, output: &mut Output) -> Result<(), CliError> {
    match command {
        KeyCommand::Generate => {
            let secret = fresh(random);
            if output.json {
                output.json(&json!({ "secret_key": secret }))?;
            } else {
                output.text(&format!("{secret}\n"))?;
            }
            Ok(())
        }
    }
}

/// A secret of 64 characters that need no quoting, neither in a shell nor in a URL.
pub(super) fn fresh(random: &dyn Random) -> String {
    let mut bytes = [0; BYTES];
    random.fill(&mut bytes);
    data_encoding::BASE64URL_NOPAD.encode(&bytes)
}
