//! S8, S34: what must not be found in logs and files, however one searches.

use freshk::domain::keys::DerivedKeys;
use freshk::domain::{Binding, ChallengeId, Code, PhoneNumber, Secret};
use hmac::{Hmac, KeyInit as _, Mac};
use reqwest::Method;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::logs;
use crate::support::{Answer, App, RESEND, SECRET, STATUS, VERIFY};
use crate::twilio::{self, AUTH_TOKEN};

const ONE: &str = "+19175550123";
const OTHER: &str = "+447700900456";
const EVIL: &str = "x\r\n{\"level\":\"ERROR\",\"message\":\"forged\"}\u{1b}[2J\u{85}\u{2028}";

fn holds(bytes: &[u8], needle: &str) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle.as_bytes())
}

#[tokio::test]
async fn s34_neither_logs_nor_files_hold_a_secret() {
    let name = "s34_neither_logs_nor_files_hold_a_secret";
    let Some(log) = logs::catch(module_path!(), name, "trace") else { return };
    let app = App::with(&[("FRESHK_LIMITS__IP", "0"), ("FRESHK_LIMITS__USER", "0")]).await;
    let mut secrets = vec![SECRET.to_owned(), AUTH_TOKEN.to_owned()];
    for phone in [ONE, OTHER] {
        app.request(phone).await;
        secrets.push(app.code(phone));
        let wrong = app.wrong_code(phone);
        app.verify(phone, &wrong).await;
        let key = format!("key-of-{phone}-and-more");
        let body = json!({ "phone_number": phone, "otp": app.code(phone) });
        let login = app.build(Method::POST, VERIFY).header("idempotency-key", &key).json(&body);
        let login = Answer::of(login).await.json();
        let (access, refresh) = (login["access"].as_str().unwrap(), login["refresh"].as_str().unwrap());
        app.status(access).await;
        app.bearer(Method::GET, "/api/mobile/auth/sessions/", access).await;
        app.bearer(Method::GET, STATUS, refresh).await;
        app.bearer(Method::POST, RESEND, access).await;
        secrets.push(app.code(phone));
        for answer in [
            twilio::Answer::Error { http: 400, code: 21408, message: "not enabled" },
            twilio::Answer::Error { http: 401, code: 21211, message: "The 'To' number is not valid" },
            twilio::Answer::Html { http: 500 },
            twilio::Answer::ResetAfterBody,
            twilio::Answer::AcceptedGarbage,
        ] {
            app.twilio.script(vec![answer]);
            app.request(phone).await;
            secrets.push(app.code(phone));
        }
        let pair = app.post("/api/mobile/auth/token/refresh/", &json!({ "refresh": refresh })).await.json();
        app.post("/api/mobile/auth/token/verify/", &json!({ "token": pair["access"] })).await;
        app.post("/api/mobile/auth/logout/", &json!({ "refresh": pair["refresh"] })).await;
        app.bearer(Method::POST, "/api/mobile/auth/logout/all/", access).await;
        app.post("/api/mobile/auth/sms/twilio/status/", &json!({})).await;
        secrets.extend([key, wrong]);
        for token in [&login["access"], &login["refresh"], &pair["access"], &pair["refresh"]] {
            let token = token.as_str().unwrap();
            secrets.extend([token.to_owned(), token.rsplit_once('.').unwrap().1.to_owned()]);
        }
    }
    let (text, bytes) = (log.text(), app.stored());
    assert!(log.records().len() > 50, "the log was heard");
    assert!(holds(&bytes, ONE), "the files were read");
    for secret in &secrets {
        assert!(secret.len() >= 6);
        for line in text.lines() {
            assert!(!line.contains(secret), "{secret} in the log: {line}");
        }
        assert!(!holds(&bytes, secret), "{secret} in the database");
    }
    for phone in [ONE, OTHER] {
        let unmasked = text.lines().find(|line| line.contains(&phone[1..]));
        assert!(unmasked.is_none(), "{unmasked:?}");
    }
    assert!(text.contains("+19*****0123"), "masked phones are there");
}

#[tokio::test]
async fn s34_no_input_begins_a_new_record() {
    let name = "s34_no_input_begins_a_new_record";
    let Some(log) = logs::catch(module_path!(), name, "trace") else { return };
    let app = App::with(&[("FRESHK_LIMITS__IP", "0")]).await;
    app.request(ONE).await;
    app.post(crate::support::REQUEST, &json!({ "phone_number": EVIL, EVIL: EVIL })).await;
    app.verify(EVIL, EVIL).await;
    app.verify(ONE, EVIL).await;
    app.verify_from(EVIL.split('\r').next().unwrap(), ONE, EVIL).await;
    app.post("/api/mobile/auth/token/refresh/", &json!({ "refresh": EVIL })).await;
    app.post("/api/mobile/auth/token/verify/", &json!({ "token": EVIL })).await;
    let encoded = "/api/%0d%0a%7b%22level%22%3a%22ERROR%22%2c%22message%22%3a%22forged%22%7d%1b%5b2J";
    for header in
        ["user-agent", "idempotency-key", "x-forwarded-for", "authorization", "x-request-id", "accept"]
    {
        for value in
            ["a\r\n{\"message\":\"forged\"}", "a\n{\"message\":\"forged\"}", "a\u{1b}[2J", "\u{85}\u{2028}"]
        {
            for path in [STATUS, encoded] {
                let request = format!(
                    "GET {path} HTTP/1.1\r\nhost: localhost\r\n{header}: {value}\r\nconnection: close\r\n\r\n"
                );
                app.raw(request.as_bytes()).await;
            }
        }
    }
    app.raw(b"GET /\x1b[2J HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await;
    app.raw(b"FORGED\x1b /x HTTP/1.1\r\n\r\n").await;
    let records = log.records();
    assert!(records.iter().filter(|record| record["message"] == "request").count() >= 15);
    for record in &records {
        assert!(record["timestamp"].is_string() && record["target"].is_string(), "a forged record: {record}");
        assert_ne!(record["message"], "forged");
    }
    let steering = log.text().lines().flat_map(str::chars).find(|c| c.is_control());
    assert_eq!(steering, None);
}

#[tokio::test]
async fn s8_the_database_alone_tells_no_code() {
    let app = App::start().await;
    app.request(ONE).await;
    let (id, number) =
        (app.count("SELECT id FROM challenges"), app.count("SELECT key_number FROM challenges"));
    let stored = app.word(&format!("SELECT {} FROM challenges", app.hexadecimal("code_hmac")));
    let stored = data_encoding::HEXLOWER_PERMISSIVE.decode(stored.as_bytes()).unwrap();
    let phone = PhoneNumber::parse(ONE, 10).unwrap();

    // The construction, to the byte: with the key the code is found.
    let right = Code::parse(&app.code(ONE), 6).unwrap();
    let keys = DerivedKeys::derive(&Secret::new(SECRET));
    assert_eq!(right.hash(&keys, Binding::Login(ChallengeId(id), &phone)).tag, stored);
    let fill = |mac: Hmac<Sha256>| mac.chain_update(id.to_be_bytes()).chain_update(ONE).chain_update([0]);
    let tag = fill(keys.code_mac()).chain_update(right.digits()).finalize().into_bytes();
    assert_eq!(tag.as_slice(), stored, "what the attacker tries is the real thing but for its key");

    // Whatever else the file holds, as a key, or no key at all.
    let number = u32::try_from(number).unwrap().to_be_bytes();
    let guesses: [&[u8]; 3] = [b"", &[0; 32], &number];
    let macs = guesses.map(|key| fill(Hmac::<Sha256>::new_from_slice(key).unwrap()));
    let plain = Sha256::new().chain_update(id.to_be_bytes()).chain_update(ONE).chain_update([0]);
    for code in 0..1_000_000 {
        let digits = format!("{code:06}");
        for mac in &macs {
            assert_ne!(mac.clone().chain_update(&digits).finalize().into_bytes().as_slice(), stored);
        }
        assert_ne!(plain.clone().chain_update(&digits).finalize().as_slice(), stored);
        assert_ne!(Sha256::digest(&digits).as_slice(), stored);
    }
    assert!(!holds(&app.stored(), &app.code(ONE)), "nor does it lie there in plain");
}
