//! The failures of an operation, as the published description of the API tells them.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use poem_openapi::registry::{
    MetaHeader, MetaMediaType, MetaResponse, MetaResponses, MetaSchema, MetaSchemaRef, Registry,
};
use poem_openapi::types::Type;
use poem_openapi::{ApiResponse, Object};

use super::{ApiError, ErrorCode, JSON, PROBLEM};
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
        Error::register(registry);
        Problem::register(registry);
    }
}

/// What went wrong.
#[derive(Object)]
#[oai(read_only_all)]
#[expect(clippy::struct_field_names, reason = "the contract names the member")]
struct Error {
    /// A sentence for a person.
    error: String,
    /// A stable word to branch on.
    code: String,
    /// Seconds after which the request may succeed; waiting just that long is enough.
    #[oai(skip_serializing_if_is_none)]
    retry_after: Option<u64>,
    /// The answer's `X-Request-Id`, for the operator's log.
    request_id: String,
}

/// What went wrong, as RFC 9457 writes it.
#[derive(Object)]
#[oai(read_only_all)]
struct Problem {
    /// A sentence for a person.
    error: String,
    /// A stable word to branch on.
    code: String,
    /// Seconds after which the request may succeed; waiting just that long is enough.
    #[oai(skip_serializing_if_is_none)]
    retry_after: Option<u64>,
    /// The answer's `X-Request-Id`, for the operator's log.
    request_id: String,
    /// `about:blank`: the status says it all.
    r#type: String,
    /// The status in words.
    title: String,
    /// The status.
    status: u16,
    /// The same sentence as `error`.
    detail: String,
}

fn response(status: u16, codes: &[ErrorCode], limited: bool) -> MetaResponse {
    MetaResponse {
        description: description(status),
        status: Some(status),
        status_range: None,
        content: vec![
            MetaMediaType { content_type: JSON, schema: narrowed(Error::schema_ref(), codes) },
            MetaMediaType { content_type: PROBLEM, schema: narrowed(Problem::schema_ref(), codes) },
        ],
        headers: headers(status, codes, limited),
    }
}

/// The schema with only those words that this status can come with.
fn narrowed(schema: MetaSchemaRef, codes: &[ErrorCode]) -> MetaSchemaRef {
    let words = codes.iter().map(|code| code.as_str().into()).collect();
    let code = MetaSchema { enum_items: words, ..MetaSchema::new("string") };
    let only = MetaSchema {
        properties: vec![("code", MetaSchemaRef::Inline(Box::new(code)))],
        ..MetaSchema::new("object")
    };
    let all_of = vec![schema, MetaSchemaRef::Inline(Box::new(only))];
    MetaSchemaRef::Inline(Box::new(MetaSchema { all_of, ..MetaSchema::ANY }))
}

fn headers(status: u16, codes: &[ErrorCode], limited: bool) -> Vec<MetaHeader> {
    let mut headers = if limited { RateHeaders::document() } else { Vec::new() };
    if status == 401 {
        headers.push(document_header("WWW-Authenticate", "The challenge of RFC 6750.", "string"));
    }
    if codes.iter().any(|code| code.retryable()) {
        headers.push(document_header("Retry-After", "Seconds to wait, where waiting helps.", "integer"));
    }
    headers
}

const fn description(status: u16) -> &'static str {
    match status {
        400 => "Something is wrong with the request.",
        401 => "The token is missing, not valid or expired.",
        403 => "The caller is known and may not.",
        404 => "There is no such thing.",
        413 => "The body is too large.",
        415 => "The body is not of a type that is read here.",
        429 => "A limit is spent.",
        500 => "The fault is ours, or our SMS provider's.",
        503 => "Not now.",
        _ => "The request failed.",
    }
}
