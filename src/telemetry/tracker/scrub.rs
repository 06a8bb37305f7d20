//! Takes out of a text what tells of a person or opens a door: numbers of telephones, codes, addresses, tokens, secrets.

use std::net::IpAddr;

use serde_json::Value;

/// What stands in its place.
const GONE: &str = "…";

/// So many digits could be a code.
const DIGITS: usize = 4;

/// A word as long as this that mixes letters and digits could be a token or a secret.
const MIXED: usize = 16;

/// A word with so many letters and digits without a break could be one, whatever it mixes.
const RUN: usize = 24;

/// Numbers of ours, and of Twilio's list of errors.
const NUMBERS: &[&str] = &["challenge", "code", "latency_ms", "line", "message_id", "status", "user_id"];

/// A value without what tells of a person or opens a door; numbers stay where `name` says what they are.
pub(super) fn scrub_value(name: &str, value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(scrub(&text)),
        Value::Number(number) if !NUMBERS.contains(&name) => Value::String(scrub(&number.to_string())),
        Value::Array(_) | Value::Object(_) => Value::String(scrub(&value.to_string())),
        other => other,
    }
}

/// A text without what tells of a person or opens a door.
pub(super) fn scrub(text: &str) -> String {
    let words = text.split_inclusive(is_gap).map(|word| {
        let bare = word.trim_end_matches(is_gap);
        if could_open(bare) { format!("{GONE}{}", &word[bare.len()..]) } else { word.to_owned() }
    });
    without_numbers(&words.collect::<String>())
}

/// What stands between words, in sentences, URLs and values that `Debug` writes.
fn is_gap(c: char) -> bool {
    c.is_whitespace() || c.is_control() || "\"'`,;()[]{}<>?&=|".contains(c)
}

/// Whether a word could be an address, a token or a secret.
fn could_open(word: &str) -> bool {
    let word = word.trim_matches(['.', ':', '!', '/']);
    let mixes = word.chars().any(char::is_numeric) && word.chars().any(char::is_alphabetic);
    let is_address = word.parse::<IpAddr>().is_ok()
        || word.rsplit_once([':', '/']).is_some_and(|(address, _)| address.parse::<IpAddr>().is_ok());
    is_address
        || mixes && word.chars().count() >= MIXED
        || word.split(|c: char| !c.is_alphanumeric()).any(|run| run.chars().count() >= RUN)
}

/// Masks each number, also one with spaces, dots, hyphens and brackets in it, that has as many digits as a code.
fn without_numbers(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_numeric() || c == '+') {
        kept.push_str(&rest[..start]);
        rest = &rest[start..];
        let beyond =
            rest.find(|c: char| !(c.is_numeric() || "+ .:-/()\u{a0}".contains(c))).unwrap_or(rest.len());
        let number = rest[..beyond].trim_end_matches(|c: char| !c.is_numeric());
        if number.is_empty() {
            // A plus sign alone.
            kept.push('+');
            rest = &rest[1..];
            continue;
        }
        let digits = number.chars().filter(|c| c.is_numeric()).count();
        kept.push_str(if digits >= DIGITS { GONE } else { number });
        rest = &rest[number.len()..];
    }
    kept.push_str(rest);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_helps_to_find_the_fault_stays() {
        for text in [
            "the database failed",
            "called `Option::unwrap()` on a `None` value",
            "index out of bounds: the len is 3 but the index is 17",
            "SMS failed, and for 30 s no message is sent by twilio: the breaker opened for the cause in detail",
            "freshk::storage::sqlite::writer: disk I/O error, attempt 2 + 1",
            "",
        ] {
            assert_eq!(scrub(text), text);
        }
        assert_eq!(scrub_value("code", 21_211.into()), Value::from(21_211));
        assert_eq!(scrub_value("latency_ms", 12_345.into()), Value::from(12_345));
        assert_eq!(scrub_value("unknown", true.into()), Value::from(true));
    }

    #[test]
    fn s34_what_tells_of_a_person_or_opens_a_door_goes() {
        for (text, scrubbed) in [
            ("to +15551234567 failed", "to … failed"),
            ("to +1 (555) 123-45 67.", "to …."),
            ("the code 0481", "the code …"),
            ("code=482913&phone=15551234567", "code=…&phone=…"),
            ("\"+٩٦٦٥٥٥١٢٣٤٥٦\"", "\"…\""),
            ("peer 203.0.113.77:4711 left", "peer … left"),
            ("peer [2001:db8::7]:4711", "peer […]:…"),
            ("Bearer eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.eyJ1c2VyX2lkIjoiMSJ9.AAAA", "Bearer …"),
            ("SECRET_KEY=dev-only-4e7a91c20f6d4b5b", "SECRET_KEY=…"),
            ("abcdefghijklmnopqrstuvwxyzabcdefgh", "…"),
        ] {
            assert_eq!(scrub(text), scrubbed, "{text}");
        }
        assert_eq!(scrub_value("phone", 15_551_234_567_u64.into()), Value::from("…"));
        assert_eq!(
            scrub_value("any", serde_json::json!({"code": "481516"})),
            Value::from("{\"code\":\"…\"}")
        );
    }

    proptest! {
        #[test]
        fn s34_no_code_or_telephone_survives_wherever_it_stands(
            before in "[a-z :=\"'(+-]{0,9}", number in "[+]?[0-9]{4,15}", after in "([ ,.\"')a-z-][a-z ]{0,9})?"
        ) {
            let digits = number.trim_start_matches('+');
            let scrubbed = scrub(&format!("{before}{number}{after}"));
            prop_assert!(!scrubbed.contains(digits), "{scrubbed}");
        }

        #[test]
        fn any_text_is_taken_and_scrubbing_again_changes_nothing(text in "\\PC{0,80}") {
            let once = scrub(&text);
            prop_assert_eq!(scrub(&once), once);
        }
    }
}
