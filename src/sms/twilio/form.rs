//! What is posted to Twilio: a message, or a call.

use serde_json::json;

use super::client;
use super::settings::{Medium, Sender, TwilioSettings};
use super::spoken;
use crate::domain::Timestamp;
use crate::sms::TextMessage;

/// Twilio's bounds of `ValidityPeriod`, in seconds.
const LONGEST_VALIDITY: u64 = 36_000;

/// How long a phone rings before nobody is there, in seconds: a voice mail mostly answers later.
const RING: &str = "25";

/// The longest that a call may last, in seconds: a few times what reading a code twice takes.
const LONGEST_CALL: &str = "90";

/// The request's form at `now`; `None` if the code would arrive dead.
///
/// What is not in it: `SmartEncoded`, since the text is measured as it stands; `ContentRetention` and `AddressRetention`,
/// which Twilio grants to some accounts only and refuses to all others; `RiskCheck`, whose default is what we want.
pub(super) fn write(settings: &TwilioSettings, message: &TextMessage, now: Timestamp) -> Option<String> {
    let left = now.until(message.expires_at);
    let validity = left.as_secs().min(LONGEST_VALIDITY);
    if validity == 0 {
        return None;
    }
    let mut pairs = match &settings.medium {
        Medium::Sms => {
            let to = message.to.as_str().to_owned();
            vec![("To", to), sender(&settings.sender, ""), ("Body", message.body(now))]
        }
        Medium::WhatsApp { content } => vec![
            ("To", format!("{WHATSAPP}{}", message.to.as_str())),
            sender(&settings.sender, WHATSAPP),
            ("ContentSid", content.to_string()),
            ("ContentVariables", json!({ "1": message.code.digits() }).to_string()),
        ],
        Medium::Voice => vec![
            ("To", message.to.as_str().to_owned()),
            sender(&settings.sender, ""),
            ("Twiml", spoken::twiml(message.code.digits(), message.language())),
            ("Timeout", RING.to_owned()),
            ("TimeLimit", LONGEST_CALL.to_owned()),
        ],
    };
    if settings.medium != Medium::Voice {
        pairs.push(("ValidityPeriod", validity.to_string()));
        let feedback = settings.feedback && settings.medium == Medium::Sms;
        pairs.extend(feedback.then(|| ("ProvideFeedback", "true".to_owned())));
    }
    pairs.extend(callback(settings, message).map(|url| ("StatusCallback", url)));
    let pairs: Vec<_> = pairs.iter().map(|(name, value)| (*name, value.as_str())).collect();
    Some(client::form(&pairs))
}

/// What stands before numbers that are `WhatsApp`'s.
const WHATSAPP: &str = "whatsapp:";

fn sender(sender: &Sender, prefix: &str) -> (&'static str, String) {
    match sender {
        Sender::From(number) => ("From", format!("{prefix}{number}")),
        Sender::MessagingService(sid) => ("MessagingServiceSid", sid.to_string()),
    }
}

/// Our own number for the message goes along: the callback finds it even where the answer, and with it Twilio's SID,
/// was lost.
fn callback(settings: &TwilioSettings, message: &TextMessage) -> Option<String> {
    let url = settings.status_callback.as_deref()?;
    let joint = if url.contains('?') { '&' } else { '?' };
    Some(format!("{url}{joint}message={}", message.id))
}
