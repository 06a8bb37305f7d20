//! The rules of phone login, pure: no I/O, no clock, no generator, no framework, no configuration.
//!
//! Everything here takes the instant and the chance that it needs as arguments, so that each rule can be
//! tested by itself.

pub mod address;
pub mod algorithm;
pub mod attempts;
pub mod attributes;
pub mod audit;
pub mod challenge;
pub mod clock;
pub mod code;
pub mod country;
pub mod device;
pub mod digits;
pub mod event;
pub mod exchange;
pub mod help;
pub mod http_url;
pub mod ids;
pub mod keys;
pub mod message;
pub mod mode;
pub mod node;
pub mod phone;
pub mod phone_change;
pub mod phone_policy;
pub mod plan;
pub mod policy;
pub mod purpose;
pub mod quota;
pub mod secret;
pub mod session;
pub mod settled;
pub mod test_number;
pub mod time;
pub mod token_name;
pub mod user;
pub mod weak_code;
pub mod webhook;

pub use address::ClientAddress;
pub use algorithm::Algorithm;
pub use attempts::Attempts;
pub use attributes::Attributes;
pub use challenge::{Challenge, ChallengeState, NewChallenge};
pub use code::{Binding, Code, CodeHash};
pub use country::{Country, UnknownCountry};
pub use device::Device;
pub use event::{Event, EventId, EventKind};
pub use exchange::Exchange;
pub use help::Help;
pub use http_url::HttpUrl;
pub use ids::{ChallengeId, DeviceId, EventNumber, MessageId, RunId, SessionId, SpendId, UserId};
pub use mode::Mode;
pub use phone::PhoneNumber;
pub use phone_change::PhoneChange;
pub use phone_policy::PhonePolicy;
pub use purpose::Purpose;
pub use secret::Secret;
pub use session::Session;
pub use test_number::{NewTestNumber, TestNumber};
pub use time::Timestamp;
pub use token_name::NameClaim;
pub use user::{Registration, User};
pub use weak_code::WeakCode;
pub use webhook::Webhook;
