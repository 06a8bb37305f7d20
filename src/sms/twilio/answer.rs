//! What an answer of Twilio's means: for the person, for the operator, and for the sends to come.
//!
//! Source: Twilio's error dictionary, <https://www.twilio.com/docs/api/errors>. Codes come and go: what is not in the
//! table is judged by its HTTP class.

use serde_json::Value;

use super::callback;
use super::client::{Answer, Reply};
use super::settings::Sid;
use crate::domain::message::MessageState;
use crate::sms::breaker::Health;
use crate::sms::provider::Judgement;
use crate::sms::{Accepted, Failure, FailureReason, SendOutcome};

/// The code that says what HTTP 429 says.
const TOO_MANY: i64 = 20429;

impl Reply {
    /// Judges it; `sender` is the number that the message came from, where one is configured.
    pub(super) fn judge(self, sender: Option<&str>) -> Judgement {
        match self {
            Self::Unsent(words) => Judgement {
                outcome: SendOutcome::Refused(delivery(None, format!("Twilio was not reached: {words}"))),
                health: Health::Failing,
                page: false,
            },
            Self::Lost(words) => unknown(None, format!("no answer from Twilio: {words}")),
            Self::Answered(answer) => answer.judge(sender),
        }
    }
}

/// What an answer means, for [`crate::fuzzing`].
#[cfg(any(test, fuzzing))]
pub(crate) fn judge_answer(status: u16, body: Vec<u8>) -> SendOutcome {
    Answer { status, retry_after: None, body }.judge(Some("+15005550006")).outcome
}

impl Answer {
    fn judge(&self, sender: Option<&str>) -> Judgement {
        match self.status {
            // Its body has no code.
            201 => Judgement {
                outcome: SendOutcome::Accepted(self.accepted()),
                health: Health::Good,
                page: false,
            },
            300..=399 => {
                let detail = format!("HTTP {}: Twilio never redirects; check twilio.base_url", self.status);
                Judgement {
                    outcome: SendOutcome::Refused(delivery(self.code(), detail)),
                    health: Health::Good,
                    page: true,
                }
            }
            400..=499 => self.refused(sender),
            500..=599 => unknown(self.code(), format!("HTTP {}; see https://status.twilio.com", self.status)),
            _ => unknown(
                self.code(),
                format!("HTTP {} is no answer of Twilio's; check twilio.base_url", self.status),
            ),
        }
    }

    fn refused(&self, sender: Option<&str>) -> Judgement {
        let code = self.code();
        let verdict = code.and_then(known).unwrap_or_else(|| by_class(self.status));
        let reason = match verdict.person {
            Person::InvalidNumber => FailureReason::InvalidNumber,
            Person::CountryNotAllowed => FailureReason::CountryNotAllowed,
            Person::OptedOut => FailureReason::OptedOut { sender: sender.map(str::to_owned) },
            Person::Destination => FailureReason::Destination,
            Person::Delivery => FailureReason::Delivery,
        };
        let page_url =
            code.map(|code| format!("; https://www.twilio.com/docs/api/errors/{code}")).unwrap_or_default();
        let detail = format!("HTTP {}: {}{page_url}", self.status, verdict.words);
        Judgement {
            outcome: SendOutcome::Refused(Failure { reason, code, detail, is_final: verdict.is_final }),
            health: if verdict.breaks { Health::Broken } else { Health::Good },
            page: verdict.page,
        }
    }

    /// Reads what it can of a 201; whatever the body, the message is Twilio's now.
    fn accepted(&self) -> Accepted {
        let body = self.json();
        let text = |name: &str| body.get(name).and_then(Value::as_str);
        Accepted {
            sid: text("sid")
                .filter(|sid| ["SM", "MM", "CA"].iter().any(|prefix| Sid::parse(prefix, sid).is_some()))
                .map(str::to_owned),
            state: text("status").and_then(callback::state).unwrap_or(MessageState::Queued),
            // A messaging service says 0 until it has picked a sender.
            segments: text("num_segments")
                .and_then(|number| number.parse().ok())
                .filter(|number| *number > 0),
        }
    }

    /// Twilio's error code, which both of its error shapes (its own and RFC 9457) call `code`.
    fn code(&self) -> Option<i64> {
        let body = self.json();
        let code = body.get("code")?;
        code.as_i64().or_else(|| code.as_str()?.parse().ok())
    }

    /// Whether Twilio refused only because too much came at once.
    pub(super) fn is_throttling(&self) -> bool {
        self.status == 429 || ((400..500).contains(&self.status) && self.code() == Some(TOO_MANY))
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

fn unknown(code: Option<i64>, detail: String) -> Judgement {
    Judgement { outcome: SendOutcome::Unknown(delivery(code, detail)), health: Health::Failing, page: false }
}

fn delivery(code: Option<i64>, detail: String) -> Failure {
    Failure { code, ..Failure::delivery(detail) }
}

/// What a refusal means. The words are ours: Twilio's message quotes the number.
struct Verdict {
    person: Person,
    words: &'static str,
    page: bool,
    breaks: bool,
    /// Whether no other sender should try.
    is_final: bool,
}

/// What the person is told; only [`Person::Delivery`] says anything of other numbers.
enum Person {
    InvalidNumber,
    CountryNotAllowed,
    OptedOut,
    Destination,
    Delivery,
}

fn known(code: i64) -> Option<Verdict> {
    let told = |person, words| Verdict { person, words, page: false, breaks: false, is_final: false };
    let last = |person, words| Verdict { is_final: true, ..told(person, words) };
    let paged = |words| Verdict { page: true, ..told(Person::Delivery, words) };
    let broken = |words| Verdict { breaks: true, ..paged(words) };
    Some(match code {
        21211 => last(Person::InvalidNumber, "not a valid number"),
        21635 => told(Person::InvalidNumber, "not a valid number"),
        21614 => told(Person::InvalidNumber, "not a mobile number"),
        21612 => told(Person::InvalidNumber, "no route from this sender to this number"),
        21408 => told(
            Person::CountryNotAllowed,
            "the country is not enabled: Messaging, Settings, Geo permissions",
        ),
        21214 | 21217 | 13223 | 13224 => told(Person::InvalidNumber, "not a number that can be called"),
        63024 => told(Person::InvalidNumber, "not a number that WhatsApp knows"),
        21215 => told(
            Person::CountryNotAllowed,
            "calls to the country are not enabled: Voice, Settings, Geo permissions",
        ),
        63007 => broken("the sender is none of WhatsApp: check the from of [senders]"),
        21655 => broken("the template is none: check the content_sid of [senders]"),
        21656 | 63016 | 63027 => {
            paged("WhatsApp's template is not as it is used: its first variable is the code")
        }
        21610 => last(Person::OptedOut, "the recipient replied STOP"),
        TOO_MANY => told(Person::Delivery, "too many requests at once: lower twilio.max_in_flight"),
        30450 | 30453 | 60410 => {
            last(Person::Destination, "blocked as SMS pumping: see the fraud guard's log")
        }
        21611 => paged("the sender's queue is full: set twilio.segments_per_second"),
        63038 => paged("the daily cap of the account is reached"),
        20003 => broken("the credentials are refused: check twilio.account_sid and twilio.auth_token"),
        21212 => broken("the sender is not valid: check twilio.phone_number"),
        21606 => {
            broken("the sender is not one of the account's, or cannot send SMS: check twilio.phone_number")
        }
        21608 => Verdict {
            person: Person::Destination,
            words: "a trial account sends to verified numbers only: upgrade it",
            page: true,
            breaks: false,
            is_final: false,
        },
        _ => return None,
    })
}

fn by_class(status: u16) -> Verdict {
    use Person::{Delivery, Destination};
    let (person, words, page, breaks) = match status {
        401 => (
            Delivery,
            "the credentials are refused: check twilio.account_sid and twilio.auth_token",
            true,
            true,
        ),
        // Whether the account or this one number is meant, only the code says.
        403 => (Destination, "Twilio does not allow this message: see its code", true, false),
        404 => (
            Delivery,
            "no such account or address: check twilio.account_sid and twilio.base_url",
            true,
            false,
        ),
        429 => (Delivery, "too many requests at once: lower twilio.max_in_flight", false, false),
        _ => (Destination, "Twilio refused the message", false, false),
    };
    Verdict { person, words, page, breaks, is_final: false }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer { status, retry_after: None, body: body.as_bytes().to_vec() }
    }

    fn judge(status: u16, code: i64) -> Judgement {
        let classic = format!(r#"{{"code":{code},"message":"m","more_info":"u","status":{status}}}"#);
        let problem = format!(r#"{{"type":"u","title":"t","status":{status},"code":"{code}","detail":"d"}}"#);
        let of_classic = answer(status, &classic).judge(Some("+15005550006"));
        let of_problem = answer(status, &problem).judge(Some("+15005550006"));
        assert_eq!(of_classic.outcome, of_problem.outcome);
        of_classic
    }

    fn reason(judgement: &Judgement) -> FailureReason {
        match &judgement.outcome {
            SendOutcome::Refused(failure) => failure.reason.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn s25_the_table_of_codes() {
        use FailureReason::{CountryNotAllowed, Delivery, Destination, InvalidNumber, OptedOut};
        use Health::{Broken, Good};
        let opted_out = OptedOut { sender: Some("+15005550006".to_owned()) };
        let table = [
            (400, 21211, InvalidNumber, Good, false),
            (400, 21614, InvalidNumber, Good, false),
            (400, 21635, InvalidNumber, Good, false),
            (403, 21408, CountryNotAllowed, Good, false),
            (403, 21610, opted_out, Good, false),
            (400, 21612, InvalidNumber, Good, false),
            (401, 20003, Delivery, Broken, true),
            (400, 21212, Delivery, Broken, true),
            (400, 21606, Delivery, Broken, true),
            (400, 21608, Destination, Good, true),
            (403, 21608, Destination, Good, true),
            (429, 20429, Delivery, Good, false),
            (429, 21611, Delivery, Good, true),
            (429, 63038, Delivery, Good, true),
            (403, 30450, Destination, Good, false),
            (403, 30453, Destination, Good, false),
            (403, 60410, Destination, Good, false),
            (400, 99999, Destination, Good, false),
            (401, 99999, Delivery, Broken, true),
            (403, 99999, Destination, Good, true),
            (404, 20404, Delivery, Good, true),
        ];
        for (status, code, expected, health, page) in table {
            let judgement = judge(status, code);
            assert_eq!(reason(&judgement), expected, "{code}");
            assert_eq!((judgement.health, judgement.page), (health, page), "{code}");
        }
    }

    #[test]
    fn only_a_number_that_is_none_a_stop_and_a_block_for_fraud_are_final() {
        let is_final = |code| match judge(400, code).outcome {
            SendOutcome::Refused(failure) => failure.is_final,
            other => panic!("{other:?}"),
        };
        for code in [21211, 21610, 30450, 30453, 60410] {
            assert!(is_final(code), "{code}");
        }
        for code in [21614, 21635, 21612, 21408, 20003, 21212, 21606, 21608, 20429, 21611, 63038, 99999] {
            assert!(!is_final(code), "{code}");
        }
    }

    #[test]
    fn s25_a_5xx_is_unknown_whatever_its_code() {
        for (status, code) in [(500, 20500), (503, 20003), (502, 21211)] {
            let judgement = judge(status, code);
            assert!(
                matches!(&judgement.outcome, SendOutcome::Unknown(failure) if failure.code == Some(code))
            );
            assert_eq!((judgement.health, judgement.page), (Health::Failing, false));
        }
    }

    #[test]
    fn s25_any_201_counts_and_keeps_what_can_be_read() {
        let sid = format!("SM{}", "0".repeat(32));
        let read = |body: &str| answer(201, body).accepted();
        let whole = read(&format!(r#"{{"sid":"{sid}","status":"accepted","num_segments":"2"}}"#));
        let queued = MessageState::Queued;
        assert_eq!(whole, Accepted { sid: Some(sid), state: queued, segments: Some(2) });
        for bare in [
            "",
            "<html>",
            "[]",
            "null",
            r#"{"sid":"#,
            r#"{"sid":null,"status":7,"num_segments":"0"}"#,
            r#"{"sid":"SM1\n"}"#,
        ] {
            assert_eq!(read(bare), Accepted { sid: None, state: queued, segments: None }, "{bare}");
        }
    }

    #[test]
    fn s34_details_quote_nothing_that_twilio_wrote() {
        let body =
            r#"{"code":21211,"message":"The 'To' number +15005550001 is not valid. Your code is 123456"}"#;
        let SendOutcome::Refused(failure) = answer(400, body).judge(None).outcome else { panic!() };
        assert!(!failure.detail.contains("+1500") && !failure.detail.contains("123456"), "{failure:?}");
    }

    proptest! {
        #[test]
        fn s23_only_3xx_and_4xx_are_definite(status in 100u16..1000, body: Vec<u8>) {
            let outcome = Answer { status, retry_after: None, body }.judge(None).outcome;
            match status {
                201 => prop_assert!(matches!(outcome, SendOutcome::Accepted(_))),
                300..=499 => prop_assert!(matches!(outcome, SendOutcome::Refused(_))),
                _ => prop_assert!(matches!(outcome, SendOutcome::Unknown(_))),
            }
        }
    }
}
