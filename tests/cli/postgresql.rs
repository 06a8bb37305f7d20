//! A database on a `PostgreSQL` server: a login and the commands beside it, and what is told where it will not do.

use serde_json::json;

use crate::postgres::{Schema, Server, server};
use crate::support::{Answer, PHONE, Place, obeys};

/// Those that write and those that read.
const COMMANDS: [&str; 10] = [
    "user list",
    "user show 1",
    "user deactivate 1",
    "session list",
    "limit reset +1234567890",
    "sms list",
    "audit list",
    "stats",
    "db check",
    "serve --listen 127.0.0.1:0",
];

/// A place whose database is the schema, by this URL.
fn place(url: &str, schema: &str) -> Place {
    let place = Place::new();
    let told = format!("debug = true\n[database]\nurl = \"{url}\"\nschema = \"{schema}\"\n");
    place.write("freshk.toml", told);
    place
}

/// A place with the schema, and one user.
fn made(server: &'static Server) -> (Place, Schema) {
    let schema = server.schema();
    let place = place(&server.url(), schema.name());
    place.good("db migrate");
    place.good("user create +1234567890");
    (place, schema)
}

fn refused(place: &Place, line: &str, told: &str, help: &str) {
    let answer = place.run(line);
    assert!([1, 78].contains(&answer.code), "{line}: {answer:?}");
    assert!(answer.stderr.starts_with("error: "), "{line}: {}", answer.stderr);
    assert!(answer.stderr.contains(told), "{line}: {}", answer.stderr);
    assert!(answer.stderr.contains(help), "{line}: {}", answer.stderr);
    assert!(!answer.stderr.contains("a-password-of-tests"), "{line}: {}", answer.stderr);
}

fn all_refused(place: &Place, told: &str, help: &str) {
    for line in COMMANDS {
        refused(place, line, told, help);
    }
}

#[tokio::test]
async fn a_login_and_the_commands_beside_it() {
    let Some(server) = server() else { return };
    let schema = server.schema();
    let place = place(&server.url(), schema.name());
    let running = place.serve();
    let token = running.log_in(PHONE).await;
    assert_eq!(running.status(&token).await.0, 200);
    assert_eq!(place.json("user list --show-phones")["users"][0]["phone_number"], json!(PHONE));
    assert_eq!(place.json("db check")["schema"], json!(4));
    // A second one serves beside it.
    let beside = place.serve();
    assert_eq!(beside.status(&token).await.0, 200);
    drop(beside);
    // What a command ends is ended at the server as soon as it hears of it, within two seconds.
    place.good("user deactivate 1 --yes");
    obeys(async || running.status(&token).await.1["account_active"] == json!(false)).await;
    drop(running);
    let again = place.serve();
    assert_eq!(again.request(PHONE).await, 403);
}

#[test]
fn a_schema_of_a_later_version_is_refused_unless_this_one_stands_it() {
    let Some(server) = server() else { return };
    let (place, schema) = made(server);
    schema.sql("INSERT INTO freshk_schema (version, stands) VALUES (98, 1)").unwrap();
    place.good("db check");
    place.good("user list");
    schema.sql("INSERT INTO freshk_schema (version, stands) VALUES (99, 99)").unwrap();
    all_refused(&place, "has version 99, and this freshk knows 4", "install the version that wrote it");
    assert_eq!(place.run("serve --listen 127.0.0.1:0").code, 78, "starting it again cannot help");
}

#[test]
fn a_schema_that_is_not_ours_is_left_alone() {
    let Some(server) = server() else { return };
    let schema = server.schema();
    schema.sql(&format!("CREATE SCHEMA {0}; CREATE TABLE {0}.orders (id INT)", schema.name())).unwrap();
    let place = place(&server.url(), schema.name());
    all_refused(&place, "holds tables that are not FreshK's", "name another one");
    assert_eq!(schema.sql("SELECT to_regclass('users') IS NULL").unwrap(), ["t"]);
}

#[test]
fn an_url_that_leads_nowhere_is_told_without_its_password() {
    let Some(server) = server() else { return };
    let schema = server.schema();
    let wrong = server.url_of("freshk", "not-the-password", "postgres");
    all_refused(&place(&wrong, schema.name()), "refuses the user or the password", "pg_hba.conf");
    let nowhere = server.url().replace("/postgres", "/nowhere");
    all_refused(&place(&nowhere, schema.name()), "there is no database nowhere", "createdb nowhere");
    let closed = "postgres://freshk:a-password-of-tests@127.0.0.1:1/postgres";
    all_refused(&place(closed, schema.name()), "127.0.0.1:1", "start the server");
}

/// A role that may use a schema and owns nothing.
fn guest(server: &'static Server, schema: &Schema) -> String {
    let name = format!("guest_of_{}", schema.name());
    schema.sql(&format!("CREATE ROLE {name} LOGIN PASSWORD 'guest'")).unwrap();
    server.url_of(&name, "guest", "postgres")
}

#[test]
fn a_user_who_may_not_make_the_schema_is_told_who_can() {
    let Some(server) = server() else { return };
    let schema = server.schema();
    let place = place(&guest(server, &schema), schema.name());
    let help = format!("CREATE SCHEMA {} AUTHORIZATION", schema.name());
    refused(&place, "serve --listen 127.0.0.1:0", "does not let this user make the schema", &help);
}

#[test]
fn a_backup_that_was_noted_is_known_to_the_check() {
    let Some(server) = server() else { return };
    let (place, schema) = made(server);
    let check = || place.run("check --offline").stdout;
    assert!(check().contains("none was noted"), "{}", check());
    place.good("db backup-stamp");
    assert!(check().contains("the latest was noted"), "{}", check());
    schema.sql("UPDATE backup_stamp SET at = at - 3 * 86400000").unwrap();
    let old = check();
    assert!(old.contains("the latest was noted 7") && old.contains("backup-stamp"), "{old}");
}

#[test]
fn a_database_that_is_read_only_is_told_as_that() {
    let Some(server) = server() else { return };
    let schema = server.schema();
    let place = place(&guest(server, &schema), schema.name());
    let role = format!("guest_of_{}", schema.name());
    schema
        .sql(&format!(
            "ALTER ROLE {role} SUPERUSER; ALTER ROLE {role} SET default_transaction_read_only = on"
        ))
        .unwrap();
    refused(&place, "serve --listen 127.0.0.1:0", "it is read-only", "name the primary");
}

#[test]
fn ids_of_users_that_cannot_be_raised_keep_a_server_from_starting() {
    let Some(server) = server() else { return };
    let (_place, schema) = made(server);
    let url = guest(server, &schema);
    let name = schema.name();
    let role = format!("guest_of_{name}");
    schema
        .sql(&format!(
            "GRANT USAGE ON SCHEMA {name} TO {role}; GRANT ALL ON ALL TABLES IN SCHEMA {name} TO {role}; \
             GRANT ALL ON ALL SEQUENCES IN SCHEMA {name} TO {role}"
        ))
        .unwrap();
    let place = place(&url, name);
    // Nothing is to be raised.
    place.good("user list");
    let serve = |first: &str| {
        let mut command = place.command("serve --listen 127.0.0.1:0");
        Answer::of(&command.env("FRESHK_USERS__FIRST_ID", first).output().unwrap())
    };
    let answer = serve("1000");
    assert_eq!(answer.code, 1, "{answer:?}");
    assert!(answer.stderr.contains("cannot be counted from users.first_id"), "{}", answer.stderr);
}
