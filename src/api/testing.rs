//! The testing mode: the same two endpoints for development. Wired only while `debug` is on; otherwise the paths do
//! not exist.

use std::sync::Arc;

use poem_openapi::OpenApi;

use crate::api::otp::{CodeFor, CodeGiven, CodeSent, Flow, Group, Login, Requesting, Verifying};
use crate::auth::Auth;
use crate::domain::Mode;
use crate::http::body::JsonBody;
use crate::http::caller::Caller;
use crate::http::error::OperationError;
use crate::http::idempotency::IdempotencyKey;
use crate::http::rates::Limited;

/// The testing mode: codes are printed on the console and never sent.
pub struct TestingApi {
    flow: Flow,
}

impl TestingApi {
    /// Puts the endpoints before the flows.
    pub fn new(auth: Arc<Auth>) -> Self {
        Self { flow: Flow { auth } }
    }
}

#[OpenApi(prefix_path = "/api/mobile/auth")]
impl TestingApi {
    /// Print a code on the console
    #[oai(path = "/request/", method = "post", tag = "Group::Testing", operation_id = "testingRequestCode")]
    async fn request(
        &self,
        caller: Caller,
        body: JsonBody<CodeFor>,
    ) -> Result<Limited<CodeSent>, OperationError<Requesting>> {
        Ok(self.flow.request(Mode::Testing, &caller, body.fields()).await?)
    }

    /// Give the printed code, get tokens
    #[oai(path = "/verify/", method = "post", tag = "Group::Testing", operation_id = "testingVerifyCode")]
    async fn verify(
        &self,
        caller: Caller,
        /// Any 16 to 128 visible characters, new for each code.
        #[oai(name = "Idempotency-Key")]
        idempotency_key: IdempotencyKey,
        body: JsonBody<CodeGiven>,
    ) -> Result<Limited<Login>, OperationError<Verifying>> {
        Ok(self.flow.verify(Mode::Testing, &caller, idempotency_key, body.fields()).await?)
    }
}
