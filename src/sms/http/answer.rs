//! What the answer of the operator's program means.

use serde_json::Value;

use crate::domain::message::MessageState;
use crate::outgoing::post::Posted;
use crate::sms::breaker::Health;
use crate::sms::provider::Judgement;
use crate::sms::{Accepted, Failure, FailureReason, SendOutcome};

/// Judges it: only 200 with a word that is known says anything; whatever else came may be of a message that went out.
pub(super) fn judge(posted: Posted) -> Judgement {
    match posted {
        Posted::Unsent(words) => Judgement {
            outcome: SendOutcome::Refused(Failure::delivery(format!("it was not reached: {words}"))),
            health: Health::Failing,
            page: false,
        },
        Posted::Lost(words) => unknown(format!("no answer: {words}"), Health::Failing),
        Posted::Answered { status: 200, body, .. } => {
            let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
            let word = answer.get("status").and_then(Value::as_str);
            word.and_then(told).unwrap_or_else(|| {
                unknown("HTTP 200 without a status that is known".to_owned(), Health::Failing)
            })
        }
        // Whether all or this one number is meant, nobody can say: it must not stop the messages to others.
        Posted::Answered { status: 403, .. } => unknown("HTTP 403".to_owned(), Health::Good),
        Posted::Answered { status, .. } => unknown(format!("HTTP {status}"), Health::Failing),
    }
}

/// What an answer means, for [`crate::fuzzing`].
#[cfg(any(test, fuzzing))]
pub(crate) fn judge_answer(status: u16, body: Vec<u8>) -> SendOutcome {
    judge(Posted::Answered { status, headers: ureq::http::HeaderMap::new(), body }).outcome
}

fn told(word: &str) -> Option<Judgement> {
    let refused = |reason, detail: &str| Failure { reason, ..Failure::delivery(detail) };
    let outcome = match word {
        "accepted" => {
            SendOutcome::Accepted(Accepted { sid: None, state: MessageState::Queued, segments: None })
        }
        "invalid_number" => {
            SendOutcome::Refused(refused(FailureReason::InvalidNumber, "invalid_number").finally())
        }
        "refused" => SendOutcome::Refused(refused(FailureReason::Destination, "refused")),
        "try_later" => SendOutcome::Refused(refused(FailureReason::Delivery, "try_later")),
        _ => return None,
    };
    Some(Judgement { outcome, health: Health::Good, page: false })
}

fn unknown(detail: String, health: Health) -> Judgement {
    Judgement { outcome: SendOutcome::Unknown(Failure::delivery(detail)), health, page: false }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ureq::http::HeaderMap;

    fn answered(status: u16, body: &str) -> Judgement {
        judge(Posted::Answered { status, headers: HeaderMap::new(), body: body.as_bytes().to_vec() })
    }

    #[test]
    fn only_200_with_a_known_word_says_anything() {
        let of = |word: &str| answered(200, &format!(r#"{{"status":"{word}","more":1}}"#));
        assert!(matches!(of("accepted").outcome, SendOutcome::Accepted(_)));
        for (word, reason, is_final) in [
            ("invalid_number", FailureReason::InvalidNumber, true),
            ("refused", FailureReason::Destination, false),
            ("try_later", FailureReason::Delivery, false),
        ] {
            let SendOutcome::Refused(failure) = of(word).outcome else { panic!("{word}") };
            assert_eq!((failure.reason, failure.is_final), (reason, is_final), "{word}");
        }
        for (status, body) in [
            (200, ""),
            (200, "<html>"),
            (200, "{}"),
            (200, r#"{"status":"ok"}"#),
            (200, r#"{"status":1}"#),
            (201, r#"{"status":"accepted"}"#),
            (302, ""),
            (400, r#"{"status":"invalid_number"}"#),
            (500, r#"{"status":"accepted"}"#),
        ] {
            let judgement = answered(status, body);
            assert!(matches!(judgement.outcome, SendOutcome::Unknown(_)), "{status} {body}");
            assert_eq!(judgement.health, Health::Failing);
        }
    }

    #[test]
    fn a_403_may_be_one_numbers_own_trouble_and_opens_no_breaker() {
        let judgement = answered(403, "");
        assert!(matches!(judgement.outcome, SendOutcome::Unknown(_)));
        assert_eq!(judgement.health, Health::Good);
    }

    #[test]
    fn what_did_not_leave_surely_was_not_sent() {
        let unsent = judge(Posted::Unsent("connection failed".to_owned())).outcome;
        assert!(matches!(unsent, SendOutcome::Refused(failure) if !failure.is_final));
        let lost = judge(Posted::Lost("timed out".to_owned())).outcome;
        assert!(matches!(lost, SendOutcome::Unknown(_)));
    }
}
