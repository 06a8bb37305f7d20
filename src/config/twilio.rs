//! `[twilio]`: credentials, sender and patience.

use super::fault::quoted;
use super::key::{Key, Kind, Section};
use super::reader::Reader;
use super::secrets::Purpose;
use super::value;
use crate::domain::{HttpUrl, Secret};
use crate::sms::twilio::{CALLBACK_PATH, Credentials, Medium, Sender, Sid, TwilioSettings};

static ENABLED: Key = Key::new(
    "twilio.enabled",
    Kind::Switch,
    "",
    "Whether Twilio is used; true where its credentials are there.",
)
.guide("TWILIO_ENABLED");
static ACCOUNT_SID: Key =
    Key::new("twilio.account_sid", Kind::Text("AC and 32 hexadecimal digits"), "", "The account.")
        .guide("TWILIO_ACCOUNT_SID");
static AUTH_TOKEN: Key = Key::new(
    "twilio.auth_token",
    Kind::Text("the Auth Token from Twilio's console"),
    "",
    "The primary Auth Token. Delivery reports are signed with it, even where an API key sends.",
)
.secret()
.guide("TWILIO_AUTH_TOKEN");
static SECONDARY: Key = Key::new(
    "twilio.auth_token_secondary",
    Kind::Text("the secondary Auth Token from Twilio's console"),
    "",
    "The other Auth Token while Twilio rotates them: delivery reports are good under either.",
)
.secret();
static FEEDBACK: Key = Key::new(
    "twilio.feedback",
    Kind::Switch,
    "false",
    "Whether Twilio is told which codes were used, so that it routes better; it must be enabled for the account.",
);
static API_KEY_SID: Key = Key::new(
    "twilio.api_key_sid",
    Kind::Text("SK and 32 hexadecimal digits"),
    "",
    "An API key to send with, in place of the Auth Token.",
);
static API_KEY_SECRET: Key = Key::new(
    "twilio.api_key_secret",
    Kind::Text("the secret of the API key"),
    "",
    "The secret of that API key.",
)
.secret();
static PHONE_NUMBER: Key = Key::new(
    "twilio.phone_number",
    Kind::Text("a number such as +15005550006, a short code, or a sender of at most 11 letters and digits"),
    "",
    "The number that messages come from; or messaging_service_sid.",
)
.guide("TWILIO_PHONE_NUMBER");
static SERVICE_SID: Key = Key::new(
    "twilio.messaging_service_sid",
    Kind::Text("MG and 32 hexadecimal digits"),
    "",
    "The messaging service that messages come from; or phone_number.",
);
static BASE_URL: Key = Key::new(
    "twilio.base_url",
    Kind::Text("an https:// URL; http:// only to this machine"),
    "https://api.twilio.com",
    "Where Twilio's API is. http only to this machine, for tests.",
);
static CONNECT_TIMEOUT: Key = Key::new(
    "twilio.connect_timeout",
    Kind::Duration { min: "10ms", max: "30s" },
    "3s",
    "How long connecting may take.",
);
static TIMEOUT: Key = Key::new(
    "twilio.timeout",
    Kind::Duration { min: "10ms", max: "60s" },
    "10s",
    "How long a whole call may take.",
);
static MAX_IN_FLIGHT: Key = Key::new(
    "twilio.max_in_flight",
    Kind::Number { min: 1, max: 1024 },
    "64",
    "Calls at once; more get 503.",
);
static PACE: Key = Key::new(
    "twilio.segments_per_second",
    Kind::Number { min: 0, max: 10_000 },
    "0",
    "Segments a second that are handed to Twilio; 0 leaves the pace, and the queue, to Twilio.",
);
static MAX_WAIT: Key = Key::new(
    "twilio.max_wait",
    Kind::Duration { min: "0s", max: "60s" },
    "5s",
    "The longest that a paced message waits for its turn; one that would wait longer gets 503.",
);
static BREAKER_FAILURES: Key = Key::new(
    "twilio.breaker_failures",
    Kind::Number { min: 1, max: 1000 },
    "5",
    "Time-outs and 5xx in a row after which Twilio is left alone; a fault of credentials or sender does so at once.",
);
static BREAKER_COOLDOWN: Key = Key::new(
    "twilio.breaker_cooldown",
    Kind::Duration { min: "10ms", max: "1h" },
    "30s",
    "For how long, before one call probes.",
);

pub(super) const SECTION: Section = Section {
    name: "twilio",
    doc: "Twilio, which sends the messages.",
    keys: &[
        &ENABLED,
        &ACCOUNT_SID,
        &AUTH_TOKEN,
        &SECONDARY,
        &API_KEY_SID,
        &API_KEY_SECRET,
        &PHONE_NUMBER,
        &SERVICE_SID,
        &BASE_URL,
        &CONNECT_TIMEOUT,
        &TIMEOUT,
        &MAX_IN_FLIGHT,
        &PACE,
        &MAX_WAIT,
        &BREAKER_FAILURES,
        &BREAKER_COOLDOWN,
        &FEEDBACK,
    ],
};

/// The keys as they are set, before they are held against each other.
struct Found {
    enabled: Option<bool>,
    account_sid: Option<Sid>,
    auth_token: Option<Secret>,
    api_key_sid: Option<Sid>,
    api_key_secret: Option<Secret>,
    phone_number: Option<String>,
    service_sid: Option<Sid>,
}

/// Reads the section. Only where a key, `wanted_by`, asks for Twilio must it be complete, and only then, and without faults,
/// is it given.
pub(super) fn read(
    reader: &mut Reader<'_>,
    wanted_by: Option<&'static Key>,
    public_url: Option<&HttpUrl>,
) -> Option<TwilioSettings> {
    let found = Found {
        enabled: reader.optional_switch(&ENABLED),
        account_sid: reader.one(&ACCOUNT_SID, |text| sid(text, "AC")),
        auth_token: reader.secret(&AUTH_TOKEN, Purpose::Credential),
        api_key_sid: reader.one(&API_KEY_SID, |text| sid(text, "SK")),
        api_key_secret: reader.secret(&API_KEY_SECRET, Purpose::Credential),
        phone_number: reader.one(&PHONE_NUMBER, sender),
        service_sid: reader.one(&SERVICE_SID, |text| sid(text, "MG")),
    };
    let auth_token_secondary = reader.secret(&SECONDARY, Purpose::Credential);
    let feedback = reader.switch(&FEEDBACK);
    let base_url = reader.one(&BASE_URL, base_url);
    let connect_timeout = reader.duration(&CONNECT_TIMEOUT);
    let timeout = reader.duration(&TIMEOUT);
    if connect_timeout > timeout && !reader.is_faulty(&CONNECT_TIMEOUT) && !reader.is_faulty(&TIMEOUT) {
        reader.fault(
            &CONNECT_TIMEOUT,
            "connecting may take longer than the whole call",
            "make twilio.connect_timeout at most twilio.timeout",
        );
    }
    let (max_in_flight, segments_per_second) = (reader.number(&MAX_IN_FLIGHT), reader.number(&PACE));
    let max_wait = reader.duration(&MAX_WAIT);
    let (breaker_failures, breaker_cooldown) =
        (reader.number(&BREAKER_FAILURES), reader.duration(&BREAKER_COOLDOWN));
    if !is_there(reader, &found, wanted_by?) {
        return None;
    }
    let (account_sid, credentials) = credentials(reader, &found);
    let sender = whom_from(reader, &found);
    // Without the Auth Token a callback could not be believed.
    let public_url = public_url.filter(|_| found.auth_token.is_some());
    Some(TwilioSettings {
        account_sid: account_sid?,
        credentials: credentials?,
        auth_token: found.auth_token,
        auth_token_secondary,
        name: "twilio".to_owned(),
        medium: Medium::Sms,
        feedback,
        sender: sender?,
        base_url: base_url?,
        connect_timeout,
        timeout,
        max_in_flight,
        segments_per_second,
        max_wait,
        breaker_failures,
        breaker_cooldown,
        status_callback: public_url.map(|url| format!("{}{CALLBACK_PATH}", url.as_str())),
    })
}

/// Whether anybody set Twilio up at all.
fn is_there(reader: &mut Reader<'_>, found: &Found, wanted_by: &Key) -> bool {
    const HELP: &str = "set TWILIO_ACCOUNT_SID, TWILIO_AUTH_TOKEN and TWILIO_PHONE_NUMBER (or an API key, or a messaging \
                        service), or debug = true on a machine for development";
    if found.enabled == Some(false) {
        reader.fault(&ENABLED, "Twilio is turned off, and there is no other SMS provider", HELP);
        return false;
    }
    let set = [&ACCOUNT_SID, &AUTH_TOKEN, &API_KEY_SID, &API_KEY_SECRET, &PHONE_NUMBER, &SERVICE_SID]
        .into_iter()
        .any(|key| is_there_or_told(reader, key));
    if !set {
        let problem = if found.enabled == Some(true) {
            "Twilio is turned on without credentials"
        } else {
            "there is no SMS provider: Twilio has no credentials"
        };
        let key = if found.enabled == Some(true) { &ENABLED } else { wanted_by };
        reader.fault(key, problem, HELP);
    }
    set
}

/// Account and credentials, where they are complete.
fn credentials(reader: &mut Reader<'_>, found: &Found) -> (Option<Sid>, Option<Credentials>) {
    const PAIR: &str = "set twilio.api_key_sid and twilio.api_key_secret, or neither";
    require(reader, &ACCOUNT_SID, found.account_sid.is_some());
    let credentials = match (&found.api_key_sid, &found.api_key_secret) {
        (Some(sid), Some(secret)) => Some(Credentials::ApiKey { sid: sid.clone(), secret: secret.clone() }),
        (None, Some(_)) if !is_there_or_told(reader, &API_KEY_SID) => {
            reader.fault(&API_KEY_SID, "the API key has a secret and no SID", PAIR);
            None
        }
        (Some(_), None) if !is_there_or_told(reader, &API_KEY_SECRET) => {
            reader.fault(&API_KEY_SECRET, "the API key has a SID and no secret", PAIR);
            None
        }
        (None, None) => {
            require(reader, &AUTH_TOKEN, found.auth_token.is_some());
            found.auth_token.clone().map(Credentials::AuthToken)
        }
        _ => None,
    };
    (found.account_sid.clone(), credentials)
}

/// Exactly one sender.
fn whom_from(reader: &mut Reader<'_>, found: &Found) -> Option<Sender> {
    match (&found.phone_number, &found.service_sid) {
        (Some(number), None) => Some(Sender::From(number.clone())),
        (None, Some(sid)) => Some(Sender::MessagingService(sid.clone())),
        (Some(_), Some(_)) => {
            reader.fault(
                &SERVICE_SID,
                "twilio.phone_number is set too, and a message has one sender",
                "remove one of the two",
            );
            None
        }
        (None, None) => {
            if !reader.is_faulty(&SERVICE_SID) {
                require(reader, &PHONE_NUMBER, false);
            }
            None
        }
    }
}

/// Whether a key is set, or would be but for a fault that was noted.
fn is_there_or_told(reader: &Reader<'_>, key: &Key) -> bool {
    reader.origin(key).is_some() || reader.is_faulty(key)
}

/// Notes that a key is missing, unless it is there and wrong, which was noted before.
fn require(reader: &mut Reader<'_>, key: &Key, there: bool) {
    if !there && !reader.is_faulty(key) {
        let help = format!("set {} to {}", key.how_to_set(), key.kind.right());
        reader.fault(key, "it is not set, and Twilio needs it", help);
    }
}

/// A SID; a wrong one is not shown, since a secret may stand in its place.
fn sid(text: &str, prefix: &str) -> Result<Sid, String> {
    Sid::parse(prefix, text).ok_or_else(|| {
        let length = text.chars().count();
        let begins = if text.starts_with(prefix) { "begin" } else { "do not begin" };
        format!("{length} characters (not shown) that {begins} with {prefix} are no such SID")
    })
}

pub(super) fn sender(text: &str) -> Result<String, String> {
    let digits = |text: &str, range: std::ops::RangeInclusive<usize>| {
        range.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
    };
    let number = text.strip_prefix('+').is_some_and(|rest| digits(rest, 7..=15) && !rest.starts_with('0'));
    let short_code = digits(text, 3..=8);
    let name = (1..=11).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b' ')
        && text.bytes().any(|b| b.is_ascii_alphabetic());
    if number || short_code || name {
        Ok(text.to_owned())
    } else {
        Err(format!("{} is no sender", quoted(text)))
    }
}

/// The credentials go there: only encrypted, or not over a network at all.
fn base_url(text: &str) -> Result<HttpUrl, String> {
    let url = value::http_url(text)?;
    if url.is_https() || url.is_loopback() {
        Ok(url)
    } else {
        Err(format!("{} would send the credentials in the clear", quoted(text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sids_have_a_prefix_and_32_hexadecimal_digits() {
        assert!(sid(&format!("AC{}", "0aF".repeat(11).get(..32).unwrap()), "AC").is_ok());
        for bad in ["AC123", &"a".repeat(34), &format!("AC{}", "g".repeat(32))] {
            let told = sid(bad, "AC").unwrap_err();
            assert!(!told.contains(bad), "{told}");
        }
    }

    #[test]
    fn senders() {
        for good in ["+15005550006", "12345", "FreshK"] {
            assert!(sender(good).is_ok(), "{good}");
        }
        for bad in ["15005550006", "+0123456789", "much too long a name", "Frèsh", "+1 500 555"] {
            assert!(sender(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn s22_https_only_except_on_this_machine() {
        for good in [
            "https://api.twilio.com/",
            "https://api.dublin.ie1.twilio.com",
            "http://127.0.0.1:4010",
            "http://localhost:4010/mock",
            "http://[::1]:4010",
        ] {
            assert!(base_url(good).is_ok(), "{good}");
        }
        for bad in [
            "http://api.twilio.com",
            "http://10.0.0.1",
            "http://127.0.0.1.example",
            "http://[::2]:80",
            "",
            "/",
            "api.twilio.com",
            "ftp://api.twilio.com",
            "https://",
            "https://a@b",
            "https://a?b",
            "https://a#b",
        ] {
            assert!(base_url(bad).is_err(), "{bad:?}");
        }
    }
}
