//! Free disk, against what the database needs.

use std::path::Path;

use bytesize::ByteSize;

use super::line::Line;
use crate::cli::disk::{self, Room};

/// What must be free besides a copy: the write-ahead log, and a day of logs.
const SPARE: u64 = 64 * 1024 * 1024;

/// With this much left nothing is wrong, however large the disk.
const PLENTY: u64 = 5 * 1024 * 1024 * 1024;

/// What room is needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// A copy of a database of so many bytes: a backup, a restore, a migration.
    Copy(u64),
    /// Two of them: a backup is encrypted from a plain copy beside the database.
    TwoCopies(u64),
    /// The files of the log.
    Log,
}

impl Need {
    /// In bytes, with what must be free besides.
    const fn bytes(self) -> u64 {
        match self {
            Self::Copy(bytes) => bytes,
            Self::TwoCopies(bytes) => bytes.saturating_mul(2),
            Self::Log => 0,
        }
        .saturating_add(SPARE)
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Copy(_) => "one copy of the database and 64 MiB",
            Self::TwoCopies(_) => {
                "two copies of the database, since a backup is encrypted from a plain one, and 64 MiB"
            }
            Self::Log => "a day of the log",
        }
    }
}

/// Whether where `place` lies is room for what is needed: without it the line fails; with less than twice that, or less than
/// a tenth of the disk and 5 GiB, it warns.
pub(super) fn line(what: &'static str, place: &Path, need: Need) -> Line {
    match disk::room(place) {
        Ok(room) => judged(what, room, need, place),
        Err(error) => Line::fail(
            what,
            format!("the free room of the disk of {} cannot be read: {error}", place.display()),
            "see `df`, and mount the disk again",
        ),
    }
}

fn judged(what: &'static str, room: Room, need: Need, place: &Path) -> Line {
    let bytes = need.bytes();
    let found = format!("{} of {} are free", ByteSize(room.free), ByteSize(room.total));
    let help = format!("delete files on the disk of {}, or use a larger one", place.display());
    let needs = || format!("{found}; needs at least {}: {}", ByteSize(bytes), need.words());
    if room.free < bytes {
        Line::fail(what, needs(), help)
    } else if room.free < bytes.saturating_mul(2).max(PLENTY.min(room.total / 10)) {
        Line::warn(what, needs(), help)
    } else {
        Line::ok(what, found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::check::line::Verdict;

    const MIB: u64 = 1024 * 1024;
    const GIB: u64 = 1024 * MIB;

    #[test]
    fn room_is_judged_by_the_database_and_the_disk() {
        for (free, total, need, expected) in [
            (20 * GIB, 40 * GIB, Need::Copy(MIB), Verdict::Ok),
            (64 * MIB, 40 * GIB, Need::Copy(MIB), Verdict::Fail),
            (65 * MIB, 40 * GIB, Need::Copy(MIB), Verdict::Warn),
            // A small disk with a tenth of it free; a large one with less, but plenty.
            (2 * GIB, 20 * GIB, Need::Copy(MIB), Verdict::Ok),
            (2 * GIB - 1, 20 * GIB, Need::Copy(MIB), Verdict::Warn),
            (5 * GIB, 1000 * GIB, Need::Copy(MIB), Verdict::Ok),
            (5 * GIB - 1, 1000 * GIB, Need::Copy(MIB), Verdict::Warn),
            // A database larger than what is left.
            (10 * GIB, 40 * GIB, Need::Copy(10 * GIB), Verdict::Fail),
            (15 * GIB, 40 * GIB, Need::Copy(10 * GIB), Verdict::Warn),
            (21 * GIB, 40 * GIB, Need::Copy(10 * GIB), Verdict::Ok),
            // Room for the plain copy, and none for the encrypted one.
            (15 * GIB, 40 * GIB, Need::TwoCopies(10 * GIB), Verdict::Fail),
            (21 * GIB, 80 * GIB, Need::TwoCopies(10 * GIB), Verdict::Warn),
            (41 * GIB, 80 * GIB, Need::TwoCopies(10 * GIB), Verdict::Ok),
            (63 * MIB, 40 * GIB, Need::Log, Verdict::Fail),
            (5 * GIB, 40 * GIB, Need::Log, Verdict::Ok),
        ] {
            let line = judged("free disk", Room { free, total }, need, Path::new("freshk.db"));
            assert_eq!(line.verdict, expected, "{free} of {total} for {need:?}: {line:?}");
            assert_eq!(line.help.is_empty(), expected == Verdict::Ok, "{line:?}");
            assert_eq!(line.found.ends_with(need.words()), expected != Verdict::Ok, "{line:?}");
        }
    }
}
