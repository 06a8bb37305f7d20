//! `freshk check`: the deployment checklist, as a program.

use std::fmt::Write as _;

use clap::Args;
use serde_json::json;

use super::output::Output;
use super::{CliError, Global};
use crate::clock::{Clock as _, SystemClock};
use crate::config::{Config, Faults};

mod files;
mod provider;
mod settings;

/// What is looked at.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  freshk check
  freshk check --offline --json | jq '.lines[] | select(.verdict != \"ok\")'

Goes on beside a running server and changes nothing. Exits with 1 if any line fails; a warning is for you to \
weigh. Twilio is asked for the account, and its clock compared with ours, unless --offline is given.")]
pub struct CheckArgs {
    /// Ask nobody outside this machine
    #[arg(long)]
    pub offline: bool,
}

/// How a line stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Ok,
    Warn,
    Fail,
}

/// One line of the checklist.
#[derive(Debug)]
struct Line {
    verdict: Verdict,
    what: &'static str,
    found: String,
    /// What to do; empty where nothing is to be done.
    mend: String,
}

impl Verdict {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

impl Line {
    fn ok(what: &'static str, found: impl Into<String>) -> Self {
        Self { verdict: Verdict::Ok, what, found: found.into(), mend: String::new() }
    }

    fn warn(what: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { verdict: Verdict::Warn, what, found: found.into(), mend: mend.into() }
    }

    fn fail(what: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { verdict: Verdict::Fail, what, found: found.into(), mend: mend.into() }
    }
}

/// Goes through the list.
///
/// # Errors
/// [`CliError::Refused`] if any line fails.
pub fn run(args: &CheckArgs, global: &Global, output: &mut Output) -> Result<(), CliError> {
    let lines = match Config::load(&global.sources()?) {
        Ok(loaded) => {
            let mut lines: Vec<_> = loaded
                .warnings
                .iter()
                .map(|warning| Line::warn("configuration", warning.clone(), "see the words beside"))
                .collect();
            if lines.is_empty() {
                lines.push(Line::ok("configuration", "no fault"));
            }
            lines.extend(settings::lines(&loaded.config));
            let now = SystemClock::new().now();
            lines.extend(files::lines(&loaded.config, now));
            lines.extend(provider::lines(&loaded.config, now, args.offline));
            lines
        }
        // Nothing else can be judged by a configuration that does not stand.
        Err(Faults(faults)) => faults
            .into_iter()
            .map(|fault| Line::fail("configuration", format!("{}: {}", fault.key, fault.problem), fault.mend))
            .collect(),
    };
    tell(&lines, output)?;
    let failed = lines.iter().filter(|line| line.verdict == Verdict::Fail).count();
    if failed == 0 {
        return Ok(());
    }
    Err(CliError::Refused(format!("{failed} of {} checks failed; do what stands beside each", lines.len())))
}

fn tell(lines: &[Line], output: &mut Output) -> Result<(), CliError> {
    if output.json {
        let lines: Vec<_> = lines
            .iter()
            .map(|line| {
                json!({ "check": line.what, "verdict": line.verdict.as_str(), "found": line.found, "mend": line.mend })
            })
            .collect();
        return Ok(output.json(&json!({ "lines": lines }))?);
    }
    let mut text = String::new();
    for line in lines {
        let (verdict, Line { what, found, mend, .. }) = (line.verdict.as_str(), line);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{verdict:<5} {what:<14} {found}");
        if !mend.is_empty() {
            let _ = writeln!(text, "{:20} -> {mend}", "");
        }
    }
    Ok(output.text(&text)?)
}
