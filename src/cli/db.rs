//! `freshk db`: the database file.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;

use super::database::{DatabaseFile, OpenError};
use super::engine::{self, Place};
use super::output::Output;
use super::{CliError, Global};
use crate::clock::SystemClock;
use crate::config::{Config, Needs};
use crate::storage::postgres::{self, PostgresSettings, PostgresStore};

mod backup;
mod backups;
mod drill;
mod moving;
mod restore;

use restore::RestoreArgs;

/// What can be done with the database.
#[derive(Debug, Subcommand)]
pub enum DbCommand {
    /// Migrate the schema to this version, after a backup
    #[command(after_long_help = "\
Example:
  freshk db migrate

A server does this when it starts. While one runs this command is refused. The backup that is made first lies beside \
the database, as freshk.db.before-v2-20260101T000000Z.bak. Where a lock or a backup shows that there was a database, \
and there is none, only this command makes a new and empty one.")]
    Migrate,
    /// Check the integrity of the database
    #[command(after_long_help = "\
Examples:
  freshk db check
  freshk db check --json

Works beside a running server. Exits with 1 if anything is wrong: restore the latest backup then.")]
    Check,
    /// Back up the database, while the server runs
    #[command(after_long_help = "\
Examples:
  freshk db backup                    into backup.dir, keeping backup.keep of them
  freshk db backup /mnt/usb/freshk-friday.db
  freshk db backup /mnt/usb/freshk-friday.db.age      encrypted for backup.encrypt_to

The copy is checked and made durable before it gets its name: a file of that name is a good one. Its SHA-256 lies \
beside it, in a file with .sha256 after the same name, which `sha256sum --check` reads: keep the two together. A \
server with backup.dir set makes its own, every backup.every. After each in backup.dir, backup.command is run.")]
    Backup {
        /// The file to make; it must not exist yet [default: a name with the instant, in backup.dir]
        file: Option<PathBuf>,
    },
    /// List the backups in backup.dir, the latest first
    #[command(after_long_help = "\
Examples:
  freshk db backups
  freshk db backups --json | jq -r '.backups[0].file'

CHECKSUM is ok where the file is as it was when it was made, differs where it was damaged or changed since, and missing \
where there is nothing to compare it with. Every file that is shown is read for that.")]
    Backups {
        /// At most so many
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// Replace the database with a backup
    #[command(after_long_help = RESTORE_HELP)]
    Restore(RestoreArgs),
    /// Note that somebody else has made a backup now, where the database is on a server
    #[command(after_long_help = "\
Example:
  pg_dump --format=custom --schema=freshk --file=freshk.dump app && freshk db backup-stamp

FreshK makes no backups of PostgreSQL and sees none. Run this after each that went well: `freshk check` then tells how \
old the latest is, freshk_backup_age_seconds does, and the alert FreshKBackupOld opens after two days without one. The \
time is that of the database.")]
    BackupStamp,
    /// Restore the latest backup aside, run a server on it and log in there
    #[command(after_long_help = "\
Examples:
  freshk db drill
  freshk db drill --json
  freshk db drill --identity /run/key.txt

A backup that nobody has restored is a hope. The latest in backup.dir is copied into a folder beside the database that \
only this user can enter, and read through; a server starts on the copy, on a free port of this machine alone; a number \
that is nobody's logs in there, refreshes and logs out. No SMS is sent, no webhook hears of it, and the database and its \
server are not touched. The folder is deleted afterwards. When all went well is noted in backup.dir, in \
freshk-drill.json: `freshk check` warns 30 days later.")]
    Drill {
        /// The file with the secret key of an encrypted backup
        #[arg(long, value_name = "FILE")]
        identity: Option<PathBuf>,
    },
    /// Rewrite the database without the room of deleted rows
    #[command(after_long_help = "\
Example:
  freshk db vacuum

Refused while a server runs; needs as much free disk as the database has. Seldom worth it: the room of deleted \
rows is used again.")]
    Vacuum,
    /// Move everything into an empty database of the other kind
    #[command(after_long_help = "\
Examples:
  freshk db move postgres://freshk:password@db.example/app
  freshk db move sqlite:///var/lib/freshk/freshk.db

From the SQLite file into PostgreSQL, or back. File and schema are made; sessions stay alive, for the secrets stay the \
same. Every row is compared with what was written, and the old database is left as it is. Refused while a server runs.")]
    Move {
        /// Where to
        #[arg(value_name = "URL", value_parser = super::not_empty)]
        url: String,
    },
}

const RESTORE_HELP: &str = "\
Examples:
  systemctl stop freshk
  freshk db restore --latest
  systemctl start freshk

  freshk db restore /var/backups/freshk/freshk-20260101T000000Z.db
  freshk db restore --latest --identity /run/key.txt

Refused while a server runs, and where the backup does not have its checksum. The replaced database is kept beside \
the new one, as freshk.db.before-restore-….bak; of those, the latest 3 are kept, and all that are younger than 7 days. \
What happened since the backup is undone: sessions that ended since then are live again (`freshk user logout` ends \
them), and codes that were used since then may be good until they expire.";

/// What these commands use.
const DATABASE: Needs = Needs::Only(&[&["database", "backup", "users.first_id"]]);

/// Runs a command.
///
/// # Errors
/// Each with what to do next.
pub fn run(command: &DbCommand, global: &Global, output: &mut Output) -> Result<(), CliError> {
    let config = super::load(&global.sources()?, DATABASE)?.config;
    if let DbCommand::Move { url } = command {
        return moving::run(url, &config, global, output);
    }
    let database = match Place::of(&config) {
        Place::File(file) => file,
        Place::Server(settings) => return on_a_server(command, &config, &settings, output),
    };
    if !matches!(command, DbCommand::Restore(_) | DbCommand::Backups { .. } | DbCommand::Drill { .. })
        && database.is_missing()
    {
        let missing = database.missing();
        return match (command, &missing) {
            (DbCommand::Migrate, CliError::Open(OpenError::Gone { .. })) => make(&config, &database, output),
            _ => Err(missing),
        };
    }
    match command {
        DbCommand::Migrate => migrate(&config, &database, output),
        DbCommand::Check => check(&database, output),
        DbCommand::Backup { file } => backup::run(&config, &database, file.as_deref(), output),
        DbCommand::Backups { limit } => backups::run(&config, *limit, output),
        DbCommand::Drill { identity } => {
            drill::run((global, identity.as_deref()), (&config, &database), output)
        }
        DbCommand::Restore(args) => restore::run(args, (&config, &database), global.yes, output),
        DbCommand::Vacuum => vacuum(&database, output),
        DbCommand::BackupStamp => Err(CliError::refused(
            "the database is a file, of whose backups freshk keeps account itself",
            "run `freshk db backup`, or set backup.dir",
        )),
        DbCommand::Move { .. } => Ok(()),
    }
}

/// What there is to do with `PostgreSQL`; the rest has tools of its own.
fn on_a_server(
    command: &DbCommand,
    config: &Config,
    settings: &PostgresSettings,
    output: &mut Output,
) -> Result<(), CliError> {
    let schema = &settings.schema;
    let help = match command {
        DbCommand::Migrate => {
            let before = postgres::check(settings)?.schema;
            drop(PostgresStore::open(&engine::postgres_options(config, settings, true))?);
            let after = postgres::check(settings)?.schema;
            if output.json {
                return Ok(output.json(&json!({ "before": before, "after": after }))?);
            }
            return Ok(output.text(&if before == after {
                format!("schema {after} is the latest; nothing was changed\n")
            } else {
                format!("migrated from schema {before} to {after}\n")
            })?);
        }
        DbCommand::Check => {
            let found = postgres::check(settings)?;
            if found.schema < found.known {
                return Err(found.older(settings).into());
            }
            if output.json {
                let answer =
                    json!({ "ok": true, "schema": found.schema, "known": found.known, "faults": [] });
                return Ok(output.json(&answer)?);
            }
            let answer = format!(
                "{settings}: it answers, with schema {}; `pg_amcheck` tells whether its files are whole\n",
                found.schema
            );
            return Ok(output.text(&answer)?);
        }
        DbCommand::BackupStamp => {
            postgres::note_backup(settings)?;
            if output.json {
                return Ok(output.json(&json!({ "noted": true }))?);
            }
            return Ok(output.text("noted that a backup was made now\n")?);
        }
        DbCommand::Backup { .. } => {
            format!(
                "run `pg_dump --format=custom --schema={schema} --file={schema}.dump`, or have its host do it"
            )
        }
        DbCommand::Backups { .. } => {
            "look where `pg_dump` writes, or ask its host: `pg_restore --list FILE` shows what is in one"
                .to_owned()
        }
        DbCommand::Drill { .. } => format!(
            "run `createdb drill`, `pg_restore --dbname=drill {schema}.dump`, and `freshk check --offline --database \
             postgres://…/drill`; `dropdb drill` afterwards"
        ),
        DbCommand::Restore(_) => format!(
            "stop the server, and run `pg_restore --clean --if-exists --schema={schema} {schema}.dump`, or have its host do it"
        ),
        DbCommand::Vacuum => "leave it to PostgreSQL (autovacuum)".to_owned(),
        DbCommand::Move { .. } => return Ok(()),
    };
    Err(CliError::refused(format!("the database is PostgreSQL, at {settings}"), help))
}

/// Makes a database in the place of one that is lost, which the operator has asked for.
fn make(config: &Config, database: &DatabaseFile, output: &mut Output) -> Result<(), CliError> {
    let _lock = database.lock()?;
    database.migrate(config, &SystemClock::new(), true)?;
    let after = database.check()?.schema;
    if output.json {
        return Ok(output.json(&json!({ "before": null, "after": after }))?);
    }
    Ok(output
        .text(&format!("made a new database at {}, with schema {after}\n", database.path().display()))?)
}

fn migrate(config: &Config, database: &DatabaseFile, output: &mut Output) -> Result<(), CliError> {
    let _lock = database.lock()?;
    let before = database.glance()?.schema;
    database.migrate(config, &SystemClock::new(), false)?;
    let after = database.glance()?.schema;
    if output.json {
        return Ok(output.json(&json!({ "before": before, "after": after }))?);
    }
    Ok(output.text(&if before == after {
        format!("schema {after} is the latest; nothing was changed\n")
    } else {
        format!("migrated from schema {before} to {after}; the backup lies beside the database\n")
    })?)
}

fn check(database: &DatabaseFile, output: &mut Output) -> Result<(), CliError> {
    let (found, path) = (database.check()?, database.path().display());
    if output.json {
        let ok = found.faults.is_empty();
        output.json(
            &json!({ "ok": ok, "schema": found.schema, "known": found.known, "faults": found.faults }),
        )?;
    } else if found.faults.is_empty() {
        output.text(&format!("{path}: integrity check passed, schema {}\n", found.schema))?;
    } else {
        output.table(["fault"], found.faults.iter().map(|fault| [fault.clone()]))?;
    }
    if found.faults.is_empty() {
        return Ok(());
    }
    Err(CliError::refused(
        format!("{path} is damaged"),
        "stop the server and restore the latest backup with `freshk db restore`",
    ))
}

fn vacuum(database: &DatabaseFile, output: &mut Output) -> Result<(), CliError> {
    let lock = database.lock()?;
    let before = database.bytes();
    database.vacuum(&lock)?;
    let after = database.bytes();
    if output.json {
        return Ok(output.json(&json!({ "before": before, "after": after }))?);
    }
    let (before, after) = (bytesize::ByteSize(before), bytesize::ByteSize(after));
    Ok(output.text(&format!("{before} before, {after} now\n"))?)
}
