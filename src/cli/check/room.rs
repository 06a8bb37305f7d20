//! Free disk, against what the database needs.

use std::path::Path;

use bytesize::ByteSize;

use super::line::Line;
use crate::cli::disk::{self, Room};

/// What must be free besides a copy: the write-ahead log, and a day of logs.
const SPARE: u64 = 64 * 1024 * 1024;

/// With this much left nothing is wrong, however large the disk.
const PLENTY: u64 = 5 * 1024 * 1024 * 1024;

/// Room for a copy of `bytes` (a backup, a restore, a migration) where `place` lies: without it the line fails; with
/// less than twice that, or less than a tenth of the disk and 5 GiB, it warns.
pub(super) fn line(what: &'static str, place: &Path, bytes: u64) -> Line {
    match disk::room(place) {
        Ok(room) => judged(what, room, bytes, place),
        Err(error) => Line::fail(
            what,
            format!("the free room of the disk of {} cannot be read: {error}", place.display()),
            "see `df`, and mount the disk again",
        ),
    }
}

fn judged(what: &'static str, room: Room, bytes: u64, place: &Path) -> Line {
    let need = bytes.saturating_add(SPARE);
    let found = format!("{} of {} are free", ByteSize(room.free), ByteSize(room.total));
    let help = format!("delete files on the disk of {}, or use a larger one", place.display());
    if room.free < need {
        let found =
            format!("{found}; needs at least {}: one copy of the database and 64 MiB", ByteSize(need));
        Line::fail(what, found, help)
    } else if room.free < need.saturating_mul(2).max(PLENTY.min(room.total / 10)) {
        Line::warn(what, format!("{found}; one copy of the database needs {}", ByteSize(need)), help)
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
        for (free, total, bytes, expected) in [
            (20 * GIB, 40 * GIB, MIB, Verdict::Ok),
            (64 * MIB, 40 * GIB, MIB, Verdict::Fail),
            (65 * MIB, 40 * GIB, MIB, Verdict::Warn),
            // A small disk with a tenth of it free; a large one with less, but plenty.
            (2 * GIB, 20 * GIB, MIB, Verdict::Ok),
            (2 * GIB - 1, 20 * GIB, MIB, Verdict::Warn),
            (5 * GIB, 1000 * GIB, MIB, Verdict::Ok),
            (5 * GIB - 1, 1000 * GIB, MIB, Verdict::Warn),
            // A database larger than what is left.
            (10 * GIB, 40 * GIB, 10 * GIB, Verdict::Fail),
            (15 * GIB, 40 * GIB, 10 * GIB, Verdict::Warn),
            (21 * GIB, 40 * GIB, 10 * GIB, Verdict::Ok),
        ] {
            let line = judged("free disk", Room { free, total }, bytes, Path::new("freshk.db"));
            assert_eq!(line.verdict, expected, "{free} of {total} for {bytes}: {line:?}");
            assert_eq!(line.help.is_empty(), expected == Verdict::Ok, "{line:?}");
        }
    }
}
