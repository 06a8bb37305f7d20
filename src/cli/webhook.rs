//! `freshk webhook`: where events go.

use clap::Subcommand;
use serde_json::{Value, json};

use super::admin::{AdminContext, EVENTS};
use super::output::{Output, counted};
use super::{CliError, Global, when, wiring};
use crate::clock::{Clock as _, SystemClock};
use crate::config::Needs;
use crate::domain::event::body;
use crate::domain::{EventId, EventKind, Timestamp, Webhook};
use crate::events::Posting;
use crate::random::{self, SystemRandom};
use crate::storage::events::Backlog;

/// What can be done with webhooks.
#[derive(Debug, Subcommand)]
pub enum WebhookCommand {
    /// List the webhooks of the configuration, and what waits for them
    #[command(after_long_help = "\
Examples:
  freshk webhook list
  freshk webhook list --json | jq '.webhooks[] | select(.waiting > 0)'

A webhook that answers 410 is switched off. `freshk event list` shows what webhooks answered.")]
    List,
    /// Send one signed message to a webhook, and show what it answers
    #[command(after_long_help = "\
Example:
  freshk webhook test shop

The message has the type webhook.test and tells of nobody. It goes out once, also to a webhook that is switched off.")]
    Test {
        /// The name, as `webhook list` shows it
        name: String,
    },
    /// Switch a webhook on again that answered 410
    #[command(after_long_help = "\
Example:
  freshk webhook enable shop

A running server sends what waits for it within seconds.")]
    Enable {
        /// The name, as `webhook list` shows it
        name: String,
    },
}

/// What `webhook test` uses.
const TESTING: Needs = Needs::Only(&[&["webhooks"]]);

/// Runs a command.
///
/// # Errors
/// [`CliError`]
pub fn run(command: &WebhookCommand, global: &Global, output: &mut Output) -> Result<(), CliError> {
    match command {
        WebhookCommand::List => list(&AdminContext::open(global, EVENTS)?, output),
        WebhookCommand::Test { name } => test(global, output, name),
        WebhookCommand::Enable { name } => enable(&AdminContext::open(global, EVENTS)?, output, name),
    }
}

/// The webhook of this name.
///
/// # Errors
/// [`CliError::Refused`] where the configuration has none.
pub(super) fn find<'w>(webhooks: &'w [Webhook], name: &str) -> Result<&'w Webhook, CliError> {
    webhooks.iter().find(|webhook| webhook.name == name).ok_or_else(|| {
        let names: Vec<_> = webhooks.iter().map(|webhook| webhook.name.as_str()).collect();
        let help = if names.is_empty() {
            "the configuration has none: write a [[webhooks]] with name, url and secret".to_owned()
        } else {
            format!("the configuration has {}", names.join(", "))
        };
        CliError::refused(format!("there is no webhook {name:?}"), help)
    })
}

fn list(admin: &AdminContext, output: &mut Output) -> Result<(), CliError> {
    let webhooks = admin.config.webhooks.clone();
    let names: Vec<_> = webhooks.iter().map(|webhook| webhook.name.clone()).collect();
    let (backlogs, off) = admin.read(move |view| {
        let off = names.iter().map(|name| view.webhook_off(name)).collect::<Result<Vec<_>, _>>()?;
        Ok((view.backlogs()?, off))
    })?;
    let rows = webhooks.iter().zip(off).map(|(webhook, off)| {
        let backlog = backlogs.iter().find(|backlog| backlog.webhook == webhook.name);
        (webhook, off, backlog)
    });
    if output.json {
        let webhooks: Vec<_> = rows.map(|(webhook, off, backlog)| document(webhook, off, backlog)).collect();
        return Ok(output.json(&json!({ "webhooks": webhooks, "total": webhooks.len() }))?);
    }
    let rows = rows.map(|(webhook, off, backlog)| {
        [
            webhook.name.clone(),
            webhook.url.to_string(),
            kinds(webhook).map_or_else(|| "all".to_owned(), |kinds| kinds.join(" ")),
            off.map_or_else(|| "on".to_owned(), |since| format!("off since {}", when::short(since))),
            backlog.map_or(0, |backlog| backlog.waiting).to_string(),
            backlog.map_or_else(String::new, |backlog| when::short(backlog.since)),
        ]
    });
    Ok(output.table(["webhook", "url", "events", "state (UTC)", "waiting", "since (UTC)"], rows)?)
}

fn kinds(webhook: &Webhook) -> Option<Vec<&'static str>> {
    webhook.kinds.as_ref().map(|kinds| kinds.iter().copied().map(EventKind::as_str).collect())
}

fn document(webhook: &Webhook, off: Option<Timestamp>, backlog: Option<&Backlog>) -> Value {
    json!({
        "name": webhook.name,
        "url": webhook.url.to_string(),
        "events": kinds(webhook),
        "off_since": off.map(Timestamp::iso),
        "waiting": backlog.map_or(0, |backlog| backlog.waiting),
        "waiting_since": backlog.map(|backlog| backlog.since.iso()),
    })
}

fn test(global: &Global, output: &mut Output, name: &str) -> Result<(), CliError> {
    let config = super::load(&global.sources()?, TESTING)?.config;
    let webhook = find(&config.webhooks, name)?;
    let wall = SystemClock::new().wall();
    let id = EventId::new(random::event_chance(&SystemRandom), 0);
    let posting = Posting::new(webhook, id.as_str(), body("webhook.test", wall, "{}"), wall);
    let answer = wiring::transport().post(&posting);
    if output.json {
        output.json(&json!({
            "webhook": name,
            "webhook_id": id.as_str(),
            "answer": answer.to_string(),
            "taken": answer.is_taken(),
        }))?;
    } else if answer.is_taken() {
        output.sentences(&format!("{name} took the message: {answer}\n"))?;
    }
    if answer.is_taken() {
        return Ok(());
    }
    Err(CliError::refused(
        format!("{name} did not take the message: {answer}"),
        "a webhook answers 2xx within 10 s and at its own URL; 401 or 403 often mean that its secret is another one",
    ))
}

fn enable(admin: &AdminContext, output: &mut Output, name: &str) -> Result<(), CliError> {
    let webhook = find(&admin.config.webhooks, name)?.name.clone();
    let (was_off, waiting) = admin.act_on_webhooks(move |webhooks| {
        let was_off = webhooks.enable(&webhook)?;
        let backlog = webhooks.view().backlogs()?.into_iter().find(|backlog| backlog.webhook == webhook);
        Ok((was_off, backlog.map_or(0, |backlog| backlog.waiting)))
    })?;
    if output.json {
        return Ok(output.json(&json!({ "webhook": name, "was_off": was_off, "waiting": waiting }))?);
    }
    let state = if was_off { "is switched on" } else { "was not switched off" };
    Ok(output.sentences(&format!("{name} {state}; {} waiting\n", counted(waiting, "event")))?)
}
