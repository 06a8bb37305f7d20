//! `freshk user list` and `show`.

use clap::Args;
use serde_json::{Value, json};

use super::document;
use crate::cli::admin::{AdminContext, PAGE};
use crate::cli::output::{Listed, Output};
use crate::cli::{CliError, session, when};
use crate::domain::{User, UserId};
use crate::storage::users::UserSearch;

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
    let found = find(args, admin)?;
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

/// Those that are shown are read, the others are counted in the database.
fn find(args: &ListArgs, admin: &AdminContext) -> Result<Listed<User>, CliError> {
    let wanted =
        UserSearch { role: args.role.clone(), is_inactive: args.inactive, text: args.search.clone() };
    let mut rows: Vec<User> = Vec::new();
    loop {
        let (asked, after) = (wanted.clone(), rows.last().map_or(UserId(0), |last| last.id));
        let left = (args.limit - rows.len()).min(PAGE);
        let page = admin.read(move |view| view.search_users(&asked, after, left))?;
        let is_last = page.len() < left;
        rows.extend(page);
        if is_last {
            return Ok(Listed { total: rows.len(), rows, is_least: false });
        }
        if rows.len() == args.limit {
            break;
        }
    }
    let counted = admin.read(move |view| view.count_users(&wanted))?;
    Ok(Listed { total: counted.max(rows.len()), rows, is_least: false })
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
