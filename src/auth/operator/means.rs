//! What the operator's acts need beside the store.

use std::sync::Arc;

use crate::auth::Outbox;
use crate::domain::keys::KeyRing;

/// What the operator's acts need beside the store.
#[derive(Clone)]
pub struct Means {
    /// Hash phones for the audit trail.
    pub keys: Arc<KeyRing>,
    /// Who is told of what.
    pub outbox: Outbox,
}
