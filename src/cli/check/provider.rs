//! Twilio, asked for the account; its answer tells its clock too.

use std::time::Duration;

use super::line::Line;
use crate::cli::http::{self, ANSWER_CAP};
use crate::config::Config;
use crate::config::sms::Provider;
use crate::domain::Timestamp;
use crate::outgoing::words;
use crate::sms::template::Template;
use crate::sms::twilio::{Credentials, Sender, TwilioSettings};

const TWILIO: &str = "Twilio";
const CLOCK: &str = "clock";

/// Codes live for minutes and tokens are read by other machines: more than this is felt.
const SKEW: Duration = Duration::from_secs(30);

pub(super) fn lines(config: &Config, now: Timestamp, offline: bool) -> Vec<Line> {
    let Provider::Senders(senders) = &config.sms.provider else {
        let help = "give Twilio's credentials, and set debug = false";
        return vec![Line::warn(TWILIO, "codes are printed on the console", help), text(config)];
    };
    let order = (senders.len() > 1 || config.sms.twilio().is_none()).then(|| {
        let names: Vec<_> = senders.iter().map(|sender| sender.name.as_str()).collect();
        Line::ok("senders", format!("in order: {}", names.join(", ")))
    });
    let Some(twilio) = config.sms.twilio() else {
        return order.into_iter().chain([text(config)]).collect();
    };
    let asked = if offline {
        vec![Line::warn(TWILIO, "not asked", "run `freshk check` without --offline")]
    } else {
        ask(twilio, now)
    };
    asked.into_iter().chain([sender(twilio)]).chain(order).chain([text(config)]).collect()
}

fn text(config: &Config) -> Line {
    let of = |text: &Template| text.segments(config.otp.length, config.otp.ttl);
    let dearest = config.sms.texts.all().max_by_key(|text| of(text)).map(|text| (of(text), text.language()));
    match dearest {
        None | Some((1, _)) => Line::ok("SMS text", "one segment"),
        Some((segments, language)) => {
            let language = language.map_or_else(String::new, |language| format!(" in {language}"));
            Line::ok("SMS text", format!("up to {segments} segments: a code{language} costs {segments} SMS"))
        }
    }
}

fn sender(twilio: &TwilioSettings) -> Line {
    match &twilio.sender {
        Sender::From(number) => Line::ok("sender", format!("the number {number}")),
        Sender::MessagingService(sid) => Line::ok("sender", format!("the messaging service {sid}")),
    }
}

fn ask(twilio: &TwilioSettings, now: Timestamp) -> Vec<Line> {
    let call = http::agent(twilio.connect_timeout, twilio.timeout)
        .get(format!("{}.json", twilio.account_url()))
        .header("authorization", twilio.authorization().expose());
    let mut answer = match call.call() {
        Ok(answer) => answer,
        Err(error) => {
            let help = "check this machine's network and DNS, and twilio.base_url";
            return vec![Line::warn(TWILIO, format!("cannot be reached: {}", words(&error)), help)];
        }
    };
    let clock = answer.headers().get("date").and_then(|date| skew(date.to_str().ok()?, now));
    let body = answer.body_mut().with_config().limit(ANSWER_CAP).read_to_string().unwrap_or_default();
    let is_key = matches!(twilio.credentials, Credentials::ApiKey { .. });
    std::iter::once(account(answer.status().as_u16(), &body, is_key)).chain(clock).collect()
}

fn account(status: u16, body: &str, is_key: bool) -> Line {
    let field = |name: &str| {
        let body: serde_json::Value = serde_json::from_str(body).ok()?;
        Some(body.get(name)?.as_str()?.to_owned())
    };
    match (status, field("status").as_deref(), field("type").as_deref()) {
        (200, Some("active"), Some("Trial")) => Line::warn(
            TWILIO,
            "a trial account: it sends to verified numbers alone",
            "upgrade the account at twilio.com",
        ),
        (200, Some("active"), _) => Line::ok(TWILIO, "the account is active"),
        (200, Some(state), _) => {
            Line::fail(TWILIO, format!("the account is {state}"), "see the console at twilio.com")
        }
        (200, None, _) => Line::fail(
            TWILIO,
            "what answers is not Twilio",
            "correct twilio.base_url, or see what stands between this machine and Twilio",
        ),
        // A standard API key may send, and may not read the account.
        (401 | 403, ..) if is_key => Line::warn(
            TWILIO,
            "the API key may not read the account, so it is not known whether it is good",
            "send yourself a code",
        ),
        (401 | 403, ..) => Line::fail(
            TWILIO,
            "the credentials are refused",
            "correct twilio.account_sid and twilio.auth_token from the console at twilio.com",
        ),
        (404, ..) => Line::fail(TWILIO, "there is no such account", "correct twilio.account_sid"),
        (other, ..) => Line::warn(TWILIO, format!("answered {other}"), "see status.twilio.com and try again"),
    }
}

/// How far our clock is from the one that wrote an HTTP date.
fn skew(date: &str, now: Timestamp) -> Option<Line> {
    let theirs = jiff::fmt::rfc2822::parse(date).ok()?.timestamp().as_millisecond();
    let apart = Duration::from_millis(theirs.abs_diff(now.as_millis()));
    Some(if apart <= SKEW {
        Line::ok(CLOCK, "agrees with Twilio's")
    } else {
        Line::fail(CLOCK, format!("{} s from Twilio's", apart.as_secs()), "run NTP: timedatectl set-ntp true")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::check::line::Verdict;

    #[test]
    fn what_twilio_answers_is_judged() {
        let judged = |status, body, is_key| account(status, body, is_key).verdict;
        assert_eq!(judged(200, r#"{"status":"active","type":"Full"}"#, false), Verdict::Ok);
        assert_eq!(judged(200, r#"{"status":"active","type":"Trial"}"#, false), Verdict::Warn);
        assert_eq!(judged(200, r#"{"status":"suspended","type":"Full"}"#, false), Verdict::Fail);
        assert_eq!(judged(200, "<html>", false), Verdict::Fail);
        assert_eq!(judged(401, "", false), Verdict::Fail);
        assert_eq!(judged(401, "", true), Verdict::Warn);
        assert_eq!(judged(404, "", false), Verdict::Fail);
        assert_eq!(judged(503, "", false), Verdict::Warn);
    }

    #[test]
    fn a_clock_that_is_off_fails() {
        let now = Timestamp::from_millis(1_767_225_600_000);
        assert_eq!(skew("Thu, 01 Jan 2026 00:00:20 GMT", now).unwrap().verdict, Verdict::Ok);
        assert_eq!(skew("Thu, 01 Jan 2026 00:01:00 GMT", now).unwrap().verdict, Verdict::Fail);
        assert!(skew("yesterday", now).is_none());
    }
}
