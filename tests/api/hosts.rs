//! S13: which hosts are served.

use reqwest::Method;

use crate::support::{Answer, App, STATUS};

const REFUSED: &str = "host_not_allowed";
const PASSED: &str = "not_authenticated";

async fn verdict(app: &App, host: &str) -> String {
    Answer::of(app.build(Method::GET, STATUS).header("host", host)).await.code()
}

#[tokio::test]
async fn s13_names_domains_ports_case_and_ipv6() {
    let app = App::with(&[("ALLOWED_HOSTS", "api.example.com,.Example.org,192.0.2.1,[2001:db8::1]")]).await;
    for host in [
        "api.example.com",
        "API.Example.Com:8000",
        "api.example.com.",
        "example.org",
        "a.b.example.org:443",
        "192.0.2.1:80",
        "[2001:DB8:0::1]:8000",
    ] {
        assert_eq!(verdict(&app, host).await, PASSED, "{host}");
    }
    for host in [
        "example.com",
        "xapi.example.com",
        "api.example.com.evil.example",
        "notexample.org",
        "localhost",
        "127.0.0.1",
        "api.example.com:port",
        "api.example.com:123456",
        "user@api.example.com",
        "[2001:db8::1",
        "api.example.com,evil.example",
        "*",
    ] {
        assert_eq!(verdict(&app, host).await, REFUSED, "{host}");
    }
    for path in ["/health/live", "/health/ready"] {
        let answer = Answer::of(app.build(Method::GET, path).header("host", "10.0.0.7")).await;
        assert_eq!(answer.status, 200, "a probe knows no name");
    }
}

#[tokio::test]
async fn s13_a_star_or_nothing_allows_all_but_malformed_hosts() {
    for variables in [&[("ALLOWED_HOSTS", "*")] as &[_], &[]] {
        let app = App::with(variables).await;
        assert_eq!(verdict(&app, "anything.example").await, PASSED);
        for head in ["", "host: a\r\nhost: b\r\n", "host: a b\r\n", "host: a/b\r\n", "host:\r\n"] {
            let request = format!("GET {STATUS} HTTP/1.1\r\n{head}connection: close\r\n\r\n");
            let answer = app.raw(request.as_bytes()).await;
            assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains(REFUSED), "{head:?}: {answer}");
        }
    }
}

#[tokio::test]
async fn s13_a_target_in_absolute_form_names_the_host_too() {
    let app = App::with(&[("ALLOWED_HOSTS", "api.example.com")]).await;
    for (target, host, code) in [
        ("api.example.com", "api.example.com", PASSED),
        ("evil.example", "api.example.com", REFUSED),
        ("api.example.com", "evil.example", REFUSED),
    ] {
        let request =
            format!("GET http://{target}{STATUS} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        let answer = app.raw(request.as_bytes()).await;
        assert!(answer.contains(code), "{target} {host}: {answer}");
    }
}

#[tokio::test]
async fn s13_localhost_is_always_allowed_in_debug_and_only_there() {
    let local = ["localhost:8000", "127.0.0.1", "[::1]:8000"];
    let app = App::with(&[("ALLOWED_HOSTS", "api.example.com"), ("DEBUG", "True")]).await;
    for host in local {
        assert_eq!(verdict(&app, host).await, PASSED, "{host}");
    }
    assert_eq!(verdict(&app, "evil.example").await, REFUSED);
    let app = App::with(&[("ALLOWED_HOSTS", "api.example.com")]).await;
    for host in local {
        assert_eq!(verdict(&app, host).await, REFUSED, "{host}");
    }
}
