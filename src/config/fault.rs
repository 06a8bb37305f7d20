//! What is wrong with a configuration or should be told of it, each with what to do.

use std::fmt;

use super::needs::Needs;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The key, or the file or flag where no key is to blame.
    pub key: String,
    /// Where the value came from; `None` where nothing was set.
    pub origin: Option<String>,
    /// What is wrong; never shows a secret.
    pub problem: String,
    /// What to do.
    pub help: String,
    /// The key that it concerns; of an unknown one the known key that is most like it. `None`: any key may be concerned, as
    /// where a file cannot be read.
    pub(super) about: Option<String>,
}

/// What is not wrong, but should be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The key that it concerns; `None`: any.
    pub(super) about: Option<&'static str>,
    /// What was found; never shows a secret.
    pub problem: String,
    /// What to do.
    pub help: String,
}

/// What was found so far.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) faults: Vec<Fault>,
    pub(super) warnings: Vec<Warning>,
    /// Whether a file could not be read: what is missing may be in it.
    pub(super) unread: bool,
}

/// Everything that is wrong, at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults(pub Vec<Fault>);

impl Fault {
    /// A fault of a key that has no value to blame.
    pub(super) fn new(key: impl Into<String>, problem: impl Into<String>, help: impl Into<String>) -> Self {
        let key = key.into();
        Self { about: Some(key.clone()), key, origin: None, problem: problem.into(), help: help.into() }
    }

    /// A fault of a file, which may hold any key.
    pub(super) fn of_file(
        name: impl Into<String>,
        problem: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        Self { about: None, ..Self::new(name, problem, help) }
    }

    /// The same, with the place that the value came from.
    pub(super) fn from(self, origin: impl Into<String>) -> Self {
        Self { origin: Some(origin.into()), ..self }
    }
}

impl Findings {
    /// Notes a warning about a key, or about a whole file.
    pub(super) fn warn(
        &mut self,
        about: Option<&'static str>,
        problem: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.warnings.push(Warning { about, problem: problem.into(), help: help.into() });
    }

    /// Leaves what concerns a command that uses `needs` alone; where a file could not be read, nothing is missing for sure.
    pub(super) fn keep(&mut self, needs: Needs) {
        let unread = self.unread;
        self.faults.retain(|fault| fault.about.as_deref().is_none_or(|key| needs.cover(key)));
        self.faults.retain(|fault| !unread || fault.about.is_none() || fault.origin.is_some());
        self.warnings.retain(|warning| warning.about.is_none_or(|key| needs.cover(key)));
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n    {}", self.problem, self.help)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key)?;
        if let Some(origin) = &self.origin {
            write!(f, ", from {origin}")?;
        }
        write!(f, "\n    {}\n    {}", self.problem, self.help)
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        write!(f, "the configuration has {count} fault{}:", if count == 1 { "" } else { "s" })?;
        self.0.iter().try_for_each(|fault| write!(f, "\n\n{fault}"))
    }
}

impl std::error::Error for Faults {}

/// A value as a fault quotes it: on one line, control characters escaped, and not endless.
pub(super) fn quoted(text: &str) -> String {
    const LONGEST: usize = 60;
    if text.chars().count() <= LONGEST {
        return format!("{text:?}");
    }
    let head: String = text.chars().take(LONGEST).collect();
    format!("{head:?}…")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_a_group_of_lines() {
        let faults = Faults(vec![
            Fault::new("otp.ttl", "\"x\" is no duration", "write 10m").from("freshk.toml"),
            Fault::new("secret_key", "it is not set", "set it"),
        ]);
        assert_eq!(
            faults.to_string(),
            "the configuration has 2 faults:\n\n\
             otp.ttl, from freshk.toml\n    \"x\" is no duration\n    write 10m\n\n\
             secret_key\n    it is not set\n    set it"
        );
    }

    #[test]
    fn s34_a_quoted_value_stays_on_its_line() {
        assert_eq!(quoted("a\nb\u{1b}"), "\"a\\nb\\u{1b}\"");
        assert!(quoted(&"x".repeat(500)).len() < 80);
    }
}
