//! `/metrics`: each of the guide's five key metrics moves when its act happens, and nothing there names a person.

use std::time::Duration;

use freshk::http::ops::CHECKER;
use freshk::metrics::{LAST_SCRAPE, PROXY_FAULT};
use reqwest::Method;
use serde_json::json;

use crate::database::is_postgres;
use crate::support::{App, PHONE, REQUEST};
use crate::twilio::{AUTH_TOKEN, Answer, signed_callback};

const CALLBACK: &str = "/api/mobile/auth/sms/twilio/status/";

/// The value of one series; 0 while it does not exist.
async fn value(app: &App, series: &str) -> f64 {
    let (status, page) = app.operations("/metrics").await;
    assert_eq!(status, 200);
    on(&page, series)
}

fn on(page: &str, series: &str) -> f64 {
    let line = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map_or(0.0, |value| value.parse().unwrap())
}

#[tokio::test]
async fn otp_request_rate() {
    let app = App::start().await;
    let series = "freshk_otp_requests_total{channel=\"production\"}";
    assert!(value(&app, series).await < 0.5);
    app.request_from("198.51.100.1", PHONE).await;
    assert!((value(&app, series).await - 1.0).abs() < 0.5);
}

#[tokio::test]
async fn sms_delivery_success_rate() {
    let app = App::with(&[("FRESHK_SERVER__PUBLIC_URL", "https://api.example.com")]).await;
    let state = |state| format!("freshk_sms_deliveries_total{{state=\"{state}\"}}");
    app.request_from("198.51.100.1", PHONE).await;
    assert!((value(&app, &state("queued")).await - 1.0).abs() < 0.5);
    assert!(value(&app, &state("delivered")).await < 0.5);
    let sid = app.word("SELECT sid FROM messages");
    for _ in 0..2 {
        let url = format!("https://api.example.com{CALLBACK}");
        let signed =
            signed_callback(AUTH_TOKEN, &url, &[("MessageSid", &sid), ("MessageStatus", "delivered")]);
        let call = app.build(Method::POST, CALLBACK).body(signed.body);
        let call = call
            .header("content-type", "application/x-www-form-urlencoded")
            .header("x-twilio-signature", signed.signature);
        assert_eq!(call.send().await.unwrap().status(), 204);
    }
    assert!((value(&app, &state("delivered")).await - 1.0).abs() < 0.5, "a repeated report counts once");
}

#[tokio::test]
async fn authentication_success_rate_and_failed_attempts() {
    let app = App::start().await;
    let outcome =
        |outcome| format!("freshk_authentications_total{{channel=\"production\",outcome=\"{outcome}\"}}");
    let failed = |reason| {
        format!("freshk_failed_authentication_attempts_total{{channel=\"production\",reason=\"{reason}\"}}")
    };
    app.request_from("198.51.100.1", PHONE).await;
    app.verify_from("198.51.100.1", PHONE, &app.wrong_code(PHONE)).await;
    app.verify_from("198.51.100.1", "+19999999999", "000000").await;
    assert!((value(&app, &outcome("failure")).await - 2.0).abs() < 0.5);
    assert!((value(&app, &failed("invalid_otp")).await - 1.0).abs() < 0.5);
    assert!((value(&app, &failed("user_not_found")).await - 1.0).abs() < 0.5);
    assert!(value(&app, &outcome("success")).await < 0.5);
    app.verify_from("198.51.100.1", PHONE, &app.code(PHONE)).await;
    assert!((value(&app, &outcome("success")).await - 1.0).abs() < 0.5);
    assert!(value(&app, "freshk_sessions_live").await < 0.5, "maintenance counts");
    app.service().auth.maintain().await.unwrap();
    assert!((value(&app, "freshk_sessions_live").await - 1.0).abs() < 0.5);
}

#[tokio::test]
async fn rate_limit_violations_and_refusals_by_kind() {
    let app = App::start().await;
    let violations = format!("freshk_rate_limit_violations_total{{route=\"{REQUEST}\"}}");
    for n in 0..5 {
        app.request_from("198.51.100.1", &format!("+1234567890{n}")).await;
    }
    assert!(value(&app, &violations).await < 0.5);
    for _ in 0..2 {
        assert_eq!(app.request_from("198.51.100.1", PHONE).await.status, 429);
    }
    assert!((value(&app, &violations).await - 2.0).abs() < 0.5);
    assert!((value(&app, "freshk_refusals_total{code=\"rate_limited\"}").await - 2.0).abs() < 0.5);
    app.post(REQUEST, &json!({ "phone_number": "nonsense" })).await;
    assert!((value(&app, "freshk_refusals_total{code=\"invalid_phone_number\"}").await - 1.0).abs() < 0.5);
}

#[tokio::test]
async fn latency_writer_and_files_are_measured_and_nobody_is_named() {
    let app = App::start().await;
    app.log_in(PHONE).await;
    app.post("/api/mobile/auth/no/such/path/", &json!({})).await;
    for series in [
        format!("freshk_http_request_duration_seconds_count{{route=\"{REQUEST}\"}}"),
        "freshk_http_request_duration_seconds_count{route=\"unknown\"}".to_owned(),
        "freshk_writer_batch_size_count".to_owned(),
        "freshk_writer_commit_seconds_count".to_owned(),
    ] {
        assert!(value(&app, &series).await > 0.5, "{series}");
    }
    // Of a server's disk its own monitoring tells.
    for series in ["freshk_database_size_bytes", "freshk_wal_size_bytes", "freshk_disk_available_bytes"] {
        assert_eq!(value(&app, series).await > 0.5, !is_postgres(), "{series}");
    }
    let (_, page) = app.operations("/metrics").await;
    for secret in ["234567890", "198.51.100", "such"] {
        assert!(!page.contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn a_breaker_that_opens_is_seen() {
    let app = App::start().await;
    assert!(value(&app, "freshk_sms_breaker_open").await < 0.5);
    app.twilio.always(Answer::Error { http: 401, code: 20003, message: "Authenticate" });
    assert_eq!(app.request_from("198.51.100.1", PHONE).await.status, 500);
    assert!(value(&app, "freshk_sms_breaker_open").await > 0.5);
    assert!(value(&app, "freshk_sms_sender_breaker_open{sender=\"twilio\"}").await > 0.5);
}

#[tokio::test]
async fn the_last_scrape_is_told_and_a_look_of_the_checker_is_none() {
    let app = App::start().await;
    let seen_by_checker = async || {
        let (status, page) = app.operations_to(CHECKER, "/metrics").await;
        assert_eq!(status, 200);
        on(&page, LAST_SCRAPE)
    };
    assert!(seen_by_checker().await < 0.5, "nobody has read it yet");
    let scraped = value(&app, LAST_SCRAPE).await;
    assert!(scraped > 1e9, "the scrape itself sees its own time");
    app.clock.advance(Duration::from_mins(7));
    assert!((seen_by_checker().await - scraped).abs() < 0.5);
    assert!((seen_by_checker().await - scraped).abs() < 0.5);
    assert!((value(&app, LAST_SCRAPE).await - scraped - 420.0).abs() < 1.5);
}

/// A scraper that knows the older format alone takes a counter whose type stands under another name for something unknown.
#[tokio::test]
async fn a_scraper_gets_the_format_that_it_asks_for() {
    let app = App::start().await;
    let page = async |accept| app.operations_with("accept", accept, "/metrics").await;
    let (_, media_type, text) = page("*/*").await;
    assert_eq!(media_type, "text/plain; version=0.0.4; charset=utf-8");
    assert!(text.contains("\n# TYPE freshk_refusals_total counter\nfreshk_refusals_total{"), "{text}");
    assert!(!text.contains("# EOF") && !text.contains("# UNIT"), "{text}");
    let (_, media_type, open) = page("application/openmetrics-text;version=1.0.0,text/plain;q=0.3").await;
    assert_eq!(media_type, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(open.contains("\n# TYPE freshk_refusals counter\nfreshk_refusals_total{"), "{open}");
    assert!(open.ends_with("\n# EOF\n"), "{open}");
    for page in [text, open] {
        assert!(page.contains("# TYPE freshk_build_info gauge\nfreshk_build_info{version=\""), "{page}");
    }
}

#[tokio::test]
async fn a_message_counts_from_its_intent_on_with_its_time_segments_and_errors() {
    let app = App::with(&[("FRESHK_SERVER__PUBLIC_URL", "https://api.example.com")]).await;
    let state = |state| format!("freshk_sms_deliveries_total{{state=\"{state}\"}}");
    let error = |code| format!("freshk_sms_errors_total{{code=\"{code}\"}}");
    let by_twilio = |outcome| {
        let of = format!("sender=\"twilio\",channel=\"sms\",outcome=\"{outcome}\"");
        format!("freshk_sms_sender_messages_total{{{of}}}")
    };
    app.request_from("198.51.100.1", PHONE).await;
    app.twilio.always(Answer::Error { http: 400, code: 21610, message: "STOP" });
    app.request_from("198.51.100.1", "+1234567891").await;
    for (series, expected) in [
        (state("intended"), 2.0),
        (state("queued"), 1.0),
        (state("failed"), 1.0),
        (error("21610"), 1.0),
        (by_twilio("accepted"), 1.0),
        (by_twilio("refused"), 1.0),
        ("freshk_sms_send_duration_seconds_count".to_owned(), 2.0),
        ("freshk_sms_segments_total".to_owned(), 1.0),
    ] {
        assert!((value(&app, &series).await - expected).abs() < 0.5, "{series}");
    }
    let sid = app.word("SELECT sid FROM messages WHERE sid IS NOT NULL");
    let lost = [("MessageSid", sid.as_str()), ("MessageStatus", "undelivered"), ("ErrorCode", "30003")];
    let signed = signed_callback(AUTH_TOKEN, &format!("https://api.example.com{CALLBACK}"), &lost);
    let call = app.build(Method::POST, CALLBACK).body(signed.body);
    let call = call.header("content-type", "application/x-www-form-urlencoded");
    assert_eq!(call.header("x-twilio-signature", signed.signature).send().await.unwrap().status(), 204);
    assert!((value(&app, &error("30003")).await - 1.0).abs() < 0.5);
}

#[tokio::test]
async fn answers_are_counted_by_class_and_what_is_under_way_is_seen() {
    let app = App::start().await;
    let class = |class| format!("freshk_http_responses_total{{route=\"{REQUEST}\",class=\"{class}\"}}");
    app.request_from("198.51.100.1", PHONE).await;
    app.post(REQUEST, &json!({ "phone_number": "nonsense" })).await;
    app.twilio.hold();
    let held = async {
        app.sending(2).await;
        let seen = value(&app, "freshk_http_requests_in_flight").await;
        app.twilio.release();
        seen
    };
    let (answer, under_way) = tokio::join!(app.request_from("198.51.100.1", "+1234567891"), held);
    assert_eq!((answer.status, under_way > 0.5), (200, true));
    for (series, expected) in [
        (class("2xx"), 2.0),
        (class("4xx"), 1.0),
        (class("5xx"), 0.0),
        ("freshk_http_requests_in_flight".to_owned(), 0.0),
        ("freshk_writer_queue_depth".to_owned(), 0.0),
        ("freshk_clock_offset_seconds".to_owned(), 0.0),
        ("freshk_backup_failures_total".to_owned(), 0.0),
    ] {
        assert!((value(&app, &series).await - expected).abs() < 0.5, "{series}");
    }
    for series in
        ["process_resident_memory_bytes", "process_open_fds", "process_max_fds", "process_start_time_seconds"]
    {
        assert!(value(&app, series).await > 0.5, "{series}");
    }
    assert!(value(&app, "process_cpu_seconds_total").await > 0.0);
}

#[tokio::test]
async fn s37_a_proxy_that_gives_everybody_one_address_is_seen() {
    let app = App::start().await;
    let fault = |fault| format!("{PROXY_FAULT}{{fault=\"{fault}\"}}");
    app.request_from("198.51.100.1", PHONE).await;
    app.build(Method::GET, "/health/ready").send().await.unwrap();
    assert!(value(&app, &fault("silent")).await < 0.5, "who asks for our health asks for nobody");
    app.request(PHONE).await;
    assert!(value(&app, &fault("silent")).await > 1e9);
    assert!(value(&app, &fault("untrusted")).await < 0.5);
    let app = App::with(&[("FRESHK_SERVER__TRUSTED_PROXIES", "")]).await;
    app.request_from("198.51.100.1", PHONE).await;
    assert!(value(&app, &fault("untrusted")).await > 1e9);
    assert!(value(&app, &fault("silent")).await < 0.5);
}

#[tokio::test]
async fn the_operations_listener_serves_a_page_metrics_and_health_and_json_for_the_rest() {
    let app = App::start().await;
    for path in ["/metrics", "/health/live", "/health/ready", "/metrics/"] {
        assert_eq!(app.operations(path).await.0, 200, "{path}");
    }
    let (status, media_type, page) = app.operations_with("host", "localhost:8001", "/").await;
    assert_eq!((status, &*media_type), (200, "text/html; charset=utf-8"), "{page}");
    for path in [REQUEST, "/docs"] {
        let (status, body) = app.operations(path).await;
        assert_eq!((status, body.contains("\"code\":\"not_found\"")), (404, true), "{path}: {body}");
    }
    app.service().store.close().await;
    let (status, body) = app.operations("/health/ready").await;
    assert_eq!((status, body.contains("\"code\":\"unavailable\"")), (503, true), "{body}");
}
