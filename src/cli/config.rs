//! `freshk config`: what is configured, and what could be.

use clap::Subcommand;
use serde_json::json;

use super::output::Output;
use super::{CliError, Global};
use crate::config::{Config, Shown, show};

/// What can be done with the configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Show every key, its value and where that came from; secrets are masked
    #[command(after_long_help = "\
Examples:
  freshk config show
  freshk --env-file .env.production config show
  freshk config show --json | jq '.settings[] | select(.origin != \"default\")'

What is wrong follows the table, on standard error, and the exit code is 1 then.")]
    Show,
    /// Print a freshk.toml with every key at its default
    #[command(after_long_help = "\
Example:
  freshk config example > freshk.toml")]
    Example,
}

/// Runs a command.
///
/// # Errors
/// A faulty configuration, once it is shown, or an answer that cannot be written.
pub fn run(command: &ConfigCommand, global: &Global, output: &mut Output) -> Result<(), CliError> {
    match command {
        ConfigCommand::Show => show(global, output),
        ConfigCommand::Example => Ok(output.text(&show::example())?),
    }
}

fn show(global: &Global, output: &mut Output) -> Result<(), CliError> {
    let Shown { settings, warnings, faults } = Config::show(&global.sources()?);
    super::warn(&warnings);
    if output.json {
        let settings: Vec<_> = settings
            .iter()
            .map(|setting| json!({ "key": setting.key.name, "value": setting.value, "origin": setting.origin }))
            .collect();
        let warnings: Vec<_> = warnings
            .iter()
            .map(|warning| json!({ "problem": warning.problem, "help": warning.help }))
            .collect();
        let faults: Vec<_> = faults
            .0
            .iter()
            .map(|fault| {
                json!({
                    "key": fault.key,
                    "origin": fault.origin,
                    "problem": fault.problem,
                    "help": fault.help,
                })
            })
            .collect();
        output.json(&json!({ "settings": settings, "warnings": warnings, "faults": faults }))?;
    } else {
        let rows = settings.into_iter().map(|setting| {
            [setting.key.name.to_owned(), setting.value.unwrap_or_else(|| "-".to_owned()), setting.origin]
        });
        output.table(["key", "value", "from"], rows)?;
    }
    if faults.0.is_empty() { Ok(()) } else { Err(faults.into()) }
}
