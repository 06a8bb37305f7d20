//! What answers look like.

use poem_openapi::types::{Example, ToJSON};
use serde::Serialize;
use serde_json::{Value, json};

use super::account_schemas::{DeletionResponse, ExportResponse};
use super::delivery_schemas::DeliveryResponse;
use super::number::PhoneChangeResponse;
use super::schemas::{
    LoginResponse, MessageResponse, OtpResentResponse, OtpSentResponse, SessionListResponse, StatusResponse,
    TokenPair, TokenVerifyResponse,
};

/// As the description of the API has it, and as it is written.
fn both<T: Example + ToJSON + Serialize>() -> (Option<Value>, Value) {
    let example = T::example();
    (example.to_json(), json!(example))
}

#[test]
fn answers_are_written_as_they_are_described() {
    let answers = [
        both::<OtpSentResponse>(),
        both::<OtpResentResponse>(),
        both::<LoginResponse>(),
        both::<StatusResponse>(),
        both::<TokenPair>(),
        both::<TokenVerifyResponse>(),
        both::<MessageResponse>(),
        both::<SessionListResponse>(),
        both::<DeletionResponse>(),
        both::<ExportResponse>(),
        both::<DeliveryResponse>(),
        both::<PhoneChangeResponse>(),
    ];
    for (described, written) in answers {
        assert_eq!(described.map(|it| it.to_string()), Some(written.to_string()), "names, and their order");
    }
}
