//! `freshk db move`: everything from one engine to the other and back, with sessions alive.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use freshk::storage::moving::TABLES;
use serde_json::json;

use crate::postgres::server;
use crate::support::{PHONE, Place};

/// Names of tables that belong to one database alone.
const OWN: [&str; 6] = ["sqlite_sequence", "nodes", "freshk_schema", "dev_secret", "backup_stamp", "acme"];

fn configured(place: &Place, url: &str, schema: &str) {
    let text = format!(
        "debug = true\nsecret_key = \"a secret for tests of more than thirty-two bytes\"\n[database]\nurl = \"{url}\"\n\
         schema = \"{schema}\"\n"
    );
    place.write("freshk.toml", text);
    fs::set_permissions(place.path("freshk.toml"), Permissions::from_mode(0o600)).unwrap();
}

#[tokio::test]
async fn all_is_moved_to_the_other_engine_and_back_and_nobody_is_logged_out() {
    let Some(server) = server() else { return };
    let schema = server.schema();
    let (file, url) = ("sqlite://freshk.db", server.url());
    let place = Place::new();
    configured(&place, file, schema.name());
    let running = place.serve();
    let token = running.log_in(PHONE).await;
    assert_eq!(running.request("+15550000002").await, 200);
    place.good("user set-attribute 1 plan gold");
    let refused = place.run(&format!("db move {url}"));
    assert_eq!(refused.code, 1, "a server runs: {}", refused.stderr);
    drop(running);

    let (users, audit) = (place.good("user export"), place.good("audit list --json"));
    assert!(place.good(&format!("db move {url}")).contains("compared one by one"));
    configured(&place, &url, schema.name());
    assert_eq!((place.good("user export"), place.good("audit list --json")), (users, audit));
    let moved = place.serve();
    assert_eq!(moved.status(&token).await.0, 200);
    // The quotas, and the numbers of users, go on.
    assert_eq!(moved.request("+15550000003").await, 200);
    let other = moved.log_in("+15550000002").await;
    assert_eq!(place.json("user show +15550000003")["id"], 3);
    let refused = place.run("db move sqlite://back.db");
    assert!(refused.code == 1 && refused.stderr.contains("serves the database"), "{}", refused.stderr);
    moved.stop();

    let again = place.run(&format!("db move {file}"));
    assert!(again.stderr.contains("there are rows in its table users"), "{}", again.stderr);
    let (users, audit) = (place.good("user export"), place.good("audit list --json"));
    let told = place.json("db move sqlite://back.db");
    assert_eq!(told["to"], json!("back.db"));
    configured(&place, "sqlite://back.db", schema.name());
    assert_eq!((place.good("user export"), place.good("audit list --json")), (users, audit));
    let back = place.serve();
    for token in [&token, &other] {
        assert_eq!(back.status(token).await.0, 200);
    }
}

#[test]
fn a_move_within_one_engine_is_refused_with_what_does_it() {
    let place = Place::new();
    place.good("user create +1234567890");
    let answer = place.run("db move sqlite://other.db");
    assert!(answer.code == 1 && answer.stderr.contains("freshk db backup"), "{}", answer.stderr);
    assert!(!place.path("other.db").exists());
    let answer = place.run("db move nowhere");
    assert!(answer.stderr.contains("does not begin with sqlite:// or postgres://"), "{}", answer.stderr);
}

#[test]
fn every_table_is_moved_or_belongs_to_one_database_alone() {
    let named: BTreeSet<_> = TABLES.iter().map(|table| table.name.to_owned()).collect();
    let of = |names: Vec<String>| -> BTreeSet<String> {
        names.into_iter().filter(|name| !OWN.contains(&name.as_str())).collect()
    };
    let place = Place::new();
    place.good("user create +1234567890");
    let conn = rusqlite::Connection::open(place.path("freshk.db")).unwrap();
    let mut statement = conn.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").unwrap();
    let tables = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert_eq!(of(tables), named);
    let Some(server) = server() else { return };
    let schema = server.schema();
    configured(&place, &server.url(), schema.name());
    place.good("db migrate");
    let tables = schema.words("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()");
    assert_eq!(of(tables), named);
}
