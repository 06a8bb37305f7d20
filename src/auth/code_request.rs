//! What a call of `request/` or `resend/` asks for.

use super::Origin;
use crate::domain::quota::Endpoint;
use crate::domain::{Mode, PhoneNumber, UserId};

/// A call of `request/` or `resend/`, parsed.
#[derive(Clone, Debug)]
pub struct CodeRequest {
    /// Production or testing.
    pub mode: Mode,
    /// The endpoint whose quota it costs.
    pub endpoint: Endpoint,
    /// Whom the code goes to.
    pub phone: PhoneNumber,
    /// The user who has proven the number already, for `resend/`.
    pub proven: Option<UserId>,
    /// Where it came from.
    pub origin: Origin,
}
