//! The unit that is installed: what systemd makes when it starts it, and is not there before.

use std::path::{Path, PathBuf};

/// The unit's name.
const UNIT: &str = "freshk.service";

/// Where units lie, the operator's own first.
const UNITS: [&str; 3] = ["/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];

/// Directives that make directories, and where those are made.
const DIRECTIVES: [(&str, &str); 4] = [
    ("StateDirectory", "/var/lib"),
    ("CacheDirectory", "/var/cache"),
    ("LogsDirectory", "/var/log"),
    ("RuntimeDirectory", "/run"),
];

/// Where the unit is installed, if it is.
pub(in crate::cli) fn installed_unit() -> Option<PathBuf> {
    UNITS.iter().map(|dir| Path::new(dir).join(UNIT)).find(|unit| unit.is_file())
}

/// The installed unit that makes this directory, or one above it, when it starts.
pub(super) fn makes(directory: &Path) -> Option<&'static str> {
    let unit = std::fs::read_to_string(installed_unit()?).ok()?;
    (unit_makes(&unit, directory)).then_some(UNIT)
}

fn unit_makes(unit: &str, directory: &Path) -> bool {
    let assigned = |line: &str| {
        let (name, value) = line.split_once('=')?;
        let (_, base) = DIRECTIVES.iter().find(|(directive, _)| *directive == name.trim())?;
        Some(value.split_whitespace().any(|name| Path::new(base).join(name) == directory))
    };
    unit.lines().any(|line| assigned(line) == Some(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_names_the_directories_that_it_makes() {
        let unit = "[Service]\nStateDirectory=freshk freshk/backups\nLogsDirectory = freshk\n";
        for made in ["/var/lib/freshk", "/var/lib/freshk/backups", "/var/log/freshk"] {
            assert!(unit_makes(unit, Path::new(made)), "{made}");
        }
        for other in ["/var/lib", "/var/lib/other", "/srv/freshk", "/var/lib/freshk/other"] {
            assert!(!unit_makes(unit, Path::new(other)), "{other}");
        }
    }
}
