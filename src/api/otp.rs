//! The guide's endpoints, for production: request, verify, resend, status. Each reads its input, calls one flow of `auth`,
//! which has the rules, and renders the result.

#![expect(clippy::too_many_arguments, reason = "poem-openapi reads each header into a parameter")]

use std::sync::Arc;

use poem_openapi::param::Path;
use poem_openapi::{OpenApi, Tags};

use crate::api::delivery_schemas::DeliveryResponse;
use crate::api::flows::{origin, phone, rates};
use crate::api::schemas::{
    LoginResponse, OtpRequest, OtpResentResponse, OtpSentResponse, OtpVerifyRequest, StatusResponse,
    TokenPair,
};
use crate::auth::{Auth, Authenticated, CodeRequest, LoggedIn, Sent, VerifyRequest};
use crate::domain::quota::Endpoint;
use crate::domain::{Channel, Code, DeliveryId, Mode, Purpose};
use crate::http::bearer::BearerToken;
use crate::http::body::{Fields, JsonBody};
use crate::http::caller::{Caller, Recipient};
use crate::http::delivery_id::WithDeliveryId;
use crate::http::device::DeviceName;
use crate::http::device_token::{DeviceToken, WithDeviceToken};
use crate::http::error::{ApiError, DocumentedErrors, ErrorCode, OperationError};
use crate::http::idempotency::IdempotencyKey;
use crate::http::json::JsonAnswer;
use crate::http::rates::Limited;

/// How the operations are grouped in the description.
#[derive(Tags)]
pub(super) enum Group {
    /// Phone login with real SMS.
    Production,
    /// The same for development: codes are printed on the console. Exists only while `debug` is on.
    Testing,
    /// Tokens, sessions and devices.
    Sessions,
    /// The bearer's own account.
    Account,
    /// Called by the provider of SMS.
    Provider,
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
        SmsBudgetExhausted, Unavailable;
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
        CountryNotAllowed, RateLimited, SmsDeliveryFailed, Overloaded, SmsBudgetExhausted, Unavailable; LIMITED
);
documented_errors!(
    /// What asking for the status can fail with.
    AskingStatus: NotAuthenticated, TokenInvalid, TokenExpired, Overloaded, Unavailable;
);
documented_errors!(
    /// What asking for the state of a delivery can fail with.
    AskingDelivery: NotFound, Overloaded, Unavailable;
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
    /// Endpoints over `auth`.
    pub fn new(auth: Arc<Auth>) -> Self {
        Self { flow: Flow { auth } }
    }
}

#[OpenApi(prefix_path = "/api/mobile/auth")]
impl OtpApi {
    /// Send a code by SMS
    ///
    /// The code is good for `expires_in` seconds, also where the answer is lost or is `sms_delivery_failed`: the message may
    /// still arrive. Two calls at once for one number send one message. It is in the language that `Accept-Language` wants most, of those that
    /// the server has.
    #[oai(
        path = "/production/request/",
        method = "post",
        tag = "Group::Production",
        operation_id = "requestCode"
    )]
    async fn request(
        &self,
        recipient: Recipient,
        /// The token that this device was given at its last login. With it the call is judged by limits of its own, which nobody
        /// who only knows the number can use up; one that is not good is ignored.
        #[oai(name = "X-Device-Token")]
        device_token: DeviceToken,
        body: JsonBody<OtpRequest>,
    ) -> Result<WithDeliveryId<Limited<OtpSentResponse>>, OperationError<Requesting>> {
        Ok(self.flow.request(Mode::Production, recipient, device_token, body.fields()).await?)
    }

    /// Give the code, get tokens
    ///
    /// With an `Idempotency-Key` header the call may be repeated for a minute where its answer was lost: the same session
    /// comes again. Without it a code is strictly single-use.
    ///
    /// The answer's header `X-Device-Token` is for this device to keep and to send along with `request/`, `verify/` and
    /// `resend/`: whoever has it asks and guesses by limits of its own.
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
        /// Names the device in the list of sessions; without it `User-Agent` does. UTF-8, or percent-encoded UTF-8.
        #[oai(name = "X-Device-Name")]
        device: DeviceName,
        /// The token that this device was given at its last login. With it the call is judged by limits of its own, which nobody
        /// who only knows the number can use up; one that is not good is ignored.
        #[oai(name = "X-Device-Token")]
        device_token: DeviceToken,
        body: JsonBody<OtpVerifyRequest>,
    ) -> Result<WithDeviceToken<Limited<LoginResponse>>, OperationError<Verifying>> {
        let body = body.fields();
        let call = VerifyCall { caller: &caller, idempotency_key, device, device_token, body };
        Ok(self.flow.verify(Mode::Production, call).await?)
    }

    /// Send another code to the bearer's own number
    ///
    /// It counts against the limits of the number together with `request/`, and needs no body.
    #[oai(
        path = "/production/resend/",
        method = "post",
        tag = "Group::Production",
        operation_id = "resendCode"
    )]
    async fn resend(
        &self,
        token: BearerToken,
        recipient: Recipient,
        /// The token that this device was given at its last login. With it the call is judged by limits of its own, which nobody
        /// who only knows the number can use up; one that is not good is ignored.
        #[oai(name = "X-Device-Token")]
        device_token: DeviceToken,
    ) -> Result<WithDeliveryId<Limited<OtpResentResponse>>, OperationError<Resending>> {
        let Recipient { caller, languages } = recipient;
        let bearer = self.flow.authenticate(&token).await?;
        let token = device_token.into_token();
        let outcome = self.flow.auth.resend(&bearer, token, languages, origin(&caller)).await;
        let rates = rates(&outcome.quotas);
        match outcome.result {
            Ok(Sent { expires_in, delivery, .. }) => {
                let answer = Limited::new(OtpResentResponse::new(expires_in.as_secs()), rates);
                Ok(WithDeliveryId::new(answer, delivery))
            }
            Err(error) => Err(ApiError::from(error).with_rates(rates).into()),
        }
    }

    /// Ask how far a code has come
    ///
    /// For the id that `request/` and `resend/` answer with in the header `X-Delivery-Id`. Where the state is `undelivered` or
    /// `unknown`, asking for another code may help, after `retry_after` seconds. An id is good for as long as its code is kept.
    #[oai(
        path = "/production/delivery/:delivery_id/",
        method = "get",
        tag = "Group::Production",
        operation_id = "deliveryState"
    )]
    async fn delivery(
        &self,
        /// As the header has it.
        #[oai(example = "delivery_id")]
        delivery_id: Path<String>,
    ) -> Result<JsonAnswer<DeliveryResponse>, OperationError<AskingDelivery>> {
        let Some(id) = DeliveryId::parse(&delivery_id.0) else { return Err(ErrorCode::NotFound.into()) };
        let found = self.flow.auth.arrival(id).await.map_err(ApiError::from)?;
        let (arrival, channel) = found.ok_or(ErrorCode::NotFound)?;
        Ok(JsonAnswer(DeliveryResponse::new(&arrival, channel)))
    }

    /// Who the bearer is
    ///
    /// A deactivated user gets an answer too, with `account_active: false`; every other endpoint refuses one.
    #[oai(path = "/production/status/", method = "get", tag = "Group::Production", operation_id = "status")]
    async fn status(
        &self,
        token: BearerToken,
    ) -> Result<JsonAnswer<StatusResponse>, OperationError<AskingStatus>> {
        let Authenticated { user, .. } = self.flow.authenticate(&token).await?;
        Ok(JsonAnswer((&*user).into()))
    }
}

/// What comes with a code.
pub(super) struct VerifyCall<'a> {
    pub(super) caller: &'a Caller,
    pub(super) idempotency_key: IdempotencyKey,
    pub(super) device: DeviceName,
    pub(super) device_token: DeviceToken,
    pub(super) body: Result<Fields, ApiError>,
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
        Recipient { caller, languages }: Recipient,
        device_token: DeviceToken,
        body: Result<Fields, ApiError>,
    ) -> Result<WithDeliveryId<Limited<OtpSentResponse>>, ApiError> {
        let body = body?;
        let phone = phone(body.required_string("phone_number")?, &self.auth.policy().phones)?;
        let channel = self.channel(mode, body.optional_string("channel")?)?;
        let request = CodeRequest {
            mode,
            purpose: Purpose::Login,
            endpoint: Endpoint::Request,
            phone,
            proven: None,
            channel,
            device_token: device_token.into_token(),
            languages,
            origin: origin(&caller),
        };
        let outcome = self.auth.request(request).await;
        let rates = rates(&outcome.quotas);
        match outcome.result {
            Ok(Sent { is_new_user, expires_in, delivery }) => {
                let answer = Limited::new(OtpSentResponse::new(is_new_user, expires_in.as_secs()), rates);
                Ok(WithDeliveryId::new(answer, delivery))
            }
            Err(error) => Err(ApiError::from(error).with_rates(rates)),
        }
    }

    /// Another way than a text message, as a body asks for it.
    fn channel(&self, mode: Mode, word: Option<&str>) -> Result<Option<Channel>, ApiError> {
        let Some(word) = word else { return Ok(None) };
        let others: Vec<_> = self.auth.channels(mode).filter(|channel| *channel != Channel::Sms).collect();
        if let Some(channel) = others.iter().find(|channel| channel.as_str() == word) {
            return Ok(Some(*channel));
        }
        let known: Vec<_> = others.iter().map(|channel| channel.as_str()).collect();
        Err(ApiError::bad_request(if known.is_empty() {
            "The field channel cannot be used here: codes come by text message alone.".to_owned()
        } else {
            format!("The field channel must be one of: {}.", known.join(", "))
        }))
    }

    pub(super) async fn verify(
        &self,
        mode: Mode,
        VerifyCall { caller, idempotency_key, device, device_token, body }: VerifyCall<'_>,
    ) -> Result<WithDeviceToken<Limited<LoginResponse>>, ApiError> {
        let body = body?;
        let policy = self.auth.policy();
        let given = body.required_string("phone_number")?;
        let otp = body.required_string("otp")?;
        let idempotency_key = idempotency_key.key()?;
        let request = VerifyRequest {
            mode,
            phone: phone(given, &policy.phones)?,
            code: Code::typed(otp, policy.otp.length),
            idempotency_key,
            device: device.into_text(),
            device_token: device_token.into_token(),
            origin: origin(caller),
        };
        let outcome = self.auth.verify(request).await;
        let rates = rates(&outcome.quotas);
        match outcome.result {
            Ok(mut login) => {
                let device_token = login.device_token.take();
                let answer = Limited::new(render_login(login, policy.conceal_accounts), rates);
                Ok(WithDeviceToken::new(answer, device_token))
            }
            Err(error) => Err(ApiError::from(error).with_rates(rates)),
        }
    }
}

/// The id in the description's example.
fn delivery_id() -> String {
    "q83vEjRWeJq83vEjRWeJqw".to_owned()
}

fn render_login(login: LoggedIn, concealed: bool) -> LoginResponse {
    let LoggedIn { tokens, user, is_new_user, is_restored, is_recycled, .. } = login;
    let tokens = TokenPair { access: tokens.access, refresh: tokens.refresh };
    let mut answer = LoginResponse::new(tokens, user.into());
    answer.is_new_user = (concealed || is_recycled).then_some(is_new_user);
    answer.restored = is_restored.then_some(true);
    answer
}
