//! The body of the answer to how far a code has come.

use poem_openapi::Object;
use poem_openapi::types::Example;
use serde::Serialize;

use crate::domain::Channel;
use crate::domain::delivery::Arrival;
use crate::domain::time::seconds_up;

/// How far a code has come.
#[derive(Object, Serialize)]
#[oai(example)]
pub(super) struct DeliveryResponse {
    /// `sending`, `sent`, `delivered`, `undelivered` or `unknown`; an app takes one that it does not know as `unknown`.
    state: String,
    /// What it comes by: `sms`, `whatsapp` or `voice`.
    channel: String,
    /// Seconds after which another code may be asked for, where that can help.
    #[oai(skip_serializing_if_is_none)]
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
}

impl DeliveryResponse {
    pub(super) fn new(arrival: &Arrival, channel: Channel) -> Self {
        Self {
            state: arrival.state.as_str().to_owned(),
            channel: channel.as_str().to_owned(),
            retry_after: arrival.retry_after.map(seconds_up),
        }
    }
}

impl Example for DeliveryResponse {
    fn example() -> Self {
        Self { state: "delivered".to_owned(), channel: "sms".to_owned(), retry_after: None }
    }
}
