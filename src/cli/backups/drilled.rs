//! When a backup was last restored to try it: a small file beside the backups, so that it is there whatever is restored.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::config::instant::instant;
use crate::domain::Timestamp;
use crate::files::{Draft, Owner};

const NAME: &str = "freshk-drill.json";

/// A drill that went well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drilled {
    /// When.
    pub at: Timestamp,
    /// The name of the backup.
    pub backup: String,
    /// How long it took.
    pub took: Duration,
}

/// Where it is written.
pub fn path(dir: &Path) -> PathBuf {
    dir.join(NAME)
}

impl Drilled {
    /// The last in a directory of backups; `None` where there was none, or nobody can tell.
    pub fn last(dir: &Path) -> Option<Self> {
        let told: Value = serde_json::from_slice(&std::fs::read(path(dir)).ok()?).ok()?;
        Some(Self {
            at: instant(told.get("at")?.as_str()?)?,
            backup: told.get("backup")?.as_str()?.to_owned(),
            took: Duration::from_millis(told.get("milliseconds")?.as_u64()?),
        })
    }

    /// Writes it down, in place of the one before.
    ///
    /// # Errors
    /// What the system says of the directory.
    pub fn write(&self, dir: &Path) -> io::Result<()> {
        let path = path(dir);
        let draft = Draft::beside(&path, "part", Some(Owner::beside(dir)?))?;
        let text = json!({
            "at": self.at.iso(),
            "backup": self.backup,
            "milliseconds": u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX),
        });
        writeln!(draft.file(), "{text}")?;
        draft.replace(&path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_rubbish_is_none() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Drilled::last(dir.path()), None);
        let drilled = Drilled {
            at: Timestamp::from_millis(1_767_225_600_123),
            backup: "freshk-20260101T000000Z.db".to_owned(),
            took: Duration::from_millis(1234),
        };
        drilled.write(dir.path()).unwrap();
        assert_eq!(Drilled::last(dir.path()), Some(drilled));
        for rubbish in ["", "{}", "[1]", r#"{"at":"yesterday","backup":"x","milliseconds":1}"#] {
            std::fs::write(path(dir.path()), rubbish).unwrap();
            assert_eq!(Drilled::last(dir.path()), None, "{rubbish}");
        }
    }
}
