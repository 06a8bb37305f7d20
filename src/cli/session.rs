//! `freshk session`: logins on devices.

use clap::Subcommand;
use serde_json::{Value, json};

use super::admin::{AdminContext, PAGE, READING, WRITING};
use super::output::{Listed, Output};
use super::{CliError, Global, when};
use crate::domain::{DeviceId, Session, SessionId, Timestamp};
use crate::storage::Locks;

/// What can be done with sessions.
#[derive(Debug, Subcommand)]
pub enum SessionCommand {
    /// List live sessions
    #[command(after_long_help = "\
Examples:
  freshk session list --user +1234567890
  freshk session list --limit 1000000 --json | jq '.sessions[] | select(.ip == \"203.0.113.7\") | .id'")]
    List {
        /// Only those of this user: an id, a phone or a username
        #[arg(long)]
        user: Option<String>,
        /// At most so many
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// End one session
    #[command(after_long_help = "\
Example:
  freshk session revoke 0190c5a4f3b27d0e9a61c2d3e4f50617

A running server refuses its tokens within a second.")]
    Revoke {
        /// The id, as `session list` shows it
        session: String,
    },
}

/// Runs a command.
///
/// # Errors
/// [`CliError`]
pub fn run(command: &SessionCommand, global: &Global, output: &mut Output) -> Result<(), CliError> {
    let needs = if matches!(command, SessionCommand::List { .. }) { READING } else { WRITING };
    let admin = AdminContext::open(global, needs)?;
    match command {
        SessionCommand::List { user, limit } => list(&admin, output, user.as_deref(), *limit),
        SessionCommand::Revoke { session } => revoke(&admin, output, session),
    }
}

fn list(admin: &AdminContext, output: &mut Output, user: Option<&str>, limit: usize) -> Result<(), CliError> {
    let now = admin.now();
    let listed = if let Some(name) = user {
        let user = admin.user(name)?.id;
        Listed::first(admin.read(move |view| view.live_sessions(user, now))?, limit)
    } else {
        first_live(admin, now, limit)?
    };
    listed.tell(output.json);
    let Listed { rows: sessions, total, .. } = listed;
    if output.json {
        let sessions: Vec<_> = sessions.iter().map(document).collect();
        return Ok(output.json(&json!({ "sessions": sessions, "total": total }))?);
    }
    table(&sessions, output)
}

/// The first live sessions of all users: those that are shown are read, the others are counted in the database.
fn first_live(admin: &AdminContext, now: Timestamp, limit: usize) -> Result<Listed<Session>, CliError> {
    let (mut live, mut after) = (Listed::new(), None::<SessionId>);
    while live.rows.len() < limit {
        let page = admin.read(move |view| view.sessions_after(after.as_ref(), PAGE))?;
        let Some(last) = page.last() else { return Ok(live) };
        after = Some(last.id.clone());
        live.take(page.into_iter().filter(|session| session.is_live(now)), limit);
    }
    let counted = admin.read(move |view| view.count_live_sessions(now))?;
    live.total = live.total.max(usize::try_from(counted).unwrap_or(usize::MAX));
    Ok(live)
}

fn revoke(admin: &AdminContext, output: &mut Output, id: &str) -> Result<(), CliError> {
    let Some(wanted) = SessionId::parse(id) else {
        return Err(CliError::usage(
            format!("{id:?} is not the id of a session"),
            "it has 32 hexadecimal digits, as `freshk session list` shows them",
        ));
    };
    let now = admin.now();
    let of = wanted.clone();
    let found = admin.read(move |view| view.session(&of))?;
    let locks = found.map_or_else(Locks::none, |session| Locks::none().session(session.user, &session.id));
    let ended = admin.act(locks, move |operator| {
        let session = operator.view().session(&wanted)?.filter(|session| session.is_live(now));
        session.map_or(Ok(false), |session| operator.revoke(session).map(|()| true))
    })?;
    if !ended {
        return Err(CliError::refused(
            format!("there is no live session {id}"),
            "`freshk session list` shows the live ones",
        ));
    }
    if output.json {
        return Ok(output.json(&json!({ "id": id, "ended": true }))?);
    }
    Ok(output.text(&format!("session {id} has ended\n"))?)
}

/// A session as `--json` shows it.
pub(super) fn document(session: &Session) -> Value {
    json!({
        "id": session.id.as_str(),
        "user_id": session.user.0,
        "device": session.device,
        "device_id": session.device_id.as_ref().map(DeviceId::as_str),
        "ip": session.ip,
        "created_at": session.created_at.iso(),
        "last_used_at": session.last_used_at.iso(),
        "expires_at": session.refresh_expires_at.iso(),
    })
}

/// Sessions for people.
pub(super) fn table(sessions: &[Session], output: &mut Output) -> Result<(), CliError> {
    let rows = sessions.iter().map(|session| {
        [
            session.id.to_string(),
            session.user.to_string(),
            session.device.clone(),
            session.device_id.as_ref().map_or("-", |id| &id.as_str()[..8]).to_owned(),
            session.ip.clone(),
            when::short(session.created_at),
            when::short(session.last_used_at),
        ]
    });
    Ok(output
        .table(["session", "user", "device", "token", "address", "login (UTC)", "last used (UTC)"], rows)?)
}
