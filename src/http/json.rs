//! JSON answers.

use poem::http::StatusCode;
use poem::{IntoResponse, Response};
use poem_openapi::ApiResponse;
use poem_openapi::payload::{Json, Payload};
use poem_openapi::registry::{MetaResponses, Registry};
use poem_openapi::types::{ToJSON, Type};
use serde::Serialize;

/// 200 with a JSON body, described like the framework's own. It is written as it is serialized, where the framework's becomes a
/// tree of values first, which takes as many allocations as all the rest of a `status/`.
#[derive(Debug)]
pub struct JsonAnswer<T>(pub T);

impl<T: Type + Serialize + Send> IntoResponse for JsonAnswer<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(body) => Response::builder().content_type(Json::<T>::CONTENT_TYPE).body(body),
            Err(error) => {
                tracing::error!(%error, "an answer could not be written");
                StatusCode::INTERNAL_SERVER_ERROR.into()
            }
        }
    }
}

impl<T: ToJSON + Serialize> ApiResponse for JsonAnswer<T> {
    fn meta() -> MetaResponses {
        Json::<T>::meta()
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}
