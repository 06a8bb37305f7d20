//! Webhooks: where events go, how they are signed (Standard Webhooks 1.0), and when an event is tried again.

use std::fmt;
use std::time::Duration;

use data_encoding::BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::domain::http_url::HttpUrlError;
use crate::domain::{EventKind, HttpUrl, Timestamp};

/// The most that a configuration has.
pub const MAX_WEBHOOKS: usize = 10;

/// Events that are on their way to one webhook at once, each of another user.
pub const IN_FLIGHT: usize = 16;

/// How long an answer may take, the lookup of the name included.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// How long an event is tried, or waits for a webhook that is switched off.
pub const PATIENCE: Duration = Duration::from_hours(5 * 24);

/// The pauses after the first failures.
const PAUSES: [Duration; 5] = [
    Duration::from_secs(5),
    Duration::from_mins(1),
    Duration::from_mins(5),
    Duration::from_mins(30),
    Duration::from_hours(2),
];

/// The pause after each further failure.
const LONG_PAUSE: Duration = Duration::from_hours(6);

/// Up to so many failures count as a few.
pub const FEW: u32 = 3;

/// How long an event rests after a failure, though its webhook takes others meanwhile: one that is refused again and again must
/// not keep its receiver busy.
pub const REST_AFTER_FEW: Duration = Duration::from_secs(5);

/// The same after more than a few failures. In the same rhythm a webhook that takes nothing is tried.
pub const REST: Duration = Duration::from_secs(30);

/// How long an event waits after so many failed attempts.
pub fn pause_after(failures: u32) -> Duration {
    let place = usize::try_from(failures.saturating_sub(1)).unwrap_or(usize::MAX);
    PAUSES.get(place).copied().unwrap_or(LONG_PAUSE)
}

/// A receiver of events.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// How the operator calls it.
    pub name: String,
    /// Where it is.
    pub url: WebhookUrl,
    /// What it knows its sender by.
    pub secret: WebhookSecret,
    /// What it is told of; `None`: everything.
    pub kinds: Option<Vec<EventKind>>,
}

impl Webhook {
    /// Whether it is told of events of this kind.
    pub fn wants(&self, kind: EventKind) -> bool {
        self.kinds.as_ref().is_none_or(|kinds| kinds.contains(&kind))
    }
}

/// An `https` URL, or an `http` one that leads to this machine; it may have a query. The query may hold a secret of the
/// receiver's: `Display` leaves it out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookUrl {
    text: String,
    is_https: bool,
}

/// What is wrong with the URL of a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebhookUrlError {
    /// It is no good URL.
    #[error(transparent)]
    Url(#[from] HttpUrlError),
    /// Its query has characters that a query does not have.
    #[error("has characters in its query that no URL has")]
    Query,
    /// What goes there could be read on the way.
    #[error("is http and does not lead to this machine: events hold phone numbers")]
    Plain,
}

impl WebhookUrl {
    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, WebhookUrlError> {
        let (base, query) = text.split_once('?').map_or((text, ""), |(base, query)| (base, query));
        let url = HttpUrl::parse(base)?;
        if !query.bytes().all(|b| b.is_ascii_graphic() && !br#"#"<>\^`{|}"#.contains(&b)) {
            return Err(WebhookUrlError::Query);
        }
        if !url.is_https() && !url.is_loopback() {
            return Err(WebhookUrlError::Plain);
        }
        Ok(Self { text: text.to_owned(), is_https: url.is_https() })
    }

    /// The URL as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether what goes there is encrypted.
    pub const fn is_https(&self) -> bool {
        self.is_https
    }
}

impl fmt::Display for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.text.split_once('?') {
            Some((base, _)) => write!(f, "{base}?…"),
            None => self.text.fmt(f),
        }
    }
}

/// A secret of Standard Webhooks: `whsec_` and 24 to 64 bytes in base64. `Debug` never prints it.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookSecret(Vec<u8>);

impl WebhookSecret {
    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with it, without showing it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let digits = text.strip_prefix("whsec_").ok_or("does not begin with whsec_")?;
        let bytes = BASE64.decode(digits.as_bytes()).map_err(|_| "has no base64 behind whsec_")?;
        if !(24..=64).contains(&bytes.len()) {
            return Err("does not hold 24 to 64 bytes");
        }
        Ok(Self(bytes))
    }

    /// The value of `webhook-signature` for a message of this id and body, sent at `at`.
    pub fn sign(&self, id: &str, at: Timestamp, body: &str) -> String {
        let signed = keyed(&self.0).chain_update(format!("{id}.{}.{body}", at.as_secs()));
        format!("v1,{}", BASE64.encode(&signed.finalize().into_bytes()))
    }
}

/// How far the time of a signature may be from now, either way.
pub const TOLERANCE: Duration = Duration::from_mins(5);

/// A message as it came, and the headers that sign it.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'s> {
    /// `webhook-id`
    pub id: &'s str,
    /// `webhook-timestamp`: seconds since 1970.
    pub timestamp: &'s str,
    /// `webhook-signature`: one or several, with spaces between them.
    pub signature: &'s str,
    /// The body, as it came.
    pub body: &'s [u8],
}

/// How many signatures of a message are looked at: one for each secret while the sender rotates them.
const MOST_SIGNATURES: usize = 8;

impl WebhookSecret {
    /// Whether one who knows the secret signed it, within [`TOLERANCE`] of `now`; in constant time.
    pub fn has_signed(&self, signed: Signed<'_>, now: Timestamp) -> bool {
        let Signed { id, timestamp, signature, body } = signed;
        let at = timestamp.parse::<i64>().ok().and_then(|seconds| seconds.checked_mul(1000));
        let Some(at) = at.map(Timestamp::from_millis) else { return false };
        let is_fresh = now <= at + TOLERANCE && at <= now + TOLERANCE;
        if !is_fresh || id.is_empty() {
            return false;
        }
        // Once for all signatures: anybody can send many of them with a long body.
        let mac = keyed(&self.0).chain_update(format!("{id}.{timestamp}.")).chain_update(body);
        let is_right = |one: &str| {
            let tag = one.strip_prefix("v1,").and_then(|tag| BASE64.decode(tag.as_bytes()).ok());
            tag.is_some_and(|tag| mac.clone().verify_slice(&tag).is_ok())
        };
        signature.split(' ').take(MOST_SIGNATURES).any(is_right)
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret(…)")
    }
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    Hmac::new_from_slice(key).expect("any length")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification and of its libraries.
    #[test]
    fn the_signature_is_that_of_standard_webhooks() {
        let secret = WebhookSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let at = Timestamp::from_millis(1_614_265_330_999);
        let signature = secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", at, r#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn what_was_signed_is_recognised_for_five_minutes_and_nothing_else_is() {
        let secret = WebhookSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signed = Signed {
            id: "msg_p5jXN8AQM9LWM0D4loKWxJek",
            timestamp: "1614265330",
            signature: "v1,AAAA v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            body: br#"{"test": 2432232314}"#,
        };
        let at = |seconds: i64| Timestamp::from_millis((1_614_265_330 + seconds) * 1000);
        for seconds in [-300, 0, 300] {
            assert!(secret.has_signed(signed, at(seconds)), "{seconds}");
        }
        for seconds in [-301, 301] {
            assert!(!secret.has_signed(signed, at(seconds)), "{seconds}");
        }
        let v2 = signed.signature.replace("v1,", "v2,");
        let after =
            |others: usize| format!("{}{}", "v1,AAAA ".repeat(others), &signed.signature["v1,AAAA ".len()..]);
        let eighth = after(7);
        assert!(secret.has_signed(Signed { signature: &eighth, ..signed }, at(0)));
        let ninth = after(8);
        for wrong in [
            Signed { id: "msg_other", ..signed },
            Signed { id: "", ..signed },
            Signed { timestamp: "1614265331", ..signed },
            Signed { timestamp: "", ..signed },
            Signed { timestamp: "9223372036854775807", ..signed },
            Signed { signature: "", ..signed },
            Signed { signature: &v2, ..signed },
            Signed { signature: &ninth, ..signed },
            Signed { body: b"{}", ..signed },
        ] {
            assert!(!secret.has_signed(wrong, at(0)), "{wrong:?}");
        }
    }

    #[test]
    fn s34_secrets_of_another_form_are_refused_and_none_is_shown() {
        for bad in [
            "",
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whsec_",
            "whsec_not base64",
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS",
            "whsec_c2hvcnQ=",
        ] {
            assert!(WebhookSecret::parse(bad).is_err(), "{bad}");
        }
        let long = format!("whsec_{}", BASE64.encode(&[7; 65]));
        assert!(WebhookSecret::parse(&long).is_err());
        let secret = WebhookSecret::parse(&format!("whsec_{}", BASE64.encode(&[7; 24]))).unwrap();
        assert_eq!(format!("{secret:?}"), "WebhookSecret(…)");
    }

    #[test]
    fn events_go_by_https_or_stay_on_this_machine() {
        for good in [
            "https://api.example.com/freshk/webhook/",
            "https://hooks.example.com/x?token=a%20b&c=d",
            "http://127.0.0.1:8080/freshk/",
            "http://localhost/",
        ] {
            assert_eq!(WebhookUrl::parse(good).unwrap().as_str(), good);
        }
        for bad in [
            "http://api.example.com/",
            "https://user:password@example.com/",
            "https://example.com/#x",
            "https://example.com/?a b",
            "https://example.com/?a=\"b\"",
            "ftp://example.com/",
            "",
        ] {
            assert!(WebhookUrl::parse(bad).is_err(), "{bad}");
        }
        assert!(WebhookUrl::parse("https://localhost/").unwrap().is_https());
        assert!(!WebhookUrl::parse("http://localhost/").unwrap().is_https());
        let shown = WebhookUrl::parse("https://example.com/a/?token=hush").unwrap().to_string();
        assert_eq!(shown, "https://example.com/a/?…");
    }

    #[test]
    fn an_event_is_tried_after_5_s_1_m_5_m_30_m_2_h_and_then_every_6_h() {
        let pauses: Vec<_> = (1..=8).map(|failures| pause_after(failures).as_secs()).collect();
        assert_eq!(pauses, [5, 60, 300, 1800, 7200, 21_600, 21_600, 21_600]);
        assert_eq!(pause_after(u32::MAX), LONG_PAUSE);
    }
}
