//! `freshk db drill`: restores the latest backup aside, has a server run on it, and logs in there.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytesize::ByteSize;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::task::spawn_blocking;

use super::restore::{failed, latest};
use crate::cli::backups::drilled::Drilled;
use crate::cli::backups::is_encrypted;
use crate::cli::backups::opened::Opened;
use crate::cli::database::{DatabaseFile, ServeLock};
use crate::cli::interrupt::Interrupt;
use crate::cli::output::{Output, note};
use crate::cli::{CliError, Global, disk, trial};
use crate::clock::{Clock as _, Stopwatch, SystemClock};
use crate::config::{Config, Needs, Sources};
use crate::domain::Timestamp;
use crate::domain::time::humanize_wait;
use crate::files::{self, Owner, beside};

/// What the name of a folder goes on with, behind that of the database.
const MARK: &str = ".drill-";

/// What stays free on the disk of the live database, beside a copy of it.
const SPARE: u64 = 64 * 1024 * 1024;

/// How often it is tried to delete a folder.
const DELETIONS: usize = 20;

/// A step that went well.
struct Step {
    name: &'static str,
    took: Duration,
}

/// What a drill is made with.
struct Drill {
    backup: PathBuf,
    identity: Option<PathBuf>,
    at: Timestamp,
    bytes: u64,
    now: Timestamp,
    folder: PathBuf,
}

/// Drills, and writes down that it went well.
///
/// # Errors
/// [`CliError`] at the first step that did not.
pub(super) fn run(
    (global, identity): (&Global, Option<&Path>),
    (config, database): (&Config, &DatabaseFile),
    output: &mut Output,
) -> Result<(), CliError> {
    let now = SystemClock::new().now();
    let (dir, at, backup) = latest(config, now)?;
    sweep(database.path());
    let bytes = backup.metadata()?.len();
    let attended = Attended::begin()?;
    let folder = fresh_folder(database.path(), if is_encrypted(&backup) { bytes * 2 } else { bytes })?;
    let identity = identity.map(Path::to_owned);
    let drill = Arc::new(Drill { backup, identity, at, bytes, now, folder });
    let drilling = drill.clone();
    let sources = global.sources()?;
    let (steps, outcome) = attended.run_in(&drill.folder, move || drilling.steps(sources))?;
    let took = steps.iter().map(|step| step.took).sum();
    if outcome.is_ok() {
        let name = drill.backup.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let drilled = Drilled { at: now, backup: name, took };
        drilled.write(&dir).map_err(|error| {
            CliError::refused(
                format!("the drill went well, and cannot be written down in {}: {error}", dir.display()),
                "run it as the user that runs freshk",
            )
        })?;
    }
    drill.tell((&steps, took, outcome.is_ok()), output)?;
    outcome
}

impl Drill {
    /// The database that is made of the backup.
    fn database(&self) -> PathBuf {
        self.folder.join("freshk.db")
    }

    /// The configuration of this machine's server for the copy: it buys no SMS, tells nobody of anything, and knows no limits.
    fn configuration(&self, mut sources: Sources) -> Result<Config, CliError> {
        sources.database = Some(format!("sqlite://{}", std::path::absolute(self.database())?.display()));
        sources.no_limits = true;
        Ok(trial::harmless(Config::load_for(&sources, Needs::Everything)?.config))
    }

    /// Takes the steps, up to the first that fails.
    fn steps(&self, sources: Sources) -> (Vec<Step>, Result<(), CliError>) {
        let mut steps = Vec::new();
        let outcome = self.go(sources, &mut steps);
        (steps, outcome)
    }

    fn go(&self, sources: Sources, steps: &mut Vec<Step>) -> Result<(), CliError> {
        let config = self.configuration(sources)?;
        let file = DatabaseFile::new(&self.database(), &config);
        let lock = ServeLock::acquire(&self.database())?;
        let open = || Opened::open(&self.backup, self.identity.as_deref(), &self.database());
        let opened = if is_encrypted(&self.backup) { timed("decrypt", steps, open)? } else { open()? };
        timed("restore", steps, || {
            let restored = file.restore(opened.path(), self.now, &lock);
            restored.map(drop).map_err(|error| failed(&error))
        })?;
        timed("check", steps, || {
            let found = file.check()?;
            match found.faults.first() {
                None => Ok(()),
                Some(fault) => Err(CliError::refused(
                    format!("{} is damaged: {fault}", self.backup.display()),
                    "run `freshk db backup`, `freshk db check`, and check the disk",
                )),
            }
        })?;
        let server = timed("start", steps, || trial::Server::start(&config))?;
        let logged_in = timed("log in", steps, || server.log_in());
        timed("stop", steps, || server.stop())?;
        drop(lock);
        logged_in
    }

    fn tell(
        &self,
        (steps, took, ok): (&[Step], Duration, bool),
        output: &mut Output,
    ) -> Result<(), CliError> {
        if output.json {
            let told: Vec<Value> = steps
                .iter()
                .map(|step| json!({ "step": step.name, "milliseconds": millis(step.took) }))
                .collect();
            return Ok(output.json(&json!({
                "ok": ok,
                "backup": self.backup,
                "made_at": self.at.iso(),
                "bytes": self.bytes,
                "steps": told,
                "milliseconds": millis(took),
            }))?);
        }
        let age = humanize_wait(self.at.until(self.now));
        output.sentences(&format!("{} ({}), {age} old\n", self.backup.display(), ByteSize(self.bytes)))?;
        for step in steps {
            output.text(&line(step.name, step.took))?;
        }
        if ok {
            output.text(&line("all", took))?;
            output.text("the backup is good: a server ran on it, and a test number logged in\n")?;
        }
        Ok(())
    }
}

fn line(name: &str, took: Duration) -> String {
    format!("{name:<9}{:>9.2} s\n", took.as_secs_f64())
}

fn millis(took: Duration) -> u64 {
    u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
}

/// Does a step, and notes how long it took if it went well.
fn timed<T>(
    name: &'static str,
    steps: &mut Vec<Step>,
    act: impl FnOnce() -> Result<T, CliError>,
) -> Result<T, CliError> {
    let watch = Stopwatch::start();
    let done = act()?;
    steps.push(Step { name, took: watch.elapsed() });
    Ok(done)
}

/// Makes a folder that only this user can enter, beside the database, whose disk must keep room for the live one.
fn fresh_folder(database: &Path, bytes: u64) -> Result<PathBuf, CliError> {
    let directory = files::directory(database);
    let refused = |error: io::Error| {
        CliError::refused(
            format!("no folder can be made in {}: {error}", directory.display()),
            "run it as the user that runs freshk",
        )
    };
    let free = disk::room(database).map_err(refused)?.free;
    // The copy, and as much again for the server that runs.
    let need = bytes.saturating_mul(2).saturating_add(SPARE);
    if free < need {
        return Err(CliError::refused(
            format!(
                "the disk of {} has {} free, and a drill that leaves room for the server needs {}",
                directory.display(),
                ByteSize(free),
                ByteSize(need)
            ),
            "delete files there, or use a larger one",
        ));
    }
    let folder = beside(database, &format!("{MARK}{}", files::random_name()));
    DirBuilder::new().mode(0o700).create(&folder).map_err(refused)?;
    let owner = Owner::beside(directory).map_err(refused)?;
    std::fs::File::open(&folder).and_then(|made| owner.give(&made)).map_err(refused)?;
    Ok(folder)
}

/// Work that a signal ends, from before there is a folder that has to go.
struct Attended {
    runtime: Runtime,
    interrupt: Interrupt,
}

impl Attended {
    fn begin() -> Result<Self, CliError> {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(CliError::Runtime)?;
        let interrupt = runtime.block_on(async { Interrupt::begin() }).map_err(CliError::Runtime)?;
        Ok(Self { runtime, interrupt })
    }

    /// Runs `act` on a thread of its own, and deletes the folder afterwards; earlier, where a signal comes.
    fn run_in<T: Send + 'static>(
        mut self,
        folder: &Path,
        act: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, CliError> {
        let folder = Folder(folder);
        let done = self.runtime.block_on(async {
            let acting = spawn_blocking(act);
            tokio::select! {
                done = acting => done.map_err(|error| CliError::Runtime(io::Error::other(error))),
                _ = self.interrupt.within(Duration::MAX) => {
                    Err(CliError::refused("the drill was interrupted, and its copy deleted", "run it again"))
                }
            }
        });
        drop(folder);
        // A step that is under way must not delay the end.
        self.runtime.shutdown_background();
        done
    }
}

/// A folder that goes when this is dropped.
struct Folder<'a>(&'a Path);

impl Drop for Folder<'_> {
    fn drop(&mut self) {
        // A step that is under way may make one more file meanwhile, but none once the folder is gone.
        for _ in 0..DELETIONS {
            match std::fs::remove_dir_all(self.0) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {}
                _ => return,
            }
        }
        note(&format!("warning: {} cannot be deleted: delete it by hand", self.0.display()));
    }
}

/// Deletes the folders of drills that were killed; one that is under way holds its lock.
fn sweep(database: &Path) {
    let Ok(entries) = std::fs::read_dir(files::directory(database)) else { return };
    let begins = format!("{}{MARK}", database.file_name().unwrap_or_default().to_string_lossy());
    for entry in entries.flatten() {
        let name = entry.file_name();
        let is_left = name
            .to_str()
            .and_then(|name| name.strip_prefix(&begins))
            .is_some_and(|digits| digits.len() == 16 && digits.bytes().all(|b| b.is_ascii_hexdigit()));
        if is_left
            && entry.file_type().is_ok_and(|found| found.is_dir())
            && ServeLock::acquire(&entry.path().join("freshk.db")).is_ok()
        {
            // That it cannot be deleted changes nothing.
            drop(std::fs::remove_dir_all(entry.path()));
        }
    }
}
