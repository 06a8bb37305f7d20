//! `backup.command`: takes a backup off the machine.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::task::{JoinError, spawn_blocking};
use tokio_util::sync::CancellationToken;

use crate::cli::CliError;
use crate::cli::child::{self, ChildError};
use crate::cli::interrupt::Interrupt;
use crate::config::command_line::CommandLine;
use crate::domain::Help;
use crate::files::FileId;

/// How long it has: a backup of a gigabyte at five megabits a second.
const BOUND: Duration = Duration::from_mins(30);

/// What stands for the backup.
const FILE: &str = "{file}";

/// Why nobody knows that a backup is elsewhere, too.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The command failed.
    #[error(transparent)]
    Child(#[from] ChildError),
    /// The backup's name cannot be given to a program, or the backup cannot be looked at.
    #[error("{} cannot be given to it: {source}", backup.display())]
    Backup {
        /// The backup.
        backup: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It says that all is well, and the backup is gone.
    #[error("it ended well, but {} is not there any more", .0.display())]
    Gone(PathBuf),
    /// It says that all is well, and the backup is another one.
    #[error("it ended well, but {} is not as it was", .0.display())]
    Changed(PathBuf),
    /// A fault of this program.
    #[error("its task failed: {0}")]
    Task(#[from] JoinError),
}

impl Help for CommandError {
    fn help(&self) -> String {
        match self {
            Self::Child(ChildError::Start { .. }) => {
                "name a program that is there, best with its whole path, and that this user may run".into()
            }
            Self::Child(ChildError::TooLong { .. }) => {
                "run it by hand as the user that runs freshk, and see what it waits for: a password, or a host that does \
                 not answer"
                    .into()
            }
            Self::Child(ChildError::Stopped { .. }) => "run `freshk db backup`, or the command by hand".into(),
            Self::Child(ChildError::Failed { .. }) => {
                "correct what it says, and run `freshk db backup`, which runs it again".into()
            }
            Self::Backup { .. } => "give backup.dir a name in UTF-8".into(),
            Self::Gone(_) | Self::Changed(_) => {
                "have backup.command copy the backup, neither move nor change it, and run `freshk db backup`".into()
            }
            Self::Task(_) => "report this as a bug of freshk".into(),
        }
    }
}

/// Runs the command on a backup, until `stop` at most; the backup itself stays as it is.
///
/// # Errors
/// [`CommandError`]
pub async fn run(command: CommandLine, backup: PathBuf, stop: CancellationToken) -> Result<(), CommandError> {
    spawn_blocking(move || run_here(&command, &backup, &stop)).await?
}

fn run_here(command: &CommandLine, backup: &Path, stop: &CancellationToken) -> Result<(), CommandError> {
    let failed = |source| CommandError::Backup { backup: backup.to_owned(), source };
    let absolute = std::path::absolute(backup).map_err(failed)?;
    let name = absolute.to_str().ok_or_else(|| failed(io::ErrorKind::InvalidFilename.into()))?;
    let before = look(backup).map_err(failed)?;
    child::run(&command.with(FILE, name), BOUND, stop)?;
    match look(backup) {
        Ok(after) if after == before => Ok(()),
        Ok(_) => Err(CommandError::Changed(backup.to_owned())),
        Err(_) => Err(CommandError::Gone(backup.to_owned())),
    }
}

/// Which file it is, how long, and when it was last written.
fn look(path: &Path) -> io::Result<(FileId, u64, i64)> {
    let found = path.metadata()?;
    Ok((FileId::from(&found), found.len(), found.mtime()))
}

/// Runs the command for a person at a shell, whose Ctrl-C ends it.
///
/// # Errors
/// [`CliError`]; the backup is made all the same.
pub fn run_at_a_shell(command: &CommandLine, backup: &Path) -> Result<(), CliError> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(CliError::Runtime)?;
    let done = runtime.block_on(async {
        let mut interrupt = Interrupt::begin().map_err(CliError::Runtime)?;
        let stop = CancellationToken::new();
        let mut running = std::pin::pin!(run(command.clone(), backup.to_owned(), stop.clone()));
        let done = tokio::select! {
            done = &mut running => Some(done),
            _ = interrupt.within(BOUND * 2) => None,
        };
        stop.cancel();
        Ok::<_, CliError>(match done {
            Some(done) => done,
            None => running.await,
        })
    })?;
    done.map_err(|error| {
        let problem = format!("{} was made, but backup.command failed: {error}", backup.display());
        CliError::refused(problem, error.help())
    })
}
