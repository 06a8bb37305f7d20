//! The audit trail, filtered and followed.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use serde_json::Value;

use crate::support::{Place, until};

#[test]
fn filters_find_the_lines() {
    let place = Place::new();
    place.good("user create +1234567890");
    place.good("user create +15551234567");
    place.good("user deactivate 1");
    let events = |line: &str| {
        let lines = place.json(line)["lines"].as_array().unwrap().clone();
        lines.iter().map(|line| line["event"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(events("audit list --phone +1234567890"), ["user_created", "user_updated"]);
    assert_eq!(events("audit list --user 1"), ["user_created", "user_updated"]);
    assert_eq!(events("audit list --event user_created"), ["user_created", "user_created"]);
    assert_eq!(events("audit list --limit 1"), ["user_updated"]);
    assert_eq!(events("audit list --since 1h").len(), 3);
    assert_eq!(events("audit list --since 2200-01-01"), [""; 0]);
    assert_eq!(events("audit list --ip 203.0.113.7"), [""; 0]);
    insta::assert_json_snapshot!(place.json("audit list --limit 1"), { ".lines[].at" => "[at]" });
}

#[tokio::test]
async fn following_shows_new_lines_and_ends_with_its_reader() {
    let place = Place::new();
    place.good("user create +1234567890");
    let mut following = place.command("audit list --follow --json").stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(following.stdout.take().unwrap()).lines();
    let mut next = || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!(next()["event"], "user_created");
    place.good("user deactivate 1");
    assert_eq!(next()["detail"], "operator: deactivated");
    drop(lines);
    until(async || following.try_wait().unwrap().is_some()).await;
    assert!(following.wait().unwrap().success());
}
