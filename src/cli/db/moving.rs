//! `freshk db move`: everything from the configured database into an empty one of the other kind.

use serde_json::json;

use super::DATABASE;
use crate::cli::database::{DatabaseFile, MovingFile, ServeLock};
use crate::cli::engine::{self, Place};
use crate::cli::output::{self, Output};
use crate::cli::{CliError, Global, progress};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::storage::moving::{self, MoveError, Rows};
use crate::storage::postgres::{MovingSchema, PostgresSettings};

/// Moves.
///
/// # Errors
/// Each with what to do next; then nothing was written where it was to be moved to.
pub(super) fn run(url: &str, config: &Config, global: &Global, output: &mut Output) -> Result<(), CliError> {
    let mut sources = global.sources()?;
    sources.database = Some(url.to_owned());
    let target = crate::cli::load(&sources, DATABASE)?.config;
    // The lock is held until all is written: a server that came up meanwhile would be left behind.
    let (_lock, from, to): (ServeLock, Box<dyn Rows>, Box<dyn Rows>) =
        match (Place::of(config), Place::of(&target)) {
            (Place::File(file), Place::Server(settings)) => {
                if file.is_missing() {
                    return Err(file.missing());
                }
                let lock = file.lock()?;
                let options = engine::postgres_options(&target, &settings, true);
                (lock, Box::new(MovingFile::open(file.path())?), Box::new(MovingSchema::write(&options)?))
            }
            (Place::Server(settings), Place::File(file)) => {
                let from = read(&settings)?;
                (file.lock()?, Box::new(from), Box::new(made(&file, &target)?))
            }
            (Place::File(_), Place::File(_)) => {
                let help = "copy the file with `freshk db backup`, and name the copy in database.url";
                return Err(CliError::refused("both databases are files", help));
            }
            (Place::Server(_), Place::Server(_)) => {
                let help = "use pg_dump and pg_restore, and name the other one in database.url";
                return Err(CliError::refused("both databases are PostgreSQL", help));
            }
        };
    let total = moving::count_all(&*from).map_err(|error| told(&error))?;
    // Each row is written, and compared.
    let bar = progress::bar(2 * total, "rows");
    moving::move_all(&*from, to, &mut |rows| bar.inc(rows as u64)).map_err(|error| told(&error))?;
    bar.finish_and_clear();
    let to = target.database.url.to_string();
    if output.json {
        return Ok(output.json(&json!({ "rows": total, "to": to }))?);
    }
    Ok(output.sentences(&format!(
        "{} moved to {to}, and compared one by one\nset database.url to it (DATABASE_URL), and start the server; \
         {} is as it was\n",
        output::counted(total, "row"),
        config.database.url
    ))?)
}

/// The schema to read, unless a server writes into it.
fn read(settings: &PostgresSettings) -> Result<MovingSchema, CliError> {
    MovingSchema::read(settings)?.map_err(|node| {
        CliError::refused(
            format!("a server on {} serves the database", node.host),
            "stop all of its servers first: what they write meanwhile would not be moved",
        )
    })
}

/// A new file, or one that is empty.
fn made(file: &DatabaseFile, config: &Config) -> Result<MovingFile, CliError> {
    file.migrate(config, &SystemClock::new(), file.is_missing())?;
    Ok(MovingFile::open(file.path())?)
}

fn told(error: &MoveError) -> CliError {
    let help = match error {
        MoveError::NotEmpty(_) => "name an empty one, or another schema (database.schema)",
        MoveError::Columns(_) | MoveError::Differs(_) | MoveError::Failed(_) | MoveError::Store(_) => {
            "nothing was written; see the log of the database"
        }
    };
    CliError::refused(format!("the database cannot be moved: {error}"), help)
}
