//! `[sms]`: who sends the codes, and in what words.

use std::time::Duration;

use super::key::{Key, Kind, Section};
use super::reader::Reader;
use super::senders::{self, ConfiguredSender, ORDER, SenderKind};
use super::spending;
use super::test_numbers::{self, Digits};
use super::{texts, twilio};
use crate::domain::budget::BudgetPolicy;
use crate::domain::guard::{GuardMode, GuardPolicy};
use crate::domain::{Channel, HttpUrl, NewTestNumber};
use crate::sms::texts::Texts;
use crate::sms::twilio::TwilioSettings;

/// `[sms]`, and `[twilio]` where it is the provider.
#[derive(Clone, Debug)]
pub struct Sms {
    /// Who sends.
    pub provider: Provider,
    /// What the messages say.
    pub texts: Texts,
    /// How many are bought at most.
    pub budgets: BudgetPolicy,
    /// Who buys none.
    pub guard: GuardPolicy,
    /// Whether the provider reports what became of a message: it must know where to, and be believed.
    pub reports_deliveries: bool,
    /// `[[sms.test_numbers]]`
    pub test_numbers: Vec<NewTestNumber>,
}

impl Sms {
    /// How many messages are bought at most, and for whom none. What the console prints is not bought.
    pub fn spending(&self) -> (BudgetPolicy, GuardPolicy) {
        match self.provider {
            Provider::Console => {
                (BudgetPolicy::default(), GuardPolicy { mode: GuardMode::Off, ..self.guard.clone() })
            }
            Provider::Senders(_) => (self.budgets.clone(), self.guard.clone()),
        }
    }
}

/// Who sends text messages.
#[derive(Clone, Debug)]
pub enum Provider {
    /// Nobody: codes are printed. Only in debug.
    Console,
    /// These, in order; never empty.
    Senders(Vec<ConfiguredSender>),
}

impl Sms {
    /// Twilio's settings, of the first sender that is of Twilio.
    pub fn twilio(&self) -> Option<&TwilioSettings> {
        let Provider::Senders(senders) = &self.provider else { return None };
        senders.iter().find_map(|sender| match &sender.kind {
            SenderKind::Twilio(settings) => Some(&**settings),
            SenderKind::Http(_) | SenderKind::Console => None,
        })
    }
}

pub(super) static PROVIDER: Key = Key::new(
    "sms.provider",
    Kind::Choice(&["twilio", "console"]),
    "twilio",
    "Who sends: twilio, which stands for all of sms.senders, or console, which prints the code and is refused outside debug.",
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
        &ORDER,
        &texts::BRAND,
        &texts::TEMPLATE,
        &texts::TEMPLATES,
        &texts::WEBOTP_DOMAIN,
        &texts::ANDROID_HASH,
        &spending::PER_HOUR,
        &spending::PER_DAY,
        &spending::MONEY_PER_DAY,
        &spending::VOICE_PER_DAY,
        &spending::PRICE,
        &spending::GUARD,
        &spending::GUARD_ALLOW,
        &TEST_NUMBERS,
    ],
};

/// Both sections; `digits` of a code and of a phone, and `public_url`, are what other sections say. Where Twilio is wanted
/// and faulty, which is noted, the provider is the console.
pub(super) fn read(
    reader: &mut Reader<'_>,
    digits: Digits<'_>,
    public_url: Option<&HttpUrl>,
    ttl: Duration,
) -> Sms {
    let provider = reader.choice(&PROVIDER);
    if provider == "console" && !reader.debug {
        reader.fault(
            &PROVIDER,
            "the console prints codes instead of sending them, and is for debug alone",
            "remove it and give the Twilio credentials, or set debug = true on a machine for development",
        );
    }
    let wanted = provider == "twilio";
    let found = senders::find(reader);
    let wanted_by = (wanted && found.want_twilio()).then_some(&PROVIDER);
    let twilio = twilio::read(reader, wanted_by, public_url);
    let senders = found.in_order(reader, twilio.as_ref(), (ttl, public_url.is_some()));
    let texts = texts::read(reader);
    let calls = senders.iter().any(|sender| sender.kind.channel() == Channel::Voice);
    let (budgets, guard) = spending::read(reader, calls);
    let test_numbers = test_numbers::read(reader, &TEST_NUMBERS, digits);
    let reports = |sender: &ConfiguredSender| match &sender.kind {
        SenderKind::Twilio(twilio) => twilio.status_callback.is_some(),
        SenderKind::Http(_) => public_url.is_some(),
        SenderKind::Console => true,
    };
    let (reports_deliveries, provider) = if wanted && !senders.is_empty() {
        (senders.iter().all(reports), Provider::Senders(senders))
    } else {
        (!wanted || public_url.is_some(), Provider::Console)
    };
    Sms { provider, texts, budgets, guard, reports_deliveries, test_numbers }
}
