//! The failures of an operation, as the published description of the API tells them.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::time::Duration;

use poem_openapi::ApiResponse;
use poem_openapi::registry::{MetaHeader, MetaMediaType, MetaResponse, MetaResponses, Registry};
use serde_json::Value;

use super::render::Form;
use super::{ApiError, ErrorCode, JSON, PROBLEM, schemas};
use crate::http::caller::RequestId;
use crate::http::delivery_id;
use crate::http::docs::answer::Answer;
use crate::http::rates::{RateHeaders, document_header};

/// What one operation can fail with, beyond what the edge answers for all of them.
pub trait DocumentedErrors: Send + Sync + 'static {
    /// The operation's own failures.
    const CODES: &'static [ErrorCode];
    /// Whether the operation reads a body (413, 415, 400).
    const READS_BODY: bool = false;
    /// Whether the operation spends quotas, so that its answers tell how they stand.
    const LIMITED: bool = false;
    /// Whether the edge holds the caller to hosts; only the signed callback is exempt.
    const CHECKS_HOST: bool = true;
}

/// A failure of the operation `O`: an [`ApiError`] that is known to be documented.
pub struct OperationError<O>(ApiError, PhantomData<fn() -> O>);

impl<O: DocumentedErrors> OperationError<O> {
    /// Every failure that the operation's clients can meet.
    fn codes() -> impl Iterator<Item = ErrorCode> {
        let body: &[_] = if O::READS_BODY {
            &[ErrorCode::BadRequest, ErrorCode::PayloadTooLarge, ErrorCode::UnsupportedMediaType]
        } else {
            &[]
        };
        let host: &[_] = if O::CHECKS_HOST { &[ErrorCode::HostNotAllowed] } else { &[] };
        let all = [ErrorCode::RateLimited, ErrorCode::InternalError];
        O::CODES.iter().chain(body).chain(host).copied().chain(all)
    }
}

impl<O: DocumentedErrors> From<ApiError> for OperationError<O> {
    fn from(error: ApiError) -> Self {
        debug_assert!(
            Self::codes().any(|code| code == error.code()),
            "`{error}` is missing from the documented failures of {}",
            std::any::type_name::<O>()
        );
        Self(error, PhantomData)
    }
}

impl<O: DocumentedErrors> From<ErrorCode> for OperationError<O> {
    fn from(code: ErrorCode) -> Self {
        ApiError::new(code).into()
    }
}

impl<O: DocumentedErrors> From<OperationError<O>> for poem::Error {
    fn from(error: OperationError<O>) -> Self {
        error.0.into()
    }
}

impl<O: DocumentedErrors> ApiResponse for OperationError<O> {
    fn meta() -> MetaResponses {
        let mut by_status: BTreeMap<u16, Vec<ErrorCode>> = BTreeMap::new();
        for code in Self::codes() {
            let codes = by_status.entry(code.status().as_u16()).or_default();
            if !codes.contains(&code) {
                codes.push(code);
            }
        }
        MetaResponses {
            responses: by_status
                .into_iter()
                .map(|(status, codes)| response(status, &codes, O::LIMITED))
                .collect(),
        }
    }

    fn register(registry: &mut Registry) {
        schemas::register(registry);
    }
}

fn response(status: u16, codes: &[ErrorCode], limited: bool) -> MetaResponse {
    let media_type = |content_type, name, example| {
        let answer = Answer { description: description(status, codes), example };
        MetaMediaType { content_type, schema: answer.of(name) }
    };
    MetaResponse {
        // The answer has a better one.
        description: "",
        status: Some(status),
        status_range: None,
        content: vec![
            media_type(JSON, schemas::ERROR, example(codes)),
            // The same members and four more, which the schema explains.
            media_type(PROBLEM, schemas::PROBLEM, None),
        ],
        headers: headers(status, codes, limited),
    }
}

/// The body of the first of these failures.
fn example(codes: &[ErrorCode]) -> Option<Value> {
    let error = match *codes.first()? {
        ErrorCode::RateLimited => ApiError::rate_limited(Duration::from_hours(1)),
        ErrorCode::SmsBudgetExhausted => ApiError::sms_budget_exhausted(Duration::from_mins(10)),
        ErrorCode::Overloaded => ApiError::overloaded(Duration::from_secs(2)),
        ErrorCode::Unavailable => ApiError::unavailable(Duration::from_secs(2)),
        code => ApiError::new(code),
    };
    serde_json::from_slice(&error.body(&RequestId::example(), Form::Plain)).ok()
}

fn headers(status: u16, codes: &[ErrorCode], limited: bool) -> Vec<MetaHeader> {
    let mut headers = if limited { RateHeaders::document() } else { Vec::new() };
    if status == 401 {
        headers.push(document_header("WWW-Authenticate", "The challenge of RFC 6750.", "string"));
    }
    if codes.iter().any(|code| code.retryable()) {
        headers.push(document_header("Retry-After", "Seconds to wait, where waiting helps.", "integer"));
    }
    if codes.contains(&ErrorCode::SmsDeliveryFailed) {
        headers.push(delivery_id::document());
    }
    headers
}

/// What happened, and the words that tell it.
fn description(status: u16, codes: &[ErrorCode]) -> String {
    let what = match status {
        400 => "Something is wrong with the request",
        401 => "The token is missing, not valid or expired",
        403 => "The caller is known and may not",
        404 => "There is no such thing",
        409 => "The request conflicts with what is there",
        413 => "The body is too large",
        415 => "The body is not of a type that is read here",
        429 => "A limit is spent",
        500 => "The server failed, or the provider of SMS did",
        503 => "The server cannot answer now",
        _ => "The request failed",
    };
    let words: Vec<_> = codes.iter().map(|code| format!("`{}`", code.as_str())).collect();
    format!("{what}: {}", words.join(", "))
}
