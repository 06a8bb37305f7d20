//! Who calls, and the id of the request.

use std::fmt;

use poem::http::HeaderMap;
use poem::http::header::ACCEPT_LANGUAGE;
use poem::{FromRequest, Request, RequestBody, Result};

use crate::domain::{ClientAddress, Languages};
use crate::http::error::{ApiError, ErrorCode};
use crate::random::Random;

/// The name of one request: in every line that the log has of it, in `X-Request-Id` and in `request_id`. Always ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(String);

impl RequestId {
    /// 32 hexadecimal digits.
    pub(super) fn draw(random: &dyn Random) -> Self {
        let mut bytes = [0; 16];
        random.fill(&mut bytes);
        Self(data_encoding::HEXLOWER.encode(&bytes))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// One for examples and tests.
    pub(super) fn example() -> Self {
        Self("00112233445566778899aabbccddeeff".to_owned())
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who calls; a handler takes it as an argument.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The client's address, as the limits count it.
    pub address: ClientAddress,
    /// The name of the request.
    pub request_id: RequestId,
}

/// Who asks for a message; a handler that sends one takes it in place of a [`Caller`].
#[derive(Clone, Debug)]
pub struct Recipient {
    /// Who calls.
    pub caller: Caller,
    /// What `Accept-Language` says; the message is written in one of these languages.
    pub languages: Languages,
}

impl<'a> FromRequest<'a> for Caller {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> Result<Self> {
        // The edge writes both before any handler runs.
        let (Some(address), Some(request_id)) =
            (request.data::<ClientAddress>(), request.data::<RequestId>())
        else {
            return Err(ApiError::new(ErrorCode::InternalError).into());
        };
        Ok(Self { address: *address, request_id: request_id.clone() })
    }
}

impl<'a> FromRequest<'a> for Recipient {
    async fn from_request(request: &'a Request, body: &mut RequestBody) -> Result<Self> {
        let caller = Caller::from_request(request, body).await?;
        Ok(Self { caller, languages: languages(request.headers()) })
    }
}

/// All of the fields count as one list (RFC 9110 §5.3).
fn languages(headers: &HeaderMap) -> Languages {
    let fields: Vec<_> =
        headers.get_all(ACCEPT_LANGUAGE).iter().filter_map(|field| field.to_str().ok()).collect();
    match fields.as_slice() {
        [] => Languages::default(),
        [one] => Languages::parse(one),
        several => Languages::parse(&several.join(",")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SeededRandom;

    #[test]
    fn names_are_ours_and_differ() {
        let random = SeededRandom::new(1);
        let (one, other) = (RequestId::draw(&random), RequestId::draw(&random));
        assert_ne!(one, other);
        assert_eq!(one.as_str().len(), 32);
    }
}
