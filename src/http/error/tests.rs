use super::*;
use crate::http::caller::RequestId;
use poem::Response;
use poem::http::HeaderMap;
use poem::http::header::ACCEPT;
use std::collections::HashSet;

async fn render(error: &ApiError, accept: &str) -> (Response, serde_json::Value) {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, accept.parse().unwrap());
    let mut response = error.render(&RequestId::example(), Form::preferred(&headers));
    let body = response.take_body().into_bytes().await.unwrap();
    (response, serde_json::from_slice(&body).unwrap())
}

#[tokio::test]
async fn the_guides_answers_read_as_the_guide_writes_them() {
    let sentence = async |error: ApiError| render(&error, "*/*").await.1["error"].clone();
    assert_eq!(
        sentence(ErrorCode::InvalidPhoneNumber.into()).await,
        "Invalid phone number format. Please use international format (+1234567890)"
    );
    assert_eq!(sentence(ErrorCode::InvalidOtp.into()).await, "Invalid or expired OTP");
    assert_eq!(sentence(ErrorCode::UserNotFound.into()).await, "No user found with this phone number");
    assert_eq!(
        sentence(ApiError::sms_delivery_failed(None, None)).await,
        "SMS delivery failed. Please try again later."
    );
    assert_eq!(
        sentence(ApiError::rate_limited(Duration::from_mins(59))).await,
        "Too many requests. Please try again in 59 minutes."
    );
}

#[tokio::test]
async fn a_wait_is_told_in_whole_seconds_rounded_up_and_never_zero() {
    for (millis, seconds) in [(0, 1), (1, 1), (1000, 1), (1001, 2)] {
        for error in [
            ApiError::rate_limited(Duration::from_millis(millis)),
            ApiError::overloaded(Duration::from_millis(millis)),
            ApiError::unavailable(Duration::from_millis(millis)),
        ] {
            let (response, body) = render(&error, "*/*").await;
            assert_eq!(body["retry_after"], seconds);
            assert_eq!(response.header("retry-after"), Some(seconds.to_string().as_str()));
        }
    }
    let (response, body) = render(&ErrorCode::InvalidOtp.into(), "*/*").await;
    assert_eq!((response.header("retry-after"), body.get("retry_after")), (None, None));
}

#[tokio::test]
async fn s18_unauthorised_answers_carry_the_challenge() {
    for (code, challenge) in [
        (ErrorCode::NotAuthenticated, "Bearer realm=\"freshk\""),
        (
            ErrorCode::TokenInvalid,
            "Bearer realm=\"freshk\", error=\"invalid_token\", error_description=\"The token is not valid\"",
        ),
        (
            ErrorCode::TokenExpired,
            "Bearer realm=\"freshk\", error=\"invalid_token\", error_description=\"The token has expired\"",
        ),
    ] {
        let (response, _) = render(&code.into(), "*/*").await;
        assert_eq!(response.header("www-authenticate"), Some(challenge));
    }
}

#[tokio::test]
async fn both_forms_have_the_same_members_and_a_problem_has_more() {
    let error = ApiError::rate_limited(Duration::from_mins(1));
    let (response, body) = render(&error, "application/json").await;
    assert_eq!(response.header("content-type"), Some("application/json; charset=utf-8"));
    assert_eq!(
        body,
        serde_json::json!({
            "error": "Too many requests. Please try again in 1 minute.",
            "code": "rate_limited",
            "retry_after": 60,
            "request_id": RequestId::example().as_str(),
        })
    );
    let (response, body) = render(&error, "application/problem+json").await;
    assert_eq!(response.header("content-type"), Some("application/problem+json"));
    assert_eq!(
        body,
        serde_json::json!({
            "error": "Too many requests. Please try again in 1 minute.",
            "code": "rate_limited",
            "retry_after": 60,
            "request_id": RequestId::example().as_str(),
            "type": "about:blank",
            "title": "Too Many Requests",
            "status": 429,
            "detail": "Too many requests. Please try again in 1 minute.",
        })
    );
}

#[test]
fn words_are_unique_and_made_of_lower_case() {
    let words: HashSet<_> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(words.len(), ErrorCode::ALL.len());
    assert!(words.iter().all(|word| word.bytes().all(|b| b == b'_' || b.is_ascii_lowercase())));
    assert!(ErrorCode::ALL.iter().all(|code| code.status().as_u16() >= 400));
}
