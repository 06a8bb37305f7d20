//! One line of the checklist.

use crate::domain::Help;

/// How a line was judged.
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

    /// A failure, with the help of its error.
    pub(super) fn told(what: &'static str, error: &impl Help) -> Self {
        Self::fail(what, error.to_string(), error.help())
    }
}
