//! Interface to an SMS provider.
//!
//! A flow first reserves a place at the sender (breaker closed, a free slot, its turn in the pace), so that it learns of a
//! refusal before it spends anything; it sends once the intent is durable.

use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::domain::message::{DeliveryReport, MessageState};
use crate::domain::{Code, Language, MessageId, PhoneNumber, Timestamp};
use template::Template;

mod admission;
mod breaker;
pub mod console;
mod countries;
pub mod http;
pub mod memory;
mod pace;
mod provider;
pub mod route;
pub mod segments;
mod shipped;
pub mod template;
pub mod texts;
pub mod twilio;

/// What is to be sent.
#[derive(Clone, Debug)]
pub struct TextMessage {
    /// Our own number for it: comes back with the status callback even where the provider's is not known.
    pub id: MessageId,
    /// Whom it goes to.
    pub to: PhoneNumber,
    /// The code that it carries.
    pub code: Code,
    /// The text around the code.
    pub text: Template,
    /// What the text is for.
    pub kind: TextKind,
    /// When the code expires: an SMS must never arrive dead.
    pub expires_at: Timestamp,
    /// How long sending it may take at most, where that is less than the sender's own deadline.
    pub patience: Option<Duration>,
}

/// What a text is for: providers that have their own wording choose it by this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextKind {
    /// A code to log in with, or to prove a number.
    Code,
    /// Tells a number that it will be replaced; its code takes that back.
    PhoneChange,
}

impl TextKind {
    /// The word that providers are given.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::PhoneChange => "phone_change",
        }
    }
}

/// The language of a text that does not say its own.
const LANGUAGE: &str = "en";

impl TextMessage {
    /// The tag of the language that it is written in.
    pub fn language(&self) -> &str {
        self.text.language().map_or(LANGUAGE, Language::as_str)
    }

    /// The minutes that its code lives at `now`, as the text says them.
    pub fn minutes(&self, now: Timestamp) -> u64 {
        template::minutes(now.until(self.expires_at))
    }

    /// What the phone shows if it is sent at `now`.
    pub fn body(&self, now: Timestamp) -> String {
        self.text.render(&self.code, self.minutes(now))
    }
}

/// The provider has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The provider's name for it; `None` where its answer could not be read.
    pub sid: Option<String>,
    /// How far it has come.
    pub state: MessageState,
    /// How many segments are paid for, where the provider said so.
    pub segments: Option<u32>,
}

/// What became of an attempt to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendOutcome {
    /// It is on its way.
    Accepted(Accepted),
    /// It may be on its way: a second one must not be bought.
    Unknown(Failure),
    /// It definitely was not sent.
    Refused(Failure),
}

impl SendOutcome {
    /// The word in metrics.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Accepted(_) => "accepted",
            Self::Unknown(_) => "unknown",
            Self::Refused(_) => "refused",
        }
    }

    /// How far the message has come by it.
    pub const fn state(&self) -> MessageState {
        match self {
            Self::Accepted(accepted) => accepted.state,
            Self::Unknown(_) => MessageState::Unknown,
            Self::Refused(_) => MessageState::Failed,
        }
    }
}

/// Why an SMS was not, or perhaps not, sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What the person who waits should hear.
    pub reason: FailureReason,
    /// The provider's error code, for rows and logs.
    pub code: Option<i64>,
    /// What happened, in words for the operator; never a secret, a code or an unmasked phone.
    pub detail: String,
    /// Whether no other sender should try: the person wants no messages, or there is no such person.
    pub is_final: bool,
}

impl Failure {
    /// The provider's own trouble, or ours with it.
    pub fn delivery(detail: impl Into<String>) -> Self {
        Self { reason: FailureReason::Delivery, code: None, detail: detail.into(), is_final: false }
    }

    /// The same, where no other sender should try.
    #[must_use]
    pub fn finally(self) -> Self {
        Self { is_final: true, ..self }
    }
}

/// What the person who waits should hear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FailureReason {
    /// The number cannot receive text messages: 400 `invalid_phone_number`.
    InvalidNumber,
    /// The account may not send to the number's country: 403 `country_not_allowed`.
    CountryNotAllowed,
    /// The recipient replied STOP to this sender (its number, where one is configured): text START to it.
    OptedOut {
        /// The sender's number.
        sender: Option<String>,
    },
    /// The provider refused this one message for another reason; it says nothing of messages to other numbers.
    Destination,
    /// The provider's own trouble, or ours with it, which others have too: try again later.
    Delivery,
}

/// Why no place can be reserved now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unavailable {
    /// The breaker is open: 500 `sms_delivery_failed`, to be tried again after so long.
    BreakerOpen(Duration),
    /// All slots are taken, or the pace would make it wait too long: 503 `overloaded`.
    Overloaded(Duration),
    /// None of the senders sends to this number in this way: 500 `sms_delivery_failed`.
    NoSender,
}

/// A place that was reserved; dropped unused, it is free again.
pub trait Slot: Send {
    /// Sends one message and waits for the outcome, within the sender's deadline.
    fn send(self: Box<Self>, message: TextMessage) -> BoxFuture<'static, SendOutcome>;
}

/// An SMS provider.
pub trait SmsSender: Send + Sync + 'static {
    /// Reserves a place for a message of `segments`.
    ///
    /// # Errors
    /// [`Unavailable`] at once; nothing waits.
    fn reserve(&self, segments: u32) -> Result<Box<dyn Slot>, Unavailable>;

    /// The longest that [`Slot::send`] can take: a challenge that is *sending* for longer has lost its flow.
    fn deadline(&self) -> Duration;

    /// Whether its provider is left alone after failures, until a message goes through.
    fn is_breaker_open(&self) -> bool {
        false
    }

    /// Has so many servers go at the sender's pace together, this one included.
    fn share(&self, _among: u32) {}

    /// Whether its provider must be asked what becomes of messages, since it cannot report it.
    fn is_asked(&self) -> bool {
        false
    }

    /// Asks its provider what became of the message that it calls `sid`; `None` where it does not say.
    fn ask<'a>(&'a self, _sid: &'a str) -> BoxFuture<'a, Option<DeliveryReport>> {
        Box::pin(std::future::ready(None))
    }

    /// Whether its provider wants to know which codes were used.
    fn wants_confirmation(&self) -> bool {
        false
    }

    /// Tells its provider that the code of the message that it calls `sid` was used; returns at once, and fails silently.
    fn confirm(&self, _sid: &str) {}
}
