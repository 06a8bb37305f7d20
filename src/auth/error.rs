//! Why a flow refused, in the terms of the flows; `api` gives each its status, code and sentence.

use std::time::Duration;

use crate::domain::DeliveryId;
use crate::sms::{FailureReason, Unavailable};
use crate::storage::{StoreError, StoreResult};
use crate::tokens::TokenError;

/// Why a flow refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// The provider says that the number can receive no SMS; its form was good.
    #[error("not a number that can receive a code")]
    InvalidPhone,
    /// The provider sends nothing to the number's country.
    #[error("no messages are sent to this country")]
    CountryNotAllowed,
    /// Wrong, expired, used, over-tried, superseded or never requested: the client does not learn which.
    #[error("invalid or expired code")]
    InvalidOtp,
    /// What was given can be no code: the answer is that to a wrong one, and it costs nothing.
    #[error("not a code")]
    NotACode,
    /// The number is the bearer's own already.
    #[error("the number is the bearer's own")]
    OwnNumber,
    /// The bearer's number is a test number: whoever knows its code could take the account along.
    #[error("the bearer's number is a test number")]
    TestAccount,
    /// The number is another account's; told only to who has proven it.
    #[error("the number is in use")]
    PhoneInUse,
    /// No change of number of this user waits.
    #[error("no change of number waits")]
    NoPhoneChange,
    /// Neither a user nor a live code.
    #[error("no user with this number")]
    UserNotFound,
    /// The user is deactivated.
    #[error("the account is disabled")]
    AccountDisabled,
    /// The token is garbled, of the wrong kind, signed by somebody else, or its session has ended.
    #[error("the token is not valid")]
    TokenInvalid,
    /// The token was good once.
    #[error("the token has expired")]
    TokenExpired,
    /// The token seems to have expired, but the wall clock has leaped and will be believed only after so long.
    #[error("the clock is in doubt for {0:?}")]
    ClockInDoubt(Duration),
    /// A refresh token was presented outside the rules; its session has ended.
    #[error("the refresh token was used before")]
    TokenReused,
    /// There is no such session of this user.
    #[error("no such session")]
    SessionNotFound,
    /// A quota is spent; waiting just that long is enough.
    #[error("rate limited for {0:?}")]
    RateLimited(Duration),
    /// A budget for text messages is spent; how long until there is a new one.
    #[error("the budget for text messages is spent for {0:?}")]
    SmsBudgetExhausted(Duration),
    /// The SMS was not, or perhaps not, sent.
    #[error("SMS delivery failed")]
    SmsDeliveryFailed {
        /// For one who replied STOP: the sender to text START to, if it has a number.
        opted_out: Option<Option<String>>,
        /// When to try again, where that is known.
        retry_after: Option<Duration>,
        /// What finds the state of the delivery, where the message may still arrive.
        delivery: Option<DeliveryId>,
    },
    /// Another way for the code was asked for, and none is on its way that it could be another way for.
    #[error("no first code lives")]
    NoFirstCode,
    /// No room at the sender or in the write queue.
    #[error("overloaded")]
    Overloaded(Duration),
    /// The database is not there.
    #[error("the database is not available")]
    Unavailable,
    /// A fault of ours; logged where it happened.
    #[error("internal error")]
    Internal,
}

impl AuthError {
    /// The message was not sent; or perhaps it was: then `delivery` finds what becomes of it.
    pub(super) const fn undelivered(retry_after: Option<Duration>, delivery: Option<DeliveryId>) -> Self {
        Self::SmsDeliveryFailed { opted_out: None, retry_after, delivery }
    }

    /// The same without what shows that the number has an account: only who got messages from us can reply STOP.
    pub(super) fn concealed(self) -> Self {
        match self {
            Self::SmsDeliveryFailed { retry_after, delivery, .. } => {
                Self::SmsDeliveryFailed { opted_out: None, retry_after, delivery }
            }
            other => other,
        }
    }
}

/// After what time a full write queue is worth another try.
const QUEUE_RETRY: Duration = Duration::from_secs(1);

impl From<StoreError> for AuthError {
    fn from(fault: StoreError) -> Self {
        match fault {
            StoreError::Overloaded => Self::Overloaded(QUEUE_RETRY),
            // What is in doubt is not told as done: an Idempotency-Key and the grace of refresh tokens forgive a repetition.
            StoreError::Unavailable | StoreError::InDoubt => Self::Unavailable,
            StoreError::Broken => Self::Internal,
        }
    }
}

impl From<TokenError> for AuthError {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Invalid => Self::TokenInvalid,
            TokenError::Expired => Self::TokenExpired,
        }
    }
}

impl From<Unavailable> for AuthError {
    fn from(unavailable: Unavailable) -> Self {
        match unavailable {
            Unavailable::BreakerOpen(wait) => Self::undelivered(Some(wait), None),
            Unavailable::Overloaded(wait) => Self::Overloaded(wait),
            Unavailable::NoSender => Self::CountryNotAllowed,
        }
    }
}

impl From<FailureReason> for AuthError {
    fn from(reason: FailureReason) -> Self {
        match reason {
            FailureReason::InvalidNumber => Self::InvalidPhone,
            FailureReason::CountryNotAllowed => Self::CountryNotAllowed,
            FailureReason::OptedOut { sender } => {
                Self::SmsDeliveryFailed { opted_out: Some(sender), retry_after: None, delivery: None }
            }
            FailureReason::Destination | FailureReason::Delivery => Self::undelivered(None, None),
        }
    }
}

/// What ends a write early: an error of the store, which rolls it back, or a refusal, which commits what was counted so far.
pub(super) enum FlowError {
    Store(StoreError),
    Refused(AuthError),
}

impl From<StoreError> for FlowError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<AuthError> for FlowError {
    fn from(error: AuthError) -> Self {
        Self::Refused(error)
    }
}

/// Turns a refusal into a value, so that its transaction commits.
///
/// # Errors
/// The error of the store, if that ended the write.
pub(super) fn commit_refusal<T>(result: Result<T, FlowError>) -> StoreResult<Result<T, AuthError>> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(FlowError::Refused(error)) => Ok(Err(error)),
        Err(FlowError::Store(error)) => Err(error),
    }
}
