//! What the operator configures, checked before anything is sent.

use std::net::IpAddr;
use std::time::Duration;

use ureq::http::Uri;

use crate::domain::Secret;

/// `[twilio]`. `Debug` prints no secret.
#[derive(Clone, Debug)]
pub struct TwilioSettings {
    /// The account: `AC` and 32 hexadecimal digits.
    pub account_sid: String,
    /// What requests are authenticated with.
    pub credentials: Credentials,
    /// The primary Auth Token, which signs status callbacks whatever the credentials are; needed for
    /// `status_callback` only.
    pub auth_token: Option<Secret>,
    /// Who the messages come from.
    pub sender: Sender,
    /// Where Twilio is: HTTPS, or plain HTTP on this machine; without a path, or with one that is put in front.
    pub base_url: String,
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
        /// `SK` and 32 hexadecimal digits.
        sid: String,
        /// Shown once by Twilio, when the key is made.
        secret: Secret,
    },
}

/// Who the messages come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sender {
    /// A number, short code or name.
    From(String),
    /// A messaging service, which picks one: `MG` and 32 hexadecimal digits.
    MessagingService(String),
}

/// What is wrong with the settings, and how to mend it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TwilioSetupError {
    /// `account_sid` has not the form of one.
    #[error(
        "twilio.account_sid must be AC and 32 hexadecimal digits: copy it from the first page of Twilio's console"
    )]
    AccountSid,
    /// `api_key_sid` has not the form of one.
    #[error(
        "twilio.api_key_sid must be SK and 32 hexadecimal digits: copy it from Twilio's console, API keys"
    )]
    ApiKeySid,
    /// `messaging_service_sid` has not the form of one.
    #[error(
        "twilio.messaging_service_sid must be MG and 32 hexadecimal digits: copy it from Twilio's console, \
         Messaging Services"
    )]
    MessagingServiceSid,
    /// `phone_number` is empty.
    #[error(
        "twilio.phone_number is empty: write the number that messages come from, for example +15005550006"
    )]
    EmptyFrom,
    /// `base_url` is no URL of a server.
    #[error("twilio.base_url must be a URL such as https://api.twilio.com, without user, query or fragment")]
    BaseUrl,
    /// `base_url` would send credentials and codes in the open.
    #[error("twilio.base_url must begin with https:// (plain http:// is for this machine only)")]
    PlainHttp,
    /// Callbacks are wanted and could not be verified.
    #[error(
        "status callbacks are signed with the Auth Token: set twilio.auth_token, even where an API key sends"
    )]
    NoAuthToken,
    /// The callback's URL is not absolute.
    #[error(
        "the URL for status callbacks must be absolute: set server.public_url to https:// and the public name"
    )]
    StatusCallback,
}

/// Where Twilio is.
pub(super) struct Endpoint {
    base: String,
    /// Whether anything but HTTPS is refused.
    pub(super) https: bool,
}

impl Endpoint {
    /// The URL that messages are posted to.
    pub(super) fn messages_url(&self, settings: &TwilioSettings) -> String {
        format!("{}/2010-04-01/Accounts/{}/Messages.json", self.base, settings.account_sid)
    }

    fn parse(base_url: &str) -> Result<Self, TwilioSetupError> {
        let base = base_url.trim_end_matches('/');
        let uri: Uri = base.parse().map_err(|_| TwilioSetupError::BaseUrl)?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(TwilioSetupError::BaseUrl);
        };
        let plain_address = !authority.as_str().contains('@') && !base.contains(['?', '#']);
        match scheme {
            _ if !plain_address => Err(TwilioSetupError::BaseUrl),
            "https" => Ok(Self { base: base.to_owned(), https: true }),
            "http" if is_loopback(authority.host()) => Ok(Self { base: base.to_owned(), https: false }),
            "http" => Err(TwilioSetupError::PlainHttp),
            _ => Err(TwilioSetupError::BaseUrl),
        }
    }
}

impl TwilioSettings {
    /// Checks what the form alone can tell.
    pub(super) fn check(&self) -> Result<Endpoint, TwilioSetupError> {
        if !is_sid("AC", &self.account_sid) {
            return Err(TwilioSetupError::AccountSid);
        }
        match &self.credentials {
            Credentials::ApiKey { sid, .. } if !is_sid("SK", sid) => return Err(TwilioSetupError::ApiKeySid),
            Credentials::ApiKey { .. } | Credentials::AuthToken(_) => {}
        }
        match &self.sender {
            Sender::From(number) if number.is_empty() => return Err(TwilioSetupError::EmptyFrom),
            Sender::MessagingService(sid) if !is_sid("MG", sid) => {
                return Err(TwilioSetupError::MessagingServiceSid);
            }
            Sender::From(_) | Sender::MessagingService(_) => {}
        }
        if let Some(url) = &self.status_callback {
            if self.auth_token.is_none() {
                return Err(TwilioSetupError::NoAuthToken);
            }
            if !url.starts_with("https://") && !url.starts_with("http://") {
                return Err(TwilioSetupError::StatusCallback);
            }
        }
        Endpoint::parse(&self.base_url)
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

/// Whether `text` is a SID with this prefix.
pub(super) fn is_sid(prefix: &str, text: &str) -> bool {
    text.strip_prefix(prefix)
        .is_some_and(|hex| hex.len() == 32 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> TwilioSettings {
        TwilioSettings {
            account_sid: format!("AC{}", "a".repeat(32)),
            credentials: Credentials::AuthToken(Secret::new("token")),
            auth_token: Some(Secret::new("token")),
            sender: Sender::From("+15005550006".to_owned()),
            base_url: "https://api.twilio.com".to_owned(),
            connect_timeout: Duration::from_secs(3),
            timeout: Duration::from_secs(10),
            max_in_flight: 64,
            segments_per_second: 0,
            max_wait: Duration::from_secs(5),
            breaker_failures: 5,
            breaker_cooldown: Duration::from_secs(30),
            status_callback: Some("https://freshk.example/api/mobile/auth/sms/twilio/status/".to_owned()),
        }
    }

    fn fault(change: impl FnOnce(&mut TwilioSettings)) -> Option<TwilioSetupError> {
        let mut settings = settings();
        change(&mut settings);
        settings.check().err()
    }

    #[test]
    fn good_settings_pass_and_name_the_url() {
        let settings = settings();
        let url = settings.check().unwrap_or_else(|fault| panic!("{fault}")).messages_url(&settings);
        let sid = &settings.account_sid;
        assert_eq!(url, format!("https://api.twilio.com/2010-04-01/Accounts/{sid}/Messages.json"));
    }

    #[test]
    fn s22_https_only_except_on_this_machine() {
        let fault = |url: &str| fault(|settings| url.clone_into(&mut settings.base_url));
        for good in [
            "https://api.twilio.com/",
            "https://api.dublin.ie1.twilio.com",
            "http://127.0.0.1:4010",
            "http://localhost:4010/mock",
            "http://[::1]:4010",
        ] {
            assert_eq!(fault(good), None, "{good}");
        }
        for plain in
            ["http://api.twilio.com", "http://10.0.0.1", "http://127.0.0.1.example", "http://[::2]:80"]
        {
            assert_eq!(fault(plain), Some(TwilioSetupError::PlainHttp), "{plain}");
        }
        for bad in [
            "",
            "/",
            "api.twilio.com",
            "ftp://api.twilio.com",
            "https://",
            "https://a@b",
            "https://a?b",
            "https://a#b",
        ] {
            assert_eq!(fault(bad), Some(TwilioSetupError::BaseUrl), "{bad:?}");
        }
    }

    #[test]
    fn faults_are_named() {
        let sid = |prefix: &str| format!("{prefix}{}", "0".repeat(32));
        let api_key = |sid: String| Credentials::ApiKey { sid, secret: Secret::new("secret") };
        assert_eq!(
            fault(|s| s.account_sid = "your_twilio_account_sid".into()),
            Some(TwilioSetupError::AccountSid)
        );
        assert_eq!(fault(|s| s.account_sid.push_str("/../x")), Some(TwilioSetupError::AccountSid));
        assert_eq!(fault(|s| s.credentials = api_key(sid("SK"))), None);
        assert_eq!(fault(|s| s.credentials = api_key(sid("AC"))), Some(TwilioSetupError::ApiKeySid));
        assert_eq!(fault(|s| s.sender = Sender::MessagingService(sid("MG"))), None);
        assert_eq!(
            fault(|s| s.sender = Sender::MessagingService("MG1".into())),
            Some(TwilioSetupError::MessagingServiceSid)
        );
        assert_eq!(fault(|s| s.sender = Sender::From(String::new())), Some(TwilioSetupError::EmptyFrom));
        assert_eq!(fault(|s| s.auth_token = None), Some(TwilioSetupError::NoAuthToken));
        assert_eq!(
            fault(|s| s.status_callback = Some("/status/".into())),
            Some(TwilioSetupError::StatusCallback)
        );
        assert_eq!(
            fault(|s| {
                s.auth_token = None;
                s.status_callback = None;
            }),
            None
        );
    }

    #[test]
    fn s34_debug_prints_no_secret() {
        assert!(!format!("{:?}", settings()).contains("\"token\""));
    }
}
