//! Whom the guard holds back when codes are asked for, and whom it never does.

use super::*;
use crate::auth::AuthError;

async fn guarded(mode: GuardMode) -> Bed {
    Bed::with(|policy| (policy.limits.ip, policy.guard.mode) = (0, mode)).await
}

/// A request by somebody whom nobody knows: each has a network and a range of numbers of their own.
fn stranger(number: u32) -> CodeRequest {
    CodeRequest { origin: origin(&format!("10.{number}.0.1")), ..code_request(number * 1000) }
}

fn is_held_back(answer: &Result<Sent, AuthError>) -> bool {
    matches!(answer, Err(AuthError::RateLimited(_)))
}

#[tokio::test]
async fn a_fourth_stranger_of_a_range_is_held_back_but_neither_who_was_verified_nor_a_device() {
    let bed = guarded(GuardMode::On).await;
    bed.import(7, 7).await;
    // The device of a number that was proven on a console alone.
    bed.ask(CodeRequest { mode: Mode::Testing, ..code_request(8) }).await.result.unwrap();
    let request = VerifyRequest { mode: Mode::Testing, ..verify_request(8, &bed.code()) };
    let device_token = bed.auth.verify(request).await.result.unwrap().device_token;
    for number in 1..=3 {
        bed.request(number).await.result.unwrap();
    }
    // Who was sent a code and has not given it is a stranger still.
    for number in [1, 4, 8] {
        assert!(is_held_back(&bed.request(number).await.result), "{number}");
    }
    bed.request(7).await.result.unwrap();
    bed.ask(CodeRequest { device_token, ..code_request(8) }).await.result.unwrap();
    let held = bed.counted("sms_held_back_total");
    assert!(held.len() == 1 && held[0].contains("range") && held[0].ends_with(" 3"), "{held:?}");
    assert_eq!(bed.counted("sms_blocks_total"), ["{guard=\"on\"} 1"]);
}

#[tokio::test]
async fn a_change_to_a_number_that_somebody_has_verified_is_known_and_one_to_a_strangers_is_not() {
    let bed = guarded(GuardMode::On).await;
    bed.import(7, 7).await;
    let login = bed.log_in(1).await;
    let bearer = bed.bearer(&login).await;
    for number in 2..=4 {
        bed.request(number).await.result.unwrap();
    }
    let ask = async |number| {
        let (languages, origin) = (Languages::default(), origin(ADDRESS));
        bed.auth.ask_phone_change(&bearer, phone(number), languages, origin).await.result
    };
    assert!(is_held_back(&ask(5).await));
    ask(7).await.unwrap();
}

#[tokio::test]
async fn a_guard_that_only_looks_on_counts_and_refuses_nothing() {
    let bed = guarded(GuardMode::Monitor).await;
    for number in 1..=5 {
        bed.request(number).await.result.unwrap();
    }
    assert!(bed.counted("sms_held_back_total")[0].ends_with(" 2"));
    assert_eq!(bed.counted("sms_blocks_total"), ["{guard=\"monitor\"} 1"]);
}

#[tokio::test]
async fn a_message_that_a_block_lets_through_and_that_finds_no_sender_leaves_its_turn_to_the_next() {
    let bed = guarded(GuardMode::On).await;
    for number in 1..=10 {
        bed.ask(stranger(number)).await.result.unwrap();
    }
    assert!(is_held_back(&bed.ask(stranger(11)).await.result));
    // Who goes on trying prolongs the block of the country.
    bed.clock.advance(12 * 60 * SECOND);
    for number in 11..=20 {
        assert!(is_held_back(&bed.ask(stranger(number)).await.result));
    }
    bed.clock.advance(4 * 60 * SECOND);
    bed.sms.refuse([crate::sms::Unavailable::Overloaded(SECOND)]);
    assert_eq!(bed.ask(stranger(21)).await.result, Err(AuthError::Overloaded(SECOND)));
    bed.ask(stranger(21)).await.result.unwrap();
    assert!(is_held_back(&bed.ask(stranger(22)).await.result));
}

#[tokio::test]
async fn a_test_number_of_concealed_accounts_is_sent_nothing_and_so_not_held_back() {
    let bed = Bed::with(|policy| {
        (policy.limits.ip, policy.guard.mode) = (0, GuardMode::On);
        policy.conceal_accounts = true;
    })
    .await;
    bed.make_test_number(4).await;
    for number in 1..=4 {
        bed.request(number).await.result.unwrap();
    }
    assert_eq!(bed.sms.messages().len(), 3);
    assert!(is_held_back(&bed.request(5).await.result));
}
