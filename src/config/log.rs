//! `[log]` and `[audit]`: what is written down about what happens.

use std::path::PathBuf;
use std::time::Duration;

use super::fault::quoted;
use super::key::{Key, Kind, Section};
use super::reader::Reader;

/// `[log]`
#[derive(Clone, Debug)]
pub struct Log {
    /// Directives such as `info,freshk::sms=debug`, known to be good.
    pub level: String,
    /// For eyes or for programs.
    pub format: LogFormat,
    /// Files of a day each, beside standard error.
    pub file: Option<PathBuf>,
    /// Days that are kept.
    pub keep: usize,
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For eyes.
    Pretty,
    /// One JSON object.
    Json,
}

/// `[audit]`
#[derive(Clone, Copy, Debug)]
pub struct Audit {
    /// How long the audit trail is kept.
    pub retention: Duration,
}

static LEVEL: Key = Key::new(
    "log.level",
    Kind::Text(
        "a level (off, error, warn, info, debug or trace), and targets with a level of their own, such as \
         info,freshk::sms=debug",
    ),
    "info",
    "What is logged: a level, and targets with a level of their own, such as info,freshk::sms=debug.",
);
static FORMAT: Key = Key::new(
    "log.format",
    Kind::Choice(&["json", "pretty"]),
    "json",
    "One JSON object per line (json), or lines for eyes (pretty). They go to standard error.",
)
.in_debug("pretty");
static FILE: Key = Key::new(
    "log.file",
    Kind::Text("the name of a file, such as logs/debug.log"),
    "",
    "Logs into files too, one a day: logs/debug.log becomes logs/debug.2026-01-01.log and so on (days in UTC), and the \
     name itself leads to the latest.",
);
static KEEP: Key =
    Key::new("log.keep", Kind::Number { min: 1, max: 3650 }, "14", "How many of these files are kept.");
static RETENTION: Key = Key::new(
    "audit.retention",
    Kind::Duration { min: "1d", max: "3650d" },
    "90d",
    "How long the audit trail is kept.",
);

pub(super) const SECTION: Section =
    Section { name: "log", doc: "What is logged, and how.", keys: &[&LEVEL, &FORMAT, &FILE, &KEEP] };
pub(super) const AUDIT_SECTION: Section =
    Section { name: "audit", doc: "The audit trail in the database.", keys: &[&RETENTION] };

pub(super) fn read(reader: &mut Reader<'_>) -> Log {
    let level = reader.one(&LEVEL, directives).unwrap_or_default();
    let format = if reader.choice(&FORMAT) == "pretty" { LogFormat::Pretty } else { LogFormat::Json };
    let file = reader.one(&FILE, |text| Ok(PathBuf::from(text)));
    Log { level, format, file, keep: reader.number(&KEEP) }
}

pub(super) fn read_audit(reader: &mut Reader<'_>) -> Audit {
    Audit { retention: reader.duration(&RETENTION) }
}

/// Stricter than the parser behind it, which takes a misspelt level for a target and logs that one alone.
fn directives(text: &str) -> Result<String, String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let is_level = |word: &str| LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word));
    let is_target = |word: &str| {
        !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"_:-".contains(&b))
    };
    let good: Vec<&str> = text
        .split(',')
        .map(str::trim)
        .map(|directive| match directive.split_once('=') {
            Some((target, level)) if is_target(target) && is_level(level) => Ok(directive),
            None if is_level(directive) => Ok(directive),
            _ => Err(format!("{} is neither a level nor target=level", quoted(directive))),
        })
        .collect::<Result<_, _>>()?;
    Ok(good.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_are_levels_and_targets_with_levels() {
        assert_eq!(directives("info, freshk::sms=debug").unwrap(), "info,freshk::sms=debug");
        for bad in ["", "inof", "info,", "freshk=verbose", "=debug", "freshk[span]=debug"] {
            assert!(directives(bad).is_err(), "{bad}");
        }
    }
}
