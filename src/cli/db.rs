//! `freshk db`: the database file.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::json;

use super::confirm::confirm;
use super::output::Output;
use super::{CliError, Global, backups, output, wiring};
use crate::clock::{Clock as _, SystemClock};
use crate::config::{Config, Needs};
use crate::storage::sqlite::{self, BackupError, Make, OpenError, ServeLock, SqliteStore};

/// What can be done with the database.
#[derive(Debug, Subcommand)]
pub enum DbCommand {
    /// Bring the schema up to date, after a backup
    #[command(after_long_help = "\
Example:
  freshk db migrate

A server does this when it starts. While one runs it is refused. The backup that is made first stands beside \
the database, as freshk.db.before-v2-20260101T000000Z.bak. Where a lock or a backup says that there was a database, \
and there is none, nothing but this command makes a new and empty one.")]
    Migrate,
    /// Read the database through and say whether it is whole
    #[command(after_long_help = "\
Examples:
  freshk db check
  freshk db check --json

Goes on beside a running server. Exits with 1 if anything is wrong: restore the latest backup then.")]
    Check,
    /// Copy the database, without stopping anyone
    #[command(after_long_help = "\
Examples:
  freshk db backup                              into backup.dir, keeping backup.keep of them
  freshk db backup /mnt/usb/freshk-friday.db

The copy is read through, made durable, and only then gets its name: a file of that name is a good one. Its SHA-256 \
stands beside it, in a file with .sha256 after the same name, which `sha256sum --check` reads: keep the two together. \
A server with backup.dir set makes its own, every backup.every.")]
    Backup {
        /// The file to make; it must not exist yet [default: a name with the instant, in backup.dir]
        file: Option<PathBuf>,
    },
    /// Put a backup in the place of the database
    #[command(after_long_help = "\
Example:
  systemctl stop freshk
  freshk db restore /var/backups/freshk/freshk-20260101T000000Z.db
  systemctl start freshk

Refused while a server runs, and where the backup is not what its checksum says. What is replaced is kept beside the database, as freshk.db.before-restore-….bak. \
What happened since the backup is undone by it: sessions that were ended since then live again (`freshk user \
logout` ends them), and codes that were used since then may be good until they expire.")]
    Restore {
        /// The backup
        file: PathBuf,
    },
    /// Rewrite the database without what deleted rows left
    #[command(after_long_help = "\
Example:
  freshk db vacuum

Refused while a server runs; wants as much free disk as the database has. Seldom worth it: the room of deleted \
rows is used again.")]
    Vacuum,
}

/// What these commands use.
const DATABASE: Needs = Needs::Only(&[&["database", "backup", "users.first_id"]]);

/// Runs a command.
///
/// # Errors
/// Each with what to do next.
pub fn run(command: &DbCommand, global: &Global, output: &mut Output) -> Result<(), CliError> {
    let config = super::load(&global.sources()?, DATABASE)?.config;
    let database = config.database.url.path().to_owned();
    if !matches!(command, DbCommand::Restore { .. }) && wiring::is_missing(&database) {
        let missing = wiring::missing(&config);
        return match (command, &missing) {
            (DbCommand::Migrate, CliError::Open(OpenError::Gone { .. })) => make(&config, &database, output),
            _ => Err(missing),
        };
    }
    match command {
        DbCommand::Migrate => migrate(&config, &database, output),
        DbCommand::Check => check(&database, output),
        DbCommand::Backup { file } => backup(&config, &database, file.as_deref(), output),
        DbCommand::Restore { file } => restore(&database, file, global.yes, output),
        DbCommand::Vacuum => vacuum(&database, output),
    }
}

/// Makes a database in the place of one that is lost, which the operator has asked for.
fn make(config: &Config, database: &Path, output: &mut Output) -> Result<(), CliError> {
    let _lock = ServeLock::acquire(database)?;
    let mut options = wiring::open_options(config, &SystemClock::new());
    options.make = Make::Always;
    drop(SqliteStore::open(options)?);
    let after = sqlite::check(database)?.schema;
    if output.json {
        return Ok(output.json(&json!({ "before": null, "after": after }))?);
    }
    Ok(output.text(&format!("made a new database at {}, with schema {after}\n", database.display()))?)
}

fn migrate(config: &Config, database: &Path, output: &mut Output) -> Result<(), CliError> {
    let _lock = ServeLock::acquire(database)?;
    let before = sqlite::check(database)?.schema;
    drop(wiring::open_store(config, &SystemClock::new())?);
    let after = sqlite::check(database)?.schema;
    if output.json {
        return Ok(output.json(&json!({ "before": before, "after": after }))?);
    }
    Ok(output.text(&if before == after {
        format!("schema {after} is the latest; nothing was changed\n")
    } else {
        format!("schema {before} was brought to {after}; the backup stands beside the database\n")
    })?)
}

fn check(database: &Path, output: &mut Output) -> Result<(), CliError> {
    let found = sqlite::check(database)?;
    if output.json {
        let ok = found.faults.is_empty();
        output.json(
            &json!({ "ok": ok, "schema": found.schema, "known": found.known, "faults": found.faults }),
        )?;
    } else if found.faults.is_empty() {
        output.text(&format!("{} is whole, with schema {}\n", database.display(), found.schema))?;
    } else {
        output.table(["fault"], found.faults.iter().map(|fault| [fault.clone()]))?;
    }
    if found.faults.is_empty() {
        return Ok(());
    }
    Err(CliError::Refused(format!(
        "{} is damaged; stop the server and restore the latest backup with `freshk db restore`",
        database.display()
    )))
}

fn backup(
    config: &Config,
    database: &Path,
    file: Option<&Path>,
    output: &mut Output,
) -> Result<(), CliError> {
    let now = SystemClock::new().now();
    let failed = |what: &str, path: &Path| {
        let told = format!("no backup {what}{} was made", path.display());
        move |error: BackupError| {
            CliError::Refused(match error {
                BackupError::Old { .. } => error.to_string(),
                _ => format!("{told}: {error}"),
            })
        }
    };
    let path = match (file, &config.backup.dir) {
        (Some(file), _) => {
            if file.symlink_metadata().is_ok() {
                let told = format!("{} exists already; name a file that does not", file.display());
                return Err(CliError::Refused(told));
            }
            sqlite::back_up(database, file).map_err(failed("", file))?;
            file.to_owned()
        }
        (None, Some(dir)) => {
            backups::make(database, dir, config.backup.keep, now).map_err(failed("in ", dir))?
        }
        (None, None) => {
            return Err(CliError::Usage("name a FILE to back up to, or set backup.dir".to_owned()));
        }
    };
    let bytes = path.metadata()?.len();
    if output.json {
        return Ok(output.json(&json!({ "file": path, "bytes": bytes }))?);
    }
    Ok(output.text(&format!("{} ({}), checked\n", path.display(), bytesize::ByteSize(bytes)))?)
}

fn restore(database: &Path, from: &Path, yes: bool, output: &mut Output) -> Result<(), CliError> {
    let lock = ServeLock::acquire(database)?;
    let question = format!("{} takes the place of {}.", from.display(), database.display());
    confirm(&question, yes)?;
    let restored = sqlite::restore(database, from, SystemClock::new().now(), &lock)
        .map_err(|error| CliError::Refused(error.to_string()))?;
    if !restored.has_checksum {
        output::note(&format!(
            "warning: there is no {}: whether the backup is as it was made is not known",
            sqlite::checksum_of(from).display()
        ));
    }
    if output.json {
        return Ok(output.json(&json!({ "database": database, "kept": restored.kept }))?);
    }
    output.text(&format!("{} was restored from {}\n", database.display(), from.display()))?;
    if let Some(kept) = restored.kept {
        output.text(&format!("what was there is kept as {}\n", kept.display()))?;
    }
    Ok(())
}

fn vacuum(database: &Path, output: &mut Output) -> Result<(), CliError> {
    let lock = ServeLock::acquire(database)?;
    let before = database.metadata()?.len();
    sqlite::vacuum(database, &lock)?;
    let after = database.metadata()?.len();
    if output.json {
        return Ok(output.json(&json!({ "before": before, "after": after }))?);
    }
    let (before, after) = (bytesize::ByteSize(before), bytesize::ByteSize(after));
    Ok(output.text(&format!("{before} became {after}\n"))?)
}
