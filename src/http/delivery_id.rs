//! The `X-Delivery-Id` header: what finds the state of a code's delivery.

use poem::http::{HeaderMap, HeaderName, HeaderValue};
use poem::{IntoResponse, Response};
use poem_openapi::ApiResponse;
use poem_openapi::registry::{MetaHeader, MetaResponses, Registry};

use super::rates::document_header;
use crate::domain::DeliveryId;

const DELIVERY_ID: HeaderName = HeaderName::from_static("x-delivery-id");

/// Writes the header, where there is an id.
pub(super) fn write(id: Option<&DeliveryId>, headers: &mut HeaderMap) {
    if let Some(value) = id.and_then(|id| HeaderValue::try_from(id.as_str()).ok()) {
        headers.insert(DELIVERY_ID, value);
    }
}

/// The header, for the description of the API.
pub(super) fn document() -> MetaHeader {
    document_header(
        "X-Delivery-Id",
        "What `production/delivery/` answers to: asks how far this code has come.",
        "string",
    )
}

/// An answer, and with it what finds the state of the code's delivery.
#[derive(Debug)]
pub struct WithDeliveryId<R> {
    answer: R,
    id: Option<DeliveryId>,
}

impl<R> WithDeliveryId<R> {
    /// `answer`, with `id`.
    pub const fn new(answer: R, id: Option<DeliveryId>) -> Self {
        Self { answer, id }
    }

    /// The answer alone.
    pub fn into_answer(self) -> R {
        self.answer
    }
}

impl<R: IntoResponse> IntoResponse for WithDeliveryId<R> {
    fn into_response(self) -> Response {
        let mut response = self.answer.into_response();
        write(self.id.as_ref(), response.headers_mut());
        response
    }
}

impl<R: ApiResponse> ApiResponse for WithDeliveryId<R> {
    fn meta() -> MetaResponses {
        let mut meta = R::meta();
        for response in &mut meta.responses {
            response.headers.push(document());
        }
        meta
    }

    fn register(registry: &mut Registry) {
        R::register(registry);
    }
}
