//! The `Idempotency-Key` header. Taking it never fails, so that the order of faults is the handler's.

use poem::http::{HeaderMap, HeaderName};
use poem_openapi::registry::MetaSchema;

use super::header::{header_parameter, single};
use crate::domain::Secret;
use crate::http::error::ApiError;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// A key as it came, if one came. One that cannot be honoured is refused: a client that was not told would believe that
/// its repetition is safe.
#[derive(Debug)]
pub struct IdempotencyKey(Result<Option<Secret>, ApiError>);

impl IdempotencyKey {
    /// The key.
    ///
    /// # Errors
    /// `bad_request` where it is not 16 to 128 visible ASCII characters, or came twice.
    pub fn key(self) -> Result<Option<Secret>, ApiError> {
        self.0
    }

    fn read(headers: &HeaderMap) -> Result<Option<Secret>, ApiError> {
        let text = match single(headers, &IDEMPOTENCY_KEY) {
            Ok(Some(text)) => text,
            Ok(None) => return Ok(None),
            Err(_) => "",
        };
        if (16..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) {
            Ok(Some(Secret::new(text)))
        } else {
            Err(ApiError::bad_request(
                "The header Idempotency-Key must have 16 to 128 visible ASCII characters, and come once.",
            ))
        }
    }
}

header_parameter!(
    IdempotencyKey,
    MetaSchema {
        min_length: Some(16),
        max_length: Some(128),
        example: Some("6f1c2a54-93b7-4c0d-8f57-2f6f5c1f1f2e".into()),
        ..MetaSchema::new("string")
    },
    |headers| Self(Self::read(headers))
);

#[cfg(test)]
mod tests {
    use super::*;
    use poem::http::HeaderValue;

    fn read(lines: &[&[u8]]) -> Result<Option<String>, ApiError> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("idempotency-key", HeaderValue::from_bytes(line).unwrap());
        }
        Ok(IdempotencyKey::read(&headers)?.map(|key| key.expose().to_owned()))
    }

    #[test]
    fn a_key_is_taken_whole_or_refused() {
        assert_eq!(read(&[]), Ok(None));
        for good in [[b'k'; 16].as_slice(), &[b'~'; 128]] {
            assert_eq!(read(&[good]).unwrap().unwrap().len(), good.len());
        }
        for bad in [b"" as &[u8], &[b'k'; 15], &[b'k'; 129], &[b' '; 16], &[0xe9; 16]] {
            assert!(read(&[bad]).is_err(), "{bad:?}");
        }
        assert!(read(&[&[b'k'; 16], &[b'k'; 16]]).is_err());
    }
}
