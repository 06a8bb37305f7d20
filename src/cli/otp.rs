//! `freshk otp`: codes that were sent; never a code itself.

use std::time::Duration;

use clap::Subcommand;
use serde_json::json;

use super::admin::{AdminContext, LIMITS_WRITING, PAGE, READING};
use super::output::{Listed, Output, counted};
use super::{CliError, Global, when};
use crate::domain::{Challenge, ChallengeId, Timestamp};
use crate::storage::Locks;

/// What can be done with codes.
#[derive(Debug, Subcommand)]
pub enum OtpCommand {
    /// List codes, the newest first; never a code itself
    #[command(after_long_help = "\
Examples:
  freshk otp list --phone +1234567890
  freshk otp list --limit 500 --json

STATE is sending (its SMS is on its way to the provider), live, unknown (the provider's answer was lost: the SMS \
may arrive, the code is good), used, void (superseded, or its SMS failed) or expired.")]
    List {
        /// Only those of this phone
        #[arg(long)]
        phone: Option<String>,
        /// At most so many
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// Delete codes that can no longer be used, and their messages
    #[command(after_long_help = "\
Example:
  freshk otp purge

The server does so by itself after a week. What was sent within the last hour stays: reports of its delivery still \
arrive. `freshk stats` no longer counts what is deleted.")]
    Purge,
}

/// Deliveries are still reported, and lost answers asked for again, while a code is younger.
const FRESH: Duration = Duration::from_hours(1);

/// Rows of a slice.
const SLICE: usize = 500;

/// Lets a running server write between two slices.
const PAUSE: Duration = Duration::from_millis(20);

/// Runs a command.
///
/// # Errors
/// [`CliError`]
pub fn run(command: &OtpCommand, global: &Global, output: &mut Output) -> Result<(), CliError> {
    let needs = if matches!(command, OtpCommand::List { .. }) { READING } else { LIMITS_WRITING };
    let admin = AdminContext::open(global, needs)?;
    match command {
        OtpCommand::List { phone, limit } => list(&admin, output, phone.as_deref(), *limit),
        OtpCommand::Purge => purge(&admin, output),
    }
}

fn list(
    admin: &AdminContext,
    output: &mut Output,
    phone: Option<&str>,
    limit: usize,
) -> Result<(), CliError> {
    let phone = phone.map(|phone| admin.phone_to_find(phone)).transpose()?;
    let mut found: Listed<Challenge> = Listed::new();
    let mut before = ChallengeId(i64::MAX);
    loop {
        let page = admin.read(move |view| view.challenges_before(before, PAGE))?;
        let Some(last) = page.last() else { break };
        before = last.id;
        let wanted = |code: &Challenge| phone.as_ref().is_none_or(|phone| code.phone == *phone);
        found.take(page.into_iter().filter(wanted), limit);
    }
    found.tell(output.json);
    let Listed { rows: found, total, .. } = found;
    let now = admin.now();
    if output.json {
        let codes: Vec<_> = found
            .iter()
            .map(|code| {
                json!({
                    "id": code.id.0,
                    "channel": code.mode.as_str(),
                    "phone_number": admin.shown(&code.phone),
                    "state": state(code, now),
                    "wrong_guesses": code.attempts,
                    "created_at": code.created_at.iso(),
                    "expires_at": code.expires_at.iso(),
                    "used_at": code.used.as_ref().map(|used| used.at.iso()),
                })
            })
            .collect();
        return Ok(output.json(&json!({ "codes": codes, "total": total }))?);
    }
    let rows = found.iter().map(|code| {
        [
            code.id.to_string(),
            code.mode.as_str().to_owned(),
            admin.shown(&code.phone),
            state(code, now).to_owned(),
            code.attempts.to_string(),
            when::short(code.created_at),
            when::short(code.expires_at),
        ]
    });
    Ok(output.table(["id", "channel", "phone", "state", "wrong", "sent (UTC)", "expires (UTC)"], rows)?)
}

fn state(code: &Challenge, now: Timestamp) -> &'static str {
    if code.state.is_open() && !code.is_alive(now) { "expired" } else { code.state.as_str() }
}

fn purge(admin: &AdminContext, output: &mut Output) -> Result<(), CliError> {
    let before = admin.now() - FRESH.max(admin.config.otp.ttl);
    let (mut gone, mut after) = (0, Some(ChallengeId(0)));
    while let Some(from) = after {
        let (deleted, next) =
            admin.act(Locks::none(), move |operator| operator.purge_codes(before, from, SLICE))?;
        gone += deleted;
        after = next;
        admin.block_on(async { tokio::time::sleep(PAUSE).await });
    }
    if output.json {
        return Ok(output.json(&json!({ "deleted": gone }))?);
    }
    Ok(output.text(&format!("{} deleted\n", counted(gone, "code")))?)
}
