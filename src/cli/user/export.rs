//! `freshk user export`: the mirror of `user import`.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use clap::Args;

use super::columns::{ALWAYS, COLUMNS, fields, object};
use super::{Format, FormatArgs};
use crate::cli::admin::{AdminContext, PAGE};
use crate::cli::confirm::confirm;
use crate::cli::output::Output;
use crate::cli::{CliError, output, progress};
use crate::domain::{User, UserId};
use crate::files::Draft;

/// Write all users, phones in full
#[derive(Args, Clone, Debug)]
#[command(after_long_help = "\
Examples:
  freshk user export users.csv
  freshk user export --format jsonl | jq -r .phone_number

The file holds phones in full, and only who runs the command can read it. A file that exists is overwritten after a \
question, or with --yes. A user who has asked for deletion is left out. What is exported can be imported: the columns are id, \
username, phone_number, role, is_active, phone_verified and date_joined, and attributes where any user has them.")]
pub struct ExportArgs {
    /// The file; standard output without one
    file: Option<PathBuf>,
    #[command(flatten)]
    format: FormatArgs,
}

/// Exports.
///
/// # Errors
/// [`CliError`]
pub(super) fn run(
    args: &ExportArgs,
    admin: &AdminContext,
    yes: bool,
    output: &mut Output,
) -> Result<(), CliError> {
    let format = args.format.of(args.file.as_ref());
    let Some(path) = &args.file else {
        write_all(admin, format, |text| {
            output.text(text)?;
            Ok(!output.is_gone())
        })?;
        return Ok(());
    };
    let told = |error: io::Error| {
        CliError::refused(
            format!("{} cannot be written: {error}", path.display()),
            "name a file in a directory that exists and has room",
        )
    };
    if path.metadata().is_ok_and(|found| !found.is_file()) {
        return Err(CliError::refused(
            format!("{} is not a file", path.display()),
            "name one, or none to write to standard output",
        ));
    }
    if path.exists() {
        confirm(&format!("{} exists and will be overwritten.", path.display()), yes)?;
    }
    // Under another name until it is whole: an interrupted export leaves the older file as it was.
    let draft = Draft::beside(path, "part", None).map_err(told)?;
    let mut writer = BufWriter::new(draft.file());
    let written =
        write_all(admin, format, |text| writer.write_all(text.as_bytes()).map(|()| true).map_err(told));
    let count = written?;
    writer.flush().map_err(told)?;
    drop(writer);
    draft.replace(path).map_err(told)?;
    output::note(&format!("{} written to {}", output::counted(count, "user"), path.display()));
    Ok(())
}

/// Writes page after page while `write` says to go on; gives how many users.
fn write_all(
    admin: &AdminContext,
    format: Format,
    mut write: impl FnMut(&str) -> Result<bool, CliError>,
) -> Result<u64, CliError> {
    let bar = progress::counter("users");
    let columns = if admin.read(|view| view.have_attributes())? { COLUMNS.len() } else { ALWAYS };
    let (mut after, mut left_out) = (UserId(0), 0);
    let mut goes_on = format != Format::Csv || write(&(COLUMNS[..columns].join(",") + "\r\n"))?;
    while goes_on {
        let page = admin.read(move |view| view.users_after(after, PAGE))?;
        let Some(last) = page.last() else { break };
        after = last.id;
        // Whoever imports the file knows nothing of a deletion that is to come.
        let (leaving, staying): (Vec<_>, Vec<_>) =
            page.into_iter().partition(|user| user.deletes_at.is_some());
        left_out += leaving.len();
        goes_on = staying.is_empty() || write(&lines(&staying, format, columns)?)?;
        bar.inc(staying.len() as u64);
    }
    bar.finish_and_clear();
    if left_out > 0 {
        let users = output::counted(left_out, "user");
        output::note(&format!(
            "{users} left out who asked for deletion: `freshk user show` says when it is done"
        ));
    }
    Ok(bar.position())
}

fn lines(users: &[User], format: Format, columns: usize) -> Result<String, CliError> {
    if format == Format::Jsonl {
        let objects: Vec<_> = users.iter().map(|user| object(user).to_string()).collect();
        return Ok(objects.join("\n") + "\n");
    }
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    for user in users {
        writer.write_record(&fields(user)[..columns]).map_err(io::Error::from)?;
    }
    let bytes = writer.into_inner().map_err(|error| io::Error::from(error.error().kind()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
