//! The caller's rate limits as headers (draft-ietf-httpapi-ratelimit-headers-10), and the response that carries them.

use std::time::Duration;

use poem::http::{HeaderMap, HeaderName, HeaderValue};
use poem::{IntoResponse, Response};
use poem_openapi::ApiResponse;
use poem_openapi::registry::{MetaHeader, MetaResponses, MetaSchema, MetaSchemaRef, Registry};
use poem_openapi::types::{ToJSON, Type};
use serde::Serialize;

use crate::domain::time::seconds_up;
use crate::http::json::JsonAnswer;

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const STATE: HeaderName = HeaderName::from_static("ratelimit");

/// One limit and its state for the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Its name in the contract: `otp-ip`, `otp-user`.
    pub name: &'static str,
    /// Units that a window holds.
    pub quota: u32,
    /// The length of the window.
    pub window: Duration,
    /// Units left.
    pub remaining: u32,
    /// Until the next unit returns.
    pub reset: Duration,
}

/// `RateLimit-Policy` and `RateLimit`; nothing where no limit is on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RateHeaders(Vec<Rate>);

impl RateHeaders {
    /// No limits.
    pub const NONE: Self = Self(Vec::new());

    /// The limits, in the order of the headers.
    pub const fn new(rates: Vec<Rate>) -> Self {
        Self(rates)
    }

    /// Both headers, for the description of the API.
    pub(super) fn document() -> Vec<MetaHeader> {
        vec![
            document_header("RateLimit-Policy", "The limits that this call counts against.", "string"),
            document_header("RateLimit", "What is left of them, and until when.", "string"),
        ]
    }

    /// Writes both headers.
    pub(super) fn write(&self, headers: &mut HeaderMap) {
        let policy =
            |rate: &Rate| format!("\"{}\";q={};w={}", rate.name, rate.quota, seconds_up(rate.window));
        let state =
            |rate: &Rate| format!("\"{}\";r={};t={}", rate.name, rate.remaining, seconds_up(rate.reset));
        self.write_one(headers, POLICY, policy);
        self.write_one(headers, STATE, state);
    }

    fn write_one(&self, headers: &mut HeaderMap, name: HeaderName, item: impl Fn(&Rate) -> String) {
        let list = self.0.iter().map(item).collect::<Vec<_>>().join(", ");
        if !list.is_empty()
            && let Ok(value) = HeaderValue::try_from(list)
        {
            headers.insert(name, value);
        }
    }
}

/// 200 with a JSON body, and how the caller's limits stand.
#[derive(Debug)]
pub struct Limited<T> {
    body: T,
    rates: RateHeaders,
}

impl<T> Limited<T> {
    /// `body`, with `rates`.
    pub const fn new(body: T, rates: RateHeaders) -> Self {
        Self { body, rates }
    }
}

impl<T: Type + Serialize + Send> IntoResponse for Limited<T> {
    fn into_response(self) -> Response {
        let mut response = JsonAnswer(self.body).into_response();
        self.rates.write(response.headers_mut());
        response
    }
}

impl<T: ToJSON + Serialize> ApiResponse for Limited<T> {
    fn meta() -> MetaResponses {
        let mut meta = JsonAnswer::<T>::meta();
        for response in &mut meta.responses {
            response.headers.extend(RateHeaders::document());
        }
        meta
    }

    fn register(registry: &mut Registry) {
        JsonAnswer::<T>::register(registry);
    }
}

/// A header that an answer may carry, for the description of the API.
pub(super) fn document_header(name: &str, description: &str, ty: &'static str) -> MetaHeader {
    MetaHeader {
        name: name.to_owned(),
        description: Some(description.to_owned()),
        required: false,
        deprecated: false,
        schema: MetaSchemaRef::Inline(Box::new(MetaSchema::new(ty))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_read_as_the_contract_writes_them() {
        let rate = |name, quota, remaining| Rate {
            name,
            quota,
            window: Duration::from_hours(1),
            remaining,
            reset: Duration::from_millis(3_599_001),
        };
        let mut headers = HeaderMap::new();
        RateHeaders::new(vec![rate("otp-ip", 5, 4), rate("otp-user", 3, 2)]).write(&mut headers);
        assert_eq!(headers[POLICY], "\"otp-ip\";q=5;w=3600, \"otp-user\";q=3;w=3600");
        assert_eq!(headers[STATE], "\"otp-ip\";r=4;t=3600, \"otp-user\";r=2;t=3600");
    }

    #[test]
    fn no_limit_no_header() {
        let mut headers = HeaderMap::new();
        RateHeaders::NONE.write(&mut headers);
        assert!(headers.is_empty());
    }
}
