//! Reads the whole body before a handler runs, bounded in size and time, and in number for each client.

use std::pin::pin;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use poem::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use poem::http::{HeaderMap, Method};
use poem::{Body, Request};

use super::fault::Fault;
use super::routes::Operation;
use crate::domain::ClientAddress;
use crate::http::error::{ApiError, ErrorCode};
use crate::http::tally::Tally;

/// How bodies are taken in.
#[derive(Debug)]
pub(super) struct Intake {
    /// Bytes.
    pub(super) limit: usize,
    pub(super) timeout: Duration,
    /// The bodies of each client that are on their way: behind a trusted proxy it is not its connections that bound them
    /// (S40).
    pub(super) unfinished: Tally,
}

impl Intake {
    /// Reads the body, then checks its type: size before type.
    pub(super) async fn take(
        &self,
        request: &mut Request,
        operation: &Operation,
        client: ClientAddress,
    ) -> Result<(), Fault> {
        if matches!(*request.method(), Method::GET | Method::HEAD) {
            // No GET of ours has a body; the connection throws away what comes.
            drop(request.take_body());
            return Ok(());
        }
        // What says that it is too large need not come at all.
        if announced(request.headers()).is_some_and(|length| length > self.limit as u64) {
            return Err(ErrorCode::PayloadTooLarge.into());
        }
        // By then each of those under way has come or was given up.
        let Some(_unfinished) = self.unfinished.take(client) else {
            return Err(ApiError::rate_limited(self.timeout).into());
        };
        let reading = read(request.take_body(), self.limit);
        let bytes = tokio::time::timeout(self.timeout, reading).await.unwrap_or(Err(Fault::Abandoned))?;
        if !bytes.is_empty() {
            check_type(request.headers(), operation)?;
        }
        request.set_body(bytes);
        Ok(())
    }
}

/// Reads a body of at most `limit` bytes; poem's own function for it has 4 KiB of room in each future that waits for it.
async fn read(body: Body, limit: usize) -> Result<Vec<u8>, Fault> {
    let (mut pieces, mut bytes) = (pin!(body.into_bytes_stream()), Vec::new());
    while let Some(piece) = pieces.try_next().await.map_err(|_| Fault::Abandoned)? {
        if piece.len() > limit - bytes.len() {
            return Err(ErrorCode::PayloadTooLarge.into());
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// An operation that reads a body names its types; one that reads none does not care.
fn check_type(headers: &HeaderMap, operation: &Operation) -> Result<(), ApiError> {
    if operation.reads.is_empty() {
        return Ok(());
    }
    let refusal = || ApiError::unsupported_media_type(&operation.reads.join(" or "));
    let encoded = headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"));
    let mut lines = headers.get_all(CONTENT_TYPE).iter();
    let (Some(line), None, false) = (lines.next(), lines.next(), encoded) else { return Err(refusal()) };
    let mut parts = line.to_str().map_err(|_| refusal())?.split(';').map(str::trim);
    let good_charset = |parameter: &str| match parameter.split_once('=') {
        Some((name, value)) if name.trim_end().eq_ignore_ascii_case("charset") => {
            let charset = value.trim().trim_matches('"');
            charset.eq_ignore_ascii_case("utf-8") || charset.eq_ignore_ascii_case("utf8")
        }
        _ => true,
    };
    let good_type =
        parts.next().is_some_and(|given| operation.reads.iter().any(|read| given.eq_ignore_ascii_case(read)));
    if good_type && parts.all(good_charset) { Ok(()) } else { Err(refusal()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(types: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        for line in types {
            headers.append(CONTENT_TYPE, line.parse().unwrap());
        }
        check_type(&headers, &Operation::reading("application/json")).is_ok()
    }

    #[test]
    fn s11_json_is_json_in_utf_8() {
        for good in [
            "application/json",
            "Application/JSON; charset=UTF-8",
            "application/json;charset=\"utf-8\"",
            "application/json; charset=utf8; v=1",
        ] {
            assert!(accepts(&[good]), "{good}");
        }
        for bad in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "application/jsonp",
            "application/vnd.api+json",
            "application/json; charset=latin-1",
            "",
        ] {
            assert!(!accepts(&[bad]), "{bad}");
        }
        assert!(!accepts(&[]));
        assert!(!accepts(&["application/json", "application/json"]));
    }

    #[test]
    fn s11_a_compressed_body_is_of_another_type() {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, "application/json".parse().unwrap());
        headers.insert(CONTENT_ENCODING, "gzip".parse().unwrap());
        assert!(check_type(&headers, &Operation::reading("application/json")).is_err());
    }
}
