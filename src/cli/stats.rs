//! `freshk stats`: the five key metrics of the guide, from the audit trail and the messages.

use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value, json};

use super::admin::{AdminContext, PAGE, READING};
use super::output::Output;
use super::when::When;
use super::{CliError, Global, when};
use crate::domain::audit::{AuditEvent, RefusalSummary};
use crate::domain::budget::BudgetPolicy;
use crate::domain::message::{Message, MessageState};
use crate::domain::{Attempts, MessageId, Timestamp};
use crate::storage::audit::{AuditLine, AuditOf};
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

/// Parts of a course.
const PARTS: usize = 12;

/// From little to much.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// What happened within a window.
struct Window {
    name: String,
    since: Timestamp,
    now: Timestamp,
    requests: Course,
    logins: Course,
    failures: Course,
    refusals: Course,
    sent: Course,
    attempts: Attempts,
    /// Whether the provider reports deliveries.
    is_reported: bool,
    verified: u64,
    states: [u64; MessageState::ALL.len()],
    countries: Vec<CountryFigures>,
    senders: Senders,
}

/// A count in its parts.
#[derive(Default)]
struct Course([u64; PARTS]);

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
    let Some(since) = windows.iter().map(|window| window.since).min() else { return Ok(()) };
    let mut before = i64::MAX;
    loop {
        let page = admin.read(move |view| view.audit_before(&AuditOf::Everybody, before, PAGE))?;
        let Some(last) = page.last() else { break };
        before = last.id;
        for window in windows.iter_mut() {
            for line in &page {
                window.note(line);
            }
        }
        // Lines are written in the order of time, but for a clock that was stepped: a whole page tells.
        if page.iter().all(|line| line.at < since) {
            break;
        }
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
        let since = window.since;
        let (untold, unsent, countries) = admin.read(move |view| {
            Ok((view.untold_refusals(since)?, view.unsent_since(since)?, view.figures_by_country(since)?))
        })?;
        window.countries = countries;
        window.refusals.add(PARTS - 1, untold);
        window.attempts.refused = unsent.iter().map(|minute| minute.count).sum();
    }
    Ok(())
}

impl Window {
    fn new(name: String, since: Timestamp, now: Timestamp, is_reported: bool) -> Self {
        Self {
            name,
            since,
            now,
            requests: Course::default(),
            logins: Course::default(),
            failures: Course::default(),
            refusals: Course::default(),
            sent: Course::default(),
            attempts: Attempts::default(),
            is_reported,
            verified: 0,
            states: [0; MessageState::ALL.len()],
            countries: Vec::new(),
            senders: Senders::default(),
        }
    }

    /// Which part of the window an instant lies in, if any.
    fn part(&self, at: Timestamp) -> Option<usize> {
        if at < self.since {
            return None;
        }
        let length = self.since.until(self.now).as_millis().max(1);
        let part = self.since.until(at).as_millis() * PARTS as u128 / length;
        Some(usize::try_from(part).unwrap_or(PARTS).min(PARTS - 1))
    }

    fn note(&mut self, line: &AuditLine) {
        let Some(part) = self.part(line.at) else { return };
        match line.event {
            AuditEvent::CodeRequested => self.requests.add(part, 1),
            AuditEvent::LoginSuccess => self.logins.add(part, 1),
            AuditEvent::LoginFail => self.failures.add(part, 1),
            AuditEvent::LimitExceeded => self.refusals.add(part, refusals(line)),
            _ => {}
        }
    }

    fn sent(&mut self, message: &Message, used: bool, prices: &BudgetPolicy) {
        let Message { created_at: at, state, .. } = *message;
        let Some(part) = self.part(at) else { return };
        self.senders.add(message, used, prices);
        if let Some(place) = MessageState::ALL.iter().position(|known| *known == state) {
            self.states[place] += 1;
        }
        self.verified += u64::from(used);
        self.attempts.add(state, at.until(self.now), self.is_reported);
        if !state.is_lost() && !matches!(state, MessageState::Intended | MessageState::Unknown) {
            self.sent.add(part, 1);
        }
    }

    /// The guide's key metrics: name, figure, course.
    fn metrics(&self) -> [(&'static str, String, &Course); 5] {
        let hours = self.since.until(self.now).as_secs_f64() / 3600.0;
        #[expect(clippy::cast_precision_loss, reason = "a rate is shown to one decimal")]
        let rate = self.requests.sum() as f64 / hours.max(f64::EPSILON);
        [
            ("OTP requests", format!("{} ({rate:.1} an hour)", self.requests.sum()), &self.requests),
            ("SMS delivery success", self.delivery(), &self.sent),
            ("authentication success", share(self.logins.sum(), self.failures.sum()), &self.logins),
            ("rate limit violations", self.refusals.sum().to_string(), &self.refusals),
            ("failed authentications", self.failures.sum().to_string(), &self.failures),
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
            self.metrics().map(|(name, figure, course)| [name.to_owned(), figure, course.sparkline()]);
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
        let states: Map<_, _> = MessageState::ALL
            .iter()
            .zip(self.states)
            .map(|(state, count)| (state.as_str().to_owned(), count.into()))
            .collect();
        json!({
            "window": self.name.split(' ').next(),
            "since": self.since.iso(),
            "until": self.now.iso(),
            "otp_requests": self.requests.sum(),
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
            "authentication_success": ratio(self.logins.sum(), self.failures.sum()),
            "rate_limit_violations": self.refusals.sum(),
            "failed_authentications": self.failures.sum(),
            "logins": self.logins.sum(),
            "sms_by_state": states,
            "sent": self.messages(),
            "verified": self.verified,
            "countries": countries::documents(&self.countries),
            "senders": self.senders.documents(),
            "course": {
                "otp_requests": self.requests.0,
                "logins": self.logins.0,
                "rate_limit_violations": self.refusals.0,
                "failed_authentications": self.failures.0,
            },
        })
    }
}

/// The first refusal of a window has a line of its own; the line that sums the window up counts it again.
fn refusals(line: &AuditLine) -> u64 {
    let summary = line.detail.as_deref().and_then(RefusalSummary::parse);
    summary.map_or(1, |summary| summary.count.saturating_sub(1))
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

impl Course {
    fn add(&mut self, part: usize, count: u64) {
        self.0[part] += count;
    }

    fn sum(&self) -> u64 {
        self.0.iter().sum()
    }

    fn sparkline(&self) -> String {
        let most = self.0.iter().copied().max().unwrap_or(0).max(1);
        let bar = |count: &u64| {
            let height = (count * (BARS.len() as u64 - 1)).div_ceil(most);
            BARS[usize::try_from(height).unwrap_or(0).min(BARS.len() - 1)]
        };
        self.0.iter().map(bar).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sparkline_is_as_high_as_its_highest_part() {
        let mut course = Course::default();
        assert_eq!(course.sparkline(), "▁".repeat(PARTS));
        course.add(0, 1);
        course.add(11, 100);
        assert_eq!(course.sparkline(), format!("▂{}█", "▁".repeat(10)));
    }

    #[test]
    fn every_instant_of_a_window_has_its_part_and_no_other_has() {
        let at = |minutes: i64| Timestamp::from_millis(minutes * 60_000);
        let window = Window::new("hour".to_owned(), at(0), at(60), true);
        assert_eq!(window.part(at(-1)), None);
        assert_eq!(window.part(at(0)), Some(0));
        assert_eq!(window.part(at(5)), Some(1));
        assert_eq!(window.part(at(60)), Some(11));
        assert_eq!(window.part(at(90)), Some(11), "a clock that stepped back");
    }
}
