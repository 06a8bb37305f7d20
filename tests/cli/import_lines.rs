//! Lines of files of users that will not do: each is told with its number, the one that an editor shows, and its reason.

use std::fmt::Write as _;

use serde_json::Value;

use crate::support::Place;

const PHONE: &str = "phone_number is not a phone number in international format, such as +1234567890";

/// What is said of a file's lines, without the figures at its end.
fn told(name: &str, file: &[u8]) -> Vec<String> {
    let place = Place::new();
    place.write(name, file);
    let answer = place.run(&format!("user import {name}"));
    assert_eq!(answer.code, 1, "{answer:?}");
    assert!(answer.stderr.contains("nothing was imported"), "{answer:?}");
    assert_eq!(place.count("SELECT count(*) FROM users"), 0);
    let mut lines: Vec<_> = answer.stdout.lines().map(str::to_owned).collect();
    assert!(lines.pop().unwrap().ends_with("0 users imported"));
    lines
}

fn csv(file: &str) -> Vec<String> {
    told("users.csv", file.as_bytes())
}

fn jsonl(file: &str) -> Vec<String> {
    told("users.jsonl", file.as_bytes())
}

#[test]
fn numbers_are_those_of_an_editor_however_lines_end() {
    for end in ["\n", "\r\n"] {
        let file =
            ["phone_number,username", "+15550000001,a", "x,b", "", "", "y,\"c", "", "d\"", "z,e"].join(end);
        let expected = [
            format!("line 3: {PHONE}"),
            "line 6: username holds control characters".to_owned(),
            format!("line 9: {PHONE}"),
        ];
        assert_eq!(csv(&file), expected, "{end:?}");
        assert_eq!(csv(&format!("\u{feff}{file}{end}{end}")), expected, "{end:?} after a byte order mark");
        let file = ["{\"phone_number\": \"+15550000001\"}", "", "[]", "", "{}"].join(end);
        let expected = ["line 3: it is not a JSON object", "line 5: phone_number is empty"];
        assert_eq!(jsonl(&file), expected, "{end:?}");
        assert_eq!(jsonl(&format!("\u{feff}{file}{end}")), expected, "{end:?} after a byte order mark");
    }
}

/// Long enough that the file is read in many pieces.
#[test]
fn numbers_hold_over_a_long_file() {
    let mut file = "phone_number\r\n".to_owned();
    let mut expected = Vec::new();
    for number in 2..20_000 {
        match number % 7 {
            0 => file.push_str("rubbish\r\n"),
            1 => file.push_str("\r\n"),
            _ => write!(file, "+1555{number:07}\r\n").unwrap(),
        }
        if number % 7 == 0 {
            expected.push(format!("line {number}: {PHONE}"));
        }
    }
    assert_eq!(csv(&file), expected);
}

#[test]
fn members_of_the_wrong_kind_are_refused() {
    let lines = [
        ("{\"phone_number\": 15550000001}", "phone_number is not text"),
        ("{\"phone_number\": [\"+15550000001\"]}", "phone_number is not text"),
        ("{\"phone_number\": null}", "phone_number is empty"),
        ("{\"phone_number\": \"+15550000001\", \"username\": 7}", "username is not text"),
        ("{\"phone_number\": \"+15550000001\", \"username\": true}", "username is not text"),
        ("{\"phone_number\": \"+15550000001\", \"id\": true}", "id is not a number"),
        (
            "{\"phone_number\": \"+15550000001\", \"id\": 1.5}",
            "id is not a whole number from 1 to 9007199254740991",
        ),
        ("{\"phone_number\": \"+15550000001\", \"is_active\": 7}", "is_active is neither true nor false"),
        ("{\"phone_number\": \"+15550000001\", \"is_active\": {}}", "is_active is neither true nor false"),
        ("{\"phone_number\": \"+15550000001\", \"date_joined\": 1700000000}", "date_joined is not text"),
        (
            "{\"phone_number\": \"+15550000001\", \"email\": \"x\"}",
            "it has the member \"email\", which is not known",
        ),
        (
            "{\"phone_number\": \"+15550000001\", \"phone_number\": \"+15550000002\"}",
            "it has the member \"phone_number\" twice",
        ),
        ("{\"phone_number\": \"+15550000001\"} {}", "it is not a JSON object"),
        ("\"+15550000001\"", "it is not a JSON object"),
        ("null", "it is not a JSON object"),
    ];
    let file: Vec<_> = lines.iter().map(|(line, _)| *line).collect();
    let expected: Vec<_> =
        (1..).zip(lines).map(|(number, (_, reason))| format!("line {number}: {reason}")).collect();
    assert_eq!(jsonl(&file.join("\n")), expected);
    let good = "{\"phone_number\":\"+15550000001\",\"id\":\"7\",\"is_active\":0,\"phone_verified\":\"yes\",\"role\":null}";
    let place = Place::new();
    place.write("good.jsonl", good);
    place.good("user import good.jsonl");
    let user = place.json("user show 7");
    assert_eq!((&user["is_active"], &user["phone_verified"]), (&false.into(), &true.into()));
}

#[test]
fn what_is_taken_in_the_file_or_in_the_database_is_told_apart() {
    let place = Place::new();
    place.write("first.csv", "id,username,phone_number\n5,anna,+15550000001\n6,greta,+15550000009\n");
    place.good("user import first.csv");
    let lines = [
        ("7,bert,+15550000002", ""),
        ("7,carl,+15550000003", "id is that of line 2 too"),
        ("8,bert,+15550000004", "username is that of line 2 too"),
        ("9,dora,+15550000002", "phone_number is that of line 2 too"),
        ("10,user_15550000006,+15550000005", ""),
        (",,+15550000006", "username is that of line 6 too"),
        ("5,emil,+15550000007", "id belongs to a user already"),
        ("11,anna,+15550000008", "username belongs to a user already"),
        ("12,fritz,+15550000001", "phone_number belongs to a user already"),
        ("6,greta,+15550000009", ""),
    ];
    let file: Vec<_> = lines.iter().map(|(line, _)| *line).collect();
    place.write("users.csv", format!("id,username,phone_number\n{}\n", file.join("\n")));
    let answer = place.run("user import users.csv");
    let expected = (2..).zip(lines).filter(|(_, (_, reason))| !reason.is_empty());
    let mut expected: Vec<_> = expected.map(|(line, (_, reason))| format!("line {line}: {reason}")).collect();
    expected.push("10 lines: 2 good, 1 already there, 7 refused; 0 users imported".to_owned());
    assert_eq!(
        (answer.code, answer.stdout.lines().collect::<Vec<_>>()),
        (1, expected.iter().map(|s| &**s).collect())
    );
    assert_eq!(place.count("SELECT count(*) FROM users"), 2);
    let said = place.good("user import users.csv --skip-bad");
    assert!(said.ends_with("7 refused; 2 users imported\nnew users get ids from 11 on\n"), "{said}");
}

#[test]
fn a_quote_that_is_never_closed_does_not_swallow_the_file() {
    let place = Place::new();
    let mut file = "phone_number,username\n+15550000001,a\n\n+15550000002,\"b\n".to_owned();
    for number in 3..100_000 {
        writeln!(file, "+1555{number:07},user{number}").unwrap();
    }
    place.write("users.csv", file);
    for line in ["user import users.csv", "user import users.csv --skip-bad"] {
        let answer = place.run(line);
        assert_eq!((answer.code, answer.stdout.as_str()), (1, ""), "{answer:?}");
        assert!(
            answer
                .stderr
                .contains("line 4: it has more than 65536 bytes; perhaps a quote in it is not closed"),
            "{answer:?}"
        );
    }
    assert_eq!(place.count("SELECT count(*) FROM users"), 0);
}

#[test]
fn rubbish_is_told_line_by_line() {
    const LINES: u64 = 100_000;
    let place = Place::new();
    // A generator of pseudo-random text, always the same.
    let (mut seed, mut file) = (1_u64, b"phone_number\n".to_vec());
    for _ in 0..LINES {
        for _ in 0..20 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let byte = (seed >> 56) as u8;
            file.push(if matches!(byte, b'\n' | b'\r' | b'"') { b'.' } else { byte });
        }
        file.push(b'\n');
    }
    place.write("rubbish.csv", &file);
    for format in ["csv", "jsonl"] {
        let answer = place.run(&format!("user import rubbish.csv --format {format} --json"));
        assert_eq!(answer.code, 1, "{}", answer.stderr);
        let report: Value = serde_json::from_str(&answer.stdout).unwrap();
        let refused = report["refused"].as_array().unwrap();
        let first = if format == "csv" { 2 } else { 1 };
        assert_eq!(refused.len() as u64, LINES + 2 - first, "{format}");
        assert_eq!((&report["good"], &report["imported"]), (&0.into(), &0.into()));
        for (number, line) in (first..).zip(refused) {
            assert_eq!(line["line"], number);
            assert!(!line["reason"].as_str().unwrap().is_empty());
        }
    }
    assert_eq!(place.count("SELECT count(*) FROM users"), 0);
}

#[test]
fn what_is_no_file_of_users_is_refused_and_a_dry_run_changes_no_byte() {
    let place = Place::new();
    place.good("user create +15550000001");
    place.write("users.csv", "phone_number,role\n+15550000002,staff\n+15550000003,boss\n");
    std::fs::create_dir(place.path("dir")).unwrap();
    let database = || std::fs::read(place.path("freshk.db")).unwrap();
    let before = database();
    for (line, code, told) in [
        ("user import dir", 1, "it is not a file, and it has to be read twice"),
        ("user import dir --format jsonl", 1, "it is not a file, and it has to be read twice"),
        ("user import nowhere.csv", 1, "No such file or directory"),
        ("user import", 2, "<FILE>"),
        ("user import users.csv --format xml", 2, "possible values: csv, jsonl"),
        ("user import users.csv --dry-run", 1, "nothing was imported: 1 line refused"),
        ("user import users.csv", 1, "correct them, or leave them out with --skip-bad"),
    ] {
        let answer = place.run(line);
        assert_eq!(answer.code, code, "{line}: {answer:?}");
        assert!(answer.stderr.contains(told), "{line}: {answer:?}");
        assert!(database() == before, "{line} changed the database");
    }
    let said = place.good("user import users.csv --dry-run --skip-bad");
    assert!(
        said.ends_with(
            "2 lines: 1 good, 0 already there, 1 refused; 0 users imported (a dry run)\nnew users get ids from 2 on\n"
        ),
        "{said}"
    );
    assert!(database() == before);
    place.good("user import users.csv --skip-bad");
    assert_eq!(place.count("SELECT count(*) FROM users"), 2);
}
