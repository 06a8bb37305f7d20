//! The guide's calls, replayed against a running server.

use crate::support::{PHONE, Place};

const ADD: &str = "sms test-number add +1234567890 --code 604927 --until 1d";

fn line(url: &str) -> String {
    format!("selftest {url} --phone {PHONE} --code 604927")
}

#[tokio::test]
async fn every_step_is_shown_with_its_answer_and_no_token() {
    let place = Place::new();
    let server = place.serve();
    place.good(ADD);
    let said = place.good(&line(server.url()));
    for step in ["request a code", "verify it", "status", "resend", "refresh", "log out", "status after"] {
        assert!(said.contains(&format!("ok    {step}")), "{said}");
    }
    assert!(said.contains("+12****7890") && !said.contains("1234567890"), "{said}");
    assert!(said.contains("all 8 answers as expected"), "{said}");
    assert!(!said.contains("eyJ0eXAiOiJKV1Qi"), "{said}");
    assert_eq!(place.count("SELECT count(*) FROM messages"), 0);
    assert_eq!(place.json("session list")["sessions"].as_array().map(Vec::len), Some(0), "it logs out");

    insta::assert_json_snapshot!(place.json(&line(server.url())), {
        ".steps[].milliseconds" => "[time]",
        ".**.request_id" => "[id]",
        ".**.retry_after" => "[time]",
    });
}

#[tokio::test]
async fn the_first_unexpected_answer_ends_it_and_says_what_to_do() {
    let place = Place::new();
    let server = place.serve();
    let gone = place.run("selftest http://127.0.0.1:1 --phone +1234567890 --code 604927");
    assert!(gone.code == 1 && gone.stderr.contains("check that the server runs"), "{}", gone.stderr);

    place.good(ADD);
    let wrong = place.run(&line(server.url()).replace("604927", "111111"));
    assert!(wrong.code == 1 && wrong.stderr.contains("test-number list"), "{}", wrong.stderr);
    assert!(
        wrong.stdout.contains("fail  verify it") && !wrong.stdout.contains("refresh"),
        "{}",
        wrong.stdout
    );
    for _ in 0..4 {
        place.good(&line(server.url()));
    }
    let limited = place.run(&format!("{} --json", line(server.url())));
    assert!(limited.code == 1 && limited.stderr.contains("limit reset"), "{}", limited.stderr);
    let answer: serde_json::Value = serde_json::from_str(&limited.stdout).unwrap();
    assert_eq!((&answer["ok"], &answer["steps"][1]["status"]), (&false.into(), &429.into()));

    for url in ["localhost:8000", "https://user@host", "ftp://host"] {
        let usage = place.run(&line(url));
        assert!(usage.code == 2 && usage.stderr.contains("https://api.your-domain.com"), "{}", usage.stderr);
    }
}

#[tokio::test]
async fn a_host_is_sent_where_the_url_has_another_name() {
    let place = Place::new();
    place.write("freshk.toml", "debug = true\n[server]\nallowed_hosts = [\"api.example.com\"]\n");
    let server = place.serve();
    place.good(ADD);
    let refused = place.run(&format!("{} --host other.example.com", line(server.url())));
    assert!(refused.code == 1 && refused.stderr.contains("--host"), "{}", refused.stderr);
    place.good(&format!("{} --host api.example.com", line(server.url())));
}
