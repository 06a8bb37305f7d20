//! The guide's endpoints, for production: request, verify, resend, status. Each reads its input, runs one flow, and
//! renders; the rules are the flows'.

use std::sync::Arc;

use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi, Tags};

use crate::api::flows::{origin, phone, rates};
use crate::auth::{Auth, Authenticated, CodeRequest, LoggedIn, Sent, VerifyRequest};
use crate::domain::quota::Endpoint;
use crate::domain::{Code, Mode, User};
use crate::http::bearer::BearerToken;
use crate::http::body::{Fields, JsonBody};
use crate::http::caller::Caller;
use crate::http::error::{ApiError, DocumentedErrors, ErrorCode, OperationError};
use crate::http::idempotency::IdempotencyKey;
use crate::http::rates::Limited;

const SENT: &str = "Verification code sent successfully";

/// How the operations are grouped in the description.
#[derive(Tags)]
pub(super) enum Group {
    /// Phone login with real SMS.
    Production,
    /// The same for development: codes are printed on the console. Exists only while `debug` is on.
    Testing,
    /// Tokens, sessions and devices.
    Sessions,
    /// Called by Twilio.
    Provider,
}

/// Whom a code is for.
#[derive(Object)]
#[oai(example)]
pub(super) struct CodeFor {
    /// International format: `+`, then 10 to 15 digits.
    #[oai(validator(pattern = r"^\+[1-9][0-9]{9,14}$"))]
    phone_number: String,
}

/// A phone number and the code that was sent to it.
#[derive(Object)]
#[oai(example)]
pub(super) struct CodeGiven {
    /// International format: `+`, then 10 to 15 digits.
    #[oai(validator(pattern = r"^\+[1-9][0-9]{9,14}$"))]
    phone_number: String,
    /// The digits of the code, in any script; white space does not count.
    otp: String,
}

// The guide's own examples, so that "Try it out" begins with a request that works.
impl Example for CodeFor {
    fn example() -> Self {
        Self { phone_number: "+1234567890".to_owned() }
    }
}

impl Example for CodeGiven {
    fn example() -> Self {
        Self { phone_number: "+1234567890".to_owned(), otp: "123456".to_owned() }
    }
}

/// A code is on its way.
#[derive(Object)]
pub(super) struct CodeSent {
    /// `Verification code sent successfully`
    message: String,
    /// Whether the number was never verified.
    is_new_user: bool,
    /// Seconds for which the code is good.
    expires_in: u64,
}

/// A code is on its way, again.
#[derive(Object)]
pub(super) struct CodeResent {
    /// `Verification code sent successfully`
    message: String,
    /// Seconds for which the code is good.
    expires_in: u64,
}

/// A user, just logged in.
#[derive(Object)]
pub(super) struct VerifiedUser {
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

/// A login.
#[derive(Object)]
pub(super) struct Login {
    /// The refresh token: gets the next pair.
    refresh: String,
    /// The access token: goes into `Authorization: Bearer`.
    access: String,
    /// Who logged in.
    user: VerifiedUser,
    /// Whether the number was never verified before; only where accounts are concealed before that.
    #[oai(skip_serializing_if_is_none)]
    is_new_user: Option<bool>,
    /// `Authentication successful`
    message: String,
}

/// A user, as `status/` shows it.
#[derive(Object)]
pub(super) struct StatusUser {
    /// Never reused; the `user_id` of the tokens.
    id: i64,
    /// Derived from the phone unless imported.
    username: String,
    /// International format.
    phone_number: String,
    /// The user's role.
    role: String,
}

/// Who the bearer is.
#[derive(Object)]
pub(super) struct Status {
    /// `true`: anything else is a 401.
    authenticated: bool,
    /// The bearer.
    user: StatusUser,
    /// Whether the number was proven by a code.
    phone_verified: bool,
    /// `false` for a deactivated user.
    account_active: bool,
}

macro_rules! documented_errors {
    ($(#[$doc:meta])* $name:ident: $($code:ident),+; $($is:ident),*) => {
        $(#[$doc])*
        pub(in crate::api) enum $name {}

        impl DocumentedErrors for $name {
            const CODES: &'static [ErrorCode] = &[$(ErrorCode::$code),+];
            $(const $is: bool = true;)*
        }
    };
}
pub(super) use documented_errors;

documented_errors!(
    /// What sending a code can fail with.
    Requesting: InvalidPhoneNumber, AccountDisabled, CountryNotAllowed, RateLimited, SmsDeliveryFailed, Overloaded,
        Unavailable;
        READS_BODY, LIMITED
);
documented_errors!(
    /// What giving a code can fail with.
    Verifying: InvalidPhoneNumber, InvalidOtp, AccountDisabled, UserNotFound, RateLimited, Overloaded, Unavailable;
        READS_BODY, LIMITED
);
documented_errors!(
    /// What sending another code can fail with.
    Resending: NotAuthenticated, TokenInvalid, TokenExpired, InvalidPhoneNumber, AccountDisabled,
        CountryNotAllowed, RateLimited, SmsDeliveryFailed, Overloaded, Unavailable; LIMITED
);
documented_errors!(
    /// What asking for the status can fail with.
    AskingStatus: NotAuthenticated, TokenInvalid, TokenExpired, Overloaded, Unavailable;
);

/// What the endpoints of both modes share.
#[derive(Clone)]
pub(super) struct Flow {
    pub(super) auth: Arc<Auth>,
}

/// The production mode.
pub struct OtpApi {
    flow: Flow,
}

impl OtpApi {
    /// Puts the endpoints before the flows.
    pub fn new(auth: Arc<Auth>) -> Self {
        Self { flow: Flow { auth } }
    }
}

#[OpenApi(prefix_path = "/api/mobile/auth")]
impl OtpApi {
    /// Send a code by SMS
    #[oai(
        path = "/production/request/",
        method = "post",
        tag = "Group::Production",
        operation_id = "requestCode"
    )]
    async fn request(
        &self,
        caller: Caller,
        body: JsonBody<CodeFor>,
    ) -> Result<Limited<CodeSent>, OperationError<Requesting>> {
        Ok(self.flow.request(Mode::Production, &caller, body.fields()).await?)
    }

    /// Give the code, get tokens
    ///
    /// With an `Idempotency-Key` header (16 to 128 characters) the call may be repeated for a minute where its answer
    /// was lost: the same session comes again. Without it a code is strictly single-use. `X-Device-Name` names the
    /// device in the list of sessions; without it `User-Agent` does.
    #[oai(
        path = "/production/verify/",
        method = "post",
        tag = "Group::Production",
        operation_id = "verifyCode"
    )]
    async fn verify(
        &self,
        caller: Caller,
        /// Any 16 to 128 visible characters, new for each code.
        #[oai(name = "Idempotency-Key")]
        idempotency_key: IdempotencyKey,
        body: JsonBody<CodeGiven>,
    ) -> Result<Limited<Login>, OperationError<Verifying>> {
        Ok(self.flow.verify(Mode::Production, &caller, idempotency_key, body.fields()).await?)
    }

    /// Send another code to the bearer's own number
    #[oai(
        path = "/production/resend/",
        method = "post",
        tag = "Group::Production",
        operation_id = "resendCode"
    )]
    async fn resend(
        &self,
        token: BearerToken,
        caller: Caller,
    ) -> Result<Limited<CodeResent>, OperationError<Resending>> {
        let bearer = self.flow.authenticate(&token).await?;
        let outcome = self.flow.auth.resend(&bearer, origin(&caller)).await;
        let rates = rates(&outcome.quotas);
        match outcome.result {
            Ok(Sent { expires_in, .. }) => {
                let resent = CodeResent { message: SENT.to_owned(), expires_in: expires_in.as_secs() };
                Ok(Limited::new(resent, rates))
            }
            Err(error) => Err(ApiError::from(error).with_rates(rates).into()),
        }
    }

    /// Who the bearer is
    #[oai(path = "/production/status/", method = "get", tag = "Group::Production", operation_id = "status")]
    async fn status(&self, token: BearerToken) -> Result<Json<Status>, OperationError<AskingStatus>> {
        let Authenticated { user, .. } = self.flow.authenticate(&token).await?;
        Ok(Json(Status {
            authenticated: true,
            user: StatusUser {
                id: user.id.0,
                username: user.username.clone(),
                phone_number: user.phone.as_str().to_owned(),
                role: user.role.clone(),
            },
            phone_verified: user.phone_verified,
            account_active: user.is_active,
        }))
    }
}

impl Flow {
    /// The bearer, perhaps deactivated.
    pub(super) async fn authenticate(&self, token: &BearerToken) -> Result<Authenticated, ApiError> {
        Ok(self.auth.authenticate(token.token()?.expose()).await?)
    }

    /// The bearer, who may use the account.
    pub(super) async fn authenticate_active(&self, token: &BearerToken) -> Result<Authenticated, ApiError> {
        let bearer = self.authenticate(token).await?;
        if bearer.user.is_active { Ok(bearer) } else { Err(ErrorCode::AccountDisabled.into()) }
    }

    pub(super) async fn request(
        &self,
        mode: Mode,
        caller: &Caller,
        body: Result<Fields, ApiError>,
    ) -> Result<Limited<CodeSent>, ApiError> {
        let phone = phone(body?.required_string("phone_number")?, self.auth.policy().min_digits)?;
        let request =
            CodeRequest { mode, endpoint: Endpoint::Request, phone, proven: None, origin: origin(caller) };
        let outcome = self.auth.request(request).await;
        let rates = rates(&outcome.quotas);
        match outcome.result {
            Ok(Sent { is_new_user, expires_in }) => {
                let sent =
                    CodeSent { message: SENT.to_owned(), is_new_user, expires_in: expires_in.as_secs() };
                Ok(Limited::new(sent, rates))
            }
            Err(error) => Err(ApiError::from(error).with_rates(rates)),
        }
    }

    pub(super) async fn verify(
        &self,
        mode: Mode,
        caller: &Caller,
        idempotency_key: IdempotencyKey,
        body: Result<Fields, ApiError>,
    ) -> Result<Limited<Login>, ApiError> {
        let body = body?;
        let policy = self.auth.policy();
        let given = body.required_string("phone_number")?;
        let otp = body.required_string("otp")?;
        let idempotency_key = idempotency_key.key()?;
        let request = VerifyRequest {
            mode,
            phone: phone(given, policy.min_digits)?,
            code: Code::typed(otp, policy.otp.length),
            idempotency_key,
            device: caller.device.clone().unwrap_or_default(),
            origin: origin(caller),
        };
        let outcome = self.auth.verify(request).await;
        let rates = rates(&outcome.quotas);
        match outcome.result {
            Ok(login) => Ok(Limited::new(render_login(login, policy.conceal_accounts), rates)),
            Err(error) => Err(ApiError::from(error).with_rates(rates)),
        }
    }
}

fn render_login(LoggedIn { tokens, user, is_new_user }: LoggedIn, concealed: bool) -> Login {
    let User { id, username, phone, role, phone_verified, .. } = user;
    let phone_number = phone.as_str().to_owned();
    Login {
        refresh: tokens.refresh,
        access: tokens.access,
        user: VerifiedUser { id: id.0, username, phone_number, role, phone_verified },
        is_new_user: concealed.then_some(is_new_user),
        message: "Authentication successful".to_owned(),
    }
}
