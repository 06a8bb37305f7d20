//! What the operator configures, of parsed parts.

use std::fmt;
use std::time::Duration;

use data_encoding::BASE64;

use crate::domain::{Channel, HttpUrl, Secret};

/// Where Twilio reports deliveries, below `server.public_url`.
pub const CALLBACK_PATH: &str = "/api/mobile/auth/sms/twilio/status/";

/// `[twilio]`. `Debug` prints no secret.
#[derive(Clone, Debug)]
pub struct TwilioSettings {
    /// The account: `AC…`.
    pub account_sid: Sid,
    /// What requests are authenticated with.
    pub credentials: Credentials,
    /// The primary Auth Token, which signs status callbacks whatever the credentials are; needed for
    /// `status_callback` only.
    pub auth_token: Option<Secret>,
    /// The other Auth Token while Twilio rotates them: callbacks are good under either.
    pub auth_token_secondary: Option<Secret>,
    /// The sender's name in the configuration.
    pub name: String,
    /// What its messages come by.
    pub medium: Medium,
    /// Whether Twilio is told which codes were used.
    pub feedback: bool,
    /// Who the messages come from.
    pub sender: Sender,
    /// Where Twilio is: HTTPS, or plain HTTP on this machine; without a path, or with one that is put in front.
    pub base_url: HttpUrl,
    /// For the lookup of the name, and again for connecting with TLS.
    pub connect_timeout: Duration,
    /// For one message in all, both attempts and the wait between them included.
    pub timeout: Duration,
    /// How many messages may be on their way to Twilio at once.
    pub max_in_flight: usize,
    /// The pace of the sender; 0: Twilio queues.
    pub segments_per_second: u32,
    /// How long a message may wait for its turn in that pace.
    pub max_wait: Duration,
    /// How many failures in a row (no answer, or 5xx) open the breaker; 0: none do.
    pub breaker_failures: u32,
    /// How long it stays open before a probe goes.
    pub breaker_cooldown: Duration,
    /// The absolute URL that Twilio reports to, where it should; `message=<number>` is added to its query.
    pub status_callback: Option<String>,
}

/// What requests are authenticated with.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// The account's Auth Token.
    AuthToken(Secret),
    /// An API key, which can be revoked by itself.
    ApiKey {
        /// `SK…`.
        sid: Sid,
        /// Shown once by Twilio, when the key is made.
        secret: Secret,
    },
}

/// What Twilio sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Medium {
    /// Text messages.
    Sms,
    /// Messages in `WhatsApp`, after a template that was approved there.
    WhatsApp {
        /// The template: `HX…`; its first variable is the code.
        content: Sid,
    },
    /// Calls, in which the code is read out.
    Voice,
}

impl Medium {
    /// What is created at Twilio.
    pub(super) const fn resource(&self) -> &'static str {
        match self {
            Self::Sms | Self::WhatsApp { .. } => "Messages",
            Self::Voice => "Calls",
        }
    }

    /// What codes come by.
    pub const fn channel(&self) -> Channel {
        match self {
            Self::Sms => Channel::Sms,
            Self::WhatsApp { .. } => Channel::WhatsApp,
            Self::Voice => Channel::Voice,
        }
    }
}

/// Who the messages come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sender {
    /// A number, short code or name.
    From(String),
    /// A messaging service, which picks one: `MG…`.
    MessagingService(Sid),
}

/// Twilio's name for something: two letters that say what it is, and 32 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sid(String);

impl Sid {
    /// Reads one that begins with `prefix`.
    pub fn parse(prefix: &str, text: &str) -> Option<Self> {
        let digits = text.strip_prefix(prefix)?;
        let good = digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        good.then(|| Self(text.to_owned()))
    }

    /// The SID as Twilio writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl TwilioSettings {
    /// The account's address in Twilio's API, without `.json` or a slash at its end.
    pub fn account_url(&self) -> String {
        format!("{}/2010-04-01/Accounts/{}", self.base_url.as_str(), self.account_sid)
    }

    /// The value of `Authorization` (RFC 7617): a secret.
    pub fn authorization(&self) -> Secret {
        let (user, password) = match &self.credentials {
            Credentials::AuthToken(token) => (&self.account_sid, token),
            Credentials::ApiKey { sid, secret } => (sid, secret),
        };
        let plain = format!("{user}:{}", password.expose());
        Secret::new(format!("Basic {}", BASE64.encode(plain.as_bytes())))
    }
}

impl Sender {
    /// The number, where one is configured: a recipient who replied STOP can text START to it.
    pub(super) fn number(&self) -> Option<&str> {
        match self {
            Self::From(number) => Some(number),
            Self::MessagingService(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> TwilioSettings {
        TwilioSettings {
            account_sid: Sid::parse("AC", &format!("AC{}", "a".repeat(32))).unwrap(),
            credentials: Credentials::AuthToken(Secret::new("token")),
            auth_token: Some(Secret::new("token")),
            auth_token_secondary: None,
            name: "twilio".to_owned(),
            medium: Medium::Sms,
            feedback: false,
            sender: Sender::From("+15005550006".to_owned()),
            base_url: HttpUrl::parse("https://api.twilio.com/").unwrap(),
            connect_timeout: Duration::from_secs(3),
            timeout: Duration::from_secs(10),
            max_in_flight: 64,
            segments_per_second: 0,
            max_wait: Duration::from_secs(5),
            breaker_failures: 5,
            breaker_cooldown: Duration::from_secs(30),
            status_callback: None,
        }
    }

    #[test]
    fn the_account_is_a_part_of_the_url() {
        let sid = format!("AC{}", "a".repeat(32));
        assert_eq!(settings().account_url(), format!("https://api.twilio.com/2010-04-01/Accounts/{sid}"));
    }

    #[test]
    fn a_sid_has_its_prefix_and_32_hexadecimal_digits() {
        let sid = |prefix: &str| format!("{prefix}{}", "0aF".repeat(11).get(..32).unwrap());
        assert!(Sid::parse("AC", &sid("AC")).is_some());
        for bad in [
            sid("SK"),
            sid("AC") + "/../x",
            "your_twilio_account_sid".to_owned(),
            format!("AC{}", "g".repeat(32)),
        ] {
            assert!(Sid::parse("AC", &bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn s34_debug_prints_no_secret() {
        assert!(!format!("{:?}", settings()).contains("\"token\""));
    }
}
