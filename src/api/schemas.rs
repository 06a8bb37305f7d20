//! The bodies of requests and answers, each with an example, named for what they are to a client: the names become those of
//! types in generated clients.

use poem_openapi::Object;
use poem_openapi::types::Example;
use serde::Serialize;

use crate::api::date_time::DateTime;
use crate::domain::{Session, SessionId, Timestamp, User};

// The guide's own numbers, so that "Try it out" begins with a request that works.
const PHONE: &str = "+1234567890";
const ACCESS: &str = "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.eyJ0b2tlbl90eXBlIjoiYWNjZXNzIn0.c2lnbmF0dXJl";
const REFRESH: &str = "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.eyJ0b2tlbl90eXBlIjoicmVmcmVzaCJ9.c2lnbmF0dXJl";
const SENT: &str = "Verification code sent successfully";
const VERIFIED: &str = "Authentication successful";

/// Whom a code is for.
#[derive(Object)]
#[oai(example)]
pub(super) struct OtpRequest {
    /// International format: `+`, then 10 to 15 digits.
    #[oai(validator(pattern = r"^\+[1-9][0-9]{9,14}$"))]
    phone_number: String,
    /// Another way for a new code, while a first one is still good: `whatsapp` or `voice`, where the server has such a sender.
    #[oai(skip_serializing_if_is_none)]
    channel: Option<String>,
}

impl Example for OtpRequest {
    fn example() -> Self {
        Self { phone_number: PHONE.to_owned(), channel: None }
    }
}

/// A phone number and the code that was sent to it.
#[derive(Object)]
#[oai(example)]
pub(super) struct OtpVerifyRequest {
    /// International format: `+`, then 10 to 15 digits.
    #[oai(validator(pattern = r"^\+[1-9][0-9]{9,14}$"))]
    phone_number: String,
    /// The digits of the code, in any script; white space does not count.
    otp: String,
}

impl Example for OtpVerifyRequest {
    fn example() -> Self {
        Self { phone_number: PHONE.to_owned(), otp: "123456".to_owned() }
    }
}

/// A code is on its way.
#[derive(Object, Serialize)]
#[oai(example)]
pub(super) struct OtpSentResponse {
    /// `Verification code sent successfully`
    message: String,
    /// Whether the number was never verified.
    is_new_user: bool,
    /// Seconds for which the code is good.
    expires_in: u64,
}

impl OtpSentResponse {
    pub(super) fn new(is_new_user: bool, expires_in: u64) -> Self {
        Self { message: SENT.to_owned(), is_new_user, expires_in }
    }
}

impl Example for OtpSentResponse {
    fn example() -> Self {
        Self::new(true, 600)
    }
}

/// Another code is on its way.
#[derive(Object, Serialize)]
#[oai(example)]
pub(super) struct OtpResentResponse {
    /// `Verification code sent successfully`
    message: String,
    /// Seconds for which the code is good.
    expires_in: u64,
}

impl OtpResentResponse {
    pub(super) fn new(expires_in: u64) -> Self {
        Self { message: SENT.to_owned(), expires_in }
    }
}

impl Example for OtpResentResponse {
    fn example() -> Self {
        Self::new(600)
    }
}

/// A user, just logged in.
#[derive(Object, Serialize)]
#[oai(example)]
pub(super) struct LoginUser {
    /// Never reused; the `user_id` of the tokens.
    id: i64,
    /// Derived from the phone unless imported.
    username: String,
    /// International format.
    phone_number: String,
    /// The user's role.
    role: String,
    /// Whether the number was proven by a code.
    phone_verified: bool,
}

impl From<User> for LoginUser {
    fn from(user: User) -> Self {
        Self {
            id: user.id.0,
            phone_number: user.phone_text().to_owned(),
            username: user.username,
            role: user.role,
            phone_verified: user.phone_verified,
        }
    }
}

impl Example for LoginUser {
    fn example() -> Self {
        Self {
            id: 1_000_000_001,
            username: "user_1234567890".to_owned(),
            phone_number: PHONE.to_owned(),
            role: "retailer".to_owned(),
            phone_verified: true,
        }
    }
}

/// A login.
#[derive(Object, Serialize)]
#[oai(example)]
pub(super) struct LoginResponse {
    /// The refresh token: gets the next pair.
    pub(super) refresh: String,
    /// The access token: goes into `Authorization: Bearer`.
    pub(super) access: String,
    /// Who logged in.
    pub(super) user: LoginUser,
    /// Whether the number was never verified before; only where accounts are concealed before that, or where the number's account of before
    /// lay dormant and a new one begins.
    #[oai(skip_serializing_if_is_none)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) is_new_user: Option<bool>,
    /// Whether the account was to be deleted until this login; only where it was.
    #[oai(skip_serializing_if_is_none)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) restored: Option<bool>,
    /// `Authentication successful`
    message: String,
}

impl LoginResponse {
    pub(super) fn new(tokens: TokenPair, user: LoginUser) -> Self {
        let TokenPair { access, refresh } = tokens;
        Self { refresh, access, user, is_new_user: None, restored: None, message: VERIFIED.to_owned() }
    }
}

impl Example for LoginResponse {
    fn example() -> Self {
        Self::new(TokenPair::example(), LoginUser::example())
    }
}

/// A user, as `status/` shows it.
#[derive(Object, Serialize)]
#[oai(example)]
pub(super) struct AccountUser {
    /// Never reused; the `user_id` of the tokens.
    id: i64,
    /// Derived from the phone unless imported.
    username: String,
    /// International format; null where the number went to somebody else while the account lay dormant.
    phone_number: Option<String>,
    /// The user's role.
    role: String,
}

impl From<&User> for AccountUser {
    fn from(user: &User) -> Self {
        Self {
            id: user.id.0,
            username: user.username.clone(),
            phone_number: user.phone.as_ref().map(|phone| phone.as_str().to_owned()),
            role: user.role.clone(),
        }
    }
}

impl Example for AccountUser {
    fn example() -> Self {
        let LoginUser { id, username, phone_number, role, .. } = LoginUser::example();
        Self { id, username, phone_number: Some(phone_number), role }
    }
}

/// Who the bearer is.
#[derive(Object, Serialize)]
#[oai(example)]
pub(super) struct StatusResponse {
    /// `true`: anything else is a 401.
    authenticated: bool,
    /// The bearer.
    user: AccountUser,
    /// Whether the number was proven by a code.
    phone_verified: bool,
    /// `false` for a deactivated user.
    account_active: bool,
}

impl From<&User> for StatusResponse {
    fn from(user: &User) -> Self {
        let (phone_verified, account_active) = (user.phone_verified, user.is_active);
        Self { authenticated: true, user: user.into(), phone_verified, account_active }
    }
}

impl Example for StatusResponse {
    fn example() -> Self {
        Self { authenticated: true, user: AccountUser::example(), phone_verified: true, account_active: true }
    }
}

/// The refresh token that gets the next pair.
#[derive(Object)]
#[oai(example)]
pub(super) struct RefreshRequest {
    /// The `refresh` that `verify/` or the last refresh gave.
    refresh: String,
}

impl Example for RefreshRequest {
    fn example() -> Self {
        Self { refresh: REFRESH.to_owned() }
    }
}

/// The refresh token of the session to end.
#[derive(Object)]
#[oai(example)]
pub(super) struct LogoutRequest {
    /// The `refresh` that `verify/` or the last refresh gave.
    refresh: String,
}

impl Example for LogoutRequest {
    fn example() -> Self {
        Self { refresh: REFRESH.to_owned() }
    }
}

/// The next pair.
#[derive(Object, Serialize)]
#[oai(example)]
pub(super) struct TokenPair {
    /// The access token: goes into `Authorization: Bearer`.
    pub(super) access: String,
    /// The refresh token: store it before using either.
    pub(super) refresh: String,
}

impl Example for TokenPair {
    fn example() -> Self {
        Self { access: ACCESS.to_owned(), refresh: REFRESH.to_owned() }
    }
}

/// The token to look at.
#[derive(Object)]
#[oai(example)]
pub(super) struct TokenVerifyRequest {
    /// An access or a refresh token.
    token: String,
}

impl Example for TokenVerifyRequest {
    fn example() -> Self {
        Self { token: ACCESS.to_owned() }
    }
}

/// The token is good.
#[derive(Object, Serialize)]
#[oai(example)]
pub(super) struct TokenVerifyResponse {}

impl Example for TokenVerifyResponse {
    fn example() -> Self {
        Self {}
    }
}

/// What was done.
#[derive(Object, Serialize)]
#[oai(example)]
pub(super) struct MessageResponse {
    /// A sentence for a person.
    message: String,
}

impl From<&str> for MessageResponse {
    fn from(message: &str) -> Self {
        Self { message: message.to_owned() }
    }
}

impl Example for MessageResponse {
    fn example() -> Self {
        "Logged out".into()
    }
}

/// One device that is logged in.
#[derive(Object, Serialize)]
#[oai(example)]
pub(super) struct DeviceSession {
    /// Names the session in `DELETE`.
    id: String,
    /// What the client called itself.
    device: String,
    /// The address of the login or of the last refresh.
    ip: String,
    /// When the login was.
    created_at: DateTime,
    /// When a token of it was last seen, to the minute.
    last_used_at: DateTime,
    /// When it ends unless it is refreshed.
    expires_at: DateTime,
    /// Whether it is the bearer's own.
    current: bool,
    /// The device that it belongs to, by the `jti` of its `X-Device-Token`; null where that has ended or was never given.
    device_id: Option<String>,
}

impl DeviceSession {
    /// As the bearer of the session `own` sees it.
    pub(super) fn new(session: Session, own: Option<&SessionId>) -> Self {
        Self {
            current: own == Some(&session.id),
            id: session.id.to_string(),
            device: session.device,
            ip: session.ip,
            created_at: session.created_at.into(),
            last_used_at: session.last_used_at.into(),
            expires_at: session.refresh_expires_at.into(),
            device_id: session.device_id.map(|id| id.as_str().to_owned()),
        }
    }
}

impl Example for DeviceSession {
    fn example() -> Self {
        let at = |seconds: i64| DateTime::from(Timestamp::from_millis(seconds * 1000));
        Self {
            id: "0123456789abcdef0123456789abcdef".to_owned(),
            device: "Asha's Pixel 9".to_owned(),
            ip: "203.0.113.7".to_owned(),
            created_at: at(1_767_225_600),
            last_used_at: at(1_767_229_200),
            expires_at: at(1_769_817_600),
            current: true,
            device_id: Some("fedcba9876543210fedcba9876543210".to_owned()),
        }
    }
}

/// The bearer's sessions, the newest first.
#[derive(Object, Serialize)]
#[oai(example)]
pub(super) struct SessionListResponse {
    /// Those that are live.
    pub(super) sessions: Vec<DeviceSession>,
}

impl Example for SessionListResponse {
    fn example() -> Self {
        Self { sessions: vec![DeviceSession::example()] }
    }
}
