//! Whether somebody has tried to restore a backup of late.

use std::time::Duration;

use super::line::Line;
use crate::cli::backups;
use crate::cli::backups::drilled::Drilled;
use crate::cli::output::counted;
use crate::config::backup::Backup;
use crate::domain::Timestamp;
use crate::domain::time::humanize_wait;

const DAY: Duration = Duration::from_hours(24);

/// For so many days a drill says that the backups can be restored.
const DAYS: u32 = 30;

/// None while there is no backup, of which another line tells.
pub(super) fn line(settings: &Backup, now: Timestamp) -> Option<Line> {
    const WHAT: &str = "restore drill";
    const HELP: &str =
        "run `freshk db drill` as the user that runs the server, with --identity if backups are encrypted";
    let dir = settings.dir.as_deref()?;
    backups::until(dir, now).ok()?.first()?;
    let Some(Drilled { at, took, .. }) = Drilled::last(dir) else {
        return Some(Line::warn(WHAT, "no backup was ever restored to try it", HELP));
    };
    let age = at.until(now);
    Some(if age > DAY * DAYS {
        let days = counted(age.as_secs() / DAY.as_secs(), "day");
        Line::warn(WHAT, format!("the last backup that was restored to try it was so {days} ago"), HELP)
    } else {
        let (age, took) = (humanize_wait(age), took.as_secs_f64());
        Line::ok(WHAT, format!("a backup was restored {age} ago, in {took:.1} s"))
    })
}
