//! The bearer's own number: changing it, and taking a change back.

use std::sync::Arc;

use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};
use serde::Serialize;

use crate::api::date_time::DateTime;
use crate::api::flows::{origin, phone, rates};
use crate::api::otp::{Flow, Group, documented_errors};
use crate::api::schemas::{MessageResponse, OtpResentResponse};
use crate::auth::{Auth, CancelRequest, NewPhone, PhoneCodes, PhoneProof};
use crate::domain::{Code, Timestamp};
use crate::http::bearer::{BearerToken, OptionalBearerToken};
use crate::http::body::JsonBody;
use crate::http::caller::{Caller, Recipient};
use crate::http::device_token::DeviceToken;
use crate::http::error::{ApiError, DocumentedErrors, ErrorCode, OperationError};
use crate::http::rates::{Limited, RateHeaders};

documented_errors!(
    /// What sending a code to a new number can fail with.
    AskingChange: NotAuthenticated, TokenInvalid, TokenExpired, InvalidPhoneNumber, AccountDisabled, CountryNotAllowed,
        RateLimited, SmsDeliveryFailed, Overloaded, SmsBudgetExhausted, Unavailable;
        READS_BODY, LIMITED
);
documented_errors!(
    /// What proving a new number can fail with.
    ProvingNumber: NotAuthenticated, TokenInvalid, TokenExpired, InvalidPhoneNumber, InvalidOtp, AccountDisabled,
        PhoneInUse, RateLimited, Overloaded, Unavailable;
        READS_BODY, LIMITED
);
documented_errors!(
    /// What taking a change back can fail with.
    KeepingNumber: NotAuthenticated, TokenInvalid, TokenExpired, InvalidPhoneNumber, InvalidOtp, AccountDisabled, NotFound,
        RateLimited, Overloaded, Unavailable;
        READS_BODY, LIMITED
);

/// The bearer's own number.
pub struct NumberApi {
    flow: Flow,
}

impl NumberApi {
    /// Endpoints over `auth`.
    pub fn new(auth: Arc<Auth>) -> Self {
        Self { flow: Flow { auth } }
    }
}

#[OpenApi(prefix_path = "/api/mobile/auth")]
impl NumberApi {
    /// Send a code to the bearer's new number
    ///
    /// The answer is the same whether or not the number has an account. The code is good at `account/phone/verify/` alone, and
    /// for this bearer alone.
    #[oai(path = "/account/phone/", method = "post", tag = "Group::Account", operation_id = "changePhone")]
    async fn ask(
        &self,
        token: BearerToken,
        recipient: Recipient,
        body: JsonBody<PhoneChangeRequest>,
    ) -> Result<Limited<OtpResentResponse>, OperationError<AskingChange>> {
        let bearer = self.flow.authenticate(&token).await?;
        let fields = body.fields()?;
        let new = phone(fields.required_string("phone_number")?, &self.flow.auth.policy().phones)?;
        let Recipient { caller, languages } = recipient;
        let outcome = self.flow.auth.ask_phone_change(&bearer, new, languages, origin(&caller)).await;
        let rates = rates(&outcome.quotas);
        match outcome.result {
            Ok(sent) => Ok(Limited::new(OtpResentResponse::new(sent.expires_in.as_secs()), rates)),
            Err(error) => Err(ApiError::from(error).with_rates(rates).into()),
        }
    }

    /// Prove the bearer's new number
    ///
    /// With a code that `production/resend/` sent to the number before as `current_otp`, the change is done at once. Without it
    /// the change waits (`users.phone_change_delay`): the number before is told by SMS, and gets a code that takes the change
    /// back. When the change is done, all other sessions end.
    #[oai(
        path = "/account/phone/verify/",
        method = "post",
        tag = "Group::Account",
        operation_id = "verifyPhone"
    )]
    async fn prove(
        &self,
        token: BearerToken,
        caller: Caller,
        /// The token that this device was given at its last login. With it `current_otp` is judged by limits of its own, which nobody
        /// who only knows the number can use up; one that is not good is ignored.
        #[oai(name = "X-Device-Token")]
        device_token: DeviceToken,
        body: JsonBody<PhoneVerifyRequest>,
    ) -> Result<Limited<PhoneChangeResponse>, OperationError<ProvingNumber>> {
        let bearer = self.flow.authenticate(&token).await?;
        let policy = self.flow.auth.policy();
        let fields = body.fields()?;
        let given = fields.required_string("phone_number")?;
        let otp = fields.required_string("otp")?;
        let current = fields.optional_string("current_otp")?;
        let read = |text| Code::typed(text, policy.otp.length);
        // One that can be no code is told as a wrong one, and neither of the two is tried.
        let codes = match (read(otp), current.map(read)) {
            (Some(new), None) => Some(PhoneCodes { new, current: None }),
            (Some(new), Some(Some(current))) => Some(PhoneCodes { new, current: Some(current) }),
            _ => None,
        };
        let proof = PhoneProof {
            phone: phone(given, &policy.phones)?,
            codes,
            device_token: device_token.into_token(),
            origin: origin(&caller),
        };
        let outcome = self.flow.auth.change_phone(bearer, proof).await;
        let rates = rates(&outcome.quotas);
        match outcome.result {
            Ok(changed) => Ok(Limited::new(changed.into(), rates)),
            Err(error) => Err(ApiError::from(error).with_rates(rates).into()),
        }
    }

    /// Take a change of number back
    ///
    /// With the token of any of the account's sessions and no body; or without a token, with the number before and the code that
    /// it was sent. After five wrong codes the change is taken back, too.
    #[oai(path = "/account/phone/", method = "delete", tag = "Group::Account", operation_id = "keepPhone")]
    async fn keep(
        &self,
        token: OptionalBearerToken,
        caller: Caller,
        body: JsonBody<Option<PhoneCancelRequest>>,
    ) -> Result<Limited<MessageResponse>, OperationError<KeepingNumber>> {
        let kept = || MessageResponse::from("Phone number kept");
        if token.is_there() {
            let bearer = self.flow.authenticate_active(token.required()).await?;
            self.flow.auth.keep_phone(&bearer, origin(&caller)).await.map_err(ApiError::from)?;
            return Ok(Limited::new(kept(), RateHeaders::NONE));
        }
        let fields = body.fields()?;
        // Whoever sends nothing at all is told of the token.
        if fields.is_empty() {
            return Err(ErrorCode::NotAuthenticated.into());
        }
        let policy = self.flow.auth.policy();
        let given = fields.required_string("phone_number")?;
        let code = fields.required_string("cancel_code")?;
        let request = CancelRequest {
            phone: phone(given, &policy.phones)?,
            code: Code::typed(code, policy.otp.length),
            origin: origin(&caller),
        };
        let outcome = self.flow.auth.cancel_phone_change(request).await;
        let rates = rates(&outcome.quotas);
        match outcome.result {
            Ok(()) => Ok(Limited::new(kept(), rates)),
            Err(error) => Err(ApiError::from(error).with_rates(rates).into()),
        }
    }
}

/// The number that the bearer wants.
#[derive(Object)]
#[oai(example)]
struct PhoneChangeRequest {
    /// International format: `+`, then 10 to 15 digits.
    #[oai(validator(pattern = r"^\+[1-9][0-9]{9,14}$"))]
    phone_number: String,
}

impl Example for PhoneChangeRequest {
    fn example() -> Self {
        Self { phone_number: NEW_PHONE.to_owned() }
    }
}

/// The number that the bearer wants, and the codes that prove it.
#[derive(Object)]
#[oai(example)]
struct PhoneVerifyRequest {
    /// International format: `+`, then 10 to 15 digits.
    #[oai(validator(pattern = r"^\+[1-9][0-9]{9,14}$"))]
    phone_number: String,
    /// The digits of the code that was sent to it, in any script; white space does not count.
    otp: String,
    /// The digits of a code that `production/resend/` sent to the number before: with it the change is done at once.
    current_otp: Option<String>,
}

impl Example for PhoneVerifyRequest {
    fn example() -> Self {
        Self {
            phone_number: NEW_PHONE.to_owned(),
            otp: "123456".to_owned(),
            current_otp: Some("654321".to_owned()),
        }
    }
}

/// The number before and the code that it was sent.
#[derive(Object)]
#[oai(example)]
struct PhoneCancelRequest {
    /// International format: `+`, then 10 to 15 digits.
    #[oai(validator(pattern = r"^\+[1-9][0-9]{9,14}$"))]
    phone_number: String,
    /// The digits of the code in the SMS that told of the change.
    cancel_code: String,
}

impl Example for PhoneCancelRequest {
    fn example() -> Self {
        Self { phone_number: "+1234567890".to_owned(), cancel_code: "123456".to_owned() }
    }
}

/// What became of the proof of a new number.
#[derive(Object, Serialize)]
#[oai(example)]
pub(super) struct PhoneChangeResponse {
    /// `Phone number changed`, or that it will change.
    message: String,
    /// The new number.
    phone_number: String,
    /// When it replaces the one before; null where it has.
    effective_at: Option<DateTime>,
}

impl From<NewPhone> for PhoneChangeResponse {
    fn from(NewPhone { phone, effective_at }: NewPhone) -> Self {
        let message = match effective_at {
            None => "Phone number changed",
            Some(_) => "The phone number will change; the current one has been told",
        };
        Self {
            message: message.to_owned(),
            phone_number: phone.as_str().to_owned(),
            effective_at: effective_at.map(DateTime::from),
        }
    }
}

impl Example for PhoneChangeResponse {
    fn example() -> Self {
        Self {
            message: "The phone number will change; the current one has been told".to_owned(),
            phone_number: NEW_PHONE.to_owned(),
            effective_at: Some(Timestamp::from_millis(1_767_312_000_000).into()),
        }
    }
}

const NEW_PHONE: &str = "+1234567899";
