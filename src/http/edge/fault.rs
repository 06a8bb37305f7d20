//! Translates errors of handlers and of the framework into the table of failures: by type, never by text, because the
//! texts of the framework contain type names of ours.

use poem::Error;
use poem::error::{MethodNotAllowedError, NotFoundError, ReadBodyError, ResponseError};
use poem::http::StatusCode;
use poem_openapi::error::{
    AuthorizationError, ContentTypeError, ParseParamError, ParsePathError, ParseRequestPayloadError,
};

use crate::http::error::{ApiError, ErrorCode};

/// Why a request has no answer from its handler.
#[derive(Debug)]
pub(super) enum Fault {
    /// The client is told.
    Told(ApiError),
    /// The client has gone, or does not send its body.
    Abandoned,
}

impl From<ApiError> for Fault {
    fn from(error: ApiError) -> Self {
        Self::Told(error)
    }
}

impl From<ErrorCode> for Fault {
    fn from(code: ErrorCode) -> Self {
        Self::Told(code.into())
    }
}

/// The client never sent its body: the connection is dropped without an answer.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the client did not send its body")]
pub(in crate::http) struct Abandoned;

impl ResponseError for Abandoned {
    fn status(&self) -> StatusCode {
        StatusCode::REQUEST_TIMEOUT
    }
}

/// Reads an error of a handler or of the framework.
pub(super) fn read(error: &Error) -> Fault {
    if let Some(error) = error.downcast_ref::<ApiError>() {
        error.clone().into()
    } else if error.is::<NotFoundError>() || error.is::<ParsePathError>() {
        ErrorCode::NotFound.into()
    } else if error.is::<MethodNotAllowedError>() {
        ErrorCode::MethodNotAllowed.into()
    } else if error.is::<AuthorizationError>() {
        ErrorCode::NotAuthenticated.into()
    } else if error.is::<ContentTypeError>() {
        ErrorCode::UnsupportedMediaType.into()
    } else if error.is::<ParseRequestPayloadError>() {
        ErrorCode::BadRequest.into()
    } else if let Some(parameter) = error.downcast_ref::<ParseParamError>() {
        ApiError::bad_request(format!("The parameter {} is missing or not valid.", parameter.name)).into()
    } else if let Some(ReadBodyError::PayloadTooLarge) = error.downcast_ref::<ReadBodyError>() {
        ErrorCode::PayloadTooLarge.into()
    } else {
        tracing::error!(error = ?error, "a request failed with an error of an unknown type");
        ErrorCode::InternalError.into()
    }
}
