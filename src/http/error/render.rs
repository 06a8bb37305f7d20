//! From a failure to bytes: headers, and a body of the type that the client prefers.

use poem::Response;
use poem::error::ResponseError;
use poem::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use poem::http::{HeaderMap, HeaderValue, StatusCode};
use serde::Serialize;

use super::{ApiError, ErrorCode, JSON, PROBLEM};
use crate::domain::time::seconds_up;
use crate::http::accept;
use crate::http::caller::RequestId;
use crate::http::delivery_id;

/// The members of both forms; those of RFC 9457 are absent from the plain one.
#[derive(Serialize)]
struct ErrorBody<'a> {
    error: &'a str,
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
    request_id: &'a str,
    #[serde(flatten)]
    problem: Option<Problem<'a>>,
}

#[derive(Serialize)]
struct Problem<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: &'a str,
}

impl ApiError {
    /// The answer to the request that `request_id` names.
    pub(crate) fn render(&self, request_id: &RequestId, form: Form) -> Response {
        let media_type = if form == Form::Problem { PROBLEM } else { JSON };
        let mut response = Response::builder()
            .status(self.code().status())
            .header(CONTENT_TYPE, media_type)
            .body(self.body(request_id, form));
        self.write_headers(response.headers_mut());
        response
    }

    /// The body of that answer.
    pub(super) fn body(&self, request_id: &RequestId, form: Form) -> Vec<u8> {
        let status = self.code().status();
        let problem = (form == Form::Problem).then(|| Problem {
            // RFC 9457 §4.2.1: then the title is the status's own.
            r#type: "about:blank",
            title: status.canonical_reason().unwrap_or_default(),
            status: status.as_u16(),
            detail: &self.sentence,
        });
        let body = ErrorBody {
            error: &self.sentence,
            code: self.code().as_str(),
            retry_after: self.wait(),
            request_id: request_id.as_str(),
            problem,
        };
        // Strings and numbers always serialise; an empty body is still an answer.
        serde_json::to_vec(&body).unwrap_or_default()
    }

    fn write_headers(&self, headers: &mut HeaderMap) {
        if let Some(seconds) = self.wait() {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(challenge) = self.challenge() {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if let Some(allow) = self.allow.as_deref().and_then(|allow| HeaderValue::from_str(allow).ok()) {
            headers.insert(ALLOW, allow);
        }
        self.rates.write(headers);
        delivery_id::write(self.delivery.as_ref(), headers);
    }

    /// Whole seconds, rounded up, and at least one: a client told 0 comes back at once.
    fn wait(&self) -> Option<u64> {
        self.retry_after.map(|wait| seconds_up(wait).max(1))
    }

    /// RFC 6750 §3: without a token the challenge names no error.
    fn challenge(&self) -> Option<&'static str> {
        (self.code.status() == StatusCode::UNAUTHORIZED).then_some(match self.code {
            ErrorCode::TokenInvalid => {
                "Bearer realm=\"freshk\", error=\"invalid_token\", error_description=\"The token is not valid\""
            }
            ErrorCode::TokenExpired => {
                "Bearer realm=\"freshk\", error=\"invalid_token\", error_description=\"The token has expired\""
            }
            ErrorCode::TokenReused => {
                "Bearer realm=\"freshk\", error=\"invalid_token\", error_description=\"The token was used before\""
            }
            _ => "Bearer realm=\"freshk\"",
        })
    }
}

/// The two forms of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// `application/json`
    Plain,
    /// `application/problem+json`
    Problem,
}

impl Form {
    /// The form that `Accept` prefers: a problem only where that is asked for.
    pub(crate) fn preferred(headers: &HeaderMap) -> Self {
        let form = accept::preferred(headers, |range| {
            if range.is(PROBLEM) {
                Some(Self::Problem)
            } else {
                range.is("application/json").then_some(Self::Plain)
            }
        });
        form.unwrap_or(Self::Plain)
    }
}

/// Lets the edge find the failure again by its type; the edge renders it, with the request's id.
impl ResponseError for ApiError {
    fn status(&self) -> StatusCode {
        self.code().status()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use poem::http::header::ACCEPT;

    #[test]
    fn the_accept_header_chooses_the_form() {
        for (accept, problem) in [
            ("", false),
            ("*/*", false),
            ("application/json", false),
            ("application/problem+json", true),
            ("Application/Problem+JSON", true),
            ("application/problem+json, */*", true),
            ("application/problem+json, application/json", true),
            ("application/json, application/problem+json", false),
            ("application/json;q=0.5, application/problem+json;q=0.9", true),
            ("application/problem+json;q=0", false),
            ("application/problem+json;q=nonsense", false),
            ("application/problem+json;q=NaN, application/json", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_static(accept));
            assert_eq!(Form::preferred(&headers) == Form::Problem, problem, "{accept}");
        }
    }
}
