//! What the metrics count of codes, of those who give them, and of the messages that carry them.

use super::*;
use crate::auth::AuthError;
use crate::sms::Unavailable;

fn testing(number: u32) -> CodeRequest {
    CodeRequest { mode: Mode::Testing, ..code_request(number) }
}

#[tokio::test]
async fn every_request_is_counted_by_its_mode_whatever_comes_of_it() {
    let bed = Bed::with(|policy| policy.limits.ip = 2).await;
    for number in 1..=3 {
        let _ = bed.request(number).await;
    }
    bed.ask(testing(1)).await.result.unwrap();
    assert_eq!(bed.counted("otp_requests_total"), ["{channel=\"production\"} 3", "{channel=\"testing\"} 1"]);
}

#[tokio::test]
async fn messages_are_counted_as_bought_sent_and_refused_and_those_of_the_testing_mode_as_not_bought() {
    let bed = Bed::open().await;
    bed.log_in(1).await;
    bed.request(1).await.result.unwrap();
    bed.ask(testing(2)).await.result.unwrap();
    let full = Unavailable::Overloaded(SECOND);
    bed.sms.refuse([full, full, Unavailable::BreakerOpen(SECOND), Unavailable::NoSender]);
    for _ in 0..4 {
        bed.request(3).await.result.unwrap_err();
    }
    let bought = bed.counted("sms_bought_total");
    assert_eq!(bought.len(), 2, "{bought:?}");
    assert!(bought[0].ends_with("number=\"known\"} 1") && bought[1].ends_with("number=\"new\"} 1"));
    let states = [("intended", 3), ("queued", 3), ("refused", 3)];
    let states = states.map(|(state, count)| format!("{{state=\"{state}\"}} {count}"));
    assert_eq!(bed.counted("sms_deliveries_total"), states);
    assert_eq!(bed.told(AuditEvent::SmsFailed).await.len(), 2, "each trouble once an hour");
}

#[tokio::test]
async fn codes_are_counted_by_what_was_made_of_them() {
    let bed = Bed::open().await;
    let zero = Code::from_number(0, 6);
    assert_eq!(bed.verify(9, &zero).await.result.unwrap_err(), AuthError::UserNotFound);
    bed.request(1).await.result.unwrap();
    bed.verify(1, &bed.wrong()).await.result.unwrap_err();
    bed.verify(1, &bed.code()).await.result.unwrap();
    bed.request(1).await.result.unwrap();
    bed.operate(1, |operator, user| operator.deactivate(user)).await;
    assert_eq!(bed.verify(1, &bed.code()).await.result.unwrap_err(), AuthError::AccountDisabled);
    bed.ask(testing(2)).await.result.unwrap();
    let request = VerifyRequest { mode: Mode::Testing, ..verify_request(2, &bed.code()) };
    bed.auth.verify(request).await.result.unwrap();
    assert_eq!(
        bed.counted("authentications_total"),
        [
            "{channel=\"production\",outcome=\"failure\"} 3",
            "{channel=\"production\",outcome=\"success\"} 1",
            "{channel=\"testing\",outcome=\"success\"} 1",
        ]
    );
    let reason = |word| format!("{{channel=\"production\",reason=\"{word}\"}} 1");
    assert_eq!(
        bed.counted("failed_authentication_attempts_total"),
        ["account_disabled", "invalid_otp", "user_not_found"].map(reason)
    );
}

#[tokio::test]
async fn what_no_code_was_judged_for_is_not_counted_as_one() {
    let bed = Bed::with(|policy| policy.limits.ip = 1).await;
    bed.verify(9, &Code::from_number(0, 6)).await.result.unwrap_err();
    for _ in 0..3 {
        let limited = bed.verify(9, &Code::from_number(0, 6)).await.result.unwrap_err();
        assert!(matches!(limited, AuthError::RateLimited(_)));
    }
    assert_eq!(bed.counted("authentications_total"), ["{channel=\"production\",outcome=\"failure\"} 1"]);
}

#[tokio::test]
async fn a_number_is_counted_as_verified_for_the_first_time_once() {
    let bed = Bed::open().await;
    bed.ask(testing(2)).await.result.unwrap();
    let request = VerifyRequest { mode: Mode::Testing, ..verify_request(2, &bed.code()) };
    bed.auth.verify(request).await.result.unwrap();
    assert_eq!(bed.counted("sms_converted_total").len(), 0, "no message was bought for that");
    bed.request(1).await.result.unwrap();
    for _ in 0..2 {
        let idempotency_key = Some(Secret::new("k".repeat(16)));
        let request = VerifyRequest { idempotency_key, ..verify_request(1, &bed.code()) };
        assert!(bed.auth.verify(request).await.result.unwrap().is_new_user);
        let counted = bed.counted("sms_converted_total");
        assert!(counted.len() == 1 && counted[0].ends_with(" 1"), "{counted:?}");
    }
    bed.log_in(1).await;
    assert!(bed.counted("sms_converted_total")[0].ends_with(" 1"));
}
