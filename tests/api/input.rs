//! S11: bodies, fields, headers and paths in every wrong shape. After each, the program lives and nothing is lost.

use std::fmt::Write as _;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, App, FIRST_ID, PHONE, REQUEST, RESEND, STATUS, VERIFY};

fn off() -> [(&'static str, &'static str); 2] {
    [("FRESHK_LIMITS__IP", "0"), ("FRESHK_LIMITS__FLOOD_PER_SECOND", "0")]
}

async fn send(app: &App, path: &str, content_type: &str, body: impl Into<reqwest::Body>) -> Answer {
    Answer::of(app.build(Method::POST, path).header("content-type", content_type).body(body)).await
}

#[tokio::test]
async fn s11_bodies_that_are_no_json_object_are_refused_in_plain_words() {
    let app = App::with(&off()).await;
    let deep = "[".repeat(8000);
    let deep_object = "{\"a\":".repeat(2000);
    for body in [
        b"" as &[u8],
        b"{",
        b"null",
        b"[]",
        b"\"+1234567890\"",
        b"{} {}",
        b"{'phone_number':'+1234567890'}",
        b"{\"phone_number\":\"+1234567890\",}",
        b"{\"phone_number\":\"\\ud800\"}",
        b"{\"phone_number\":NaN}",
        b"\xef\xbb\xbf{\"phone_number\":\"+1234567890\"}",
        b"\xff\xfe{\x00}\x00",
        b"{\"phone_number\":\"\xc3\x28\"}",
        b"{\"phone_number\":\"+1234567890\",\"phone_number\":\"+1234567891\"}",
        b"phone_number=%2B1234567890",
        deep.as_bytes(),
        deep_object.as_bytes(),
    ] {
        for path in [REQUEST, VERIFY] {
            let answer = send(&app, path, "application/json", body.to_vec()).await;
            let shown = String::from_utf8_lossy(&body[..body.len().min(40)]);
            assert_eq!(answer.verdict(), (400, "bad_request".to_owned()), "{shown}");
            let sentence = answer.json()["error"].as_str().unwrap().to_owned();
            assert!(sentence.starts_with("The body ") && sentence.ends_with('.'), "{sentence}");
        }
    }
    assert!(app.twilio.requests().is_empty());
    assert_eq!(app.count("SELECT count(*) FROM challenges"), 0);
    assert_eq!(app.request(PHONE).await.status, 200, "the program lives");
}

#[tokio::test]
async fn s11_types_and_encodings_other_than_json_in_utf_8_are_refused() {
    let app = App::with(&off()).await;
    let body = json!({ "phone_number": PHONE }).to_string();
    for content_type in [
        "text/plain",
        "text/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json; charset=utf-16",
        "application/json-seq",
        "",
    ] {
        let answer = send(&app, REQUEST, content_type, body.clone()).await;
        assert_eq!(answer.verdict(), (415, "unsupported_media_type".to_owned()), "{content_type:?}");
    }
    let untyped = Answer::of(app.build(Method::POST, REQUEST).body(body.clone())).await;
    assert_eq!(untyped.status, 415);
    for encoding in ["gzip", "br", "deflate", "identity, gzip"] {
        let request = app.build(Method::POST, REQUEST).header("content-encoding", encoding);
        let answer = Answer::of(request.header("content-type", "application/json").body(body.clone())).await;
        assert_eq!(answer.status, 415, "{encoding}");
    }
    assert!(app.twilio.requests().is_empty());
    assert_eq!(send(&app, REQUEST, "Application/JSON; charset=\"UTF-8\"", body).await.status, 200);
}

#[tokio::test]
async fn s11_a_body_is_capped_announced_or_chunked() {
    let app = App::with(&off()).await;
    let padded = |length: usize| {
        let bare = json!({ "phone_number": PHONE, "x": "" }).to_string().len();
        json!({ "phone_number": PHONE, "x": "x".repeat(length - bare) }).to_string()
    };
    let chunked = |body: &str| {
        let mut request = format!(
            "POST {REQUEST} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
             transfer-encoding: chunked\r\nconnection: close\r\n\r\n"
        );
        for chunk in body.as_bytes().chunks(1000) {
            write!(request, "{:x}\r\n{}\r\n", chunk.len(), String::from_utf8_lossy(chunk)).unwrap();
        }
        request + "0\r\n\r\n"
    };
    let limit = 16 * 1024;
    assert_eq!(send(&app, REQUEST, "application/json", padded(limit)).await.status, 200);
    assert_eq!(send(&app, REQUEST, "application/json", padded(limit + 1)).await.code(), "payload_too_large");
    let answer = app.raw(chunked(&padded(limit)).as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let answer = app.raw(chunked(&padded(limit + 1)).as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("payload_too_large"), "{answer}");
    let request = format!(
        "POST {REQUEST} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: 99999999999\r\nconnection: close\r\n\r\n"
    );
    let answer = app.raw(request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "what announces itself need not come: {answer}");
}

#[tokio::test]
async fn s11_phones_in_every_wrong_shape() {
    let app = App::with(&off()).await;
    for phone in [
        "",
        "+",
        "1234567890",
        "+123456789",
        "+1234567890123456",
        "+0234567890",
        " +1234567890",
        "+1234567890 ",
        "+1234567890\n",
        "+1 234567890",
        "+1-234-567-890",
        "+12345678a0",
        "++1234567890",
        "+１２３４５６７８９０",
        "+١٢٣٤٥٦٧٨٩٠",
        "+1234567890\u{0}",
        "\u{feff}+1234567890",
        "\u{202e}+1234567890",
        "tel:+1234567890",
    ] {
        for (path, body) in [
            (REQUEST, json!({ "phone_number": phone })),
            (VERIFY, json!({ "phone_number": phone, "otp": "123456" })),
        ] {
            let answer = app.post(path, &body).await;
            assert_eq!(answer.verdict(), (400, "invalid_phone_number".to_owned()), "{phone:?}");
        }
    }
    for value in [json!(1_234_567_890), json!(null), json!(true), json!(["+1234567890"]), json!({ "a": 1 })] {
        let answer = app.post(REQUEST, &json!({ "phone_number": value })).await;
        assert_eq!(answer.verdict(), (400, "bad_request".to_owned()), "{value}");
        assert_eq!(answer.json()["error"], "The field phone_number must be a string.");
    }
    for body in [json!({}), json!({ "Phone_Number": PHONE }), json!({ "phone": PHONE })] {
        assert_eq!(app.post(REQUEST, &body).await.json()["error"], "The field phone_number is missing.");
    }
    assert!(app.twilio.requests().is_empty());
}

/// Autofill submits "7", "78", "789" and so on; five parts of a code must not use it up.
#[tokio::test]
async fn what_can_be_no_code_costs_neither_a_guess_nor_a_unit_of_the_address() {
    let app = App::start().await;
    app.request(PHONE).await;
    let code = app.code(PHONE);
    let parts = (0..code.len()).map(|end| code[..end].to_owned());
    let others = [
        format!("{code}0"),
        format!("+{code}"),
        format!("{}-{}", &code[..3], &code[3..]),
        format!("{code}\0"),
        "x".repeat(9000),
    ];
    for otp in parts.chain(others) {
        for phone in [PHONE, "+19990000009"] {
            let answer = app.verify(phone, &otp).await;
            assert_eq!(answer.verdict(), (400, "invalid_otp".to_owned()), "{otp:.20} for {phone}");
            assert_eq!(answer.json()["error"], "Invalid or expired OTP");
        }
    }
    assert_eq!(app.count("SELECT attempts FROM challenges"), 0);
    assert_eq!((app.spent("failures"), app.spent("ip:verify")), (0, 0));
    assert_eq!(app.verify(PHONE, &code).await.status, 200);
}

#[tokio::test]
async fn a_code_is_read_in_any_script_and_without_what_cannot_be_seen() {
    let app = App::with(&[("FRESHK_LIMITS__USER", "0"), ("FRESHK_LIMITS__IP", "0")]).await;
    let in_script = |zero: u32| move |c: char| char::from_u32(zero + c.to_digit(10).unwrap()).unwrap();
    let script = |code: &str, zero| code.chars().map(in_script(zero)).collect::<String>();
    for case in 0..6 {
        app.request(PHONE).await;
        let code = app.code(PHONE);
        let (head, tail) = code.split_at(3);
        let typed = [
            script(&code, 0x0660),
            script(&code, 0x06F0),
            script(&code, 0xFF10),
            format!(" {head} {tail}\n"),
            format!("\u{202a}{code}\u{202c}"),
            format!("{}\u{a0}{tail}", script(head, 0x0966)),
        ];
        assert_eq!(app.verify(PHONE, &typed[case]).await.status, 200, "{:?}", typed[case]);
    }
}

#[tokio::test]
async fn s11_a_code_that_is_missing_or_no_string_is_a_fault_of_the_body() {
    let app = App::start().await;
    app.request(PHONE).await;
    let code = app.code(PHONE);
    for otp in [
        json!(code.parse::<u32>().unwrap()),
        json!(null),
        json!(true),
        json!([code]),
        json!({ "otp": code }),
        json!(1.5),
    ] {
        let answer = app.post(VERIFY, &json!({ "phone_number": PHONE, "otp": otp })).await;
        assert_eq!(answer.verdict(), (400, "bad_request".to_owned()), "{otp}");
        assert_eq!(answer.json()["error"], "The field otp must be a string.");
    }
    let missing = app.post(VERIFY, &json!({ "phone_number": PHONE })).await;
    assert_eq!(missing.verdict(), (400, "bad_request".to_owned()));
    assert_eq!(missing.json()["error"], "The field otp is missing.");
    assert_eq!((app.count("SELECT attempts FROM challenges"), app.spent("ip:verify")), (0, 0));
}

#[tokio::test]
async fn s11_unknown_fields_are_ignored_and_never_stored() {
    let app = App::start().await;
    let marker = "a-marker-that-nobody-stores";
    let mut body = json!({
        "phone_number": PHONE, "role": marker, "is_active": false, "id": 7, "nested": { "phone_number": marker },
    });
    assert_eq!(app.post(REQUEST, &body).await.status, 200);
    body["otp"] = json!(app.code(PHONE));
    let login = app.post(VERIFY, &body).await.json();
    assert_eq!((&login["user"]["role"], &login["user"]["id"]), (&json!("retailer"), &json!(FIRST_ID)));
    assert!(!String::from_utf8_lossy(&app.stored()).contains(marker));
}

#[tokio::test]
async fn an_idempotency_key_has_16_to_128_visible_characters() {
    let app = App::with(&off()).await;
    app.request(PHONE).await;
    let body = json!({ "phone_number": PHONE, "otp": app.code(PHONE) });
    let with = |key: &[u8]| {
        let value = reqwest::header::HeaderValue::from_bytes(key).unwrap();
        Answer::of(app.build(Method::POST, VERIFY).header("idempotency-key", value).json(&body))
    };
    for key in [b"" as &[u8], &[b'k'; 15], &[b'k'; 129], b"sixteen spaces in", &[0xe9; 20], &[b'\t'; 20]] {
        let answer = with(key).await;
        assert_eq!(answer.verdict(), (400, "bad_request".to_owned()), "{key:?}");
        assert!(answer.json()["error"].as_str().unwrap().contains("Idempotency-Key"), "{}", answer.text);
    }
    let two = app.build(Method::POST, VERIFY).header("idempotency-key", "k".repeat(16));
    let two = Answer::of(two.header("idempotency-key", "l".repeat(16)).json(&body)).await;
    assert_eq!(two.verdict(), (400, "bad_request".to_owned()), "two keys are none: {}", two.text);
    assert_eq!(app.count("SELECT count(*) FROM sessions"), 0);

    let longest = [b'k'; 128];
    let first = with(&longest).await.json();
    let again = with(&longest).await.json();
    assert_eq!((&first["refresh"], &first["user"]), (&again["refresh"], &again["user"]));
    assert_eq!(with(&[b'l'; 16]).await.code(), "invalid_otp", "another key is another login");
    assert_eq!(app.verify(PHONE, body["otp"].as_str().unwrap()).await.code(), "invalid_otp");
    app.clock.advance(std::time::Duration::from_mins(1));
    assert_eq!(with(&longest).await.code(), "invalid_otp");
    assert_eq!(app.count("SELECT count(*) FROM sessions"), 1);
}

#[tokio::test]
async fn resend_takes_any_body_or_none() {
    let app = App::with(&[("FRESHK_LIMITS__IP", "0"), ("FRESHK_LIMITS__USER", "0")]).await;
    let login = app.log_in(PHONE).await;
    let access = login["access"].as_str().unwrap();
    let bearer = || app.build(Method::POST, RESEND).bearer_auth(access);
    for request in [
        bearer(),
        bearer().json(&json!({})),
        bearer().json(&json!({ "phone_number": "+19990000000" })),
        bearer().header("content-type", "application/json").body("not json"),
        bearer().body("text"),
    ] {
        assert_eq!(Answer::of(request).await.status, 200);
    }
    let to = app.twilio.requests().into_iter().all(|sent| sent.field("To") == Some(PHONE));
    assert!(to, "the bearer's own number, whatever the body says");
}

#[tokio::test]
async fn other_methods_are_refused_by_name_and_head_is_get_without_a_body() {
    let app = App::start().await;
    for (path, allow) in [(REQUEST, "POST"), (VERIFY, "POST"), (RESEND, "POST"), (STATUS, "GET, HEAD")] {
        for method in ["GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "TRACE", "PURGE", "POST"] {
            if allow.split(", ").any(|allowed| allowed == method) {
                continue;
            }
            let answer = Answer::of(app.build(method.parse().unwrap(), path)).await;
            assert_eq!((answer.status, answer.header("allow")), (405, allow), "{method} {path}");
            assert_eq!(method == "HEAD", answer.text.is_empty(), "{method} {path}: {}", answer.text);
        }
    }
    let head = Answer::of(app.build(Method::HEAD, STATUS)).await;
    assert_eq!((head.status, head.text.as_str()), (401, ""));
    assert!(!head.header("www-authenticate").is_empty());
}

#[tokio::test]
async fn strange_paths_are_not_found_and_never_redirect() {
    let app = App::with(&off()).await;
    let long = format!("/{}", "a".repeat(12_000));
    for path in [
        "/",
        "//",
        "/api",
        "/api/mobile/auth/",
        "/api/mobile/auth/production/request//",
        "//api/mobile/auth/production/request/",
        "/api/mobile/auth/production/./request/",
        "/api/mobile/auth/production/%72equest/",
        "/api/mobile/auth/production%2Frequest/",
        "/API/mobile/auth/production/request/",
        "/api/mobile/auth/production/request/%00",
        "/%0d%0aSet-Cookie:x",
        "/%ff%fe",
        "/docs/../etc/passwd",
        long.as_str(),
    ] {
        let request = format!("POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        let answer = app.raw(request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 404 "), "{path:.60}: {answer}");
        let body: Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
        assert_eq!(body["code"], "not_found");
    }
    let query = app.post(&format!("{REQUEST}?phone_number=x&otp=1"), &json!({ "phone_number": PHONE })).await;
    assert_eq!(query.status, 200, "a query means nothing here");
}
