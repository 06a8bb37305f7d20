//! Lines as they are written. Ids are given at the write and seen at the commit: a line may appear after one with a higher
//! id, so that missing ids are asked for again for a while.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{Filter, one};
use crate::cli::CliError;
use crate::cli::admin::{AdminContext, PAGE};
use crate::cli::output::Output;
use crate::clock::Stopwatch;
use crate::storage::audit::{AuditLine, AuditOf, AuditOrder, AuditSearch};

/// How often new lines are looked for.
const POLL: Timespec = Timespec { tv_sec: 0, tv_nsec: 250_000_000 };

/// How long after a line one with a lower id may still appear: no transaction is longer than 10 s.
const LATE: Duration = Duration::from_secs(15);

/// Shows lines as they are written, until the reader has gone away or the process is told to stop.
pub(super) fn follow(
    admin: &AdminContext,
    filter: &Filter,
    end: i64,
    output: &mut Output,
) -> Result<(), CliError> {
    let (mut place, stopwatch) = (Place::after(end), Stopwatch::start());
    let all = AuditSearch::all(&AuditOf::Everybody);
    while !output.is_gone() {
        let ids: Vec<i64> =
            after(admin, &all, place.complete, i64::MAX)?.iter().map(|line| line.id).collect();
        if let Some(newest) = ids.last() {
            for wanted in filter.searches() {
                for line in after(admin, &wanted, place.complete, *newest)? {
                    if place.is_new(line.id) {
                        one(&line, output)?;
                    }
                }
            }
        }
        place.pass(&ids, stopwatch.elapsed());
        if wait_or_gone() {
            break;
        }
    }
    Ok(())
}

/// All lines that are wanted after one and up to another, the oldest first.
fn after(
    admin: &AdminContext,
    wanted: &AuditSearch,
    after: i64,
    end: i64,
) -> Result<Vec<AuditLine>, CliError> {
    let (mut found, mut rest) = (Vec::<AuditLine>::new(), after.saturating_add(1)..end.saturating_add(1));
    loop {
        let (asked, ids) = (wanted.clone(), rest.clone());
        let page = admin.read(move |view| view.search_audit(&asked, ids, AuditOrder::OldestFirst, PAGE))?;
        let is_last = page.len() < PAGE;
        found.extend(page);
        match found.last() {
            Some(last) if !is_last => rest.start = last.id.saturating_add(1),
            _ => return Ok(found),
        }
    }
}

/// How far whoever follows has come.
struct Place {
    /// Up to here no line is missing, or it is waited for no longer.
    complete: i64,
    /// Lines above that were there at an earlier look.
    passed: BTreeSet<i64>,
    /// The newest line of each look that found a newer one, within the last [`LATE`].
    looks: VecDeque<(i64, Duration)>,
}

impl Place {
    fn after(end: i64) -> Self {
        Self { complete: end, passed: BTreeSet::new(), looks: VecDeque::new() }
    }

    /// Whether a line was not there at an earlier look.
    fn is_new(&self, id: i64) -> bool {
        !self.passed.contains(&id)
    }

    /// Goes on to where a line may still be missing; `ids` are those of all lines after [`Place::complete`], ascending.
    fn pass(&mut self, ids: &[i64], now: Duration) {
        let newest = ids.last().copied().unwrap_or(self.complete);
        if self.looks.back().is_none_or(|(before, _)| *before < newest) {
            self.looks.push_back((newest, now));
        }
        while let Some((old, _)) = self.looks.pop_front_if(|(_, at)| *at + LATE <= now) {
            self.complete = self.complete.max(old);
        }
        for id in ids.iter().filter(|id| **id > self.complete).collect::<Vec<_>>() {
            if *id != self.complete + 1 {
                break;
            }
            self.complete = *id;
        }
        self.passed = ids.iter().copied().filter(|id| *id > self.complete).collect();
    }
}

/// Waits for the next look; true if whoever reads standard output has gone away meanwhile.
fn wait_or_gone() -> bool {
    let stdout = std::io::stdout();
    // Without an event to wait for, only an error or a hang-up wakes.
    let mut watched = [PollFd::new(&stdout, PollFlags::empty())];
    matches!(poll(&mut watched, Some(&POLL)), Ok(woken) if woken > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// What one look shows of the lines that are there.
    fn look(place: &mut Place, all: &[i64], now: Duration) -> Vec<i64> {
        let ids: Vec<i64> = all.iter().copied().filter(|id| *id > place.complete).collect();
        let shown = ids.iter().copied().filter(|id| place.is_new(*id)).collect();
        place.pass(&ids, now);
        shown
    }

    #[test]
    fn each_line_is_shown_once_and_one_that_commits_late_too() {
        let mut place = Place::after(10);
        assert_eq!(look(&mut place, &[11, 12], at(0)), [11, 12]);
        assert_eq!(look(&mut place, &[11, 12, 14, 15], at(1)), [14, 15], "13 is missing");
        assert_eq!(look(&mut place, &[11, 12, 14, 15, 17], at(9)), [17]);
        assert_eq!(look(&mut place, &[11, 12, 13, 14, 15, 17], at(10)), [13]);
        assert_eq!(place.complete, 15, "16 may still come");
        assert_eq!(look(&mut place, &[16, 17, 18], at(11)), [16, 18]);
        assert_eq!(place.complete, 18);
        assert!(place.passed.is_empty());
    }

    #[test]
    fn a_line_that_stays_missing_is_waited_for_15_seconds() {
        let mut place = Place::after(10);
        assert_eq!(look(&mut place, &[12], at(0)), [12]);
        assert_eq!(look(&mut place, &[12, 14], at(5)), [14]);
        assert_eq!(look(&mut place, &[12, 14], at(14)), [0; 0]);
        assert_eq!(place.complete, 10);
        assert_eq!(look(&mut place, &[12, 14], at(15)), [0; 0]);
        assert_eq!(place.complete, 12, "11 was missing since the first look, 13 since the second");
        assert_eq!(look(&mut place, &[12, 14], at(20)), [0; 0]);
        assert_eq!(place.complete, 14);
        assert!(place.looks.is_empty());
    }
}
