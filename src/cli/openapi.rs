//! `freshk openapi`: the description of the API.

use clap::Args;

use super::CliError;
use super::output::Output;
use crate::api::ProductionApi;
use crate::http::docs::Document;

/// Print the description of the API: openapi.yaml, or JSON with --json
#[derive(Args, Clone, Copy, Debug)]
#[command(after_long_help = "\
Examples:
  freshk openapi > openapi.yaml
  freshk openapi --json | jq '.paths | keys'

A running server shows the same at /openapi.yaml, /openapi.json and /docs, in debug with the testing \
endpoints besides.")]
pub struct OpenapiArgs {}

/// Runs the command.
///
/// # Errors
/// When the answer cannot be written.
pub fn run(output: &mut Output) -> Result<(), CliError> {
    let document = Document::of_api::<ProductionApi>();
    let document = if output.json { document.json() } else { document.yaml() };
    Ok(output.text(&document)?)
}
