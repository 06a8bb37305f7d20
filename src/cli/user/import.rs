//! `freshk user import`: users from elsewhere, their ids kept.
//!
//! The file is read twice: every line is judged first, then the good ones are written in slices, between which a
//! running server writes what it has to. What was written is taken back if anything fails half-way, or if somebody
//! interrupts; killed, an import is finished by running it again.

use std::collections::HashSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::columns::Rules;
use super::{Format, FormatArgs};
use crate::cli::admin::{AdminContext, PAGE, WRITING};
use crate::cli::engine::Place;
use crate::cli::interrupt::Interrupt;
use crate::cli::output::{Output, counted};
use crate::cli::{CliError, Global, output, progress};
use crate::clock::Stopwatch;
use crate::domain::UserId;
use crate::storage::Locks;
use crate::storage::users::ImportedUser;

mod check;
mod file;
#[cfg(any(test, fuzzing))]
pub(crate) use file::read_lines;
mod pace;
mod room;

use check::{Refused, Seen, Verdicts, meet};
use file::Lines;
use pace::Pace;
use room::Room;

/// Bring users from elsewhere
#[derive(Args, Clone, Debug)]
#[command(after_long_help = "\
Examples:
  freshk user import users.csv --dry-run
  freshk user import users.csv
  freshk user import users.jsonl --skip-bad --json > report.json

Columns (the first line of a CSV file, the members of a JSON object): id, username, phone_number, role, is_active, \
phone_verified, date_joined. Only phone_number is required. Ids are kept; new users get ids from users.first_id on, or above the highest. \
A line that says what the database has already is left alone, so an import can be run again. If one line is \
refused, nothing is imported, unless --skip-bad is given.

Nobody is phone_verified unless the file says so. Unlike those who registered here, imported users are kept even if \
they never give a code: another system may know them by their ids.

An import that fails half-way, or is interrupted with Ctrl-C, takes back what it has written. One that is killed leaves \
that behind: run it again, and it goes on.")]
pub struct ImportArgs {
    /// The file
    file: PathBuf,
    #[command(flatten)]
    format: FormatArgs,
    /// Check everything, write no user
    #[arg(long)]
    dry_run: bool,
    /// Leave out the lines that are refused, and import the others
    #[arg(long)]
    skip_bad: bool,
}

/// How long one slice should hold the server's writes up; far below the 100 ms that it may.
const HOLD: Duration = Duration::from_millis(30);

/// The fewest and the most rows of a slice; it begins with the fewest.
const ROWS: (usize, usize) = (200, 5000);

/// Imports.
///
/// # Errors
/// [`CliError`]; nothing was imported then.
pub(super) fn run(args: &ImportArgs, global: &Global, output: &mut Output) -> Result<(), CliError> {
    let format = args.format.of(Some(&args.file));
    let admin = AdminContext::open_or_make(global, WRITING)?;
    let mut import = Import { admin: &admin, path: &args.file, format, rules: rules(&admin) };
    let mut verdicts = import.check(output)?;
    let refused = verdicts.refused.len();
    let stops = refused > 0 && !args.skip_bad;
    let written = if stops || args.dry_run { 0 } else { import.write(&mut verdicts, args.skip_bad)? };
    let next_id = import.next_id(verdicts.highest.filter(|_| !stops))?;
    let good = verdicts.lines - (verdicts.refused.len() + verdicts.same.len()) as u64;
    if output.json {
        output.json(&Report {
            dry_run: args.dry_run,
            lines: verdicts.lines,
            good,
            unchanged: verdicts.same.len(),
            imported: written,
            next_id,
            refused: &verdicts.refused,
        })?;
    } else {
        // Those that the check refused are told already.
        tell(&verdicts.refused[refused..], output)?;
        output.sentences(&format!(
            "{}: {good} good, {} already there, {} refused; {} imported{}\n",
            counted(verdicts.lines, "line"),
            verdicts.same.len(),
            verdicts.refused.len(),
            counted(written, "user"),
            if args.dry_run { " (a dry run)" } else { "" }
        ))?;
        if !stops {
            output.sentences(&format!("new users get ids from {next_id} on\n"))?;
        }
    }
    if stops {
        return Err(CliError::refused(
            format!("nothing was imported: {} refused", counted(refused, "line")),
            "correct them, or leave them out with --skip-bad",
        ));
    }
    Ok(())
}

/// What `--json` shows.
#[derive(Serialize)]
struct Report<'a> {
    dry_run: bool,
    lines: u64,
    good: u64,
    unchanged: usize,
    imported: usize,
    /// The id that the next new user gets.
    next_id: i64,
    refused: &'a [Refused],
}

struct Import<'a> {
    admin: &'a AdminContext,
    path: &'a Path,
    format: Format,
    rules: Rules,
}

fn rules(admin: &AdminContext) -> Rules {
    let users = &admin.config.users;
    Rules {
        roles: users.roles.clone(),
        default_role: users.default_role.clone(),
        phones: admin.config.phone.clone(),
        now: admin.now(),
    }
}

impl Import<'_> {
    /// The id that the next new user gets, once the file is imported whose highest id is `highest`.
    fn next_id(&self, highest: Option<i64>) -> Result<i64, CliError> {
        let last = self.admin.read(|view| view.last_user_id())?;
        Ok(self.admin.config.users.first().next(last.max(highest.map(UserId))).0)
    }

    /// Judges every line, telling of those that are refused as it goes.
    fn check(&mut self, output: &mut Output) -> Result<Verdicts, CliError> {
        let (mut lines, bar) = self.open("checking")?;
        let (mut verdicts, mut seen, mut slice) = (Verdicts::default(), Seen::default(), Vec::new());
        while let Some((line, texts)) = lines.next().map_err(|error| self.unreadable(&error.to_string()))? {
            verdicts.lines += 1;
            let judged = texts.and_then(|texts| self.rules.judge(texts));
            match judged.and_then(|user| seen.take(&user, line).map(|()| user)) {
                Ok(user) => slice.push((line, user)),
                Err(reason) => verdicts.refused.push(Refused { line, reason }),
            }
            if slice.len() == PAGE {
                self.meet(&mut slice, &mut verdicts)?;
            }
        }
        self.meet(&mut slice, &mut verdicts)?;
        bar.finish_and_clear();
        verdicts.refused.sort_by_key(|refused| refused.line);
        if !output.json {
            tell(&verdicts.refused, output)?;
        }
        Ok(verdicts)
    }

    fn meet(&self, slice: &mut Vec<(u64, ImportedUser)>, verdicts: &mut Verdicts) -> Result<(), CliError> {
        let (lines, users): (Vec<u64>, Vec<ImportedUser>) = std::mem::take(slice).into_iter().unzip();
        let now = self.rules.now;
        let (users, met) = self.admin.read(move |view| {
            let met = meet(view, &users, now)?;
            Ok((users, met))
        })?;
        for ((met, line), user) in met.into_iter().zip(lines).zip(&users) {
            verdicts.note(&met, line, user);
        }
        Ok(())
    }

    /// Writes the good lines; takes all back if anything fails, or if somebody came in between and no line may be
    /// left out.
    fn write(&mut self, verdicts: &mut Verdicts, skip_bad: bool) -> Result<usize, CliError> {
        if let Some(highest) = verdicts.highest {
            self.admin.raise_user_ids(UserId(highest))?;
        }
        let place = Place::of(&self.admin.config);
        let room = place.file().map(|file| Room::take(file.path())).transpose().map_err(|error| {
            CliError::refused(
                format!("the disk of the database has no room: {error}; nothing was imported"),
                "free some and try again",
            )
        })?;
        let (mut written, mut stop) = (Vec::new(), Interrupt::listen(self.admin)?);
        let done = self.write_slices(verdicts, skip_bad, &mut written, &mut stop);
        drop(room);
        match done {
            Ok(()) => Ok(written.len()),
            Err(error) if written.is_empty() => Err(error),
            Err(error) => Err(self.take_back(&written, error)),
        }
    }

    /// Takes back what was written before `error`, and gives that, or says how much of it has to stay.
    fn take_back(&self, written: &[UserId], error: CliError) -> CliError {
        output::note(&format!("removing {} imported so far", counted(written.len(), "user")));
        let (mut folds, mut pace) = (true, Pace::new(self.admin));
        for (done, slice) in written.chunks(PAGE).enumerate() {
            // On a full disk this makes room in the log; where it does not, the log may have some left.
            folds = folds && self.admin.checkpoint().is_ok();
            let (users, locks) = (slice.to_vec(), Locks::none().users(slice));
            if self.admin.act(locks, move |operator| operator.undo_import(&users)).is_err() {
                let left = written.len() - done * PAGE;
                return CliError::refused(
                    format!(
                        "the import failed, and {} that it wrote could not be removed",
                        counted(left, "user")
                    ),
                    "correct what the lines above name and run the import again: it skips those users and goes on",
                );
            }
            let pause = pace.after(HOLD);
            self.admin.block_on(async { tokio::time::sleep(pause).await });
        }
        error
    }

    fn write_slices(
        &self,
        verdicts: &mut Verdicts,
        skip_bad: bool,
        written: &mut Vec<UserId>,
        stop: &mut Interrupt,
    ) -> Result<(), CliError> {
        let (mut lines, bar) = self.open("importing")?;
        let left_out: HashSet<u64> = verdicts
            .refused
            .iter()
            .map(|refused| refused.line)
            .chain(verdicts.same.iter().copied())
            .collect();
        let (mut rows, mut pace) = (ROWS.0, Pace::new(self.admin));
        let mut slice: Vec<(u64, ImportedUser)> = Vec::new();
        loop {
            let line = lines.next().map_err(|error| self.unreadable(&error.to_string()))?;
            let at_end = line.is_none();
            if let Some((line, texts)) = line.filter(|(line, _)| !left_out.contains(line)) {
                let user = texts.and_then(|texts| self.rules.judge(texts));
                slice.push((line, user.map_err(|_| self.unreadable("it changed while it was read"))?));
            }
            if slice.len() >= rows || (at_end && !slice.is_empty()) {
                let held = self.write_slice(&mut slice, verdicts, written)?;
                if verdicts.refused.len() + verdicts.same.len() > left_out.len() && !skip_bad {
                    return Err(CliError::refused(
                        "a phone, a name or an id of the file was taken meanwhile; nothing was imported",
                        "run the import again",
                    ));
                }
                rows = next_rows(rows, held);
                let pause = pace.after(held);
                if !pace.is_served() {
                    // Else the log would grow as large as all that is imported.
                    self.admin.checkpoint()?;
                }
                if !at_end && self.admin.block_on(stop.within(pause)) {
                    bar.finish_and_clear();
                    return Err(CliError::refused(
                        "the import was interrupted; nothing was imported",
                        "run it again",
                    ));
                }
            }
            if at_end {
                bar.finish_and_clear();
                return Ok(());
            }
        }
    }

    /// Writes one slice and gives how long that took.
    fn write_slice(
        &self,
        slice: &mut Vec<(u64, ImportedUser)>,
        verdicts: &mut Verdicts,
        written: &mut Vec<UserId>,
    ) -> Result<Duration, CliError> {
        let (lines, users): (Vec<u64>, Vec<ImportedUser>) = std::mem::take(slice).into_iter().unzip();
        let locks = Locks::none().phones(users.iter().map(|user| &user.phone));
        let stopwatch = Stopwatch::start();
        let imported = self.admin.act(locks, move |operator| operator.import(&users))?;
        let held = stopwatch.elapsed();
        written.extend(imported.written.iter().map(|(_, id)| *id));
        let taken = imported.taken.iter().map(|place| lines[*place]);
        let reason = "its phone, name or id was taken meanwhile";
        verdicts.refused.extend(taken.map(|line| Refused { line, reason: reason.to_owned() }));
        Ok(held)
    }

    fn open(&self, what: &'static str) -> Result<(Lines, indicatif::ProgressBar), CliError> {
        let file = File::open(self.path).map_err(|error| self.unreadable(&error.to_string()))?;
        let found = file.metadata().map_err(|error| self.unreadable(&error.to_string()))?;
        if !found.is_file() {
            return Err(self.unreadable("it is not a file, and it has to be read twice"));
        }
        let bar = progress::bar(found.len(), what);
        let lines = Lines::new(bar.wrap_read(file), self.format).map_err(|fault| self.unreadable(&fault))?;
        Ok((lines, bar))
    }

    fn unreadable(&self, why: &str) -> CliError {
        CliError::refused(
            format!("{} cannot be imported: {why}", self.path.display()),
            "`freshk user export` writes a file in the right form",
        )
    }
}

/// As many rows as would have held the writer up just so long.
fn next_rows(rows: usize, held: Duration) -> usize {
    let micros = held.as_micros().max(1);
    let fitting = (rows as u128).saturating_mul(HOLD.as_micros()) / micros;
    usize::try_from(fitting).unwrap_or(ROWS.1).clamp(ROWS.0, ROWS.1)
}

fn tell(refused: &[Refused], output: &mut Output) -> Result<(), CliError> {
    for chunk in refused.chunks(PAGE) {
        let lines: Vec<_> =
            chunk.iter().map(|Refused { line, reason }| format!("line {line}: {reason}")).collect();
        output.text(&(lines.join("\n") + "\n"))?;
    }
    Ok(())
}
