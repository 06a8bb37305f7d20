//! S12, S37: whose quota a request costs.

use std::time::Duration;

use serde_json::json;

use crate::logs;
use crate::support::{Answer, App, PHONE, REQUEST};

const UNTRUSTED: (&str, &str) = ("FRESHK_SERVER__TRUSTED_PROXIES", "192.0.2.0/24");

fn phone(n: usize) -> String {
    format!("+1999{n:07}")
}

/// Spends the five units of whoever the header names; the sixth is refused.
async fn spend_all(app: &App, header: &str, value: impl Fn(usize) -> String) {
    for n in 0..6 {
        let body = json!({ "phone_number": phone(n) });
        let call = app.build(reqwest::Method::POST, REQUEST).header(header, value(n)).json(&body);
        let answer = Answer::of(call).await;
        assert_eq!(answer.status, if n < 5 { 200 } else { 429 }, "call {n}: {}", answer.text);
    }
}

async fn call(app: &App, header: &str, value: &str, n: usize) -> u16 {
    let body = json!({ "phone_number": phone(n) });
    Answer::of(app.build(reqwest::Method::POST, REQUEST).header(header, value).json(&body)).await.status
}

#[tokio::test]
async fn s12_an_untrusted_peer_is_itself_whatever_it_forges() {
    let app = App::with(&[UNTRUSTED]).await;
    let headers = ["x-forwarded-for", "x-real-ip", "forwarded", "cf-connecting-ip", "true-client-ip"];
    for (n, header) in headers.into_iter().enumerate() {
        assert_eq!(call(&app, header, &format!("203.0.113.{n}"), n).await, 200);
    }
    assert_eq!(call(&app, "x-forwarded-for", "203.0.113.99", 9).await, 429);
    assert_eq!(app.count("SELECT count(DISTINCT subject) FROM spends WHERE quota = 'ip:request'"), 1);
    assert_eq!(app.count("SELECT count(*) FROM audit WHERE ip <> '127.0.0.1'"), 0);
}

#[tokio::test]
async fn s12_behind_a_trusted_proxy_the_right_most_untrusted_hop_counts() {
    let app = App::start().await;
    spend_all(&app, "x-forwarded-for", |n| format!("10.9.8.{n}, 203.0.113.7, 127.0.0.1")).await;
    assert_eq!(call(&app, "x-forwarded-for", "203.0.113.8", 6).await, 200, "another has its own");
    assert_eq!(
        call(&app, "x-forwarded-for", "203.0.113.7, nonsense", 7).await,
        200,
        "a bad hop stops the walk"
    );
    assert_eq!(app.count("SELECT count(*) FROM spends WHERE subject = '127.0.0.1'"), 1);
    assert_eq!(call(&app, "x-real-ip", "203.0.113.9", 8).await, 200, "one header alone is honoured");
    assert_eq!(app.count("SELECT count(*) FROM spends WHERE subject = '127.0.0.1'"), 2);
}

#[tokio::test]
async fn s12_ipv6_counts_by_64_and_mapped_ipv4_folds() {
    let app = App::start().await;
    spend_all(&app, "x-forwarded-for", |n| format!("2001:db8:1:2:{n}::{n}")).await;
    assert_eq!(call(&app, "x-forwarded-for", "2001:db8:1:3::1", 6).await, 200);
    let app = App::start().await;
    spend_all(&app, "x-forwarded-for", |n| {
        if n % 2 == 0 { "203.0.113.7".to_owned() } else { "::ffff:203.0.113.7".to_owned() }
    })
    .await;
}

/// Whoever holds an IPv6 network has 65,536 addresses that count alone: their refusals are one row and one line.
#[tokio::test]
async fn s35_refusals_of_one_ipv6_network_are_told_once() {
    let app = App::start().await;
    for network in 1..=3 {
        spend_all(&app, "x-forwarded-for", |_| format!("2001:db8:1:{network}::1")).await;
        assert_eq!(call(&app, "x-forwarded-for", &format!("2001:db8:1:{network}::1"), 9).await, 429);
    }
    let told =
        "SELECT count(*) FROM audit WHERE event = 'excess_rate_limit_exceeded' AND detail = 'ip:request'";
    assert_eq!(app.count(told), 1);
    app.service().auth.maintain().await.unwrap();
    assert_eq!(app.words("SELECT subject FROM refusals WHERE quota = 'ip:request'"), ["2001:db8:1::/48"]);
    assert_eq!(app.count("SELECT count FROM refusals WHERE quota = 'ip:request'"), 6);
}

#[tokio::test]
async fn s12_people_behind_one_nat64_have_quotas_of_their_own_and_no_trust() {
    let app = App::with(&[("FRESHK_LIMITS__NETWORKS", "198.51.100.0/24=6")]).await;
    spend_all(&app, "x-forwarded-for", |n| {
        ["64:ff9b::203.0.113.7", "2002:cb00:7107::1", "203.0.113.7"][n % 3].to_owned()
    })
    .await;
    for n in 6..12 {
        assert_eq!(
            call(&app, "x-forwarded-for", "64:ff9b::198.51.100.1", n).await,
            200,
            "its network has six"
        );
    }
    assert_eq!(call(&app, "x-forwarded-for", "198.51.100.1", 12).await, 429);
    // What carries the proxy's address is not the proxy: the hop before it is not believed.
    assert_eq!(call(&app, "x-forwarded-for", "203.0.113.9, 64:ff9b::127.0.0.1", 13).await, 200);
    assert_eq!(app.count("SELECT count(*) FROM spends WHERE subject = '203.0.113.9'"), 0);
}

#[tokio::test]
async fn s12_an_ipv6_48_has_ten_times_what_one_address_has() {
    let app = App::with(&[("FRESHK_LIMITS__IP", "2")]).await;
    let site = |n: usize| format!("2001:db8:7:{n:x}::1");
    for n in 0..20 {
        let answer = app.request_from(&site(n), &format!("+1888{n:07}")).await;
        assert_eq!(answer.status, 200, "{n}");
        // The /64 has one left, until the /48 has less.
        let left = if n < 19 { "\"otp-ip\";q=2;w=3600" } else { "\"otp-ip\";q=20;w=3600" };
        assert_eq!(answer.header("ratelimit-policy"), left, "{n}");
        app.clock.advance(Duration::from_secs(1));
    }
    for n in 0..2 {
        // From the ledger, and then from memory.
        let refused = app.request_from(&site(77), &format!("+1889{n:07}")).await;
        assert_eq!(refused.verdict(), (429, "rate_limited".to_owned()));
        assert_eq!(refused.header("ratelimit-policy"), "\"otp-ip\";q=20;w=3600");
        assert_eq!(refused.header("retry-after"), "3580", "until the first of the twenty is an hour old");
    }
    assert_eq!(app.request_from("2001:db8:8::1", "+18890000009").await.status, 200, "another /48");
    assert_eq!(app.request_from(&site(0), "+18890000008").await.status, 429);
    assert_eq!(app.twilio.requests().len(), 21);
    assert_eq!(app.count("SELECT count(*) FROM spends WHERE subject = '2001:db8:7::/48'"), 20);
    assert_eq!(app.count("SELECT count(*) FROM audit WHERE event = 'excess_rate_limit_exceeded'"), 1);
}

#[tokio::test]
async fn s12_the_forwarded_header_of_rfc_7239() {
    let app = App::with(&[("FRESHK_SERVER__FORWARDED_HEADER", "forwarded")]).await;
    let forms = ["for=203.0.113.7", "For=\"203.0.113.7:4711\";proto=https", "for=10.0.0.1, for=203.0.113.7"];
    spend_all(&app, "forwarded", |n| forms[n % 3].to_owned()).await;
    assert_eq!(call(&app, "forwarded", "for=\"[2001:db8::1]:80\";by=_gate", 6).await, 200);
    assert_eq!(app.count("SELECT count(*) FROM spends WHERE subject = '2001:db8::/64'"), 1);
    for (n, value) in ["for=unknown", "for=203.0.113.7, for=_obf"].into_iter().enumerate() {
        assert_eq!(call(&app, "forwarded", value, 7 + n).await, 200);
    }
    assert_eq!(app.count("SELECT count(*) FROM spends WHERE subject = '127.0.0.1'"), 2);
    assert_eq!(
        call(&app, "x-forwarded-for", "203.0.113.7", 9).await,
        200,
        "the other header is nothing here"
    );
}

#[tokio::test]
async fn named_networks_have_a_number_of_their_own() {
    let app = App::with(&[("FRESHK_LIMITS__NETWORKS", "100.64.0.0/10=7")]).await;
    for n in 0..8 {
        let answer = app.request_from("100.64.1.1", &phone(n)).await;
        assert_eq!(answer.status, if n < 7 { 200 } else { 429 }, "{n}");
        assert_eq!(answer.header("ratelimit-policy"), "\"otp-ip\";q=7;w=3600");
    }
    let answer = app.request_from("203.0.113.1", &phone(9)).await;
    assert_eq!(answer.header("ratelimit-policy"), "\"otp-ip\";q=5;w=3600");
}

#[tokio::test]
async fn a_shared_scope_makes_the_endpoints_one() {
    let app = App::with(&[("FRESHK_LIMITS__IP_SCOPE", "shared")]).await;
    for n in 0..3 {
        assert_eq!(app.request(&phone(n)).await.status, 200);
    }
    let login = app.verify(&phone(0), &app.code(&phone(0))).await;
    assert_eq!(login.header("ratelimit"), "\"otp-ip\";r=1;t=3600");
    let access = login.json()["access"].as_str().unwrap().to_owned();
    assert_eq!(app.resend(&access).await.status, 200);
    assert_eq!(app.request(&phone(4)).await.status, 429);
    assert_eq!(app.verify(&phone(1), "123456").await.status, 429);
    assert_eq!(app.resend(&access).await.status, 429);
    assert_eq!(app.status(&access).await.status, 200, "status has no quota");
}

#[tokio::test]
async fn a_limit_of_zero_is_off_and_tells_of_nothing() {
    let off =
        ["FRESHK_LIMITS__IP", "FRESHK_LIMITS__USER", "FRESHK_LIMITS__USER_PER_DAY"].map(|name| (name, "0"));
    let app = App::with(&off).await;
    let login = app.log_in(PHONE).await;
    let access = login["access"].as_str().unwrap();
    for _ in 0..6 {
        for answer in [app.request(PHONE).await, app.resend(access).await] {
            assert_eq!(answer.status, 200);
            let told = answer.headers.keys().find(|name| name.as_str().starts_with("ratelimit"));
            assert!(told.is_none(), "{told:?}");
        }
    }
    assert_eq!(app.count("SELECT count(*) FROM spends WHERE quota <> 'failures'"), 0);
}

#[tokio::test]
async fn another_window_slides_as_an_hour_does() {
    let app = App::with(&[("FRESHK_LIMITS__WINDOW", "90s")]).await;
    for n in 0..5 {
        assert_eq!(app.request(&phone(n)).await.header("ratelimit-policy"), "\"otp-ip\";q=5;w=90");
    }
    let refused = app.request(&phone(5)).await;
    assert_eq!((refused.status, refused.header("retry-after")), (429, "90"));
    assert_eq!(refused.json()["error"], "Too many requests. Please try again in 2 minutes.");
    app.clock.advance(Duration::from_secs(89));
    assert_eq!(app.request(&phone(5)).await.status, 429);
    app.clock.advance(Duration::from_secs(1));
    assert_eq!(app.request(&phone(5)).await.status, 200);
}

#[tokio::test]
async fn the_testing_mode_has_neither_address_quota_nor_a_share_in_the_others() {
    let app = App::with(&[("DEBUG", "True"), ("FRESHK_SMS__PROVIDER", "twilio")]).await;
    for n in 0..7 {
        let answer = app.post("/api/mobile/auth/request/", &json!({ "phone_number": phone(n) })).await;
        assert_eq!(answer.status, 200);
        assert!(answer.headers.get("ratelimit").is_none());
    }
    assert!(app.twilio.requests().is_empty(), "testing codes are never sent");
    assert_eq!(app.request(&phone(0)).await.header("ratelimit"), "\"otp-ip\";r=4;t=3600");
}

#[tokio::test]
async fn s37_a_missing_proxy_is_told_once_an_hour_with_the_line_to_write() {
    let name = "s37_a_missing_proxy_is_told_once_an_hour_with_the_line_to_write";
    let Some(log) = logs::catch(module_path!(), name, "info") else { return };
    let app = App::with(&[UNTRUSTED]).await;
    let lines = || {
        let line =
            "write under [server] in freshk.toml: trusted_proxies = [\"192.0.2.0/24\", \"127.0.0.1/32\"]";
        let told = |record: &serde_json::Value| {
            record["level"] == "WARN" && record["message"].as_str().unwrap().ends_with(line)
        };
        log.records().iter().filter(|record| told(record)).count()
    };
    app.request(PHONE).await;
    assert_eq!(lines(), 0, "no header, no proxy");
    for n in 0..3 {
        call(&app, "x-forwarded-for", "203.0.113.1", n).await;
    }
    assert_eq!(lines(), 1);
    app.clock.advance(Duration::from_secs(3599));
    call(&app, "x-forwarded-for", "203.0.113.1", 3).await;
    assert_eq!(lines(), 1);
    app.clock.advance(Duration::from_secs(1));
    call(&app, "x-forwarded-for", "203.0.113.1", 4).await;
    assert_eq!(lines(), 2);
}

#[tokio::test]
async fn s37_a_trusted_proxy_that_names_nobody_is_told_once_an_hour_what_to_send() {
    let name = "s37_a_trusted_proxy_that_names_nobody_is_told_once_an_hour_what_to_send";
    let Some(log) = logs::catch(module_path!(), name, "info") else { return };
    let app = App::start().await;
    let lines = || {
        let told = |record: &&serde_json::Value| {
            let message = record["message"].as_str().unwrap();
            record["level"] == "WARN"
                && message.ends_with("have it send x-forwarded-for, with the address of its client")
        };
        log.records().iter().filter(told).count()
    };
    app.request_from("203.0.113.1", PHONE).await;
    app.build(reqwest::Method::GET, "/health/live").send().await.unwrap();
    assert_eq!(lines(), 0);
    for n in 0..3 {
        app.request(&phone(n)).await;
    }
    assert_eq!(lines(), 1);
    app.clock.advance(Duration::from_hours(1));
    app.request(PHONE).await;
    assert_eq!(lines(), 2);
}
