//! What a call of `request/`, `resend/` or `account/phone/` asks for.

use super::Origin;
use crate::domain::quota::Endpoint;
use crate::domain::{Channel, Languages, Mode, PhoneNumber, Purpose, Secret, UserId};

/// A call for a code, parsed.
#[derive(Clone, Debug)]
pub struct CodeRequest {
    /// Production or testing.
    pub mode: Mode,
    /// What the code is for.
    pub purpose: Purpose,
    /// The endpoint whose quota it costs.
    pub endpoint: Endpoint,
    /// Whom the code goes to.
    pub phone: PhoneNumber,
    /// The user who has proven the number already, for `resend/`.
    pub proven: Option<UserId>,
    /// What the code is to come by, where the caller says so: another way than that of a code that lives.
    pub channel: Option<Channel>,
    /// The token of the caller's device, if one came along.
    pub device_token: Option<Secret>,
    /// The languages that the message may be in.
    pub languages: Languages,
    /// Where it came from.
    pub origin: Origin,
}
