//! `freshk audit`: what happened.

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::admin::{AdminContext, READING, WRITING};
use super::output::{Listed, Output};
use super::when::When;
use super::{CliError, Global, output, when};
use crate::domain::audit::AuditEvent;
use crate::domain::{Timestamp, UserId};
use crate::storage::audit::{AuditLine, AuditOf, AuditOrder, AuditSearch};

mod follow;
pub(super) mod search;

/// What can be done with the audit trail.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// List lines of the audit trail, the latest last
    List(ListArgs),
}

/// Which lines.
#[derive(Args, Clone, Debug)]
#[command(after_long_help = "\
Examples:
  freshk audit list --since 2h
  freshk audit list --event authn_login_fail --ip 203.0.113.7 --limit 500
  freshk audit list --phone +1234567890
  freshk audit list --request 0190c5a4f3b27d0e9a61c2d3e4f50617
  freshk audit list --follow --json | jq -r '[.at, .event, .detail] | @tsv'

With --follow each line is shown as it is written, until Ctrl-C; with --json each is an object on a line of its own. \
Of a long trail only the latest million lines are counted: then there are \"at least\" so many, in JSON \
\"total_is_least\": true. The trail never holds a phone in full, so phones are masked even with --show-phones. Lines of what the operator did \
begin their detail with \"operator:\".")]
pub struct ListArgs {
    /// Only this event
    #[arg(long, value_parser = PossibleValuesParser::new(AuditEvent::ALL.iter().map(|event| event.as_str())))]
    event: Option<String>,
    /// Only those about this user: an id, a phone or a username; the id of a user who was deleted is good too
    #[arg(long)]
    user: Option<String>,
    /// Only those about this phone
    #[arg(long, conflicts_with = "user")]
    phone: Option<String>,
    /// Only those from this address
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<String>,
    /// Only those of this request, as `X-Request-Id` and the log name it
    #[arg(long, value_name = "ID")]
    request: Option<String>,
    /// Only those since: a duration such as 2h, or an instant such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<When>,
    /// At most so many of the latest; with --after, of the first after that line
    #[arg(long, default_value_t = 50)]
    limit: usize,
    /// Only those after the line with this id: the last one of an earlier list
    #[arg(long, value_name = "ID")]
    after: Option<i64>,
    /// Go on with what is written from now on
    #[arg(long)]
    follow: bool,
}

/// Runs a command.
///
/// # Errors
/// [`CliError`]
pub fn run(command: &AuditCommand, global: &Global, output: &mut Output) -> Result<(), CliError> {
    let AuditCommand::List(args) = command;
    let admin = AdminContext::open(global, if args.phone.is_some() { WRITING } else { READING })?;
    let filter = Filter {
        of: args.of(&admin)?,
        event: args.event.as_deref().and_then(AuditEvent::parse),
        ip: args.ip.clone(),
        request: args.request.clone(),
        since: args.since.map(|since| since.instant(admin.now())),
    };
    // What is written after this line is shown by following, and by nothing else.
    let end = newest(&admin)?;
    let found = match args.after {
        Some(after) => following(&admin, &filter, (after, end), args.limit)?,
        None => latest(&admin, &filter, end, args.limit)?,
    };
    found.tell(output.json);
    let Listed { rows: found, total, is_least } = found;
    if args.follow {
        for line in &found {
            one(line, output)?;
        }
        return follow::follow(&admin, &filter, end, output);
    }
    if output.json {
        let lines: Vec<_> = found.iter().map(document).collect();
        let mut list = json!({ "lines": lines, "total": total });
        if is_least {
            list["total_is_least"] = true.into();
        }
        return Ok(output.json(&list)?);
    }
    Ok(output.table(["at (UTC)", "event", "user", "phone", "address", "detail"], found.iter().map(cells))?)
}

impl ListArgs {
    fn of(&self, admin: &AdminContext) -> Result<Vec<AuditOf>, CliError> {
        if let Some(phone) = &self.phone {
            let phone = admin.phone_to_find(phone)?;
            // Lines from before a rollover of the secret have the hash of an older key.
            return Ok(admin.keys()?.all().map(|keys| AuditOf::Phone(keys.audit_hash(&phone))).collect());
        }
        let Some(user) = &self.user else { return Ok(vec![AuditOf::Everybody]) };
        let id = match user.parse() {
            Ok(id) => UserId(id),
            Err(_) => admin.user(user)?.id,
        };
        Ok(vec![AuditOf::User(id)])
    }
}

/// What is looked for.
struct Filter {
    of: Vec<AuditOf>,
    event: Option<AuditEvent>,
    ip: Option<String>,
    request: Option<String>,
    since: Option<Timestamp>,
}

impl Filter {
    /// What is asked of the database; for each of `of` apart.
    fn searches(&self) -> impl Iterator<Item = AuditSearch> {
        self.of.iter().map(|of| AuditSearch {
            of: of.clone(),
            event: self.event,
            ip: self.ip.clone(),
            request: self.request.clone(),
            since: self.since,
        })
    }
}

/// The id of the newest line.
pub(super) fn newest(admin: &AdminContext) -> Result<i64, CliError> {
    let page = admin.read(|view| view.audit_before(&AuditOf::Everybody, i64::MAX, 1))?;
    Ok(page.first().map_or(0, |line| line.id))
}

/// At most `limit` of the latest lines up to `end`, the oldest first.
fn latest(
    admin: &AdminContext,
    filter: &Filter,
    end: i64,
    limit: usize,
) -> Result<Listed<AuditLine>, CliError> {
    let begin = match filter.since {
        Some(since) => search::first_since(admin, since, end)?,
        None => search::oldest(admin)?,
    };
    let ids = begin..end.saturating_add(1);
    let mut found = search::find(admin, filter, &ids, AuditOrder::NewestFirst, limit)?;
    found.rows.reverse();
    Ok(found)
}

/// At most `limit` of the lines after one and up to another, the oldest first.
fn following(
    admin: &AdminContext,
    filter: &Filter,
    (after, end): (i64, i64),
    limit: usize,
) -> Result<Listed<AuditLine>, CliError> {
    let begin = after.saturating_add(1).max(search::oldest(admin)?);
    search::find(admin, filter, &(begin..end.saturating_add(1)), AuditOrder::OldestFirst, limit)
}

fn one(line: &AuditLine, output: &mut Output) -> Result<(), CliError> {
    let text = if output.json {
        document(line).to_string()
    } else {
        cells(line).map(|cell| output::escaped(&cell)).join("  ")
    };
    Ok(output.text(&(text + "\n"))?)
}

fn document(line: &AuditLine) -> Value {
    json!({
        "id": line.id,
        "at": line.at.iso(),
        "event": line.event.as_str(),
        "channel": line.mode,
        "user_id": line.user.map(|user| user.0),
        "phone": line.phone,
        "ip": line.ip,
        "session": line.session,
        "request_id": line.request_id,
        "detail": line.detail,
    })
}

fn cells(line: &AuditLine) -> [String; 6] {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    [
        when::short(line.at),
        line.event.as_str().to_owned(),
        or_dash(line.user.map(|user| user.to_string())),
        or_dash(line.phone.clone()),
        or_dash(line.ip.clone()),
        or_dash(line.detail.clone()),
    ]
}
