//! One POST to Twilio over ureq, and whether it can have been processed.

use std::time::Duration;

use ureq::http::{HeaderMap, HeaderValue, header};

use super::settings::TwilioSettings;
use crate::outgoing;
use crate::outgoing::clients::Clients;
use crate::outgoing::get::get;
use crate::outgoing::post::{Posted, post};

/// More than any answer of Twilio's; the rest of a longer one is not read.
const ANSWER_CAP: u64 = 64 * 1024;
const HEAD_CAP: usize = 16 * 1024;

/// Bytes of each connection's two buffers; a message and its answer take two thousand, and the default 128 KiB of every
/// slot would be most of what the program holds in memory.
const BUFFER: usize = 16 * 1024;

/// Connections rest no longer than this: one that Twilio has closed in the meantime would cost the message its certainty.
const MAX_IDLE: Duration = Duration::from_secs(5);

/// What came of one POST.
#[derive(Debug)]
pub(super) enum Reply {
    /// Twilio answered.
    Answered(Answer),
    /// The request did not leave, so it surely was not processed.
    Unsent(String),
    /// It left, and no answer came back.
    Lost(String),
}

/// An answer, its body not yet understood.
#[derive(Debug)]
pub(super) struct Answer {
    /// The HTTP status.
    pub(super) status: u16,
    /// `Retry-After`, where there is one.
    pub(super) retry_after: Option<RetryAfter>,
    /// The body; empty where it could not be read to its end, within time and size.
    pub(super) body: Vec<u8>,
}

/// `Retry-After` (RFC 9110 §10.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RetryAfter {
    /// In so many seconds.
    Seconds(u64),
    /// A date, or nothing that is known.
    Other,
}

/// The connection to Twilio.
pub(super) struct Client {
    clients: Clients,
    /// The address of the account.
    account: String,
    authorization: HeaderValue,
}

impl Client {
    /// Prepares the clients; nothing is connected.
    pub(super) fn new(settings: &TwilioSettings) -> Self {
        let calls = outgoing::settings(settings.connect_timeout, settings.timeout)
            .https_only(settings.base_url.is_https())
            .max_response_header_size(HEAD_CAP)
            .input_buffer_size(BUFFER)
            .output_buffer_size(BUFFER)
            .max_idle_age(MAX_IDLE)
            .accept("application/json");
        Self {
            clients: Clients::new(calls),
            account: settings.account_url(),
            authorization: authorization(settings),
        }
    }

    /// Sends `form` to a resource of the account, such as `Messages`, and waits for the answer, in all for the configured time-out or, on a second attempt, for what is
    /// left of it. Blocks its thread.
    pub(super) fn post(&self, resource: &str, form: &str, left: Option<Duration>) -> Reply {
        let form_type = HeaderValue::from_static("application/x-www-form-urlencoded");
        let headers = HeaderMap::from_iter([
            (header::AUTHORIZATION, self.authorization.clone()),
            (header::CONTENT_TYPE, form_type),
        ]);
        let url = format!("{}/{resource}.json", self.account);
        match post(&self.clients.lend(), &url, headers, form, (left, ANSWER_CAP)) {
            // The status alone decides whether it was sent, so that a body that breaks off changes nothing.
            Posted::Answered { status, headers, body } => {
                Reply::Answered(Answer { status, retry_after: retry_after(&headers), body })
            }
            Posted::Unsent(words) => Reply::Unsent(words),
            Posted::Lost(words) => Reply::Lost(words),
        }
    }
}

impl Client {
    /// Asks for a resource of the account; gives the status and the body, which is empty where it could not be read. Blocks its
    /// thread.
    ///
    /// # Errors
    /// What went wrong, in words.
    pub(super) fn get(&self, resource: &str) -> Result<(u16, Vec<u8>), String> {
        let headers = HeaderMap::from_iter([(header::AUTHORIZATION, self.authorization.clone())]);
        get(&self.clients.lend(), &format!("{}/{resource}.json", self.account), headers, ANSWER_CAP)
    }
}

fn retry_after(headers: &HeaderMap) -> Option<RetryAfter> {
    let value = headers.get(header::RETRY_AFTER)?;
    let seconds = value.to_str().ok().and_then(|text| text.trim().parse().ok());
    Some(seconds.map_or(RetryAfter::Other, RetryAfter::Seconds))
}

fn authorization(settings: &TwilioSettings) -> HeaderValue {
    #[expect(clippy::expect_used, reason = "base64 is made of characters that a header may hold")]
    let mut value = HeaderValue::from_str(settings.authorization().expose()).expect("base64");
    // Keeps it out of everybody's `Debug`.
    value.set_sensitive(true);
    value
}

/// Writes `application/x-www-form-urlencoded` (WHATWG URL §5.2).
pub(super) fn form(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_escape_all_but_the_plain() {
        let written = form(&[("To", "+1234567890"), ("Body", "a b&c=é\n~"), ("Empty", "")]);
        assert_eq!(written, "To=%2B1234567890&Body=a+b%26c%3D%C3%A9%0A%7E&Empty=");
    }

    #[test]
    fn retry_after_is_seconds_or_unknown() {
        for (text, expected) in [
            ("2", RetryAfter::Seconds(2)),
            ("0", RetryAfter::Seconds(0)),
            ("-1", RetryAfter::Other),
            ("Fri, 31 Dec 1999 23:59:59 GMT", RetryAfter::Other),
            ("", RetryAfter::Other),
        ] {
            let headers = HeaderMap::from_iter([(header::RETRY_AFTER, HeaderValue::from_str(text).unwrap())]);
            assert_eq!(retry_after(&headers), Some(expected), "{text:?}");
        }
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }
}
