//! An API for the tests of the edge: a flow's place is held by a few lines.
#![expect(clippy::unused_async, reason = "handlers are async, whether or not they wait")]

use std::sync::Arc;
use std::time::Duration;

use poem_openapi::param::{Path, Query};
use poem_openapi::{Object, OpenApi};
use serde::Serialize;
use tokio::sync::Semaphore;

use crate::http::device::DeviceName;
use crate::http::json::JsonAnswer;
use crate::http::{
    ApiError, BearerToken, Caller, DocumentedErrors, ErrorCode, JsonBody, Limited, OperationError, Rate,
    RateHeaders,
};

/// What `echo/` reads.
#[derive(Object)]
pub(crate) struct EchoBody {
    /// Any text.
    phone_number: String,
}

/// What the demo answers.
#[derive(Object, Serialize)]
pub(crate) struct Echo {
    /// The text that came.
    text: String,
}

pub(crate) enum EchoFaults {}

impl DocumentedErrors for EchoFaults {
    const CODES: &'static [ErrorCode] =
        &[ErrorCode::NotAuthenticated, ErrorCode::TokenInvalid, ErrorCode::InvalidPhoneNumber];
    const READS_BODY: bool = true;
    const LIMITED: bool = true;
}

pub(crate) enum PlainFaults {}

impl DocumentedErrors for PlainFaults {
    const CODES: &'static [ErrorCode] = &[ErrorCode::SmsDeliveryFailed];
}

pub(crate) enum CallbackFaults {}

impl DocumentedErrors for CallbackFaults {
    const CODES: &'static [ErrorCode] = &[ErrorCode::BadSignature];
}

#[derive(Clone, Default)]
pub(crate) struct Demo {
    /// Where `slow/` tells that it was entered, and what it waits for.
    pub(crate) gates: Option<(Arc<Semaphore>, Arc<Semaphore>)>,
}

pub(crate) fn rates() -> RateHeaders {
    let hour = Duration::from_hours(1);
    RateHeaders::new(vec![Rate { name: "otp-ip", quota: 5, window: hour, remaining: 4, reset: hour }])
}

#[OpenApi(prefix_path = "/api/mobile/auth")]
impl Demo {
    /// Authenticates, reads, answers.
    #[oai(path = "/echo/", method = "post", operation_id = "echo")]
    async fn echo(
        &self,
        bearer: BearerToken,
        body: JsonBody<EchoBody>,
    ) -> Result<Limited<Echo>, OperationError<EchoFaults>> {
        bearer.token()?;
        let fields = body.fields()?;
        let text = fields.required_string("phone_number")?;
        if text == "bad" {
            return Err(ApiError::new(ErrorCode::InvalidPhoneNumber).with_rates(rates()).into());
        }
        Ok(Limited::new(Echo { text: text.to_owned() }, rates()))
    }

    /// Tells who calls.
    #[oai(path = "/whoami/", method = "get", operation_id = "whoami")]
    async fn whoami(
        &self,
        caller: Caller,
        #[oai(name = "X-Device-Name")] device: DeviceName,
    ) -> Result<JsonAnswer<Echo>, OperationError<PlainFaults>> {
        tracing::info!("inside");
        Ok(JsonAnswer(Echo {
            text: format!("{} {} {:?}", caller.address, caller.request_id, device.into_text()),
        }))
    }

    /// Panics.
    #[oai(path = "/panic/", method = "post", operation_id = "panic")]
    async fn panic(&self) -> Result<JsonAnswer<Echo>, OperationError<PlainFaults>> {
        panic!("a test panicked\nwith a second line");
    }

    /// Waits.
    #[oai(path = "/slow/", method = "post", operation_id = "slow")]
    async fn slow(&self) -> Result<JsonAnswer<Echo>, OperationError<PlainFaults>> {
        if let Some((entered, gate)) = &self.gates {
            entered.add_permits(1);
            drop(gate.acquire().await.unwrap());
        }
        Ok(JsonAnswer(Echo { text: "done".to_owned() }))
    }

    /// Has a parameter in its path.
    #[oai(path = "/things/:id/", method = "get", operation_id = "thing")]
    async fn thing(&self, id: Path<u32>) -> Result<JsonAnswer<Echo>, OperationError<PlainFaults>> {
        Ok(JsonAnswer(Echo { text: id.0.to_string() }))
    }

    /// The same path, another method.
    #[oai(path = "/things/:id/", method = "delete", operation_id = "end_thing")]
    async fn end_thing(&self, id: Path<u32>) -> Result<JsonAnswer<Echo>, OperationError<PlainFaults>> {
        Ok(JsonAnswer(Echo { text: format!("ended {}", id.0) }))
    }

    /// A callback; what says that it is forged is.
    #[oai(path = "/callback/", method = "post", operation_id = "callback")]
    async fn callback(
        &self,
        forged: Query<Option<bool>>,
    ) -> Result<JsonAnswer<Echo>, OperationError<CallbackFaults>> {
        if forged.0.is_some() {
            return Err(ErrorCode::BadSignature.into());
        }
        Ok(JsonAnswer(Echo { text: "called".to_owned() }))
    }
}
