//! `freshk db backup`: a copy of the database, now.

use std::path::Path;

use serde_json::json;

use crate::cli::CliError;
use crate::cli::backups::{self, command};
use crate::cli::database::{BackupError, DatabaseFile};
use crate::cli::output::{Output, note};
use crate::clock::{Clock as _, SystemClock};
use crate::config::Config;
use crate::domain::Help as _;

/// Makes one in `file`, or else in `backup.dir`, from where `backup.command` takes it.
///
/// # Errors
/// [`CliError`]
pub(super) fn run(
    config: &Config,
    database: &DatabaseFile,
    file: Option<&Path>,
    output: &mut Output,
) -> Result<(), CliError> {
    let failed = |what: &str, path: &Path, error: &BackupError| {
        let problem = format!("no backup {what}{} was made: {error}", path.display());
        CliError::refused(problem, error.help())
    };
    if let Some(file) = file {
        if file.symlink_metadata().is_ok() {
            let problem = format!("{} exists already", file.display());
            return Err(CliError::refused(problem, "name a file that does not exist"));
        }
        if backups::is_encrypted(file) && config.backup.encrypt_to.is_none() {
            return Err(CliError::usage(
                format!("{} would be encrypted, and nobody knows for whom", file.display()),
                "set backup.encrypt_to, or choose a name that does not end in .age",
            ));
        }
        if config.backup.encrypt_to.is_some() && !backups::is_encrypted(file) {
            note("warning: the name does not end in .age, so this backup is not encrypted");
        }
        backups::copy(database.path(), file, config.backup.encrypt_to.as_ref())
            .map_err(|error| failed("", file, &error))?;
        return tell(file, output);
    }
    let Some(dir) = &config.backup.dir else {
        return Err(CliError::usage("there is nowhere to back up to", "name a FILE, or set backup.dir"));
    };
    let made = backups::make(database.path(), dir, &config.backup, SystemClock::new().now());
    let (made, left) = match made {
        Ok(made) => (made, None),
        // It is made, and must be taken away too.
        Err(BackupError::Old { made, old, source }) => {
            (made.clone(), Some(BackupError::Old { made, old, source }))
        }
        Err(error) => return Err(failed("in ", dir, &error)),
    };
    if left.is_none() {
        tell(&made, output)?;
    }
    if let Some(command) = &config.backup.command {
        command::run_at_a_shell(command, &made)?;
    }
    left.map_or(Ok(()), |error| Err(CliError::refused(error.to_string(), error.help())))
}

fn tell(made: &Path, output: &mut Output) -> Result<(), CliError> {
    let bytes = made.metadata()?.len();
    if output.json {
        return Ok(output.json(&json!({ "file": made, "bytes": bytes }))?);
    }
    Ok(output.sentences(&format!("{} ({}), verified\n", made.display(), bytesize::ByteSize(bytes)))?)
}
