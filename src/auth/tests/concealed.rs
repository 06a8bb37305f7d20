//! Where accounts are concealed: nobody learns whether a number has one, but for who has proven it.

use super::*;
use crate::auth::AuthError;

async fn concealing() -> Bed {
    Bed::with(|policy| (policy.conceal_accounts, policy.limits.ip) = (true, 0)).await
}

async fn deactivate(bed: &Bed, number: u32) {
    bed.operate(number, |operator, user| operator.deactivate(user)).await;
}

fn opted_out() -> SendOutcome {
    refused(FailureReason::OptedOut { sender: Some("+15550001111".to_owned()) })
}

#[tokio::test]
async fn s10_a_request_says_the_same_of_a_new_number_a_known_one_a_deactivated_one_and_a_test_number() {
    let bed = concealing().await;
    for number in [1, 2] {
        bed.log_in(number).await;
    }
    deactivate(&bed, 2).await;
    let code = bed.make_test_number(3).await;
    for number in 1..=4 {
        let sent = bed.request(number).await.result.unwrap();
        assert!(!sent.is_new_user && sent.delivery.is_some(), "{number}");
    }
    let to: Vec<_> = bed.sms.messages().into_iter().skip(2).map(|message| message.to).collect();
    assert_eq!(to, [phone(1), phone(4)], "the others get none");
    assert_eq!(bed.told(AuditEvent::CodeRequested).await[2..], ["", "", "test number", ""]);
    assert_eq!(bed.counted("sms_deliveries_total{state=\"intended\"}"), [" 4"]);
    assert!(bed.verify(3, &code).await.result.is_ok());
    for number in 1..=4 {
        // Those that get no message pay for it like the others.
        while bed.request(number).await.result.is_ok() {}
        let spent = move |view: &dyn View| {
            let since = crate::domain::Timestamp::from_millis(0);
            view.spends(crate::domain::quota::Quota::User(Mode::Production), &[phone(number).as_str()], since)
        };
        assert_eq!(bed.read(spent).await.len(), 3, "{number}");
    }
}

#[tokio::test]
async fn s10_who_has_proven_a_number_is_told_of_its_deactivation_and_who_wants_another_too() {
    let bed = concealing().await;
    let login = bed.log_in(1).await;
    let bearer = bed.bearer(&login).await;
    deactivate(&bed, 1).await;
    let resent = bed.auth.resend(&bearer, None, Languages::default(), origin(ADDRESS)).await;
    assert_eq!(resent.result, Err(AuthError::AccountDisabled));
    let asked = bed.auth.ask_phone_change(&bearer, phone(2), Languages::default(), origin(ADDRESS)).await;
    assert_eq!(asked.result, Err(AuthError::AccountDisabled));
}

#[tokio::test]
async fn s10_that_a_number_has_opted_out_is_told_to_who_has_proven_it_alone() {
    let bed = concealing().await;
    let login = bed.log_in(1).await;
    let bearer = bed.bearer(&login).await;
    bed.sms.script([opted_out(), opted_out()]);
    assert_eq!(bed.request(1).await.result, Err(AuthError::undelivered(None, None)));
    let resent = bed.auth.resend(&bearer, None, Languages::default(), origin(ADDRESS)).await.result;
    assert!(matches!(resent, Err(AuthError::SmsDeliveryFailed { opted_out: Some(_), .. })), "{resent:?}");

    let bed = Bed::open().await;
    bed.sms.script([opted_out()]);
    let told = bed.request(1).await.result;
    assert!(matches!(told, Err(AuthError::SmsDeliveryFailed { opted_out: Some(_), .. })), "{told:?}");
}

#[tokio::test]
async fn where_accounts_are_open_a_test_number_needs_no_message_and_no_unit() {
    let bed = Bed::open().await;
    let login = bed.log_in(1).await;
    bed.make_test_number(2).await;
    for _ in 0..5 {
        assert!(bed.request(2).await.result.unwrap().is_new_user);
    }
    assert_eq!(bed.sms.messages().len(), 1);
    let bearer = bed.bearer(&login).await;
    let ask = async |number| {
        bed.auth.ask_phone_change(&bearer, phone(number), Languages::default(), origin(ADDRESS)).await.result
    };
    assert_eq!(ask(2).await, Err(AuthError::InvalidPhone), "nobody takes it");
    ask(3).await.unwrap();
    bed.make_test_number(1).await;
    assert_eq!(ask(4).await, Err(AuthError::TestAccount), "and nobody leaves it");
}
