//! `freshk sms`: messages that were sent.

use clap::Subcommand;
use clap::builder::PossibleValuesParser;
use serde_json::json;

use super::beside::{Beside, PAGE};
use super::output::Output;
use super::{CliError, Global, when};
use crate::domain::MessageId;
use crate::domain::message::{Message, MessageState};

/// What can be done with messages.
#[derive(Debug, Subcommand)]
pub enum SmsCommand {
    /// List messages, the newest first
    #[command(after_long_help = "\
Examples:
  freshk sms list --state undelivered
  freshk sms list --phone +1234567890 --json

ERROR is the provider's code: https://www.twilio.com/docs/api/errors explains Twilio's. Without server.public_url
Twilio cannot report deliveries, and messages stay queued.")]
    List {
        /// Only those to this phone
        #[arg(long)]
        phone: Option<String>,
        /// Only those in this state
        #[arg(long, value_parser = PossibleValuesParser::new(MessageState::ALL.map(MessageState::as_str)))]
        state: Option<String>,
        /// At most so many
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
}

/// Runs a command.
///
/// # Errors
/// [`CliError`]
pub fn run(command: &SmsCommand, global: &Global, output: &mut Output) -> Result<(), CliError> {
    let beside = Beside::open(global)?;
    match command {
        SmsCommand::List { phone, state, limit } => {
            list(&beside, output, phone.as_deref(), state.as_deref(), *limit)
        }
    }
}

fn list(
    beside: &Beside,
    output: &mut Output,
    phone: Option<&str>,
    state: Option<&str>,
    limit: usize,
) -> Result<(), CliError> {
    let phone = phone.map(|phone| beside.phone(phone)).transpose()?;
    let state = state.and_then(MessageState::parse);
    let wanted = |message: &Message| {
        phone.as_ref().is_none_or(|phone| message.to == *phone)
            && state.is_none_or(|state| message.state == state)
    };
    let mut found: Vec<Message> = Vec::new();
    let mut before = MessageId(i64::MAX);
    while found.len() < limit {
        let page = beside.read(move |view| view.operator().messages_before(before, PAGE))?;
        let Some((last, _)) = page.last() else { break };
        before = last.id;
        found.extend(page.into_iter().map(|(message, _)| message).filter(wanted));
    }
    found.truncate(limit);
    if output.json {
        let messages: Vec<_> = found
            .iter()
            .map(|message| {
                json!({
                    "id": message.id.0,
                    "phone_number": beside.shown(&message.to),
                    "state": message.state.as_str(),
                    "error_code": message.error_code,
                    "sid": message.sid,
                    "segments": message.segments,
                    "created_at": when::iso(message.created_at),
                    "updated_at": when::iso(message.updated_at),
                })
            })
            .collect();
        return Ok(output.json(&json!({ "messages": messages }))?);
    }
    let dash = || "-".to_owned();
    let rows = found.iter().map(|message| {
        [
            message.id.to_string(),
            beside.shown(&message.to),
            message.state.as_str().to_owned(),
            message.error_code.map_or_else(dash, |code| code.to_string()),
            message.segments.to_string(),
            when::short(message.created_at),
            message.sid.clone().unwrap_or_else(dash),
        ]
    });
    Ok(output.table(["id", "phone", "state", "error", "segments", "sent", "sid"], rows)?)
}
