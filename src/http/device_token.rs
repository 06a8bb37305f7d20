//! The `X-Device-Token` header: as it comes with a call, and as it goes with an answer.

use poem::http::{HeaderMap, HeaderName, HeaderValue};
use poem::{IntoResponse, Response};
use poem_openapi::ApiResponse;
use poem_openapi::registry::{MetaResponses, MetaSchema, Registry};

use super::header::{header_parameter, single};
use super::rates::document_header;
use crate::domain::Secret;

const DEVICE_TOKEN: HeaderName = HeaderName::from_static("x-device-token");

/// The token of a device, if one came; one that cannot be one is ignored. Taking it never fails.
#[derive(Debug)]
pub struct DeviceToken(Option<Secret>);

impl DeviceToken {
    /// The token.
    pub fn into_token(self) -> Option<Secret> {
        self.0
    }

    fn read(headers: &HeaderMap) -> Self {
        Self(single(headers, &DEVICE_TOKEN).ok().flatten().map(Secret::new))
    }
}

header_parameter!(
    DeviceToken,
    MetaSchema {
        example: Some(
            "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.eyJ0b2tlbl90eXBlIjoiZGV2aWNlIn0.c2lnbmF0dXJl".into()
        ),
        ..MetaSchema::new("string")
    },
    Self::read
);

/// An answer, and with it the token of the caller's device where there is one to give.
#[derive(Debug)]
pub struct WithDeviceToken<R> {
    answer: R,
    token: Option<Secret>,
}

impl<R> WithDeviceToken<R> {
    /// `answer`, with `token`.
    pub const fn new(answer: R, token: Option<Secret>) -> Self {
        Self { answer, token }
    }
}

impl<R: IntoResponse> IntoResponse for WithDeviceToken<R> {
    fn into_response(self) -> Response {
        let mut response = self.answer.into_response();
        if let Some(value) = self.token.and_then(|token| HeaderValue::try_from(token.expose()).ok()) {
            response.headers_mut().insert(DEVICE_TOKEN, value);
        }
        response
    }
}

impl<R: ApiResponse> ApiResponse for WithDeviceToken<R> {
    fn meta() -> MetaResponses {
        let mut meta = R::meta();
        for response in &mut meta.responses {
            response.headers.push(document_header(
                "X-Device-Token",
                "The token of this device, where there is a new one: store it, and send it along from then on.",
                "string",
            ));
        }
        meta
    }

    fn register(registry: &mut Registry) {
        R::register(registry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&'static [u8]]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(DEVICE_TOKEN, HeaderValue::from_bytes(line).unwrap());
        }
        DeviceToken::read(&headers).into_token().map(|token| token.expose().to_owned())
    }

    #[test]
    fn one_line_is_taken_and_anything_else_is_ignored() {
        assert_eq!(read(&[b"a.b.c"]).as_deref(), Some("a.b.c"));
        assert_eq!(read(&[]), None);
        assert_eq!(read(&[b"a.b.c", b"a.b.c"]), None);
        assert_eq!(read(&[b"\xff"]), None);
    }

    #[test]
    fn s34_a_token_goes_into_the_header_and_nowhere_else() {
        let answer = WithDeviceToken::new("body", Some(Secret::new("a.b.c")));
        assert!(!format!("{answer:?}").contains("a.b.c"));
        assert_eq!(answer.into_response().headers()[DEVICE_TOKEN], "a.b.c");
        assert!(!WithDeviceToken::new("body", None).into_response().headers().contains_key(DEVICE_TOKEN));
    }
}
