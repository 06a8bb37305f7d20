//! Translates between HTTP and the flows of `auth`: errors, rate limit headers, the origin of a request.

use std::time::Duration;

use crate::auth::{AuthError, Origin, QuotaState};
use crate::domain::quota::Quota;
use crate::domain::{PhoneNumber, PhonePolicy};
use crate::http::caller::Caller;
use crate::http::error::{ApiError, ErrorCode};
use crate::http::rates::{Rate, RateHeaders};

/// How soon a client should try again after the database failed.
const DATABASE_RETRY: Duration = Duration::from_secs(2);

/// How soon a client should try again whose token seems to have expired while the clock is in doubt: most jumps of a clock
/// are corrected soon.
const CLOCK_RETRY: Duration = Duration::from_secs(10);

impl From<AuthError> for ApiError {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::InvalidPhone => Self::unreachable_number(),
            AuthError::CountryNotAllowed => ErrorCode::CountryNotAllowed.into(),
            AuthError::InvalidOtp => ErrorCode::InvalidOtp.into(),
            AuthError::NotACode => Self::not_a_code(),
            AuthError::OwnNumber => Self::bad_request("This is your phone number already."),
            AuthError::TestAccount => Self::bad_request("The number of a test account cannot be changed."),
            AuthError::PhoneInUse => ErrorCode::PhoneInUse.into(),
            AuthError::NoPhoneChange => Self::not_found("No change of number is waiting."),
            AuthError::UserNotFound => ErrorCode::UserNotFound.into(),
            AuthError::AccountDisabled => ErrorCode::AccountDisabled.into(),
            AuthError::TokenInvalid => ErrorCode::TokenInvalid.into(),
            AuthError::TokenExpired => ErrorCode::TokenExpired.into(),
            AuthError::TokenReused => ErrorCode::TokenReused.into(),
            AuthError::SessionNotFound => ErrorCode::NotFound.into(),
            AuthError::RateLimited(wait) => Self::rate_limited(wait),
            AuthError::SmsBudgetExhausted(wait) => Self::sms_budget_exhausted(wait),
            AuthError::SmsDeliveryFailed { opted_out, retry_after, delivery } => {
                Self::sms_delivery_failed(opted_out.map(opted_out_sentence), retry_after)
                    .with_delivery(delivery)
            }
            AuthError::NoFirstCode => Self::bad_request(
                "The field channel is for a second request, while a first code is still good: leave it out.",
            ),
            AuthError::Overloaded(wait) => Self::overloaded(wait),
            AuthError::Unavailable => Self::unavailable(DATABASE_RETRY),
            AuthError::ClockInDoubt(left) => Self::unavailable(left.clamp(DATABASE_RETRY, CLOCK_RETRY)),
            AuthError::Internal => ErrorCode::InternalError.into(),
        }
    }
}

/// Tells a person who replied STOP how to get codes again.
fn opted_out_sentence(sender: Option<String>) -> String {
    let sender = sender.unwrap_or_else(|| "the number that our messages come from".to_owned());
    format!("SMS delivery failed: this number has opted out. Text START to {sender}, then try again.")
}

/// The quotas of a flow as headers; the quota of a phone is shown only to a caller who has proven the number.
pub(super) fn rates(quotas: &[QuotaState]) -> RateHeaders {
    let rate = |state: &QuotaState| Rate {
        name: match state.quota {
            Quota::Ip(_) | Quota::IpShared => "otp-ip",
            Quota::User(_) | Quota::Failures(_) | Quota::Refunds(_) | Quota::PhoneChanges => "otp-user",
            Quota::Export => "export",
        },
        quota: state.limit.units,
        window: state.limit.window,
        remaining: state.remaining,
        reset: state.reset,
    };
    RateHeaders::new(quotas.iter().map(rate).collect())
}

/// Where a request came from, as the flows and the audit trail have it.
pub(super) fn origin(caller: &Caller) -> Origin {
    Origin { address: caller.address, request_id: caller.request_id.to_string() }
}

/// Reads the phone number of a body.
pub(super) fn phone(text: &str, phones: &PhonePolicy) -> Result<PhoneNumber, ApiError> {
    phones.read(text).map_err(|_| ErrorCode::InvalidPhoneNumber.into())
}
