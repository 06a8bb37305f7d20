//! Devices, and the quotas that are theirs.

use super::*;
use crate::auth::AuthError;
use crate::domain::quota::Quota;

/// The phone of a user who has logged in on a device, a day ago.
async fn with_device() -> (Bed, Secret) {
    let bed = Bed::open().await;
    let token = bed.log_in(1).await.device_token.unwrap();
    bed.clock.advance(24 * HOUR);
    (bed, token)
}

async fn ask(bed: &Bed, token: Option<&Secret>) -> Result<Sent, AuthError> {
    bed.ask(CodeRequest { device_token: token.cloned(), ..code_request(1) }).await.result
}

async fn give(bed: &Bed, code: &Code, token: Option<&Secret>) -> Result<LoggedIn, AuthError> {
    bed.auth.verify(VerifyRequest { device_token: token.cloned(), ..verify_request(1, code) }).await.result
}

#[tokio::test]
async fn strangers_spend_the_phones_units_and_the_device_has_its_own() {
    let (bed, token) = with_device().await;
    for _ in 0..3 {
        ask(&bed, None).await.unwrap();
    }
    assert!(matches!(ask(&bed, None).await, Err(AuthError::RateLimited(_))));
    for _ in 0..3 {
        ask(&bed, Some(&token)).await.unwrap();
    }
    assert!(matches!(ask(&bed, Some(&token)).await, Err(AuthError::RateLimited(_))));
    let spent = bed.read(|view| {
        let since = crate::domain::Timestamp::from_millis(0);
        view.spends(Quota::User(Mode::Production), &[phone(1).as_str()], since)
    });
    assert_eq!(spent.await.len(), 7, "the login's, three of strangers, and those of the device count, too");
}

#[tokio::test]
async fn guesses_count_for_the_side_that_made_them() {
    let (bed, token) = with_device().await;
    ask(&bed, Some(&token)).await.unwrap();
    for _ in 0..5 {
        assert_eq!(give(&bed, &bed.wrong(), None).await.unwrap_err(), AuthError::InvalidOtp);
    }
    assert_eq!(give(&bed, &bed.code(), None).await.unwrap_err(), AuthError::InvalidOtp);
    for _ in 0..4 {
        assert_eq!(give(&bed, &bed.wrong(), Some(&token)).await.unwrap_err(), AuthError::InvalidOtp);
    }
    give(&bed, &bed.code(), Some(&token)).await.unwrap();
}

#[tokio::test]
async fn a_devices_day_of_failures_is_its_own_and_counts_for_the_phone() {
    let (bed, token) = with_device().await;
    for _ in 0..3 {
        ask(&bed, Some(&token)).await.unwrap();
        for _ in 0..5 {
            give(&bed, &bed.wrong(), Some(&token)).await.unwrap_err();
        }
    }
    for side in [Some(&token), None] {
        assert!(matches!(give(&bed, &bed.code(), side).await, Err(AuthError::RateLimited(_))));
        assert!(matches!(ask(&bed, side).await, Err(AuthError::RateLimited(_))));
    }
}

#[tokio::test]
async fn a_login_that_brings_its_device_renews_it_and_another_begins_one() {
    let (bed, token) = with_device().await;
    ask(&bed, Some(&token)).await.unwrap();
    let renewed = give(&bed, &bed.code(), Some(&token)).await.unwrap().device_token.unwrap();
    assert_ne!(renewed.expose(), token.expose(), "issued later");
    let user = bed.user(1).await.unwrap().id;
    assert_eq!(bed.read(move |view| view.devices_of(user)).await.len(), 1);
    for _ in 0..3 {
        bed.clock.advance(HOUR);
        bed.log_in(1).await;
    }
    let devices = bed.read(move |view| view.devices_of(user)).await;
    assert_eq!(devices.len(), 3);
    ask(&bed, Some(&renewed)).await.unwrap();
    let by_device = bed
        .read(|view| view.newest_challenge(Mode::Production, &phone(1), Purpose::Login, true))
        .await
        .unwrap();
    assert!(by_device.created_at < bed.clock.now(), "the one whose login is the longest ago has ended");
}

#[tokio::test]
async fn a_token_of_another_user_and_one_of_a_user_who_is_gone_are_ignored() {
    let (bed, token) = with_device().await;
    let ask = async |number| {
        let request = CodeRequest { device_token: Some(token.clone()), ..code_request(number) };
        bed.ask(request).await.result.unwrap();
    };
    ask(2).await;
    assert!(
        bed.read(|view| view.newest_challenge(Mode::Production, &phone(2), Purpose::Login, true))
            .await
            .is_none()
    );
    bed.operate(1, |operator, user| operator.delete(user)).await;
    ask(1).await;
    assert!(
        bed.read(|view| view.newest_challenge(Mode::Production, &phone(1), Purpose::Login, true))
            .await
            .is_none()
    );
}

#[tokio::test]
async fn a_reset_of_the_phone_gives_the_device_its_units_back() {
    let (bed, token) = with_device().await;
    for _ in 0..3 {
        ask(&bed, Some(&token)).await.unwrap();
    }
    ask(&bed, Some(&token)).await.unwrap_err();
    bed.operate(1, |operator, user| {
        operator.reset_limits(&[user.phone_text().to_owned()], user.phone.as_ref())
    })
    .await;
    ask(&bed, Some(&token)).await.unwrap();
}

#[tokio::test]
async fn a_code_whose_message_failed_costs_neither_the_phone_nor_the_device() {
    let (bed, token) = with_device().await;
    bed.sms.script([refused(FailureReason::Delivery)]);
    ask(&bed, Some(&token)).await.unwrap_err();
    for _ in 0..3 {
        ask(&bed, Some(&token)).await.unwrap();
    }
}
