//! Whether codes reach people: the sender's breaker, the last minutes, and the reports of deliveries.

use std::time::Duration;

use super::line::Line;
use super::monitoring::value;
use crate::cli::admin::PAGE;
use crate::cli::engine::Place;
use crate::config::Config;
use crate::domain::message::{Message, MessageState, UnsentCount};
use crate::domain::{Attempts, MessageId, Timestamp};

const WHAT: &str = "SMS delivery";

/// What happened before says little of now.
const RECENT: Duration = Duration::from_mins(15);

/// A report of a delivery comes within seconds; after this time it is missing.
const REPORT_DUE: Duration = Duration::from_mins(5);

/// Reports are looked for in messages no older than this.
const OF_LATE: Duration = Duration::from_hours(24);

/// As many failures may well be a few people's numbers, as many missing reports a few carriers.
const FEW: u64 = 3;

/// None where neither the server nor the database can be read: other lines say so.
pub(super) fn line(
    config: &Config,
    now: Timestamp,
    readable: Option<&Place>,
    metrics: Option<&str>,
) -> Option<Line> {
    if metrics.is_some_and(|page| value(page, "freshk_sms_breaker_open") == Some(1)) {
        return Some(Line::fail(
            WHAT,
            "the breaker is open: after failures no code is sent to Twilio for a while",
            "see the log for why it opened (level ERROR, freshk::sms), and status.twilio.com",
        ));
    }
    let found = readable?.look(|view| {
        Ok((view.messages_before(MessageId(i64::MAX), PAGE)?, view.unsent_since(now - RECENT)?))
    });
    let (messages, unsent) = found.ok()?;
    let messages: Vec<Message> = messages.into_iter().map(|(message, _)| message).collect();
    let silent = match &config.server.public_url {
        Some(url) if config.sms.reports_deliveries && is_silent(&messages, now) => Some(url.as_str()),
        _ => None,
    };
    Some(judged(&recent(&messages, &unsent, now), silent))
}

/// What became of the attempts of the last minutes.
fn recent(messages: &[Message], unsent: &[UnsentCount], now: Timestamp) -> Attempts {
    let mut attempts =
        Attempts { refused: unsent.iter().map(|minute| minute.count).sum(), ..Attempts::default() };
    for message in messages.iter().filter(|message| message.created_at >= now - RECENT) {
        attempts.add(message.state, message.created_at.until(now), false);
    }
    attempts
}

/// Whether the provider has reported on none of the messages of late.
fn is_silent(messages: &[Message], now: Timestamp) -> bool {
    let of_late = messages
        .iter()
        .filter(|message| message.created_at >= now - OF_LATE && message.created_at.until(now) > REPORT_DUE);
    let (mut due, mut reported) = (0, 0);
    for message in of_late {
        match message.state {
            MessageState::Queued | MessageState::Sending => due += 1,
            MessageState::Sent | MessageState::Delivered | MessageState::Undelivered => reported += 1,
            MessageState::Intended | MessageState::Unknown | MessageState::Failed => {}
        }
    }
    due >= FEW && reported == 0
}

/// `silent` is where reports should come to, if none have.
fn judged(attempts: &Attempts, silent: Option<&str>) -> Line {
    const HELP: &str = "see `freshk sms list` and the log for the causes, and status.twilio.com";
    let (failures, total) = (attempts.failures(), attempts.total());
    let Attempts { failed, unknown, refused, .. } = attempts;
    let found = format!(
        "{failures} of {total} codes of the last 15 minutes did not go out: {failed} failed, {unknown} unknown, {refused} \
         refused"
    );
    if failures >= FEW && failures * 2 > total {
        Line::fail(WHAT, found, HELP)
    } else if failures * 5 > total {
        Line::warn(WHAT, found, HELP)
    } else if let Some(url) = silent {
        Line::warn(
            WHAT,
            "Twilio has reported on none of the latest messages whether they were delivered",
            format!(
                "have the proxy pass {url}/api/mobile/auth/sms/twilio/status/ on, and look in the log for callbacks \
                 without a good signature"
            ),
        )
    } else if total == 0 {
        Line::ok(WHAT, "no code was sent in the last 15 minutes")
    } else {
        Line::ok(WHAT, format!("{} of {total} codes of the last 15 minutes went out", total - failures))
    }
}
