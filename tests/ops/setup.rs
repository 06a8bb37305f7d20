//! `init`, `completions`, `man`: what an operator runs once.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use serde_json::json;

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

/// The first code block of a language in a document.
fn block(page: &str, language: &str) -> String {
    let begin = format!("```{language}\n");
    page.split(&begin).nth(1).unwrap().split("```").next().unwrap().to_owned()
}

#[test]
fn init_for_systemd_writes_what_the_documents_have_and_commands_that_a_shell_reads() {
    let proxies = include_str!("../../docs/proxies.md");
    for (proxy, file, language) in
        [("caddy", "freshk.caddyfile", "caddyfile"), ("nginx", "freshk.nginx", "nginx")]
    {
        let place = Place::new();
        let url = "https://login.example.org";
        let told = place.json(&["init", "--systemd", "--proxy", proxy, "--public-url", url]);
        assert_eq!(told["files"], json!(["freshk.toml", "freshk.service", file]));
        let read = |name: &str| std::fs::read_to_string(place.path(name)).unwrap();
        assert_eq!(read(file), block(proxies, language).replace("api.example.com", "login.example.org"));
        let unit = include_str!("../../deploy/freshk.service");
        assert_eq!(read("freshk.service"), unit.replace("/usr/bin/freshk", "/usr/local/bin/freshk"));
        let toml = read("freshk.toml");
        for line in [
            "trusted_proxies = [\"127.0.0.1\", \"::1\"]",
            "url = \"sqlite:///var/lib/freshk/freshk.db\"",
            "dir = \"/var/backups/freshk\"",
            "allowed_hosts = [\"login.example.org\"]",
        ] {
            assert!(toml.contains(line), "{line} is missing from\n{toml}");
        }
        place.ok(&["config", "show"]);

        let commands: Vec<_> =
            told["commands"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
        let script = commands.join("\n");
        let checked = Command::new("sh").args(["-n", "-c", &script]).output().unwrap();
        assert!(checked.status.success(), "{script}\n{}", crate::place::stderr(&checked));
        for part in [
            "useradd --system",
            "root -g freshk freshk.toml /etc/freshk/freshk.toml",
            "enable --now freshk",
            proxy,
        ] {
            assert!(script.contains(part), "{part} is missing from\n{script}");
        }
    }
}

#[test]
fn init_for_systemd_says_what_is_left_and_keeps_what_is_there() {
    let place = Place::new();
    std::fs::write(place.path("freshk.caddyfile"), "mine").unwrap();
    let (code, said) = place.fails(&["init", "--systemd"]);
    assert!(
        code == 1 && said.contains("freshk.caddyfile exists already") && said.contains("--force"),
        "{said}"
    );
    assert!(!place.path("freshk.toml").exists(), "nothing is written");
    let told = place.ok(&["init", "--systemd", "--force"]);
    for line in [
        "Written: freshk.toml, freshk.service, freshk.caddyfile. Next:",
        "write Twilio's account_sid",
        "in place of api.example.com into freshk.caddyfile",
        "run as root:",
        "systemctl reload caddy",
    ] {
        assert!(told.contains(line), "{line} is missing from\n{told}");
    }
    assert!(!told.contains("start it"), "systemd does: {told}");

    for (line, code, words) in [
        (vec!["init", "--systemd", "--proxy", "apache", "--force"], 2, "possible values: caddy, nginx"),
        (vec!["init", "--proxy", "nginx", "--force"], 2, "--systemd"),
        (vec!["--config", "/proc/freshk.toml", "init", "--systemd"], 1, "cannot be written"),
        (vec!["--config", "no/where/freshk.toml", "init", "--systemd"], 1, "directory that exists"),
    ] {
        let (found, said) = place.fails(&line);
        assert!(found == code && said.contains(words), "{line:?}: {said}");
    }
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
