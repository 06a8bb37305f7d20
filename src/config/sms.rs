//! `[sms]`: who sends the codes, and in what words.

use super::key::{Key, Kind, Section};
use super::reader::Reader;
use super::test_numbers::{self, Digits};
use super::{texts, twilio};
use crate::domain::{HttpUrl, NewTestNumber};
use crate::sms::texts::Texts;
use crate::sms::twilio::TwilioSettings;

/// `[sms]`, and `[twilio]` where it is the provider.
#[derive(Clone, Debug)]
pub struct Sms {
    /// Who sends.
    pub provider: Provider,
    /// What the messages say.
    pub texts: Texts,
    /// Whether the provider reports what became of a message: it must know where to, and be believed.
    pub reports_deliveries: bool,
    /// `[[sms.test_numbers]]`
    pub test_numbers: Vec<NewTestNumber>,
}

/// Who sends text messages.
#[derive(Clone, Debug)]
pub enum Provider {
    /// Nobody: codes are printed. Only in debug.
    Console,
    /// Twilio.
    Twilio(Box<TwilioSettings>),
}

pub(super) static PROVIDER: Key = Key::new(
    "sms.provider",
    Kind::Choice(&["twilio", "console"]),
    "twilio",
    "Who sends: twilio, or console, which prints the code and is refused outside debug.",
)
.in_debug("console");
static TEST_NUMBERS: Key = Key::new(
    "sms.test_numbers",
    Kind::TestNumbers,
    "",
    "Up to ten numbers for app-store review and CI, each a [[sms.test_numbers]] with phone, code (drawn at \
     random: one that somebody would try first is refused) and until (its last day): its code is always that one, no SMS is sent, and the phone's quota is not touched. A number that has a user \
     already needs existing_user = true besides.",
)
.secret();

pub(super) const SECTION: Section = Section {
    name: "sms",
    doc: "Text messages.",
    keys: &[
        &PROVIDER,
        &texts::BRAND,
        &texts::TEMPLATE,
        &texts::TEMPLATES,
        &texts::WEBOTP_DOMAIN,
        &texts::ANDROID_HASH,
        &TEST_NUMBERS,
    ],
};

/// Both sections; `digits` of a code and of a phone, and `public_url`, are what other sections say. Where Twilio is wanted
/// and faulty, which is noted, the provider is the console.
pub(super) fn read(reader: &mut Reader<'_>, digits: Digits<'_>, public_url: Option<&HttpUrl>) -> Sms {
    let provider = reader.choice(&PROVIDER);
    if provider == "console" && !reader.debug {
        reader.fault(
            &PROVIDER,
            "the console prints codes instead of sending them, and is for debug alone",
            "remove it and give the Twilio credentials, or set debug = true on a machine for development",
        );
    }
    let wanted = provider == "twilio";
    let twilio = twilio::read(reader, wanted.then_some(&PROVIDER), public_url);
    let texts = texts::read(reader);
    let test_numbers = test_numbers::read(reader, &TEST_NUMBERS, digits);
    let (reports_deliveries, provider) = match twilio {
        Some(twilio) if wanted => (twilio.status_callback.is_some(), Provider::Twilio(Box::new(twilio))),
        _ => (!wanted || public_url.is_some(), Provider::Console),
    };
    Sms { provider, texts, reports_deliveries, test_numbers }
}
