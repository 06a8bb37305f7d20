//! TLS of the server's own: a login over it, certificates that are replaced while it serves, and those that cannot be used.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::process::{Place, Server};
use crate::tls::{HOST, Made, call, client};
use crate::twilio::{FakeTwilio, sms_code};
use crate::{PHONE, REQUEST, VERIFY, answer};

/// How many call at the same time.
const CALLERS: usize = 8;

/// A place with a certificate.
fn with(place: Place, made: &Made) -> Place {
    made.write(place.path());
    place.with("FRESHK_SERVER__TLS__CERT", "cert.pem").with("FRESHK_SERVER__TLS__KEY", "key.pem")
}

#[tokio::test]
async fn s43_a_login_over_tls() {
    let (twilio, made) = (FakeTwilio::start(), Made::fresh());
    let place = with(Place::production(&twilio), &made).with("FRESHK_SERVER__TLS__HSTS", "180d");
    let server = place.start();
    let client = client([&made], b"");
    let post = |path: &str| format!("POST {path}");
    let body = format!(r#"{{"phone_number":"{PHONE}"}}"#);
    let told = call(&client, server.address(), &post(REQUEST), &body).await.unwrap();
    assert!(told.starts_with("HTTP/1.1 200") && told.contains("max-age=15552000"), "{told}");
    let code = sms_code(&twilio.requests()[0]);
    let body = format!(r#"{{"phone_number":"{PHONE}","otp":"{code}"}}"#);
    let told = call(&client, server.address(), &post(VERIFY), &body).await.unwrap();
    assert!(told.starts_with("HTTP/1.1 200") && told.contains("access"), "{told}");
    let listen = format!("health --listen {}", server.address());
    place.run(&listen);
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn s43_certificates_are_replaced_under_load_without_one_failed_handshake() {
    let made: Vec<_> = (0..4).map(|_| Made::fresh()).collect();
    let place = with(Place::dev(), &made[0]).with("FRESHK_LIMITS__FLOOD_PER_SECOND", "0");
    let mut server = place.start();
    let (good, bad, is_over) =
        (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let client = client(&made, b"");
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (client, address) = (client.clone(), server.address());
            let (good, bad, is_over) = (good.clone(), bad.clone(), is_over.clone());
            tokio::spawn(async move {
                while !is_over.load(Ordering::Relaxed) {
                    let told = call(&client, address, "GET /health/live", "").await;
                    let count =
                        if told.is_ok_and(|told| told.starts_with("HTTP/1.1 200")) { &good } else { &bad };
                    count.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for (replaced, made) in made.iter().enumerate().skip(1) {
        made.write(place.path());
        if replaced % 2 == 0 {
            server.signal("HUP");
        }
        // The next certificate comes once it is this one that is shown.
        let own = crate::tls::client([made], b"");
        let address = server.address();
        while call(&own, address, "GET /health/live", "").await.is_err() {}
        assert_eq!(bad.load(Ordering::Relaxed), 0);
    }
    let before = good.load(Ordering::Relaxed);
    server.eventually("calls after the last one", |_| {
        (good.load(Ordering::Relaxed) > before + 100).then_some(())
    });
    is_over.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.unwrap();
    }
    assert_eq!(bad.load(Ordering::Relaxed), 0, "of {good:?} handshakes");
    server.stop();
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_leaves_the_one_before_and_says_why() {
    let (made, other) = (Made::fresh(), Made::fresh());
    let place = with(Place::dev(), &made);
    let mut server = place.start();
    fs::write(place.path().join("cert.pem"), &other.cert).unwrap();
    server.eventually("the fault to be told", |server| {
        let told = server.stderr.text();
        (told.contains("server.tls.key: key.pem: it does not fit the certificate")
            && told.contains("stays in force"))
        .then_some(())
    });
    let reload = |server: &mut Server| {
        let before = server.stderr.text().len();
        server.signal("HUP");
        server.eventually("the reload to end", |server| {
            let told = server.stderr.text().split_off(before);
            ["was reloaded", "was not reloaded"].iter().any(|end| told.contains(end)).then_some(told)
        })
    };
    let told = reload(&mut server);
    assert!(told.contains("was not reloaded") && told.contains("server.tls.key"), "{told}");
    let client = client([&made], b"");
    assert!(call(&client, server.address(), "GET /health/live", "").await.is_ok(), "the one before");
    made.write(place.path());
    let told = reload(&mut server);
    assert!(told.contains("was reloaded"), "{told}");
    server.stop();
}

#[test]
fn a_pair_that_cannot_be_used_keeps_the_server_from_starting_and_says_which_file_is_at_fault() {
    let made = Made::fresh();
    let faulty = |cert: &str, key: &str, words: &[&str]| {
        let place = with(Place::dev(), &made);
        fs::write(place.path().join("cert.pem"), cert).unwrap();
        fs::write(place.path().join("key.pem"), key).unwrap();
        let ended = place.refused();
        assert_eq!(ended.code, Some(78), "{ended:?}");
        ended.assert_says(words);
    };
    faulty(
        "",
        &made.key,
        &["server.tls.cert", "cert.pem: it has no certificate in PEM in it", "fullchain.pem"],
    );
    faulty("nonsense", "nonsense", &["server.tls.cert", "no certificate"]);
    faulty(&made.cert, "", &["server.tls.key", "key.pem: it has no private key in PEM in it"]);
    faulty(&made.cert, &Made::fresh().key, &["server.tls.key", "does not fit the certificate"]);
    let missing = with(Place::dev(), &made).with("FRESHK_SERVER__TLS__KEY", "none.pem");
    missing.refused().assert_says(&["server.tls.key", "none.pem: cannot be read", "LoadCredential="]);
    let half = with(Place::dev(), &made).with("FRESHK_SERVER__TLS__KEY", "");
    half.refused().assert_says(&["server.tls.key", "it is not set, and server.tls.cert is"]);
    let none = Place::dev().with("FRESHK_SERVER__TLS__HSTS", "1d");
    none.refused().assert_says(&["server.tls.hsts", "the server has no TLS"]);
    let none = Place::dev().with("FRESHK_SERVER__TLS__REDIRECT_LISTEN", "127.0.0.1:0");
    none.refused().assert_says(&["server.tls.redirect_listen", "the server has no TLS"]);
}

#[test]
fn an_expired_or_foreign_certificate_is_served_and_said_to_be_so() {
    let expired = with(Place::dev(), &Made::until(HOST, -1));
    let mut server = expired.start();
    server.eventually("the end to be told", |server| {
        server.stderr.text().contains("the certificate has expired").then_some(())
    });
    server.stop();
    let old = with(Place::dev(), &Made::until(HOST, 20)).with("DEBUG", "true");
    let mut server = old.start();
    server.eventually("the end to be told", |server| {
        server.stderr.text().contains("should have been renewed by now").then_some(())
    });
    let checked = String::from_utf8(old.tool("check --offline --json").output().unwrap().stdout).unwrap();
    assert!(checked.contains("cert.pem, for api.example.com, holds for"), "{checked}");
    server.stop();

    let foreign = with(Place::dev(), &Made::until("other.example.com", 80))
        .with("FRESHK_SERVER__PUBLIC_URL", "https://api.example.com");
    fs::set_permissions(foreign.path().join("key.pem"), Permissions::from_mode(0o644)).unwrap();
    let output = foreign.tool("config show").output().unwrap();
    let told =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    for words in [
        "is for other.example.com, and server.public_url is https://api.example.com",
        "everybody can read it",
    ] {
        assert!(told.contains(words), "{told}");
    }
}

#[tokio::test]
async fn s43_the_plain_port_sends_browsers_on_and_refuses_phone_numbers() {
    let made = Made::fresh();
    let place = with(Place::dev(), &made).with("FRESHK_SERVER__TLS__REDIRECT_LISTEN", "127.0.0.1:0");
    let server = place.start();
    let text = server.stderr.text();
    let line = text.lines().find(|line| line.contains("redirecting to https")).unwrap();
    let port = line.rsplit("127.0.0.1:").next().unwrap();
    let port: String = port.chars().take_while(char::is_ascii_digit).collect();
    let plain =
        reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let url = format!("http://127.0.0.1:{port}/docs");
    let sent_on = plain.get(&url).header("host", HOST).send().await.unwrap();
    let location = format!("https://{HOST}:{}/docs", server.address().port());
    assert_eq!(
        (sent_on.status().as_u16(), sent_on.headers()["location"].to_str().unwrap()),
        (308, &*location)
    );
    let (status, told) = answer(plain.post(&url).header("host", HOST).body("{}")).await;
    assert!(status == 403 && told.to_string().contains("Nothing was done"), "{told}");
    assert_eq!(answer(plain.get(&url).header("host", "evil.example")).await.0, 404);
    server.stop();
}
