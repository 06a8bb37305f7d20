//! `freshk event`: what happened to users, and whether the webhooks know.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::admin::{AdminContext, EVENTS, PAGE, READING};
use super::output::{Listed, Output, counted};
use super::webhook::find;
use super::when::When;
use super::{CliError, Global, when};
use crate::domain::{Event, EventNumber, Timestamp, UserId};
use crate::storage::events::Delivery;

/// What can be done with events.
#[derive(Debug, Subcommand)]
pub enum EventCommand {
    /// List events that are still kept, the newest first, and how they stand with the webhooks
    List(ListArgs),
    /// Send events to the webhooks again, under the ids that they have
    #[command(after_long_help = "\
Examples:
  freshk event replay --since 2h
  freshk event replay --since 2026-01-31 --webhook shop

Each user's events come in their order, and a receiver knows by webhook-id and version what it has had. Events are kept \
for events.retention after their delivery; a webhook that is new gets those that were written for others, as far as it \
is told of such events. A running server sends them.")]
    Replay {
        /// Only to this webhook
        #[arg(long, value_name = "NAME")]
        webhook: Option<String>,
        /// Those since: a duration such as 2h, or an instant such as 2026-01-31T12:00:00Z
        #[arg(long, value_name = "TIME")]
        since: When,
    },
}

/// Which events.
#[derive(Args, Clone, Debug)]
#[command(after_long_help = "\
Examples:
  freshk event list --since 2h
  freshk event list --user +1234567890 --json

STATE is, for each webhook, waiting, delivered or dropped, with the last answer and the number of attempts.")]
pub struct ListArgs {
    /// Only those of this user: an id, a phone or a username; the id of a user who was deleted is good too
    #[arg(long)]
    user: Option<String>,
    /// Only those since: a duration such as 2h, or an instant such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<When>,
    /// At most so many
    #[arg(long, default_value_t = 50)]
    limit: usize,
}

/// Events that one write has wait again.
const SLICE: usize = 200;

/// An event with its number.
type Numbered = (EventNumber, Event);

/// Runs a command.
///
/// # Errors
/// [`CliError`]
pub fn run(command: &EventCommand, global: &Global, output: &mut Output) -> Result<(), CliError> {
    match command {
        EventCommand::List(args) => list(&AdminContext::open(global, READING)?, output, args),
        EventCommand::Replay { webhook, since } => {
            replay(&AdminContext::open(global, EVENTS)?, output, webhook.as_deref(), *since)
        }
    }
}

fn list(admin: &AdminContext, output: &mut Output, args: &ListArgs) -> Result<(), CliError> {
    let since = args.since.map(|since| since.instant(admin.now()));
    let of = args.user.as_deref().map(|user| user_id(admin, user)).transpose()?;
    let mut found: Listed<Numbered> = Listed::new();
    each_page(admin, of, since, |page| found.take(page, args.limit))?;
    found.tell(output.json);
    let Listed { rows, total, .. } = found;
    let numbers: Vec<_> = rows.iter().map(|(number, _)| *number).collect();
    let deliveries: Vec<_> =
        admin.read(move |view| numbers.into_iter().map(|number| view.deliveries_of(number)).collect())?;
    let rows = rows.into_iter().map(|(_, event)| event).zip(deliveries);
    if output.json {
        let events: Vec<_> = rows.map(|(event, deliveries)| document(&event, &deliveries)).collect();
        return Ok(output.json(&json!({ "events": events, "total": total }))?);
    }
    let rows = rows.map(|(event, deliveries)| {
        [
            when::short(event.at),
            event.kind.as_str().to_owned(),
            event.user.map_or_else(|| "-".to_owned(), |user| user.to_string()),
            deliveries.iter().map(state).collect::<Vec<_>>().join("\n"),
            event.id.as_str().to_owned(),
        ]
    });
    Ok(output.table(["at (UTC)", "event", "user", "state", "id"], rows)?)
}

fn user_id(admin: &AdminContext, user: &str) -> Result<UserId, CliError> {
    match user.parse() {
        Ok(id) => Ok(UserId(id)),
        Err(_) => Ok(admin.user(user)?.id),
    }
}

/// Gives `take` the events since `since`, a page at a time, the newest first.
fn each_page(
    admin: &AdminContext,
    of: Option<UserId>,
    since: Option<Timestamp>,
    mut take: impl FnMut(Vec<Numbered>),
) -> Result<(), CliError> {
    let mut before = EventNumber(i64::MAX);
    loop {
        let mut page = admin.read(move |view| view.events_before(before, of, PAGE))?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        before = *last;
        page.retain(|(_, event)| since.is_none_or(|since| event.at >= since));
        // The clock may have been set back: a few that are older end nothing, a page of them does.
        if page.is_empty() {
            return Ok(());
        }
        take(page);
    }
}

fn state(delivery: &Delivery) -> String {
    let Delivery { webhook, state, attempts, answer, .. } = delivery;
    let answer = answer.as_deref().map(|answer| format!(" ({answer}, {})", counted(*attempts, "attempt")));
    format!("{webhook}: {}{}", state.as_str(), answer.unwrap_or_default())
}

/// Without its data: phones in full stand there.
fn document(event: &Event, deliveries: &[Delivery]) -> Value {
    let deliveries: Vec<_> = deliveries
        .iter()
        .map(|delivery| {
            json!({
                "webhook": delivery.webhook,
                "state": delivery.state.as_str(),
                "attempts": delivery.attempts,
                "answer": delivery.answer,
                "settled_at": delivery.settled_at.map(Timestamp::iso),
            })
        })
        .collect();
    json!({
        "id": event.id.as_str(),
        "type": event.kind.as_str(),
        "timestamp": event.at.iso(),
        "user_id": event.user.map(|user| user.0),
        "deliveries": deliveries,
    })
}

fn replay(
    admin: &AdminContext,
    output: &mut Output,
    webhook: Option<&str>,
    since: When,
) -> Result<(), CliError> {
    let (now, configured) = (admin.now(), &admin.config.webhooks);
    let webhooks = match webhook {
        Some(name) => vec![find(configured, name)?],
        None => configured.iter().collect(),
    };
    let mut events = Vec::new();
    each_page(admin, None, Some(since.instant(now)), |page| {
        events.extend(page.into_iter().map(|(number, event)| (number, event.kind)));
    })?;
    // The oldest first: a server that sends meanwhile keeps to the order.
    events.reverse();
    let mut replayed = Vec::new();
    for webhook in webhooks {
        let wanted: Vec<_> = events.iter().filter(|(_, kind)| webhook.wants(*kind)).collect();
        for slice in wanted.chunks(SLICE) {
            let numbers: Vec<_> = slice.iter().map(|(number, _)| *number).collect();
            let name = webhook.name.clone();
            admin.act_on_webhooks(move |webhooks| webhooks.replay(&name, &numbers))?;
        }
        replayed.push((webhook.name.as_str(), wanted.len()));
    }
    if output.json {
        let replayed: Vec<_> =
            replayed.iter().map(|(name, events)| json!({ "webhook": name, "events": events })).collect();
        return Ok(output.json(&json!({ "replayed": replayed }))?);
    }
    if replayed.is_empty() {
        return Ok(output.text("no webhook is configured\n")?);
    }
    for (name, events) in replayed {
        output.sentences(&format!("{} to be sent to {name} again\n", counted(events, "event")))?;
    }
    Ok(())
}
