//! What is tried again, and how the way to Twilio is kept (S22, S23).

use std::process::Command;
use std::time::Duration;

use freshk::domain::HttpUrl;
use freshk::sms::twilio::TwilioSettings;

use crate::twilio::{Answer, FakeTwilio};
use crate::{Bench, SHORT, accepted, refused, unknown};

#[tokio::test]
async fn s23_throttling_is_tried_once_more() {
    for retry_after in [None, Some("0"), Some("1"), Some("2")] {
        let bench = Bench::new();
        bench.fake.script(vec![Answer::TooMany { retry_after }]);
        accepted(bench.send().await);
        assert_eq!(bench.posts(), 2, "{retry_after:?}");
    }
}

#[tokio::test]
async fn s23_throttling_twice_is_a_refusal() {
    let bench = Bench::new();
    bench.fake.always(Answer::TooMany { retry_after: None });
    assert_eq!(refused(bench.send().await).code, Some(20429));
    assert_eq!(bench.posts(), 2);
}

#[tokio::test]
async fn s23_a_longer_wait_is_not_waited_for() {
    for retry_after in ["3", "3600", "Fri, 31 Dec 2027 23:59:59 GMT", "soon"] {
        let bench = Bench::new();
        bench.fake.always(Answer::TooMany { retry_after: Some(retry_after) });
        refused(bench.send().await);
        assert_eq!(bench.posts(), 1, "{retry_after}");
    }
}

#[tokio::test]
async fn s22_no_second_attempt_that_the_deadline_would_cut_off() {
    let bench = Bench::with(FakeTwilio::start(), |settings| {
        settings.timeout = Duration::from_secs(4);
        settings.connect_timeout = Duration::from_secs(3);
    });
    bench.fake.always(Answer::TooMany { retry_after: Some("2") });
    refused(bench.send().await);
    assert_eq!(bench.posts(), 1);
}

#[tokio::test]
async fn s23_what_was_throttled_and_then_lost_is_unknown() {
    let bench = Bench::new();
    bench.fake.script(vec![Answer::TooMany { retry_after: None }, Answer::ResetAfterBody]);
    unknown(bench.send().await);
    assert_eq!(bench.posts(), 2);
}

#[tokio::test]
async fn s23_a_refused_connection_is_a_refusal() {
    let bench = Bench::with(FakeTwilio::refusing(), |_| {});
    let failure = refused(bench.send().await);
    assert!(failure.detail.contains("not reached"), "{failure:?}");
}

#[tokio::test]
async fn s23_an_unknown_host_is_a_refusal() {
    let bench = Bench::with(FakeTwilio::start(), |settings| {
        // RFC 6761 §6.4: this name never resolves.
        settings.base_url = HttpUrl::parse("https://twilio.invalid").unwrap();
    });
    refused(bench.send().await);
    assert_eq!(bench.fake.connections(), 0);
}

#[tokio::test]
async fn s23_a_failed_handshake_is_tried_once_more_and_refused() {
    let bench = Bench::with(FakeTwilio::start(), |settings| {
        let url = settings.base_url.as_str().replace("http://", "https://");
        settings.base_url = HttpUrl::parse(&url).unwrap();
    });
    let failure = refused(bench.send().await);
    assert!(failure.detail.contains("TLS"), "{failure:?}");
    assert_eq!((bench.posts(), bench.fake.connections()), (0, 2));
}

#[tokio::test]
async fn s22_a_connection_that_does_not_come_about_is_a_refusal() {
    let bench = Bench::hurried(FakeTwilio::full());
    let failure = refused(bench.send().await);
    assert!(failure.detail.contains("timed out"), "{failure:?}");
}

#[tokio::test]
async fn s25_a_listener_that_never_accepts_leaves_it_unknown() {
    let bench = Bench::hurried(FakeTwilio::never_accepting());
    let failure = unknown(bench.send().await);
    assert!(failure.detail.contains("timed out"), "{failure:?}");
}

#[tokio::test]
async fn s22_the_deadline_covers_all() {
    let twice_hurried = |settings: &mut TwilioSettings| {
        settings.connect_timeout = SHORT / 2;
        settings.timeout = SHORT * 2;
    };
    let bench = Bench::with(FakeTwilio::start(), twice_hurried);
    bench.fake.script(vec![Answer::TooMany { retry_after: None }, Answer::Hang]);
    let failure = unknown(bench.send().await);
    assert!(failure.detail.contains("timed out"), "{failure:?}");
    assert_eq!(bench.posts(), 2);
}

#[tokio::test]
async fn connections_are_used_again() {
    let bench = Bench::new();
    bench.fake.script(vec![Answer::Accepted, Answer::Error { http: 400, code: 21211, message: "no" }]);
    accepted(bench.send().await);
    refused(bench.send().await);
    accepted(bench.send().await);
    assert_eq!((bench.posts(), bench.fake.connections()), (3, 1));
}

/// Runs itself in a process whose environment names a proxy: the message must not pass by there.
#[test]
fn s22_the_environments_proxy_is_not_used() {
    let proxy = FakeTwilio::start();
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "attempts::s22_a_message_finds_its_way"]);
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        child.env(name, proxy.url()).env(name.to_lowercase(), proxy.url());
    }
    let output = child.env_remove("NO_PROXY").env_remove("no_proxy").output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("1 passed"), "{told}");
    assert_eq!(proxy.connections(), 0);
}

#[tokio::test]
async fn s22_a_message_finds_its_way() {
    let bench = Bench::new();
    accepted(bench.send().await);
    assert_eq!(bench.posts(), 1);
}
