//! Cross-origin requests (the Fetch standard, CORS): the web pages of which origins may call, and read the answers.
//!
//! Tokens come in a header, never in a cookie, so no answer allows credentials.

use poem::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use poem::http::{HeaderMap, HeaderValue, Method, StatusCode};
use poem::{Request, Response};

/// The methods of the API; GET, HEAD and POST need no permission, and are named for whoever reads the answer.
const METHODS: HeaderValue = HeaderValue::from_static("DELETE, GET, HEAD, POST");

/// The headers that a page may send beyond those that need no permission.
const ALLOWED: HeaderValue = HeaderValue::from_static(
    "Authorization, Content-Type, Idempotency-Key, X-Device-Token, X-Device-Name, Accept-Language",
);

/// The headers of an answer that a page may read beyond those that every page may.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "Retry-After, RateLimit, RateLimit-Policy, X-Request-Id, X-Delivery-Id, X-Device-Token, WWW-Authenticate",
);

/// How long a browser may keep the answer to a preflight, in seconds; browsers keep none longer than two hours.
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");

/// The origins whose pages may call.
#[derive(Debug)]
pub(super) struct Cors {
    origins: Vec<String>,
}

impl Cors {
    /// `origins` as browsers write them: `https://app.example.com`.
    pub(super) const fn new(origins: Vec<String>) -> Self {
        Self { origins }
    }

    /// The request's `Origin`, where its pages may call.
    pub(super) fn allowed(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let mut lines = headers.get_all(ORIGIN).iter();
        let (Some(origin), None) = (lines.next(), lines.next()) else { return None };
        self.origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes()).then(|| origin.clone())
    }

    /// Says to the browser who may read the answer. Caches are told that this depends on the origin, whoever asked.
    pub(super) fn write(&self, headers: &mut HeaderMap, allowed: Option<HeaderValue>) {
        if self.origins.is_empty() {
            return;
        }
        headers.append(VARY, HeaderValue::from_static("Origin"));
        if let Some(origin) = allowed {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        }
    }
}

/// Whether the browser asks for permission before the request itself.
pub(super) fn is_preflight(request: &Request) -> bool {
    *request.method() == Method::OPTIONS && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// Permits what the API knows; whether the path exists is told by the answer to the request itself, which a page can read.
pub(super) fn permission() -> Response {
    Response::builder()
        .status(StatusCode::NO_CONTENT)
        .header(ACCESS_CONTROL_ALLOW_METHODS, METHODS)
        .header(ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED)
        .header(ACCESS_CONTROL_MAX_AGE, MAX_AGE)
        .finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(origins: &[&str], sent: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        for origin in sent {
            headers.append(ORIGIN, origin.parse().unwrap());
        }
        let origins = origins.iter().map(|&origin| origin.to_owned()).collect();
        Cors::new(origins).allowed(&headers).is_some()
    }

    #[test]
    fn an_origin_is_allowed_when_it_is_exactly_one_of_those_configured() {
        let origins = ["https://app.example.com", "http://localhost:5173"];
        for good in origins {
            assert!(allowed(&origins, &[good]), "{good}");
        }
        for bad in [
            "http://app.example.com",
            "https://app.example.com:8443",
            "https://app.example.com.evil.example",
            "https://evil-app.example.com",
            "https://APP.example.com",
            "https://app.example.com/",
            "http://localhost",
            "null",
            "*",
            "",
        ] {
            assert!(!allowed(&origins, &[bad]), "{bad}");
        }
        assert!(!allowed(&origins, &[]));
        assert!(!allowed(&origins, &["https://app.example.com", "https://app.example.com"]));
        assert!(!allowed(&[], &["https://app.example.com"]));
    }

    #[test]
    fn without_origins_no_answer_changes() {
        let mut headers = HeaderMap::new();
        Cors::new(Vec::new()).write(&mut headers, None);
        assert!(headers.is_empty());
    }
}
