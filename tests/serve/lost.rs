//! A database or its lock that is deleted or replaced while a server has it open.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::process::{Place, Server};
use crate::twilio::{FakeTwilio, sms_code};
use crate::{PHONE, REQUEST, answer, client, post, request, status, verify};

/// Logs in; gives the access token.
async fn log_in(server: &Server, twilio: &FakeTwilio) -> String {
    assert_eq!(request(server, "198.51.100.1", PHONE).await.0, 200);
    let (_, login) =
        verify(server, "198.51.100.1", PHONE, &sms_code(twilio.requests().last().unwrap())).await;
    login["access"].as_str().unwrap().to_owned()
}

async fn ready(server: &Server) -> u16 {
    answer(client().get(server.url("/health/ready"))).await.0
}

/// Waits until the server has noticed.
async fn until_unready(server: &Server) {
    for _ in 0..1000 {
        if ready(server).await == 503 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("it never noticed\n{}", server.stderr.text());
}

/// The copies that were saved beside the database; a checksum stands beside each.
fn copies(place: &Place) -> Vec<PathBuf> {
    let files = fs::read_dir(place.path()).unwrap().map(|file| file.unwrap().path());
    files
        .filter(|file| {
            let name = file.file_name().unwrap().to_str().unwrap();
            // Neither its checksum, nor the draft that it was.
            let is_database = file.extension().is_some_and(|extension| extension == "db");
            name.starts_with("freshk.db.rescue-") && is_database
        })
        .collect()
}

fn errors(log: &str) -> Vec<&str> {
    log.lines().filter(|line| line.contains("\"ERROR\"")).collect()
}

#[tokio::test]
async fn a_database_that_is_lost_is_noticed_saved_and_not_served() {
    let delete: fn(&Path) = |database| fs::remove_file(database).unwrap();
    let replace: fn(&Path) = |database| {
        fs::copy(database, database.with_extension("copy")).unwrap();
        fs::rename(database.with_extension("copy"), database).unwrap();
    };
    let delete_all: fn(&Path) = |database| {
        for suffix in ["", "-wal", "-shm", ".lock"] {
            fs::remove_file(format!("{}{suffix}", database.display())).unwrap();
        }
    };
    for lose in [delete, replace, delete_all] {
        let twilio = FakeTwilio::start();
        let place = Place::production(&twilio);
        let mut server = place.start();
        let token = log_in(&server, &twilio).await;
        lose(&place.database());
        until_unready(&server).await;
        let sent = twilio.requests().len();
        let call = client().post(server.url(REQUEST)).header("x-forwarded-for", "198.51.100.2");
        let refused = call.json(&json!({ "phone_number": "+15551234567" })).send().await.unwrap();
        assert!(refused.headers().contains_key("retry-after"), "{refused:?}");
        assert_eq!(refused.status(), 503);
        assert_eq!(refused.json::<serde_json::Value>().await.unwrap()["code"], "unavailable");
        assert_eq!(status(&server, &token).await, 503, "nor from memory");
        assert_eq!(twilio.requests().len(), sent, "no SMS is bought");

        let copy = server.eventually("a copy", |_| copies(&place).pop());
        let told = server.eventually("the error", |server| {
            errors(&server.stderr.text()).first().map(|line| (*line).to_owned())
        });
        for words in ["was deleted or replaced", copy.to_str().unwrap(), "freshk db restore"] {
            assert!(told.contains(words), "{words}: {told}");
        }
        assert_eq!(copy.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(ready(&server).await, 503);
        server.signal("TERM");
        server.ended();
        assert_eq!(errors(&server.stderr.text()).len(), 1, "{}", server.stderr.text());
        assert_eq!(copies(&place), std::slice::from_ref(&copy));

        place.run(&format!("db restore {} --yes", copy.display()));
        let server = place.start();
        assert_eq!(status(&server, &token).await, 200, "nobody is logged out");
        server.stop();
    }
}

#[tokio::test]
async fn a_database_that_comes_back_is_served_again() {
    let twilio = FakeTwilio::start();
    let place = Place::production(&twilio);
    let mut server = place.start();
    let token = log_in(&server, &twilio).await;
    let aside = place.path().join("aside.db");
    fs::rename(place.database(), &aside).unwrap();
    until_unready(&server).await;
    server.eventually("a copy", |_| copies(&place).pop());
    fs::rename(&aside, place.database()).unwrap();
    for _ in 0..1000 {
        if ready(&server).await == 200 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(status(&server, &token).await, 200);
    server.stop();
}

#[tokio::test]
async fn a_new_database_is_told_and_none_is_made_in_the_place_of_one_that_is_lost() {
    let twilio = FakeTwilio::start();
    let place = Place::production(&twilio);
    let server = place.start();
    let made = "made a new database at";
    assert!(server.stderr.text().contains(made), "{}", server.stderr.text());
    server.stop();
    let again = place.start();
    assert!(!again.stderr.text().contains(made), "{}", again.stderr.text());
    again.stop();

    let gone: fn(&Place) = |place| fs::remove_file(place.database()).unwrap();
    let emptied: fn(&Place) = |place| fs::write(place.database(), "").unwrap();
    for lose in [gone, emptied] {
        lose(&place);
        for words in ["there was one", "freshk.db.lock", "`freshk db restore", "`freshk db migrate`"] {
            place.refused().assert_says(&[words]);
        }
        let told = place.tool("user import users.csv").output().unwrap();
        assert!(String::from_utf8_lossy(&told.stderr).contains("`freshk db migrate`"), "{told:?}");
        let told = place.tool("check --offline").output().unwrap();
        let text = String::from_utf8_lossy(&told.stdout).split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(told.status.code(), Some(1));
        assert!(text.contains("`freshk db migrate`"), "{text}");
        assert!(place.database().metadata().map_or(0, |file| file.len()) == 0, "nothing was made");
    }
    fs::remove_file(place.database()).unwrap();
    place.run("db migrate");
    place.start().stop();

    // Without the lock it is the backups that know.
    fs::create_dir(place.path().join("backups")).unwrap();
    let place = place.with("FRESHK_BACKUP__DIR", "backups");
    place.run("db backup");
    fs::remove_file(place.database()).unwrap();
    fs::remove_file(place.path().join("freshk.db.lock")).unwrap();
    place.refused().assert_says(&["backups/freshk-", "says that there was one"]);
}

#[tokio::test]
async fn a_lock_that_is_deleted_lets_no_second_server_in() {
    let twilio = FakeTwilio::start();
    let place = Place::production(&twilio);
    let mut first = place.start();
    let lock = place.path().join("freshk.db.lock");
    for _ in 0..3 {
        fs::remove_file(&lock).unwrap();
        place.refused().assert_says(&["freshk.db is in use by", "stop that process first"]);
        let pid = format!("{}\n", first.pid());
        first.eventually("the lock to be made again", |_| {
            fs::read_to_string(&lock).ok().filter(|text| text.starts_with(&pid))
        });
    }
    let told = place.tool("db vacuum").output().unwrap();
    assert!(String::from_utf8_lossy(&told.stderr).contains(&format!("process {}", first.pid())), "{told:?}");
    assert_eq!(post(&first, "198.51.100.3", REQUEST, &json!({ "phone_number": PHONE })).await.0, 200);
    first.stop();
}

#[tokio::test]
async fn check_fails_while_the_server_has_another_file_open() {
    let twilio = FakeTwilio::start();
    let place = Place::production(&twilio);
    let server = place.start();
    fs::copy(place.database(), place.path().join("copy")).unwrap();
    fs::rename(place.path().join("copy"), place.database()).unwrap();
    until_unready(&server).await;
    let told = place.tool("check --offline --json").output().unwrap();
    let told: serde_json::Value = serde_json::from_slice(&told.stdout).unwrap();
    let line = told["lines"].as_array().unwrap().iter().find(|line| line["check"] == "server").unwrap();
    assert_eq!(line["verdict"], "fail", "{told}");
    assert!(line["found"].as_str().unwrap().contains("another file open"), "{line}");
}
