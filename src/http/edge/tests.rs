use super::*;
use crate::clock::ManualClock;
use crate::http::tests::demo::Demo;
use crate::random::SeededRandom;
use hyper::header::HeaderName;
use poem::http::StatusCode;
use poem::{Body, RequestBuilder};
use serde_json::{Value, json};
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

const KEYS: &str = r#"{"keys":[]}"#;

fn settings() -> EdgeSettings {
    EdgeSettings {
        debug: false,
        allowed_hosts: vec!["api.example.com".to_owned()],
        cors_origins: Vec::new(),
        body_limit: 64,
        request_timeout: Duration::from_secs(10),
        unfinished_bodies: 2,
        docs: true,
        callbacks: ("/api/mobile/auth/", "callback"),
    }
}

fn edge_with(flood: FloodGuard, readiness: Readiness) -> impl Endpoint<Output = Response> {
    let header = HeaderName::from_static("x-forwarded-for");
    let trusted = vec!["10.0.0.0/8".parse().unwrap()];
    let (clock, metrics) = (Arc::new(ManualClock::new()), Metrics::new());
    let client_ip = ClientIp::new(trusted, header, clock.clone(), metrics.clone());
    let parts = EdgeParts {
        random: Arc::new(SeededRandom::new(1)),
        clock,
        flood,
        client_ip,
        readiness,
        jwks: Some(Arc::new(|| KEYS.to_owned())),
        metrics,
    };
    assemble(Demo::default(), (), parts, settings())
}

fn edge() -> impl Endpoint<Output = Response> {
    edge_with(Arc::new(|_| Box::pin(async { None })), Arc::new(|| Box::pin(async { true })))
}

fn request(method: Method, path: &str) -> RequestBuilder {
    Request::builder()
        .method(method)
        .uri(path.parse().unwrap())
        .header("host", "api.example.com")
        .extension(PeerAddress("10.0.0.1".parse().unwrap()))
}

fn echo() -> RequestBuilder {
    request(Method::POST, "/api/mobile/auth/echo/").content_type("application/json")
}

/// Sends; what every answer must have is asserted here.
async fn send(edge: &impl Endpoint<Output = Response>, request: Request) -> (Response, Value) {
    let mut response = edge.call(request).await.unwrap();
    let body: Value = serde_json::from_slice(&response.take_body().into_bytes().await.unwrap()).unwrap();
    let id = response.header("x-request-id").unwrap();
    assert_eq!(id.len(), 32);
    assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(response.header("server"), None);
    assert!(response.header("cache-control").is_some());
    if !response.status().is_success() {
        assert_eq!(body["request_id"], *id);
        assert!(body["error"].is_string());
    }
    (response, body)
}

async fn code(request: Request) -> (u16, String) {
    let (response, body) = send(&edge(), request).await;
    (response.status().as_u16(), body["code"].as_str().unwrap_or_default().to_owned())
}

fn told(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

#[tokio::test]
async fn both_forms_of_a_path_answer_and_nothing_redirects() {
    for path in ["/api/mobile/auth/echo/", "/api/mobile/auth/echo", "/api/mobile/auth/echo/?x=1"] {
        let request = request(Method::POST, path)
            .header("authorization", "Bearer token")
            .content_type("application/json")
            .body(r#"{"phone_number":"+1234567890"}"#);
        let (response, body) = send(&edge(), request).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        assert_eq!(body, json!({"text": "+1234567890"}));
        assert_eq!(response.header("cache-control"), Some("no-store"));
        assert_eq!(response.header("ratelimit-policy"), Some("\"otp-ip\";q=5;w=3600"));
        assert_eq!(response.header("ratelimit"), Some("\"otp-ip\";r=4;t=3600"));
    }
    for path in [
        "/",
        "/api/mobile/auth/echo//",
        "//api/mobile/auth/echo",
        "/api/mobile/auth/%65cho/",
        "/api/mobile/auth/x/../echo/",
    ] {
        let request = request(Method::POST, path).finish();
        assert_eq!(code(request).await, told(404, "not_found"), "{path}");
    }
}

#[tokio::test]
async fn public_keys_may_be_cached() {
    let (response, body) = send(&edge(), request(Method::GET, "/.well-known/jwks.json").finish()).await;
    assert_eq!(body, json!({"keys": []}));
    assert_eq!(response.header("content-type"), Some("application/jwk-set+json"));
    assert_eq!(response.header("cache-control"), Some("public, max-age=300"));
}

#[tokio::test]
async fn the_first_fault_wins() {
    let huge = "x".repeat(65);
    let slow: FloodGuard = Arc::new(|_| Box::pin(async { Some(Duration::from_millis(1500)) }));
    let refusing = edge_with(slow, Arc::new(|| Box::pin(async { true })));
    let (response, body) =
        send(&refusing, request(Method::GET, "/nowhere").header("host", "b").finish()).await;
    assert_eq!(response.header("retry-after"), Some("2"));
    assert_eq!(body["code"], "rate_limited");

    let other_host =
        Request::builder().header("host", "evil.example").uri("/nowhere".parse().unwrap()).finish();
    assert_eq!(code(other_host).await, told(400, "host_not_allowed"));
    assert_eq!(code(request(Method::POST, "/nowhere").body(huge.clone())).await, told(404, "not_found"));
    assert_eq!(
        code(request(Method::PUT, "/api/mobile/auth/echo/").body(huge.clone())).await,
        told(405, "method_not_allowed")
    );
    let untyped = request(Method::POST, "/api/mobile/auth/echo/");
    assert_eq!(code(untyped.body(huge)).await, told(413, "payload_too_large"));
    let untyped = request(Method::POST, "/api/mobile/auth/echo/");
    assert_eq!(code(untyped.body("garbage")).await, told(415, "unsupported_media_type"));
    assert_eq!(code(echo().body("garbage")).await, told(401, "not_authenticated"));
    assert_eq!(
        code(echo().header("authorization", "Bearer").body("garbage")).await,
        told(401, "token_invalid")
    );
    let known = || echo().header("authorization", "Bearer token");
    assert_eq!(code(known().body("garbage")).await, told(400, "bad_request"));
    assert_eq!(code(known().finish()).await, told(400, "bad_request"));
    assert_eq!(code(known().body(r#"{"phone_number":"bad"}"#)).await, told(400, "invalid_phone_number"));
}

#[tokio::test]
async fn s11_a_body_is_capped_whether_or_not_it_announces_its_length() {
    let chunks = || futures_util::stream::iter((0..1000).map(|_| Ok::<_, io::Error>(vec![b' '; 10])));
    assert_eq!(code(echo().body(Body::from_bytes_stream(chunks()))).await, told(413, "payload_too_large"));
    let never = futures_util::stream::pending::<io::Result<Vec<u8>>>();
    let announced = echo().header("content-length", "65").body(Body::from_bytes_stream(never));
    assert_eq!(code(announced).await, told(413, "payload_too_large"));
    assert_eq!(code(echo().body(vec![b' '; 64])).await, told(401, "not_authenticated"));
}

#[tokio::test]
async fn wrong_methods_are_told_the_right_ones() {
    for (method, path, allow) in [
        (Method::GET, "/api/mobile/auth/echo/", "POST"),
        (Method::HEAD, "/api/mobile/auth/echo/", "POST"),
        (Method::OPTIONS, "/api/mobile/auth/echo", "POST"),
        (Method::POST, "/api/mobile/auth/things/7/", "DELETE, GET, HEAD"),
        (Method::POST, "/health/live", "GET, HEAD"),
        (Method::from_bytes(b"BREW").unwrap(), "/docs", "GET, HEAD"),
    ] {
        let (response, body) = send(&edge(), request(method, path).finish()).await;
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(response.header("allow"), Some(allow));
        assert_eq!(body["code"], "method_not_allowed");
    }
}

#[tokio::test]
async fn paths_with_parameters_are_found_and_bad_parameters_are_not() {
    let text = async |path| send(&edge(), request(Method::GET, path).finish()).await.1["text"].clone();
    assert_eq!(text("/api/mobile/auth/things/7/").await, "7");
    assert_eq!(text("/api/mobile/auth/things/7").await, "7");
    for path in ["/api/mobile/auth/things/x/", "/api/mobile/auth/things//", "/api/mobile/auth/things/7/8"] {
        assert_eq!(code(request(Method::GET, path).finish()).await, told(404, "not_found"), "{path}");
    }
    let head = edge().call(request(Method::HEAD, "/api/mobile/auth/things/7/").finish()).await.unwrap();
    assert_eq!(head.status(), StatusCode::OK);
}

#[tokio::test]
async fn s12_handlers_see_the_client_and_the_name_of_the_request() {
    let request = request(Method::GET, "/api/mobile/auth/whoami/")
        .header("x-forwarded-for", "203.0.113.7")
        .header("x-request-id", "chosen by the client")
        .header("user-agent", "FreshK/1.0")
        .finish();
    let (response, body) = send(&edge(), request).await;
    let id = response.header("x-request-id").unwrap();
    assert_eq!(body["text"], format!("203.0.113.7 {id} \"FreshK/1.0\""));
}

/// A guard that counts whom it was asked about, and refuses after so many.
fn counting(most: usize) -> (Arc<AtomicUsize>, FloodGuard) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let guard = move |_| -> BoxFuture<'static, Option<Duration>> {
        let is_refused = count.fetch_add(1, Ordering::Relaxed) >= most;
        Box::pin(async move { is_refused.then_some(Duration::from_secs(7)) })
    };
    (asked, Arc::new(guard))
}

#[tokio::test]
async fn s13_health_and_the_callback_skip_the_host_check_and_the_callback_the_flood_guard() {
    let (asked, flood) = counting(usize::MAX);
    let edge = edge_with(flood, Arc::new(|| Box::pin(async { true })));
    let from = |method, path: &str| {
        Request::builder().method(method).uri(path.parse().unwrap()).header("host", "10.1.2.3").finish()
    };
    for path in ["/api/mobile/auth/callback/", "/api/mobile/auth/callback"] {
        assert_eq!(send(&edge, from(Method::POST, path)).await.0.status(), StatusCode::OK);
    }
    assert_eq!(asked.load(Ordering::Relaxed), 0);
    for path in ["/health/live", "/health/live/", "/health/ready"] {
        let (response, body) = send(&edge, from(Method::GET, path)).await;
        assert_eq!((response.status(), body), (StatusCode::OK, json!({"status": "ok"})));
    }
    assert_eq!(asked.load(Ordering::Relaxed), 3);
    let get = send(&edge, from(Method::GET, "/api/mobile/auth/callback/")).await;
    assert_eq!(get.1["code"], "host_not_allowed", "a GET there is no callback");
    assert_eq!(asked.load(Ordering::Relaxed), 4);
}

#[tokio::test]
async fn a_callback_that_is_refused_counts_against_the_pace_and_a_good_one_never_does() {
    let (asked, flood) = counting(2);
    let edge = edge_with(flood, Arc::new(|| Box::pin(async { true })));
    let callback = |query: &str| {
        let path = format!("/api/mobile/auth/callback/{query}");
        Request::builder().method(Method::POST).uri(path.parse().unwrap()).finish()
    };
    for expected in ["bad_signature", "bad_signature", "rate_limited", "rate_limited"] {
        let (response, body) = send(&edge, callback("?forged=true")).await;
        assert_eq!(body["code"], expected);
        assert_eq!(response.header("retry-after").is_some(), expected == "rate_limited");
        let (response, _) = send(&edge, callback("")).await;
        assert_eq!(response.status(), StatusCode::OK, "whatever others forged");
    }
    assert_eq!(asked.load(Ordering::Relaxed), 4);
}

#[tokio::test]
async fn s40_of_one_client_so_many_bodies_are_under_way_at_once() {
    let edge = edge();
    let from = |client: &str, body: Body| {
        let request = echo().header("authorization", "Bearer token").header("x-forwarded-for", client);
        edge.call(request.body(body))
    };
    let never = || Body::from_bytes_stream(futures_util::stream::pending::<io::Result<Vec<u8>>>());
    let mut held = [from("203.0.113.7", never()).boxed(), from("203.0.113.7", never()).boxed()];
    for unfinished in &mut held {
        assert!(futures_util::poll!(unfinished).is_pending());
    }
    let good = || Body::from(r#"{"phone_number":"+1"}"#);
    let refused = from("203.0.113.7", good()).await.unwrap();
    assert_eq!((refused.status().as_u16(), refused.header("retry-after")), (429, Some("10")));
    assert_eq!(from("203.0.113.8", good()).await.unwrap().status(), StatusCode::OK, "another client");
    drop(held);
    assert_eq!(from("203.0.113.7", good()).await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn a_process_that_cannot_serve_is_not_ready_but_alive() {
    let edge = edge_with(Arc::new(|_| Box::pin(async { None })), Arc::new(|| Box::pin(async { false })));
    let (response, body) = send(&edge, request(Method::GET, "/health/ready").finish()).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(body["code"], "unavailable");
    assert!(response.header("retry-after").is_some());
    assert_eq!(send(&edge, request(Method::GET, "/health/live").finish()).await.0.status(), StatusCode::OK);
}

#[tokio::test]
async fn the_documents_are_served() {
    for path in ["/docs", "/docs/", "/openapi.json", "/openapi.yaml"] {
        let response = edge().call(request(Method::GET, path).finish()).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        assert_eq!(response.header("content-security-policy").is_some(), path.starts_with("/docs"));
    }
}

#[tokio::test]
async fn problems_are_told_as_problems_to_those_who_ask() {
    let request = request(Method::GET, "/nowhere").header("accept", "application/problem+json").finish();
    let (response, body) = send(&edge(), request).await;
    assert_eq!(response.content_type(), Some("application/problem+json"));
    assert_eq!((&body["title"], &body["status"]), (&json!("Not Found"), &json!(404)));
}

#[tokio::test]
async fn failures_keep_their_rate_headers() {
    let request = echo().header("authorization", "Bearer token").body(r#"{"phone_number":"bad"}"#);
    let (response, _) = send(&edge(), request).await;
    assert_eq!(response.header("ratelimit"), Some("\"otp-ip\";r=4;t=3600"));
}

mod log;
