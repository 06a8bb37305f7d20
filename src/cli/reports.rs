//! Which callbacks are believed: Twilio's by its signature over the configured public address, those of each http sender by its
//! secret.

use std::sync::Arc;

use crate::api::callback::Callback;
use crate::api::webhook::{BadSignature, CallbackReader};
use crate::clock::Clock;
use crate::config::Config;
use crate::config::senders::SenderKind;
use crate::config::sms::Provider;
use crate::domain::message::DeliveryReport;
use crate::domain::webhook::Signed;
use crate::sms::http::HttpSenderSettings;
use crate::sms::http::report;
use crate::sms::twilio::{TwilioSettings, callback};

/// The name under which all of Twilio's senders report.
const TWILIO: &str = "twilio";

type Read = Result<Option<DeliveryReport>, BadSignature>;

/// Reads the callbacks of the configured senders; one without a good signature, or of no sender, is not believed.
pub(super) fn reader(config: &Config, clock: Arc<dyn Clock>) -> CallbackReader {
    let senders = match &config.sms.provider {
        Provider::Console => Vec::new(),
        Provider::Senders(senders) => senders.clone(),
    };
    let twilio = config.sms.twilio().cloned();
    let public = config.server.public_url.as_ref().map(|url| url.as_str().to_owned());
    Arc::new(move |sender: &str, came: &Callback| {
        if sender == TWILIO {
            let (Some(public), Some(twilio)) = (&public, &twilio) else { return Err(BadSignature) };
            return by_twilio(public, twilio, came);
        }
        let http = senders.iter().find_map(|configured| match &configured.kind {
            SenderKind::Http(settings) if configured.name == sender => Some(settings),
            _ => None,
        });
        by_program(http.ok_or(BadSignature)?, came, &*clock)
    })
}

/// Without the Auth Token none is believed.
fn by_twilio(public: &str, twilio: &TwilioSettings, came: &Callback) -> Read {
    let url = format!("{public}{}", came.path_and_query);
    let callback = callback::Callback {
        url: &url,
        signature: header(came, "x-twilio-signature"),
        content_type: header(came, "content-type"),
        body: &came.body,
    };
    let tokens = twilio.auth_token.iter().chain(&twilio.auth_token_secondary);
    if callback.is_signed(tokens) { Ok(callback.report()) } else { Err(BadSignature) }
}

fn by_program(settings: &HttpSenderSettings, came: &Callback, clock: &dyn Clock) -> Read {
    let signed = Signed {
        id: header(came, "webhook-id"),
        timestamp: header(came, "webhook-timestamp"),
        signature: header(came, "webhook-signature"),
        body: &came.body,
    };
    // The program goes by the wall clock.
    if settings.secret.has_signed(signed, clock.wall()) {
        Ok(report::read(&settings.name, &came.body))
    } else {
        Err(BadSignature)
    }
}

fn header<'c>(came: &'c Callback, name: &str) -> &'c str {
    came.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}
