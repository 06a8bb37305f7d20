//! What a reload of the configuration replaces, as a whole: a flow takes it once, and goes by that to its end.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Auth;
use crate::domain::Languages;
use crate::domain::keys::KeyRing;
use crate::domain::policy::Policy;
use crate::sms::template::Template;
use crate::sms::texts::{self, Texts};
use crate::tokens::{DeviceTokens, Tokens};

/// The part of the configuration that the flows go by.
pub struct Settings {
    /// Signs and reads tokens.
    pub tokens: Tokens,
    /// Signs and reads the tokens of devices.
    pub devices: DeviceTokens,
    /// Hash codes, and phones for the audit trail.
    pub keys: Arc<KeyRing>,
    /// What the messages say.
    pub texts: Texts,
    /// The numbers to obey.
    pub policy: Arc<Policy>,
}

impl Settings {
    /// The text with a code in the language that the caller wants, and what it costs in segments: every code has as many digits.
    pub(super) fn code_text(&self, wanted: &Languages) -> (Template, u32) {
        let text = self.texts.code(wanted);
        (text.clone(), text.segments(self.policy.otp.length, self.policy.otp.ttl))
    }

    /// The text that tells a number of a change that will replace it, and what it costs in segments. In English: a
    /// thief who asks for the change must not choose a language that its owner cannot read.
    pub(super) fn notice(&self) -> (Template, u32) {
        let text = texts::notice(self.policy.phone_change_delay);
        let segments = text.segments(self.policy.otp.length, self.policy.phone_change_delay);
        (text, segments)
    }
}

impl Auth {
    /// What the flows go by now.
    pub fn settings(&self) -> Arc<Settings> {
        self.settings.get()
    }

    /// The numbers that the flows obey now.
    pub fn policy(&self) -> Arc<Policy> {
        self.settings().policy.clone()
    }

    /// Replaces what the flows go by. Flows under way end by what they began with; what memory has refused is asked for anew,
    /// because a limit may have been raised.
    pub fn adopt(&self, settings: Settings) {
        self.settings.set(settings);
        self.adoptions.fetch_add(1, Ordering::Relaxed);
        self.require_names(self.parts.clock.read().retention);
    }

    /// Grows whenever something has changed by which memory has refused: what it holds from before is asked for anew.
    pub(super) fn doubts(&self) -> u64 {
        self.parts.store.foreign_writes() + self.adoptions.load(Ordering::Relaxed)
    }
}
