//! `phone.strict` over a database that was made without it: one account for each telephone.

use serde_json::{Value, json};

use crate::postgres::server;
use crate::support::Place;

/// Two spellings of one Mexican telephone, the newer second.
const MEXICAN: [&str; 2] = ["+5215512345678", "+525512345678"];
/// A British one with its trunk zero.
const BRITISH: &str = "+4407400123456";
/// Another one: an account has it with the trunk zero, and somebody who asked for a code has a registration without.
const TAKEN: [&str; 2] = ["+4407400654321", "+447400654321"];
/// A third one, which two accounts have.
const TWICE: [&str; 2] = ["+4407400777777", "+447400777777"];
/// No telephone's.
const NOBODYS: &str = "+15550000001";

/// Users as they come without `phone.strict`.
fn fill(place: &Place) {
    for line in [
        format!("user create {}", MEXICAN[0]),
        format!("user create {} --verified", MEXICAN[1]),
        format!("user create {BRITISH} --verified"),
        format!("user create {NOBODYS}"),
        "user create +4915123456789".to_owned(),
        format!("user create {} --verified", TAKEN[0]),
        format!("user create {}", TAKEN[1]),
        format!("user create {} --verified", TWICE[0]),
        format!("user create {} --verified", TWICE[1]),
    ] {
        place.good(&line);
    }
}

fn users(place: &Place) -> Vec<[Value; 3]> {
    let users = place.json("user list --show-phones")["users"].as_array().unwrap().clone();
    users.iter().map(|user| ["id", "username", "phone_number"].map(|field| user[field].clone())).collect()
}

async fn one_account_for_each_telephone(place: &Place, strict: &str) {
    fill(place);
    let found = place.json("user check-duplicates --show-phones");
    assert_eq!(found["total"], 3, "{found}");
    let telephones = [(TAKEN[1], [6, 7]), (TWICE[1], [9, 8]), (MEXICAN[1], [2, 1])];
    for (at, (phone, expected)) in telephones.into_iter().enumerate() {
        let telephone = &found["duplicates"][at];
        assert_eq!(telephone["phone_number"], phone);
        let ids: Vec<_> = telephone["users"].as_array().unwrap().iter().map(|user| &user["id"]).collect();
        assert_eq!(ids, expected, "who has proven the number comes first, then who has the plan's spelling");
    }
    assert_eq!((&found["spelled_otherwise"], &found["unassigned"]), (&json!(4), &json!(1)));
    let shown = place.run("user check-duplicates");
    assert!(shown.stdout.contains("+52****") && !shown.stdout.contains("12345678"), "{}", shown.stdout);
    assert!(shown.stderr.contains("telephones with several users: 3"), "{}", shown.stderr);

    place.write("freshk.toml", strict);
    let running = place.serve();
    // The national spelling finds the account, whose number has the one spelling now.
    let token = running.log_in(BRITISH).await;
    let user = running.status(&token).await.1["user"].clone();
    assert_eq!((&user["id"], &user["phone_number"]), (&json!(3), &json!("+447400123456")));
    assert_eq!(user["username"], "user_447400123456");
    let token = running.log_in(MEXICAN[0]).await;
    assert_eq!(running.status(&token).await.1["user"]["id"], 2);
    let token = running.log_in(TAKEN[1]).await;
    assert_eq!(running.status(&token).await.1["user"]["id"], 6, "the registration has made way");
    assert_eq!(running.request(NOBODYS).await, 400);
    drop(running);
    let expected = [
        (1, "user_5215512345678", MEXICAN[0]),
        (2, "user_525512345678", MEXICAN[1]),
        (3, "user_447400123456", "+447400123456"),
        (4, "user_15550000001", NOBODYS),
        (5, "user_4915123456789", "+4915123456789"),
        (6, "user_447400654321", TAKEN[1]),
        (8, "user_4407400777777", TWICE[0]),
        (9, "user_447400777777", TWICE[1]),
    ];
    let expected = expected.map(|(id, name, phone)| [json!(id), json!(name), json!(phone)]);
    assert_eq!(users(place), expected);
    let lines = place.json("audit list --event user_updated")["lines"].as_array().unwrap().clone();
    let mut told: Vec<_> =
        lines.iter().map(|line| (line["user_id"].as_i64(), line["detail"].clone())).collect();
    told.sort_by_key(|(user, detail)| (*user, detail.to_string()));
    let [new, old] = ["operator: phone changed: the new one", "operator: phone changed: the old one"]
        .map(|detail| json!(detail));
    assert_eq!(told, [(Some(3), new.clone()), (Some(3), old.clone()), (Some(6), new), (Some(6), old)]);

    // Commands find users by any spelling, and make none in another.
    for name in ["+4407400123456", "+447400123456", "3"] {
        assert_eq!(place.json(&format!("user show {name}"))["id"], 3, "{name}");
    }
    assert_eq!(place.json(&format!("user show {NOBODYS}"))["id"], 4);
    assert_eq!(place.run("user create +44017400123456").code, 2);
    place.write("more.csv", "phone_number\n+490301234567\n");
    place.good("user import more.csv");
    assert_eq!(users(place)[8][2], "+49301234567");
    for id in [1, 8] {
        place.good(&format!("user delete {id} --yes"));
    }
    assert_eq!(place.json("user check-duplicates")["total"], 0);
}

#[tokio::test]
async fn a_database_of_before_gets_one_spelling_for_each_telephone() {
    let place = Place::new();
    one_account_for_each_telephone(&place, "debug = true\n[phone]\nstrict = true\n").await;
}

/// Its code would log in whoever had it.
#[test]
fn a_test_number_is_no_spelling_that_an_account_is_given() {
    let place = Place::new();
    place.good(&format!("user create {BRITISH} --verified"));
    place.good("sms test-number add +447400123456 --code 604927 --until 1d");
    place.write("freshk.toml", "debug = true\n[phone]\nstrict = true\n");
    drop(place.serve());
    let phones: Vec<_> = users(&place).into_iter().map(|[_, _, phone]| phone).collect();
    assert_eq!(phones, [BRITISH]);
}

/// Else its number would come back as a new user.
#[test]
fn a_registration_that_the_operator_shut_out_keeps_its_number_from_another_spelling() {
    let place = Place::new();
    place.good(&format!("user create {} --verified", TAKEN[0]));
    place.good(&format!("user create {}", TAKEN[1]));
    place.good(&format!("user deactivate {}", TAKEN[1]));
    place.write("freshk.toml", "debug = true\n[phone]\nstrict = true\n");
    drop(place.serve());
    let phones: Vec<_> = users(&place).into_iter().map(|[_, _, phone]| phone).collect();
    assert_eq!(phones, TAKEN);
}

#[tokio::test]
async fn so_does_one_on_postgresql() {
    let Some(server) = server() else { return };
    let schema = server.schema();
    let place = Place::new();
    let told =
        format!("debug = true\n[database]\nurl = \"{}\"\nschema = \"{}\"\n", server.url(), schema.name());
    place.write("freshk.toml", &told);
    place.good("db migrate");
    one_account_for_each_telephone(&place, &format!("{told}[phone]\nstrict = true\n")).await;
}
