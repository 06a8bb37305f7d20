//! One line of the checklist.

use std::fmt::Display;

/// How a line stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Ok,
    Warn,
    Fail,
}

/// What was looked at, what was found, and what to do.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) verdict: Verdict,
    pub(super) what: &'static str,
    pub(super) found: String,
    /// Empty where nothing is to be done.
    pub(super) help: String,
}

impl Verdict {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

impl Line {
    pub(super) fn ok(what: &'static str, found: impl Into<String>) -> Self {
        Self { verdict: Verdict::Ok, what, found: found.into(), help: String::new() }
    }

    pub(super) fn warn(what: &'static str, found: impl Into<String>, help: impl Into<String>) -> Self {
        Self { verdict: Verdict::Warn, what, found: found.into(), help: help.into() }
    }

    pub(super) fn fail(what: &'static str, found: impl Into<String>, help: impl Into<String>) -> Self {
        Self { verdict: Verdict::Fail, what, found: found.into(), help: help.into() }
    }

    /// An error of ours says what is wrong and, after a semicolon, what to do.
    pub(super) fn told(what: &'static str, error: &impl Display) -> Self {
        let words = error.to_string();
        match words.split_once("; ") {
            Some((found, help)) => Self::fail(what, found, help),
            None => Self::fail(what, words, "look at the file, its directory and its disk"),
        }
    }
}

/// `1 check`, `2 checks`.
pub(super) fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
