//! `init`, `completions`, `man`: what an operator runs once.

use std::os::unix::fs::PermissionsExt as _;

use crate::place::Place;

#[test]
fn init_writes_a_configuration_that_serves_once_it_is_complete() {
    let place = Place::new();
    let sid = format!("AC{}", "0".repeat(32));
    let told = place
        .command(
            &[
                "init",
                "--account-sid",
                &sid,
                "--phone-number",
                "+15005550006",
                "--public-url",
                "https://api.example.com",
            ],
            &[("TWILIO_AUTH_TOKEN", "an \"honest\" token")],
        )
        .output()
        .unwrap();
    assert!(told.status.success());
    let told = String::from_utf8(told.stdout).unwrap();
    assert!(told.contains("freshk serve") && !told.contains("account_sid"), "{told}");
    assert_eq!(place.path("freshk.toml").metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let shown = place.command(&["config", "show", "--json"], &[]).env_remove("DEBUG").output().unwrap();
    assert!(shown.status.success(), "{}", crate::place::stderr(&shown));
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    let value = |key: &str| {
        let settings = shown["settings"].as_array().unwrap();
        settings.iter().find(|setting| setting["key"] == key).unwrap()["value"].clone()
    };
    assert_eq!(value("twilio.account_sid"), sid);
    assert_eq!(value("server.allowed_hosts"), "api.example.com");
}

#[test]
fn init_keeps_what_is_there_unless_forced_and_never_repeats_a_secret() {
    let place = Place::new();
    let told = place.json(&["init"]);
    assert!(told["left"][0].as_str().unwrap().contains("account_sid"), "{told}");
    let first = std::fs::read_to_string(place.path("freshk.toml")).unwrap();
    let (code, said) = place.fails(&["init"]);
    assert!(code == 1 && said.contains("--force"), "{said}");
    assert_eq!(std::fs::read_to_string(place.path("freshk.toml")).unwrap(), first);
    place.ok(&["init", "--force"]);
    assert_ne!(std::fs::read_to_string(place.path("freshk.toml")).unwrap(), first);
    let (code, said) = place.fails(&["--config", "no/where/freshk.toml", "init"]);
    assert!(code == 1 && said.contains("name a file in a directory that exists"), "{said}");
}

#[test]
fn completions_and_manual_pages_know_the_commands() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish"] {
        assert!(place.ok(&["completions", shell]).contains("restore"), "{shell}");
    }
    assert_eq!(place.fails(&["completions", "sh"]).0, 2);
    assert!(place.ok(&["man"]).contains(".TH freshk 1"));
    std::fs::create_dir(place.path("man1")).unwrap();
    place.ok(&["man", "man1"]);
    let page = std::fs::read_to_string(place.path("man1/freshk-db-restore.1")).unwrap();
    assert!(page.contains("Refused while a server runs"), "{page}");
    let (code, said) = place.fails(&["man", "no/such/place"]);
    assert!(code == 1 && said.contains("name a directory that exists"), "{said}");
}
