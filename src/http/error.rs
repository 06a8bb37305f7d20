//! Every failure that a client can see, in one table.
//!
//! A failure crosses this file once: a handler returns it, the edge renders it. It never holds a cause; who knows the
//! cause logs it.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use poem::http::StatusCode;

use crate::domain::DeliveryId;
use crate::domain::time::humanize_wait;
use crate::http::rates::RateHeaders;

mod document;
mod render;
mod schemas;

pub use document::{DocumentedErrors, OperationError};
pub(crate) use render::Form;

/// The media type of a plain failure.
const JSON: &str = "application/json; charset=utf-8";
/// The media type of RFC 9457.
const PROBLEM: &str = "application/problem+json";

/// Which failure it is; a client branches on the word, metrics count by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ErrorCode {
    /// The phone number has not the form that the contract asks for, or no text message can reach it.
    InvalidPhoneNumber,
    /// Wrong, expired, used, over-tried or superseded: the client is not told which.
    InvalidOtp,
    /// Something else is wrong with the body or a parameter.
    BadRequest,
    /// No token came with the request.
    NotAuthenticated,
    /// The token is not good.
    TokenInvalid,
    /// The token was good.
    TokenExpired,
    /// The refresh token was presented outside the rules, and its session has ended.
    TokenReused,
    /// The user is deactivated.
    AccountDisabled,
    /// No text messages are sent to the number's country.
    CountryNotAllowed,
    /// The callback is not signed by the provider.
    BadSignature,
    /// The request is for a host that is not ours.
    HostNotAllowed,
    /// The number has neither a user nor a live code.
    UserNotFound,
    /// The number is another account's.
    PhoneInUse,
    /// There is nothing at this path.
    NotFound,
    /// The path is known, the method is not.
    MethodNotAllowed,
    /// The body is larger than `server.body_limit`.
    PayloadTooLarge,
    /// The body is not of the type that the endpoint reads.
    UnsupportedMediaType,
    /// A limit is spent.
    RateLimited,
    /// The text message was not, or perhaps not, sent.
    SmsDeliveryFailed,
    /// A budget for text messages is spent.
    SmsBudgetExhausted,
    /// A fault of ours.
    InternalError,
    /// Too much is going on at once.
    Overloaded,
    /// The database is not available.
    Unavailable,
}

/// What the contract says of one failure.
#[derive(Clone, Copy, Debug)]
struct Row {
    status: StatusCode,
    word: &'static str,
    sentence: &'static str,
    retryable: bool,
}

impl ErrorCode {
    /// Every failure, for what is counted and for the description of the API.
    pub const ALL: [Self; 23] = [
        Self::InvalidPhoneNumber,
        Self::InvalidOtp,
        Self::BadRequest,
        Self::NotAuthenticated,
        Self::TokenInvalid,
        Self::TokenExpired,
        Self::TokenReused,
        Self::AccountDisabled,
        Self::CountryNotAllowed,
        Self::BadSignature,
        Self::HostNotAllowed,
        Self::UserNotFound,
        Self::PhoneInUse,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::PayloadTooLarge,
        Self::UnsupportedMediaType,
        Self::RateLimited,
        Self::SmsDeliveryFailed,
        Self::SmsBudgetExhausted,
        Self::InternalError,
        Self::Overloaded,
        Self::Unavailable,
    ];

    /// The table (CONTRACT.md, Errors).
    #[expect(clippy::too_many_lines, reason = "a table has a row for each code")]
    const fn row(self) -> Row {
        let (status, word, sentence, retryable) = match self {
            Self::InvalidPhoneNumber => (
                StatusCode::BAD_REQUEST,
                "invalid_phone_number",
                "Invalid phone number format. Please use international format (+1234567890)",
                false,
            ),
            Self::InvalidOtp => (StatusCode::BAD_REQUEST, "invalid_otp", "Invalid or expired OTP", false),
            Self::BadRequest => {
                (StatusCode::BAD_REQUEST, "bad_request", "The request cannot be understood.", false)
            }
            Self::NotAuthenticated => (
                StatusCode::UNAUTHORIZED,
                "not_authenticated",
                "Authentication credentials were not provided.",
                false,
            ),
            Self::TokenInvalid => {
                (StatusCode::UNAUTHORIZED, "token_invalid", "The token is not valid.", false)
            }
            Self::TokenExpired => {
                (StatusCode::UNAUTHORIZED, "token_expired", "The token has expired.", false)
            }
            Self::TokenReused => (
                StatusCode::UNAUTHORIZED,
                "token_reused",
                "This token was used before; the session has ended for safety. Please log in again.",
                false,
            ),
            Self::AccountDisabled => {
                (StatusCode::FORBIDDEN, "account_disabled", "This account is disabled.", false)
            }
            Self::CountryNotAllowed => (
                StatusCode::FORBIDDEN,
                "country_not_allowed",
                "No text messages are sent to this country. Please use a number of another country.",
                false,
            ),
            Self::BadSignature => {
                (StatusCode::FORBIDDEN, "bad_signature", "The signature is not valid.", false)
            }
            Self::HostNotAllowed => {
                (StatusCode::BAD_REQUEST, "host_not_allowed", "This host is not served here.", false)
            }
            Self::UserNotFound => {
                (StatusCode::NOT_FOUND, "user_not_found", "No user found with this phone number", false)
            }
            Self::PhoneInUse => {
                (StatusCode::CONFLICT, "phone_in_use", "This number belongs to another account.", false)
            }
            Self::NotFound => {
                (StatusCode::NOT_FOUND, "not_found", "There is nothing at this address.", false)
            }
            Self::MethodNotAllowed => (
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "This method is not allowed here.",
                false,
            ),
            Self::PayloadTooLarge => {
                (StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", "The body is too large.", false)
            }
            Self::UnsupportedMediaType => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                "The body is not of a type that is read here.",
                false,
            ),
            Self::RateLimited => (
                StatusCode::TOO_MANY_REQUESTS,
                "rate_limited",
                "Too many requests. Please try again later.",
                true,
            ),
            Self::SmsDeliveryFailed => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "sms_delivery_failed",
                "SMS delivery failed. Please try again later.",
                true,
            ),
            Self::SmsBudgetExhausted => (
                StatusCode::SERVICE_UNAVAILABLE,
                "sms_budget_exhausted",
                "No more text messages can be sent at the moment. Please try again later.",
                true,
            ),
            Self::InternalError => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal_error",
                "Something went wrong on our side. Please try again later.",
                true,
            ),
            Self::Overloaded => (
                StatusCode::SERVICE_UNAVAILABLE,
                "overloaded",
                "The service is busy. Please try again shortly.",
                true,
            ),
            Self::Unavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                "The service is not available at the moment. Please try again shortly.",
                true,
            ),
        };
        Row { status, word, sentence, retryable }
    }

    /// The HTTP status.
    pub const fn status(self) -> StatusCode {
        self.row().status
    }

    /// The stable word, `rate_limited`; also the label in metrics and logs.
    pub const fn as_str(self) -> &'static str {
        self.row().word
    }

    /// Whether the same request may succeed later, unchanged.
    pub const fn retryable(self) -> bool {
        self.row().retryable
    }
}

/// One failure on its way to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    code: ErrorCode,
    sentence: Cow<'static, str>,
    retry_after: Option<Duration>,
    allow: Option<Cow<'static, str>>,
    rates: RateHeaders,
    delivery: Option<DeliveryId>,
    /// Whether it is the input's form that was refused.
    is_input: bool,
}

impl ApiError {
    /// The failure as the table has it.
    pub const fn new(code: ErrorCode) -> Self {
        Self {
            code,
            sentence: Cow::Borrowed(code.row().sentence),
            retry_after: None,
            allow: None,
            rates: RateHeaders::NONE,
            delivery: None,
            is_input: matches!(
                code,
                ErrorCode::InvalidPhoneNumber
                    | ErrorCode::BadRequest
                    | ErrorCode::PayloadTooLarge
                    | ErrorCode::UnsupportedMediaType
            ),
        }
    }

    /// 400: the number has the right form, and no text message can reach it.
    pub fn unreachable_number() -> Self {
        let sentence = "This number cannot receive text messages. Please use a mobile number that can.";
        Self {
            sentence: Cow::Borrowed(sentence),
            is_input: false,
            ..Self::new(ErrorCode::InvalidPhoneNumber)
        }
    }

    /// 400: told as a wrong code, though it has not the form of one.
    pub fn not_a_code() -> Self {
        Self { is_input: true, ..Self::new(ErrorCode::InvalidOtp) }
    }

    /// 400: what is wrong, in plain words.
    pub fn bad_request(sentence: impl Into<Cow<'static, str>>) -> Self {
        Self { sentence: sentence.into(), ..Self::new(ErrorCode::BadRequest) }
    }

    /// 404: what is not there, in plain words.
    pub fn not_found(sentence: &'static str) -> Self {
        Self { sentence: Cow::Borrowed(sentence), ..Self::new(ErrorCode::NotFound) }
    }

    /// 405: `allow` is the list for the header of that name.
    pub fn method_not_allowed(allow: impl Into<Cow<'static, str>>) -> Self {
        Self { allow: Some(allow.into()), ..Self::new(ErrorCode::MethodNotAllowed) }
    }

    /// 415: `expected` is the type that is read here.
    pub fn unsupported_media_type(expected: &str) -> Self {
        let sentence = format!("The body must be sent as {expected}.");
        Self { sentence: sentence.into(), ..Self::new(ErrorCode::UnsupportedMediaType) }
    }

    /// 429: waiting for `wait` is enough.
    pub fn rate_limited(wait: Duration) -> Self {
        let sentence = format!("Too many requests. Please try again in {}.", humanize_wait(wait));
        Self { sentence: sentence.into(), ..Self::new(ErrorCode::RateLimited) }.retry_after(wait)
    }

    /// 500: the person is told `sentence` where there is something better to say than to try again.
    pub fn sms_delivery_failed(sentence: Option<String>, retry_after: Option<Duration>) -> Self {
        let error = Self { retry_after, ..Self::new(ErrorCode::SmsDeliveryFailed) };
        match sentence {
            Some(sentence) => Self { sentence: sentence.into(), ..error },
            None => error,
        }
    }

    /// 503: no more text messages are bought until `retry_after` is over.
    pub const fn sms_budget_exhausted(retry_after: Duration) -> Self {
        Self::new(ErrorCode::SmsBudgetExhausted).retry_after(retry_after)
    }

    /// 503: too much is going on at once.
    pub const fn overloaded(retry_after: Duration) -> Self {
        Self::new(ErrorCode::Overloaded).retry_after(retry_after)
    }

    /// 503: the database is not available.
    pub const fn unavailable(retry_after: Duration) -> Self {
        Self::new(ErrorCode::Unavailable).retry_after(retry_after)
    }

    /// The same, with how the caller's limits stand.
    #[must_use]
    pub fn with_rates(mut self, rates: RateHeaders) -> Self {
        self.rates = rates;
        self
    }

    /// The same, with what finds the state of the delivery of a code that may still arrive.
    #[must_use]
    pub fn with_delivery(mut self, delivery: Option<DeliveryId>) -> Self {
        self.delivery = delivery;
        self
    }

    /// Which failure it is.
    pub const fn code(&self) -> ErrorCode {
        self.code
    }

    /// Whether the form of the input was refused, and nothing else was looked at.
    pub const fn is_input(&self) -> bool {
        self.is_input
    }

    const fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }
}

impl From<ErrorCode> for ApiError {
    fn from(code: ErrorCode) -> Self {
        Self::new(code)
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code.as_str())
    }
}

impl std::error::Error for ApiError {}

#[cfg(test)]
mod tests;
