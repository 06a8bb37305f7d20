//! `freshk user list` and `show`.

use clap::Args;
use serde_json::{Value, json};

use super::document;
use crate::cli::admin::{AdminContext, PAGE};
use crate::cli::output::{Listed, Output};
use crate::cli::{CliError, session, when};
use crate::domain::{User, UserId};

/// List users
#[derive(Args, Clone, Debug)]
#[command(after_long_help = "\
Examples:
  freshk user list
  freshk user list --role staff --inactive
  freshk user list --search 4567 --show-phones
  freshk user list --limit 1000000 --json | jq '.users[].id'")]
pub struct ListArgs {
    /// Only those with this role
    #[arg(long)]
    role: Option<String>,
    /// Only those who are deactivated
    #[arg(long)]
    inactive: bool,
    /// Only those whose phone or username holds this
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
    /// At most so many
    #[arg(long, default_value_t = 50)]
    limit: usize,
}

/// Lists.
///
/// # Errors
/// [`CliError`]
pub(super) fn run(args: &ListArgs, admin: &AdminContext, output: &mut Output) -> Result<(), CliError> {
    let mut found = Listed::new();
    let mut after = UserId(0);
    loop {
        let page = admin.read(move |view| view.users_after(after, PAGE))?;
        let Some(last) = page.last() else { break };
        after = last.id;
        found.take(page.into_iter().filter(|user| args.wants(user)), args.limit);
    }
    found.tell(output.json);
    let Listed { rows: found, total, .. } = found;
    if output.json {
        let users: Vec<_> = found.iter().map(|user| document(admin, user)).collect();
        return Ok(output.json(&json!({ "users": users, "total": total }))?);
    }
    let header = ["id", "username", "phone", "role", "active", "verified", "joined (UTC)"];
    Ok(output.table(header, found.iter().map(|user| row(admin, user)))?)
}

/// Shows one.
///
/// # Errors
/// [`CliError`]
pub(super) fn show(admin: &AdminContext, output: &mut Output, name: &str) -> Result<(), CliError> {
    let user = admin.user(name)?;
    let (id, now) = (user.id, admin.now());
    let (sessions, change) =
        admin.read(move |view| Ok((view.live_sessions(id, now)?, view.phone_change(id)?)))?;
    if output.json {
        let sessions: Vec<_> = sessions.iter().map(session::document).collect();
        let mut shown = document(admin, &user);
        shown["sessions"] = sessions.into();
        shown["phone_change"] = change.map_or(Value::Null, |change| {
            json!({ "phone_number": admin.shown(&change.phone), "effective_at": change.effective_at.iso() })
        });
        return Ok(output.json(&shown)?);
    }
    let [id, username, phone, role, active, verified, joined] = row(admin, &user);
    let mut rows = vec![
        ["id".to_owned(), id],
        ["username".to_owned(), username],
        ["phone".to_owned(), phone],
        ["role".to_owned(), role],
        ["active".to_owned(), active],
        ["verified".to_owned(), verified],
        ["joined (UTC)".to_owned(), joined],
        ["sessions".to_owned(), sessions.len().to_string()],
    ];
    if !user.attributes.is_empty() {
        rows.push(["attributes".to_owned(), user.attributes.to_string()]);
    }
    if let Some(change) = change {
        let what = format!("to {} at {}", admin.shown(&change.phone), when::short(change.effective_at));
        rows.push(["number changes (UTC)".to_owned(), what]);
    }
    if let Some(at) = user.deletes_at {
        rows.push(["to be deleted (UTC)".to_owned(), when::short(at)]);
    }
    output.table(["user", ""], rows)?;
    if !sessions.is_empty() {
        output.text("\n")?;
        session::table(&sessions, output)?;
    }
    Ok(())
}

impl ListArgs {
    fn wants(&self, user: &User) -> bool {
        let holds = |text: &String| user.phone_text().contains(text) || user.username.contains(text);
        self.role.as_ref().is_none_or(|role| user.role == *role)
            && !(self.inactive && user.is_active)
            && self.search.as_ref().is_none_or(holds)
    }
}

fn row(admin: &AdminContext, user: &User) -> [String; 7] {
    let word = |is: bool| if is { "yes" } else { "no" }.to_owned();
    [
        user.id.to_string(),
        admin.shown_name(&user.username),
        admin.shown_if_any(user).unwrap_or_else(|| "–".to_owned()),
        user.role.clone(),
        word(user.is_active),
        word(user.phone_verified),
        when::short(user.joined_at),
    ]
}
