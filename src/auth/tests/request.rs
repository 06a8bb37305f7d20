//! Asking for a code.

use futures_util::future::join;

use super::*;
use crate::auth::{AuthError, QuotaState};
use crate::domain::quota::Quota;
use crate::domain::{ChallengeState, Country};
use crate::sms::{SmsSender as _, Unavailable};

fn remaining(quotas: &[QuotaState]) -> Vec<(Quota, u32)> {
    quotas.iter().map(|state| (state.quota, state.remaining)).collect()
}

#[tokio::test]
async fn what_is_usual_is_counted_once_by_many_at_a_time() {
    let bed = Bed::new().await;
    let now = bed.clock.now();
    let counting = (0..5).map(|_| bed.auth.usual_traffic(now));
    let counted = futures_util::future::join_all(counting).await;
    let first = counted[0].as_ref().unwrap();
    assert!(counted.iter().all(|other| Arc::ptr_eq(first, other.as_ref().unwrap())));
    let later = bed.auth.usual_traffic(now + HOUR).await.unwrap();
    assert!(!Arc::ptr_eq(first, &later));
}

#[tokio::test]
async fn a_code_goes_out_and_makes_its_user() {
    let bed = Bed::new().await;
    let answer = bed.request(1).await;
    let Sent { is_new_user, expires_in, delivery } = answer.result.unwrap();
    assert_eq!((is_new_user, expires_in), (true, Duration::from_mins(10)));
    assert!(delivery.is_some());
    assert_eq!(remaining(&answer.quotas), [(Quota::Ip(Endpoint::Request), 4)], "the phone is not proven");
    let message = bed.sms.messages().remove(0);
    assert_eq!((message.to, message.expires_at), (phone(1), bed.clock.now() + expires_in));
    assert!(!bed.user(1).await.unwrap().phone_verified);
    for event in [AuditEvent::CodeRequested, AuditEvent::UserCreated, AuditEvent::SmsSent] {
        assert_eq!(bed.told(event).await, [""]);
    }
}

#[tokio::test]
async fn s19_the_address_and_the_phone_have_so_many_and_waiting_as_told_is_enough() {
    let bed = Bed::new().await;
    for number in 1..=5 {
        bed.request(number).await.result.unwrap();
        bed.clock.advance(SECOND);
    }
    // The ledger refuses, and from then on memory does; the wait is the same.
    for _ in 0..3 {
        let refused = bed.request(6).await;
        assert_eq!(refused.result, Err(AuthError::RateLimited(3595 * SECOND)));
        assert!(refused.quotas[0].refused);
    }
    assert_eq!(bed.told(AuditEvent::LimitExceeded).await, ["ip:request"]);
    bed.clock.advance(3594 * SECOND);
    assert!(bed.request(6).await.result.is_err(), "S20: one second less");
    bed.clock.advance(SECOND);
    bed.request(6).await.result.unwrap();

    let bed = Bed::open().await;
    for _ in 0..3 {
        bed.request(1).await.result.unwrap();
    }
    assert_eq!(bed.request(1).await.result, Err(AuthError::RateLimited(HOUR)));
    bed.request(2).await.result.unwrap();
    assert_eq!(bed.sms.messages().len(), 4);
}

#[tokio::test]
async fn a_phone_has_ten_codes_a_day() {
    let bed = Bed::open().await;
    for _ in 0..3 {
        for _ in 0..3 {
            bed.request(1).await.result.unwrap();
        }
        bed.clock.advance(HOUR);
    }
    bed.request(1).await.result.unwrap();
    assert_eq!(bed.request(1).await.result, Err(AuthError::RateLimited(21 * HOUR)));
}

#[tokio::test]
async fn a_send_that_failed_leaves_no_user_and_gives_the_unit_back_three_times_a_day() {
    let bed = Bed::open().await;
    for (reason, answer) in [
        (FailureReason::InvalidNumber, AuthError::InvalidPhone),
        (FailureReason::CountryNotAllowed, AuthError::CountryNotAllowed),
        (FailureReason::Delivery, AuthError::undelivered(None, None)),
    ] {
        bed.sms.script([refused(reason)]);
        assert_eq!(bed.request(1).await.result, Err(answer));
    }
    assert_eq!(bed.user(1).await, None);
    for _ in 0..3 {
        bed.sms.script([refused(FailureReason::Delivery)]);
        bed.request(1).await.result.unwrap_err();
    }
    assert!(matches!(bed.request(1).await.result, Err(AuthError::RateLimited(_))), "no fourth refund");
}

#[tokio::test]
async fn a_send_whose_answer_was_lost_keeps_the_code_and_its_user() {
    let bed = Bed::open().await;
    bed.sms.script([lost()]);
    assert!(matches!(bed.request(1).await.result, Err(AuthError::SmsDeliveryFailed { .. })));
    assert!(bed.user(1).await.is_some());
    bed.verify(1, &bed.code()).await.result.unwrap();
}

#[tokio::test]
async fn two_requests_at_once_become_one_message_and_one_unit() {
    let bed = Bed::open().await;
    bed.sms.hold();
    let release = async {
        bed.sms.arrived(1).await;
        tokio::task::yield_now().await;
        bed.sms.release();
    };
    let ((one, other), ()) = Box::pin(join(join(bed.request(1), bed.request(1)), release)).await;
    assert_eq!(one.result, other.result);
    assert_eq!(bed.sms.messages().len(), 1);
    let spent =
        bed.read(|view| view.spends(Quota::User(Mode::Production), &[phone(1).as_str()], bed_start())).await;
    assert_eq!(spent.len(), 1);
}

fn bed_start() -> crate::domain::Timestamp {
    crate::domain::Timestamp::from_millis(0)
}

#[tokio::test]
async fn a_newer_code_voids_the_older_one_once_it_is_accepted() {
    let bed = Bed::open().await;
    bed.request(1).await.result.unwrap();
    let first = bed.code();
    bed.sms.script([refused(FailureReason::Delivery)]);
    bed.request(1).await.result.unwrap_err();
    bed.request(1).await.result.unwrap();
    let states: Vec<_> = bed
        .read(|view| view.challenges(Mode::Production, &phone(1), Purpose::Login, 9))
        .await
        .iter()
        .map(|challenge| challenge.state)
        .collect();
    assert_eq!(states, [ChallengeState::Live, ChallengeState::Void, ChallengeState::Void]);
    assert_eq!(bed.verify(1, &first).await.result.unwrap_err(), AuthError::InvalidOtp);
}

#[tokio::test]
async fn without_a_place_at_the_sender_nothing_is_spent() {
    let bed = Bed::open().await;
    bed.sms.refuse([Unavailable::BreakerOpen(SECOND), Unavailable::Overloaded(SECOND)]);
    let retry_after = Some(SECOND);
    assert_eq!(bed.request(1).await.result, Err(AuthError::undelivered(retry_after, None)));
    assert_eq!(bed.request(1).await.result, Err(AuthError::Overloaded(SECOND)));
    for _ in 0..3 {
        bed.request(1).await.result.unwrap();
    }
}

#[tokio::test]
async fn a_request_that_waits_for_its_turn_to_write_holds_no_place_at_the_sender() {
    let bed = Bed::open().await;
    let (at_work, (release, gate)) = (Arc::new(tokio::sync::Notify::new()), std::sync::mpsc::channel());
    let enter = at_work.clone();
    let (store, auth) = (bed.store.clone(), bed.auth.clone());
    let before = tokio::spawn(async move {
        let write = store.write(Locks::none().phone(&phone(1)), move |_| {
            enter.notify_one();
            gate.recv_timeout(Duration::from_mins(1)).unwrap();
            Ok(())
        });
        write.await.unwrap();
    });
    at_work.notified().await;
    bed.sms.refuse([Unavailable::Overloaded(SECOND)]);
    let asking = tokio::spawn(async move { auth.request(code_request(1)).await });
    for _ in 0..10 {
        // Its flow goes on up to its write.
        tokio::task::yield_now().await;
    }
    assert!(bed.sms.reserve(1).is_err(), "nobody has asked for a place before");
    release.send(()).unwrap();
    asking.await.unwrap().result.unwrap();
    before.await.unwrap();
    assert_eq!(bed.sms.messages().len(), 1);
}

#[tokio::test]
async fn who_follows_another_request_asks_for_no_place_at_the_sender() {
    let bed = Bed::open().await;
    bed.sms.hold();
    let follow = async {
        bed.sms.arrived(1).await;
        bed.sms.refuse([Unavailable::Overloaded(SECOND)]);
        let release = async {
            tokio::task::yield_now().await;
            bed.sms.release();
        };
        Box::pin(join(bed.request(1), release)).await.0
    };
    let (leader, follower) = Box::pin(join(bed.request(1), follow)).await;
    assert_eq!(leader.result, follower.result);
    assert_eq!(bed.request(2).await.result, Err(AuthError::Overloaded(SECOND)), "it is still to be had");
}

#[tokio::test]
async fn a_deactivated_user_gets_no_code_and_where_accounts_are_concealed_nobody_notices() {
    let bed = Bed::open().await;
    bed.log_in(1).await;
    bed.operate(1, |operator, user| operator.deactivate(user)).await;
    assert_eq!(bed.request(1).await.result, Err(AuthError::AccountDisabled));
    let bed = Bed::with(|policy| {
        policy.conceal_accounts = true;
        policy.limits.ip = 0;
    })
    .await;
    bed.log_in(1).await;
    bed.operate(1, |operator, user| operator.deactivate(user)).await;
    let (known, stranger) = (bed.request(1).await.result.unwrap(), bed.request(2).await.result.unwrap());
    assert_eq!((known.is_new_user, known.expires_in), (stranger.is_new_user, stranger.expires_in));
    assert!(!known.is_new_user && known.delivery.is_some() && stranger.delivery.is_some());
    assert_eq!(bed.sms.messages().len(), 2, "the login's and the stranger's");
}

#[tokio::test]
async fn the_pause_between_two_codes_is_kept() {
    let bed = Bed::with(|policy| policy.otp.resend_cooldown = 30 * SECOND).await;
    bed.request(1).await.result.unwrap();
    bed.clock.advance(10 * SECOND);
    assert_eq!(bed.request(1).await.result, Err(AuthError::RateLimited(20 * SECOND)));
    bed.clock.advance(20 * SECOND);
    bed.sms.script([refused(FailureReason::Delivery)]);
    bed.request(1).await.result.unwrap_err();
    bed.request(1).await.result.unwrap();
}

#[tokio::test]
async fn resend_goes_to_the_bearers_own_number_and_tells_the_phones_quota() {
    let bed = Bed::new().await;
    let login = bed.log_in(1).await;
    let bearer = bed.bearer(&login).await;
    let resent = bed.auth.resend(&bearer, None, Languages::default(), origin(ADDRESS)).await;
    assert!(!resent.result.unwrap().is_new_user);
    let user = (Quota::User(Mode::Production), 1);
    assert_eq!(remaining(&resent.quotas), [(Quota::Ip(Endpoint::Resend), 4), user]);
    assert_eq!(bed.sms.messages().len(), 2);
    // A token whose user has another number by now.
    bed.operate(1, |operator, user| operator.set_phone(user, &phone(9))).await.unwrap();
    let resent = bed.auth.resend(&bearer, None, Languages::default(), origin(ADDRESS)).await;
    assert_eq!(resent.result, Err(AuthError::TokenInvalid));
    assert_eq!(bed.sms.messages().len(), 2);
}

#[tokio::test]
async fn what_lost_its_flow_is_of_unknown_fate_after_a_restart() {
    let bed = Bed::open().await;
    bed.sms.hold();
    let asking = tokio::spawn({
        let auth = bed.auth.clone();
        async move { auth.request(code_request(1)).await }
    });
    bed.sms.arrived(1).await;
    bed.auth.settle_after_restart().await.unwrap();
    let newest = bed.read(|view| view.challenges(Mode::Production, &phone(1), Purpose::Login, 1)).await;
    assert_eq!(newest[0].state, ChallengeState::Unknown);
    assert!(bed.user(1).await.is_some());
    bed.verify(1, &bed.code()).await.result.unwrap();
    bed.sms.release();
    asking.await.unwrap().result.unwrap();
    let newest = bed.read(|view| view.challenges(Mode::Production, &phone(1), Purpose::Login, 1)).await;
    assert_eq!(newest[0].state, ChallengeState::Used, "a late answer revives nothing");
}

#[tokio::test]
async fn a_refused_resend_tells_the_phones_quota_and_a_sender_that_is_full_is_not_asked() {
    let bed = Bed::open().await;
    let login = bed.log_in(1).await;
    let bearer = bed.bearer(&login).await;
    let resend = async || bed.auth.resend(&bearer, None, Languages::default(), origin(ADDRESS)).await;
    for left in [1, 0] {
        assert_eq!(remaining(&resend().await.quotas), [(Quota::User(Mode::Production), left)]);
    }
    bed.sms.refuse([Unavailable::Overloaded(SECOND)]);
    let refused = resend().await;
    assert_eq!(refused.result, Err(AuthError::RateLimited(HOUR)));
    assert!(refused.quotas[0].refused);
    assert_eq!(bed.request(2).await.result, Err(AuthError::Overloaded(SECOND)), "it is still to be had");
}

#[tokio::test]
async fn a_user_asks_for_three_changes_of_number_an_hour_whatever_the_numbers() {
    let bed = Bed::open().await;
    let login = bed.log_in(1).await;
    let bearer = bed.bearer(&login).await;
    let ask = async |number| {
        let (languages, origin) = (Languages::default(), origin(ADDRESS));
        bed.auth.ask_phone_change(&bearer, phone(number), languages, origin).await.result
    };
    for number in 2..=4 {
        ask(number).await.unwrap();
    }
    assert_eq!(ask(5).await, Err(AuthError::RateLimited(HOUR)));
    assert_eq!(bed.told(AuditEvent::CodeRequested).await[1..], ["change of number"; 3]);
    bed.request(5).await.result.unwrap();
}

#[tokio::test]
async fn a_country_that_is_not_sent_to_gets_no_code_and_costs_nothing() {
    let bed = Bed::with(|policy| policy.phones.denied = Country::of(&phone(1)).into_iter().collect()).await;
    for _ in 0..9 {
        let answer = bed.request(1).await;
        assert_eq!(answer.result, Err(AuthError::CountryNotAllowed));
        assert_eq!(answer.quotas, []);
    }
    assert_eq!(bed.sms.messages().len(), 0);
}

#[tokio::test]
async fn a_code_of_the_testing_mode_is_bought_by_nobody_and_has_no_delivery() {
    let bed = Bed::open().await;
    let sent = bed.ask(CodeRequest { mode: Mode::Testing, ..code_request(1) }).await.result.unwrap();
    assert_eq!(sent.delivery, None);
    assert_eq!(bed.counted("sms_bought_total").len(), 0);
}

#[tokio::test]
async fn nobody_has_a_code_sent_again_to_a_number_that_is_somebody_elses_by_now() {
    let bed = Bed::open().await;
    let login = bed.log_in(1).await;
    let bearer = bed.bearer(&login).await;
    bed.operate(1, |operator, user| operator.set_phone(user, &phone(9))).await.unwrap();
    bed.log_in(1).await;
    let resent = bed.auth.resend(&bearer, None, Languages::default(), origin(ADDRESS)).await;
    assert_eq!(resent.result, Err(AuthError::TokenInvalid));
}

#[tokio::test]
async fn a_phones_refusal_is_none_of_the_address_though_both_have_as_many_units() {
    let bed = Bed::with(|policy| (policy.limits.ip, policy.limits.user) = (4, 4)).await;
    let resend = async |login: &LoggedIn, address| {
        let bearer = bed.bearer(login).await;
        bed.auth.resend(&bearer, None, Languages::default(), origin(address)).await.result
    };
    let (one, other) = (bed.log_in(1).await, bed.log_in(2).await);
    for address in ["198.51.100.1", "198.51.100.2", "198.51.100.3"] {
        resend(&one, address).await.unwrap();
    }
    assert!(matches!(resend(&one, "198.51.100.4").await, Err(AuthError::RateLimited(_))));
    resend(&other, "198.51.100.4").await.unwrap();
}
