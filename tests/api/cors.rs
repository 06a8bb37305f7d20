//! Web pages of other origins: what a browser is told about calling and reading.

use std::collections::BTreeSet;

use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use crate::support::{Answer, App, PHONE, REQUEST, STATUS, VERIFY};

const PAGE: &str = "https://app.example.com";
const ORIGINS: (&str, &str) =
    ("FRESHK_SERVER__CORS_ORIGINS", "https://app.example.com,http://localhost:5173,capacitor://localhost");
const ALLOWED: &str =
    "Authorization, Content-Type, Idempotency-Key, X-Device-Token, X-Device-Name, Accept-Language";
const EXPOSED: &str =
    "Retry-After, RateLimit, RateLimit-Policy, X-Request-Id, X-Delivery-Id, X-Device-Token, WWW-Authenticate";

/// The headers that speak to a browser, `vary` among them.
fn cors(headers: &HeaderMap) -> Vec<(String, String)> {
    let about = |name: &str| name == "vary" || name.starts_with("access-control-");
    let mut found: Vec<_> = headers
        .iter()
        .filter(|(name, _)| about(name.as_str()))
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    found.sort();
    found
}

fn readable_by(origin: &str) -> Vec<(String, String)> {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    vec![
        pair("access-control-allow-origin", origin),
        pair("access-control-expose-headers", EXPOSED),
        pair("vary", "Origin"),
    ]
}

async fn preflight(app: &App, origin: &str, path: &str, method: &str) -> Answer {
    let request = app
        .build(Method::OPTIONS, path)
        .header("origin", origin)
        .header("access-control-request-method", method)
        .header("access-control-request-headers", "authorization,content-type,idempotency-key");
    Answer::of(request).await
}

#[tokio::test]
async fn a_page_of_a_named_origin_logs_in_and_reads_every_answer() {
    let app = App::with(&[ORIGINS]).await;
    for origin in [PAGE, "http://localhost:5173", "capacitor://localhost"] {
        let permitted = preflight(&app, origin, VERIFY, "POST").await;
        assert_eq!((permitted.status, permitted.text.as_str()), (204, ""));
        assert_eq!(permitted.header("access-control-allow-origin"), origin);
        assert_eq!(permitted.header("access-control-allow-headers"), ALLOWED);
        assert_eq!(permitted.header("access-control-max-age"), "7200");
        assert_eq!(permitted.header("vary"), "Origin");
        assert!(permitted.headers.get("access-control-allow-credentials").is_none());
        assert!(!permitted.header("x-request-id").is_empty());
    }
    let call = |path: &str, body: Value| app.build(Method::POST, path).header("origin", PAGE).json(&body);
    let sent = Answer::of(call(REQUEST, json!({ "phone_number": PHONE }))).await;
    assert_eq!((sent.status, cors(&sent.headers)), (200, readable_by(PAGE)));
    let login = Answer::of(call(VERIFY, json!({ "phone_number": PHONE, "otp": app.code(PHONE) }))).await;
    assert_eq!((login.status, cors(&login.headers)), (200, readable_by(PAGE)));
}

#[tokio::test]
async fn errors_are_readable_wherever_they_arise() {
    let app = App::with(&[
        ORIGINS,
        ("ALLOWED_HOSTS", "api.example.com"),
        ("FRESHK_LIMITS__FLOOD_PER_SECOND", "1"),
        ("FRESHK_LIMITS__FLOOD_BURST", "7"),
    ])
    .await;
    let build =
        |method, path| app.build(method, path).header("origin", PAGE).header("host", "api.example.com");
    let large =
        build(Method::POST, REQUEST).header("content-type", "application/json").body(vec![b' '; 20_000]);
    for (request, code) in [
        (app.build(Method::GET, STATUS).header("origin", PAGE), "host_not_allowed"),
        (build(Method::GET, "/nothing/"), "not_found"),
        (build(Method::PUT, STATUS), "method_not_allowed"),
        (large, "payload_too_large"),
        (build(Method::POST, REQUEST).body("x"), "unsupported_media_type"),
        (build(Method::POST, REQUEST).json(&json!({})), "bad_request"),
        (build(Method::GET, STATUS), "not_authenticated"),
        (build(Method::GET, STATUS), "rate_limited"),
    ] {
        let answer = Answer::of(request).await;
        assert_eq!(answer.code(), code);
        assert_eq!(cors(&answer.headers), readable_by(PAGE), "{code}");
    }
    for _ in 0..20 {
        let permitted = preflight(&app, PAGE, STATUS, "GET").await;
        assert_eq!(permitted.status, 204, "a page could not read that it calls too fast");
    }
}

#[tokio::test]
async fn s18_a_page_of_any_other_origin_reads_nothing_and_caches_are_told() {
    let app = App::with(&[ORIGINS]).await;
    let vary = vec![("vary".to_owned(), "Origin".to_owned())];
    for origin in
        ["https://evil.example", "https://app.example.com.evil.example", "https://APP.example.com", "null"]
    {
        let refused = preflight(&app, origin, STATUS, "GET").await;
        assert_eq!((refused.status, refused.code().as_str()), (405, "method_not_allowed"), "{origin}");
        assert_eq!(cors(&refused.headers), vary, "{origin}");
        let answer = Answer::of(app.build(Method::GET, STATUS).header("origin", origin)).await;
        assert_eq!((answer.status, cors(&answer.headers)), (401, vary.clone()), "{origin}");
    }
    let app_without_a_page = Answer::of(app.build(Method::GET, STATUS)).await;
    assert_eq!(cors(&app_without_a_page.headers), vary);
    let no_preflight = Answer::of(app.build(Method::OPTIONS, STATUS).header("origin", PAGE)).await;
    assert_eq!(no_preflight.status, 405);
}

#[tokio::test]
async fn without_origins_no_answer_speaks_to_browsers() {
    let app = App::start().await;
    let refused = preflight(&app, PAGE, STATUS, "GET").await;
    assert_eq!((refused.status, cors(&refused.headers)), (405, vec![]));
    let answer = Answer::of(app.build(Method::GET, STATUS).header("origin", PAGE)).await;
    assert_eq!((answer.status, cors(&answer.headers)), (401, vec![]));
}

#[tokio::test]
async fn every_method_of_the_description_is_permitted() {
    let app = App::with(&[ORIGINS]).await;
    let permitted = preflight(&app, PAGE, STATUS, "GET").await;
    let permitted: BTreeSet<_> = permitted.header("access-control-allow-methods").split(", ").collect();
    let document = Answer::of(app.build(Method::GET, "/openapi.json")).await.json();
    let paths = document["paths"].as_object().unwrap();
    for method in paths.values().flat_map(|path| path.as_object().unwrap().keys()) {
        assert!(permitted.contains(method.to_uppercase().as_str()), "{method}");
    }
}
