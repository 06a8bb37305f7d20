//! The testing mode: the same two endpoints for development. Wired only while `debug` is on; otherwise the paths do
//! not exist.

#![expect(clippy::too_many_arguments, reason = "poem-openapi reads each header into a parameter")]

use std::sync::Arc;

use poem_openapi::OpenApi;

use crate::api::otp::{Flow, Group, Requesting, VerifyCall, Verifying};
use crate::api::schemas::{LoginResponse, OtpRequest, OtpSentResponse, OtpVerifyRequest};
use crate::auth::Auth;
use crate::domain::Mode;
use crate::http::body::JsonBody;
use crate::http::caller::{Caller, Recipient};
use crate::http::device::DeviceName;
use crate::http::device_token::{DeviceToken, WithDeviceToken};
use crate::http::error::OperationError;
use crate::http::idempotency::IdempotencyKey;
use crate::http::rates::Limited;

/// The testing mode: codes are printed on the console and never sent.
pub struct TestingApi {
    flow: Flow,
}

impl TestingApi {
    /// Endpoints over `auth`.
    pub fn new(auth: Arc<Auth>) -> Self {
        Self { flow: Flow { auth } }
    }
}

#[OpenApi(prefix_path = "/api/mobile/auth")]
impl TestingApi {
    /// Print a code on the console
    ///
    /// No message is sent. The limits of the number hold as in production, those of the address do not.
    #[oai(path = "/request/", method = "post", tag = "Group::Testing", operation_id = "testingRequestCode")]
    async fn request(
        &self,
        recipient: Recipient,
        /// The token that this device was given at its last login. With it the call is judged by limits of its own, which nobody
        /// who only knows the number can use up; one that is not good is ignored.
        #[oai(name = "X-Device-Token")]
        device_token: DeviceToken,
        body: JsonBody<OtpRequest>,
    ) -> Result<Limited<OtpSentResponse>, OperationError<Requesting>> {
        let answer = self.flow.request(Mode::Testing, recipient, device_token, body.fields()).await?;
        Ok(answer.into_answer())
    }

    /// Give the printed code, get tokens
    ///
    /// As `production/verify/`, for a code from the console.
    #[oai(path = "/verify/", method = "post", tag = "Group::Testing", operation_id = "testingVerifyCode")]
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
        Ok(self.flow.verify(Mode::Testing, call).await?)
    }
}
