//! `freshk sms`: messages that were sent.

use std::sync::Arc;

use clap::Subcommand;
use clap::builder::PossibleValuesParser;
use serde_json::json;

use super::admin::{AdminContext, PAGE, READING, SENDING};
use super::output::{Listed, Output};
use super::{CliError, Global, when, wiring};
use crate::domain::message::{Message, MessageState};
use crate::domain::{Help as _, Languages, MessageId};
use crate::random::{self, SystemRandom};
use crate::sms::console::ConsoleSender;
use crate::sms::route::{Always, Need, Routed};
use crate::sms::{SendOutcome, TextKind, TextMessage};
use crate::storage::Locks;

pub mod test_number;

/// What can be done with messages.
#[derive(Debug, Subcommand)]
pub enum SmsCommand {
    /// List messages, the newest first
    #[command(after_long_help = "\
Examples:
  freshk sms list --state undelivered
  freshk sms list --phone +1234567890 --json

ERROR is the provider's code: https://www.twilio.com/docs/api/errors explains Twilio's. Without server.public_url \
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
    /// Send one message as a login would, with a code that is good nowhere
    #[command(after_long_help = "\
Examples:
  freshk sms send-test +1234567890
  freshk sms send-test +1234567890 --json

The message costs what every message costs. It is in the audit trail and not in `freshk sms list`; it spends nobody's \
quota.")]
    SendTest {
        /// The phone, in international format
        phone: String,
    },
    /// Manage numbers that log in with a fixed code, without an SMS
    #[command(subcommand)]
    TestNumber(test_number::TestNumberCommand),
}

/// What helps where the provider's error does not.
const ASK_THE_PROVIDER: &str =
    "see the provider's own log for what it did with the message; `freshk config show` has the account";

/// Runs a command.
///
/// # Errors
/// [`CliError`]
pub fn run(command: &SmsCommand, global: &Global, output: &mut Output) -> Result<(), CliError> {
    match command {
        SmsCommand::List { phone, state, limit } => {
            list(&AdminContext::open(global, READING)?, output, phone.as_deref(), state.as_deref(), *limit)
        }
        SmsCommand::SendTest { phone } => send_test(&AdminContext::open(global, SENDING)?, output, phone),
        SmsCommand::TestNumber(command) => test_number::run(command, global, output),
    }
}

fn send_test(admin: &AdminContext, output: &mut Output, phone: &str) -> Result<(), CliError> {
    let phone = admin.phone(phone)?;
    let console = ConsoleSender::to(Box::new(std::io::stderr()), admin.clock.clone());
    let senders = wiring::production_senders(&admin.config, &admin.clock, Arc::new(console));
    let (otp, text) = (&admin.config.otp, admin.config.sms.texts.code(&Languages::default()).clone());
    let need = Need { to: &phone, segments: text.segments(otp.length, otp.ttl), channel: None };
    let place = senders
        .reserve(need)
        .map_err(|_| CliError::refused("no message can be sent now", "try again in a minute"))?;
    let message = TextMessage {
        // A report of its delivery finds no message of this number, and changes nothing.
        id: MessageId(0),
        to: phone.clone(),
        code: random::code(&SystemRandom, otp.length),
        text,
        kind: TextKind::Code,
        expires_at: admin.now() + otp.ttl,
        patience: None,
    };
    let Routed { outcome, via } = admin.block_on(place.send(message, &Always));
    let word = outcome.as_str();
    let (to, shown) = (phone.clone(), admin.shown(&phone));
    let noted = admin.act(Locks::none(), move |operator| {
        operator.note_test_message(&to, word);
        Ok(())
    });
    noted.map_err(|error| {
        CliError::refused(
            format!(
                "the message to {shown} was sent ({word}), and the audit trail has no line of it: {error}"
            ),
            error.help(),
        )
    })?;
    match outcome {
        SendOutcome::Accepted(accepted) if output.json => Ok(output.json(&json!({
            "phone_number": shown,
            "state": accepted.state.as_str(),
            "sid": accepted.sid,
            "sender": via.sender,
            "channel": via.channel.as_str(),
        }))?),
        SendOutcome::Accepted(accepted) => {
            let sid = accepted.sid.map(|sid| format!(" as {sid}")).unwrap_or_default();
            Ok(output.text(&format!("the provider accepted a message to {shown}{sid}\n"))?)
        }
        SendOutcome::Unknown(failure) => Err(CliError::refused(
            format!(
                "it is not known whether the message to {shown} was accepted, and it may still arrive: {}",
                failure.detail
            ),
            ASK_THE_PROVIDER,
        )),
        SendOutcome::Refused(failure) => Err(CliError::refused(
            format!("the message to {shown} was refused: {}", failure.detail),
            ASK_THE_PROVIDER,
        )),
    }
}

fn list(
    admin: &AdminContext,
    output: &mut Output,
    phone: Option<&str>,
    state: Option<&str>,
    limit: usize,
) -> Result<(), CliError> {
    let phone = phone.map(|phone| admin.phone_to_find(phone)).transpose()?;
    let state = state.and_then(MessageState::parse);
    let wanted = |message: &Message| {
        phone.as_ref().is_none_or(|phone| message.to == *phone)
            && state.is_none_or(|state| message.state == state)
    };
    let mut found: Listed<Message> = Listed::new();
    let mut before = MessageId(i64::MAX);
    loop {
        let page = admin.read(move |view| view.messages_before(before, PAGE))?;
        let Some((last, _)) = page.last() else { break };
        before = last.id;
        found.take(page.into_iter().map(|(message, _)| message).filter(wanted), limit);
    }
    found.tell(output.json);
    let Listed { rows: found, total, .. } = found;
    if output.json {
        let messages: Vec<_> = found
            .iter()
            .map(|message| {
                json!({
                    "id": message.id.0,
                    "phone_number": admin.shown(&message.to),
                    "state": message.state.as_str(),
                    "error_code": message.error_code,
                    "sid": message.sid,
                    "sender": message.via.sender,
                    "channel": message.via.channel.as_str(),
                    "segments": message.segments,
                    "created_at": message.created_at.iso(),
                    "updated_at": message.updated_at.iso(),
                })
            })
            .collect();
        return Ok(output.json(&json!({ "messages": messages, "total": total }))?);
    }
    let dash = || "-".to_owned();
    let rows = found.iter().map(|message| {
        [
            message.id.to_string(),
            admin.shown(&message.to),
            message.via.sender.clone(),
            message.state.as_str().to_owned(),
            message.error_code.map_or_else(dash, |code| code.to_string()),
            message.segments.to_string(),
            when::short(message.created_at),
            message.sid.clone().unwrap_or_else(dash),
        ]
    });
    Ok(output.table(["id", "phone", "sender", "state", "error", "segments", "sent (UTC)", "sid"], rows)?)
}
