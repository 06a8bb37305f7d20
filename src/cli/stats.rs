//! `freshk stats`: the five key metrics of the guide, from the audit trail and the messages.

use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value, json};

use super::admin::{AdminContext, PAGE, READING};
use super::output::Output;
use super::when::When;
use super::{CliError, Global, audit, when};
use crate::domain::audit::AuditEvent;
use crate::domain::budget::BudgetPolicy;
use crate::domain::message::{Message, MessageState};
use crate::domain::tally::{Course, PARTS, Span, Tally};
use crate::domain::{Attempts, MessageId, Timestamp};
use crate::storage::guard::CountryFigures;

mod countries;
mod senders;

use senders::Senders;

/// Count requests, deliveries, logins and refusals
#[derive(Args, Clone, Copy, Debug)]
#[command(after_long_help = "\
Examples:
  freshk stats
  freshk stats --since 30m
  freshk stats --since 2026-01-31 --json

The last hour, day and week, each in twelve parts, or the time since T alone. \
SMS delivery counts the delivered messages among all attempts: also those that failed, whose answer was lost, and codes \
that could not be handed to the provider (refused: its breaker is open, or too many are on their way). Without server.public_url Twilio \
is asked for deliveries, and the accepted messages count, too. Authentication counts right codes among all that were \
given. Both channels are counted together. A week is all that the messages are kept. By country stand the messages with codes of production that \
were bought, how many went to numbers never verified before, how many of those were then verified, and what all cost by sms.price. \
By sender stand all messages that may have gone out, how many arrived, how many were lost, and of how many the code was used.")]
pub struct StatsArgs {
    /// Since then: a duration such as 2h, or an instant such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<When>,
}

/// From little to much.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// What happened within a window.
struct Window {
    name: String,
    /// What the audit trail tells.
    tally: Tally,
    /// Messages that the provider has.
    sent: Course,
    attempts: Attempts,
    /// Whether the provider reports deliveries.
    is_reported: bool,
    verified: u64,
    states: [u64; MessageState::ALL.len()],
    countries: Vec<CountryFigures>,
    senders: Senders,
}

/// Runs the command.
///
/// # Errors
/// [`CliError`]
pub fn run(args: StatsArgs, global: &Global, output: &mut Output) -> Result<(), CliError> {
    let admin = AdminContext::open(global, READING)?;
    let (now, is_reported) = (admin.now(), admin.config.sms.reports_deliveries);
    let hours = |hours| now - Duration::from_hours(hours);
    let mut windows = match args.since {
        Some(since) => {
            let since = since.instant(now);
            vec![Window::new(format!("since {}", when::long(since)), since, now, is_reported)]
        }
        None => [("hour", 1), ("day", 24), ("week", 7 * 24)]
            .map(|(name, length)| Window::new(name.to_owned(), hours(length), now, is_reported))
            .into(),
    };
    read(&admin, &mut windows)?;
    if output.json {
        let windows: Vec<_> = windows.iter().map(Window::document).collect();
        return Ok(output.json(&json!({ "windows": windows }))?);
    }
    for window in &windows {
        window.table(output)?;
    }
    Ok(())
}

fn read(admin: &AdminContext, windows: &mut [Window]) -> Result<(), CliError> {
    let Some(since) = windows.iter().map(|window| window.tally.span.since).min() else { return Ok(()) };
    let end = audit::newest(admin)?;
    for window in windows.iter_mut() {
        window.tally = audit::search::tally(admin, window.tally.span, end)?;
    }
    let mut before = MessageId(i64::MAX);
    loop {
        let page = admin.read(move |view| view.messages_before(before, PAGE))?;
        let Some((last, _)) = page.last() else { break };
        before = last.id;
        for window in windows.iter_mut() {
            for (message, used) in &page {
                window.sent(message, *used, &admin.config.sms.budgets);
            }
        }
        if page.iter().all(|(message, _)| message.created_at < since) {
            break;
        }
    }
    for window in windows {
        let since = window.tally.span.since;
        let (untold, unsent, countries) = admin.read(move |view| {
            Ok((view.untold_refusals(since)?, view.unsent_since(since)?, view.figures_by_country(since)?))
        })?;
        window.countries = countries;
        window.tally.note_lines(untold, AuditEvent::LimitExceeded, PARTS - 1, None);
        window.attempts.refused = unsent.iter().map(|minute| minute.count).sum();
    }
    Ok(())
}

impl Window {
    fn new(name: String, since: Timestamp, now: Timestamp, is_reported: bool) -> Self {
        Self {
            name,
            tally: Tally::of(Span { since, until: now }),
            sent: Course::default(),
            attempts: Attempts::default(),
            is_reported,
            verified: 0,
            states: [0; MessageState::ALL.len()],
            countries: Vec::new(),
            senders: Senders::default(),
        }
    }

    fn sent(&mut self, message: &Message, used: bool, prices: &BudgetPolicy) {
        let Message { created_at: at, state, .. } = *message;
        let Some(part) = self.tally.span.part(at) else { return };
        self.senders.add(message, used, prices);
        if let Some(place) = MessageState::ALL.iter().position(|known| *known == state) {
            self.states[place] += 1;
        }
        self.verified += u64::from(used);
        self.attempts.add(state, at.until(self.tally.span.until), self.is_reported);
        if !state.is_lost() && !matches!(state, MessageState::Intended | MessageState::Unknown) {
            self.sent.add(part, 1);
        }
    }

    /// The guide's key metrics: name, figure, course.
    fn metrics(&self) -> [(&'static str, String, &Course); 5] {
        let Tally { span, requests, logins, failures, refusals } = &self.tally;
        let hours = span.since.until(span.until).as_secs_f64() / 3600.0;
        #[expect(clippy::cast_precision_loss, reason = "a rate is shown to one decimal")]
        let rate = requests.sum() as f64 / hours.max(f64::EPSILON);
        [
            ("OTP requests", format!("{} ({rate:.1} an hour)", requests.sum()), requests),
            ("SMS delivery success", self.delivery(), &self.sent),
            ("authentication success", share(logins.sum(), failures.sum()), logins),
            ("rate limit violations", refusals.sum().to_string(), refusals),
            ("failed authentications", failures.sum().to_string(), failures),
        ]
    }

    /// The delivered messages among all attempts.
    fn delivery(&self) -> String {
        let good = self.attempts.successes(self.is_reported);
        share(good, self.attempts.total() - good)
    }

    /// What became of the attempts, in words.
    fn split(&self) -> String {
        let Attempts { delivered, accepted, failed, unknown, refused, under_way } = self.attempts;
        let split = format!(
            "{delivered} delivered, {accepted} accepted, {failed} failed, {unknown} unknown, {refused} refused"
        );
        if under_way == 0 { split } else { format!("{split}; {under_way} under way") }
    }

    fn messages(&self) -> u64 {
        self.states.iter().sum()
    }

    fn table(&self, output: &mut Output) -> Result<(), CliError> {
        let figures =
            self.metrics().map(|(name, figure, course)| [name.to_owned(), figure, sparkline(course)]);
        let title =
            if self.name.starts_with("since") { self.name.clone() } else { format!("last {}", self.name) };
        output.table([title.as_str(), "", ""], figures)?;
        let converted = share(self.verified, self.messages() - self.verified);
        output.sentences(&format!("SMS: {}\nsent and verified: {converted}\n\n", self.split()))?;
        countries::table(&self.countries, output)?;
        self.senders.table(output)
    }

    fn document(&self) -> Value {
        let ratio = |good: u64, bad: u64| ratio(good, bad).map_or(Value::Null, Value::from);
        let good = self.attempts.successes(self.is_reported);
        let Tally { span, requests, logins, failures, refusals } = &self.tally;
        let states: Map<_, _> = MessageState::ALL
            .iter()
            .zip(self.states)
            .map(|(state, count)| (state.as_str().to_owned(), count.into()))
            .collect();
        json!({
            "window": self.name.split(' ').next(),
            "since": span.since.iso(),
            "until": span.until.iso(),
            "otp_requests": requests.sum(),
            "sms_delivery_success": ratio(good, self.attempts.total() - good),
            "sms_attempts": {
                "total": self.attempts.total(),
                "delivered": self.attempts.delivered,
                "accepted": self.attempts.accepted,
                "failed": self.attempts.failed,
                "unknown": self.attempts.unknown,
                "refused": self.attempts.refused,
                "under_way": self.attempts.under_way,
            },
            "authentication_success": ratio(logins.sum(), failures.sum()),
            "rate_limit_violations": refusals.sum(),
            "failed_authentications": failures.sum(),
            "logins": logins.sum(),
            "sms_by_state": states,
            "sent": self.messages(),
            "verified": self.verified,
            "countries": countries::documents(&self.countries),
            "senders": self.senders.documents(),
            "course": {
                "otp_requests": requests.0,
                "logins": logins.0,
                "rate_limit_violations": refusals.0,
                "failed_authentications": failures.0,
            },
        })
    }
}

/// Between 0 and 1; `None` where there is nothing to divide.
fn ratio(good: u64, bad: u64) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "a share is shown to one decimal")]
    let share = good as f64 / (good + bad) as f64;
    (good + bad > 0).then_some(share)
}

fn share(good: u64, bad: u64) -> String {
    match ratio(good, bad) {
        Some(share) => format!("{:.1} % ({good} of {})", share * 100.0, good + bad),
        None => "- (none)".to_owned(),
    }
}

/// A course, each part as high as its share of the highest.
fn sparkline(Course(parts): &Course) -> String {
    let most = parts.iter().copied().max().unwrap_or(0).max(1);
    let bar = |count: &u64| {
        let height = (count * (BARS.len() as u64 - 1)).div_ceil(most);
        BARS[usize::try_from(height).unwrap_or(0).min(BARS.len() - 1)]
    };
    parts.iter().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sparkline_is_as_high_as_its_highest_part() {
        let mut course = Course::default();
        assert_eq!(sparkline(&course), "▁".repeat(PARTS));
        course.add(0, 1);
        course.add(11, 100);
        assert_eq!(sparkline(&course), format!("▂{}█", "▁".repeat(10)));
    }
}
