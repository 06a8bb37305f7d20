//! `freshk db restore`: a backup in the place of the database.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::cli::CliError;
use crate::cli::backups;
use crate::cli::backups::opened::Opened;
use crate::cli::confirm::confirm;
use crate::cli::database::{DatabaseFile, RestoreError, checksum_of, sweep_decrypted};
use crate::cli::output::{self, Output, counted};
use crate::clock::{Clock as _, SystemClock};
use crate::config::Config;
use crate::domain::time::humanize_wait;
use crate::domain::{Help as _, Timestamp};

/// Which backup.
#[derive(Args, Clone, Debug)]
pub struct RestoreArgs {
    /// The backup
    #[arg(required_unless_present = "latest", conflicts_with = "latest")]
    file: Option<PathBuf>,
    /// The latest in backup.dir
    #[arg(long)]
    latest: bool,
    /// The file with the secret key of an encrypted one
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
}

/// Replaces the database.
///
/// # Errors
/// [`CliError`]; then the database is as it was.
pub(super) fn run(
    args: &RestoreArgs,
    (config, database): (&Config, &DatabaseFile),
    yes: bool,
    output: &mut Output,
) -> Result<(), CliError> {
    let lock = database.lock()?;
    let (path, now) = (database.path(), SystemClock::new().now());
    let (from, age) = if let Some(file) = &args.file {
        (file.clone(), String::new())
    } else {
        let (_, at, latest) = latest(config, now)?;
        (latest, format!(", which is {} old,", humanize_wait(at.until(now))))
    };
    confirm(&format!("{}{age} replaces {}.", from.display(), path.display()), yes)?;
    sweep_decrypted(path, &lock)?;
    let opened = Opened::open(&from, args.identity.as_deref(), path)?;
    let restored = database.restore(opened.path(), now, &lock).map_err(|error| failed(&error))?;
    if !restored.has_checksum && !opened.is_sealed() {
        output::note(&format!(
            "warning: there is no {}, so a change of the backup since it was made would not be noticed",
            checksum_of(&from).display()
        ));
    }
    if output.json {
        return Ok(output.json(&json!({
            "database": path, "backup": from, "kept": restored.kept, "deleted": restored.deleted
        }))?);
    }
    output.sentences(&format!("{} was restored from {}\n", path.display(), from.display()))?;
    if let Some(kept) = restored.kept {
        output.sentences(&format!("the replaced database is kept as {}\n", kept.display()))?;
    }
    if !restored.deleted.is_empty() {
        let deleted = counted(restored.deleted.len(), "database");
        output.sentences(&format!(
            "{deleted} that earlier restores replaced, older than 7 days, were deleted\n"
        ))?;
    }
    Ok(())
}

/// A restore that failed.
pub(super) fn failed(error: &RestoreError) -> CliError {
    CliError::refused(error.to_string(), error.help())
}

/// `backup.dir`, and the latest backup there that no wrong clock dated ahead.
///
/// # Errors
/// [`CliError`] where there is none.
pub(super) fn latest(config: &Config, now: Timestamp) -> Result<(PathBuf, Timestamp, PathBuf), CliError> {
    let Some(dir) = &config.backup.dir else {
        return Err(CliError::usage("backup.dir is not set", "name a FILE, or set backup.dir"));
    };
    let found = backups::until(dir, now).map_err(|error| unreadable(dir, &error))?;
    let latest = found.into_iter().next().map(|(at, path)| (dir.clone(), at, path));
    latest.ok_or_else(|| {
        CliError::refused(
            format!("there is no backup in {} that was made before now", dir.display()),
            "run `freshk db backup`; or bring one back from where it was copied to, and name its FILE",
        )
    })
}

/// A directory of backups that cannot be read.
pub(super) fn unreadable(dir: &std::path::Path, error: &std::io::Error) -> CliError {
    CliError::refused(
        format!("backup.dir, {}, cannot be read: {error}", dir.display()),
        "create the directory, or run this as the user that runs freshk",
    )
}
