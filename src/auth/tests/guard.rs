//! Whom the guard holds back when codes are asked for, and whom it never does.

use super::servers::Neighbour;
use super::*;
use crate::auth::AuthError;
use crate::domain::Timestamp;

pub(super) async fn guarded(mode: GuardMode) -> Bed {
    Bed::with(|policy| (policy.limits.ip, policy.guard.mode) = (0, mode)).await
}

/// A request by somebody whom nobody knows: each has a network and a range of numbers of their own.
pub(super) fn stranger(number: u32) -> CodeRequest {
    CodeRequest { origin: origin(&format!("10.{number}.0.1")), ..code_request(number * 1000) }
}

pub(super) fn is_held_back(answer: &Result<Sent, AuthError>) -> bool {
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

/// A stranger of a country, by the same rule.
pub(super) fn of(country: &str, number: u32) -> CodeRequest {
    let phone = PhoneNumber::parse(&format!("+{country}{number:05}000"), 10).unwrap();
    let address = format!("10.{}.{}.1", number % 250, 1 + number / 250);
    CodeRequest { phone, origin: origin(&address), ..code_request(0) }
}

/// One of another country.
pub(super) fn foreigner(number: u32) -> CodeRequest {
    of("49151", number)
}

/// A number's first login.
pub(super) async fn join(bed: &Bed, request: CodeRequest) {
    let (phone, origin) = (request.phone.clone(), request.origin.clone());
    bed.ask(request).await.result.unwrap();
    let request = VerifyRequest { phone, origin, ..verify_request(0, &bed.code()) };
    bed.auth.verify(request).await.result.unwrap();
}

/// Asks for a code; by which rules messages were held back so far, or would have been.
async fn held_back_by(bed: &Bed, request: CodeRequest) -> Vec<(String, u32)> {
    let _ = bed.ask(request).await;
    let counted = bed.counted("sms_held_back_total");
    let read = |line: &String| {
        let rule = line.split('"').nth(1).unwrap().to_owned();
        (rule, line.rsplit(' ').next().unwrap().parse().unwrap())
    };
    counted.iter().map(read).collect()
}

#[tokio::test]
async fn a_guard_that_is_off_notes_nothing() {
    let bed = guarded(GuardMode::Off).await;
    for number in 1..=8 {
        bed.request(number).await.result.unwrap();
    }
    assert!(bed.read(|view| view.blocks_after(Timestamp::from_millis(0))).await.is_empty());
    assert_eq!(bed.counted("sms_held_back_total").len(), 0);
}

#[tokio::test]
async fn a_guard_that_only_looks_on_tells_of_a_burst_until_it_is_over_and_then_of_a_full_day() {
    let bed = guarded(GuardMode::Monitor).await;
    let burst = |count| vec![("country_burst".to_owned(), count)];
    for number in 1..=10 {
        assert_eq!(held_back_by(&bed, stranger(number)).await, []);
    }
    assert_eq!(held_back_by(&bed, stranger(11)).await, burst(1));
    bed.clock.advance(SECOND);
    // Whatever is answered, everything went out: it says nothing about the block.
    join(&bed, stranger(12)).await;
    for number in 13..=22 {
        assert_eq!(held_back_by(&bed, stranger(number)).await, burst(number - 10), "though the day is full");
    }
    bed.clock.advance(11 * 60 * SECOND);
    for number in 23..=30 {
        assert_eq!(held_back_by(&bed, stranger(number)).await, burst(number - 10), "which prolong it");
    }
    bed.clock.advance(5 * 60 * SECOND);
    assert_eq!(
        held_back_by(&bed, stranger(31)).await,
        burst(21),
        "no message is the one that is let through"
    );
    assert_eq!(bed.counted("sms_blocks_total"), ["{guard=\"monitor\"} 1"]);
    bed.clock.advance(HOUR);
    let mut all = burst(21);
    all.push(("country_day".to_owned(), 1));
    assert_eq!(held_back_by(&bed, stranger(32)).await, all);
    assert_eq!(bed.counted("sms_blocks_total"), ["{guard=\"monitor\"} 2"]);
}

#[tokio::test]
async fn what_a_block_of_a_range_held_back_is_not_forgotten_of_the_network() {
    let bed = guarded(GuardMode::On).await;
    for number in [1001, 1002, 1003] {
        bed.request(number).await.result.unwrap();
    }
    assert_eq!(held_back_by(&bed, code_request(1004)).await, [("range".to_owned(), 1)]);
    for number in [2001, 3001] {
        bed.request(number).await.result.unwrap();
    }
    bed.clock.advance(16 * 60 * SECOND);
    let both = [("network".to_owned(), 1), ("range".to_owned(), 1)];
    assert_eq!(held_back_by(&bed, code_request(1005)).await, both);
}

/// A block of ten strangers, which lasts for longer than until the first message may be let through; this is the moment.
pub(super) async fn prolonged(bed: &Bed, mut strangers: impl Iterator<Item = CodeRequest>) {
    for request in strangers.by_ref().take(10) {
        bed.ask(request).await.result.unwrap();
    }
    for request in strangers.by_ref().take(1) {
        assert!(is_held_back(&bed.ask(request).await.result));
    }
    bed.clock.advance(11 * 60 * SECOND);
    for request in strangers {
        assert!(is_held_back(&bed.ask(request).await.result));
    }
    assert_eq!(bed.counted("sms_blocks_total"), ["{guard=\"on\"} 1"]);
    bed.clock.advance(4 * 60 * SECOND);
}

#[tokio::test]
async fn a_block_of_all_countries_ends_where_the_message_that_it_lets_through_is_answered() {
    let bed = guarded(GuardMode::On).await;
    let both = |number| if number % 2 == 0 { stranger(number) } else { foreigner(number) };
    prolonged(&bed, (1..=19).map(both)).await;
    assert!(bed.counted("sms_held_back_total")[0].contains("world_burst"));
    join(&bed, stranger(20)).await;
    for number in 21..=23 {
        bed.ask(both(number)).await.result.unwrap();
    }
}

#[tokio::test]
async fn a_block_that_ended_by_an_answer_refuses_nobody_by_whose_clock_that_is_still_to_come() {
    let bed = guarded(GuardMode::On).await;
    let behind = Neighbour::with(&bed, |policy| policy.guard.mode = GuardMode::On);
    prolonged(&bed, (1..=19).map(stranger)).await;
    join(&bed, stranger(20)).await;
    bed.clock.advance(SECOND);
    bed.ask(stranger(21)).await.result.unwrap();
    behind.clock.advance(14 * 60 * SECOND);
    behind.auth.request(stranger(22)).await.result.unwrap();
    bed.ask(stranger(23)).await.result.unwrap();
}

#[tokio::test]
async fn whoever_tries_early_in_a_block_prolongs_nothing() {
    let bed = guarded(GuardMode::On).await;
    for number in 1..=10 {
        bed.ask(stranger(number)).await.result.unwrap();
    }
    assert!(is_held_back(&bed.ask(stranger(11)).await.result));
    bed.clock.advance(5 * 60 * SECOND);
    for number in 11..=30 {
        assert!(is_held_back(&bed.ask(stranger(number)).await.result));
    }
    bed.clock.advance(10 * 60 * SECOND);
    for number in 11..=12 {
        bed.ask(stranger(number)).await.result.unwrap();
    }
}

#[tokio::test]
async fn a_block_of_a_burst_goes_on_for_the_day_that_fills_meanwhile() {
    let bed = guarded(GuardMode::On).await;
    let unguarded = Neighbour::with(&bed, |policy| policy.guard.mode = GuardMode::Off);
    for number in 1..=10 {
        bed.ask(stranger(number)).await.result.unwrap();
    }
    assert_eq!(held_back_by(&bed, stranger(11)).await, [("country_burst".to_owned(), 1)]);
    for number in 11..=20 {
        unguarded.auth.request(stranger(number)).await.result.unwrap();
    }
    let both = [("country_burst".to_owned(), 1), ("country_day".to_owned(), 1)];
    assert_eq!(held_back_by(&bed, stranger(21)).await, both);
}

#[tokio::test]
async fn a_block_of_a_country_does_not_end_by_what_others_answer() {
    let bed = guarded(GuardMode::On).await;
    // So much is usual elsewhere that all countries are not held back.
    for number in 100..120 {
        join(&bed, foreigner(number)).await;
    }
    bed.clock.advance(48 * HOUR);
    prolonged(&bed, (1..=19).map(stranger)).await;
    bed.ask(stranger(20)).await.result.unwrap();
    for number in 121..=123 {
        join(&bed, foreigner(number)).await;
    }
    assert!(is_held_back(&bed.ask(stranger(21)).await.result));
}

#[tokio::test]
async fn what_was_usual_within_a_week_is_no_attack_and_is_forgotten_after_it() {
    let bed = guarded(GuardMode::On).await;
    for number in 1..=20 {
        join(&bed, stranger(number)).await;
    }
    bed.clock.advance(6 * 24 * HOUR);
    for number in 101..=115 {
        bed.ask(stranger(number)).await.result.unwrap();
    }
    bed.clock.advance(2 * 24 * HOUR);
    for number in 201..=210 {
        bed.ask(stranger(number)).await.result.unwrap();
    }
    assert!(is_held_back(&bed.ask(stranger(211)).await.result));
}

#[tokio::test]
async fn a_range_and_a_network_that_were_held_back_are_judged_more_strictly_until_a_day_has_gone_by() {
    let of_range = |number| CodeRequest { phone: phone(number), ..stranger(number) };
    let of_network = |number| code_request(number * 1000);
    let cases: [(usize, &dyn Fn(u32) -> CodeRequest); 2] = [(3, &of_range), (5, &of_network)];
    for (most, request) in cases {
        for (early, strictly) in [(2, 1), (1, most)] {
            let bed = guarded(GuardMode::On).await;
            let sent = async |from: u32| {
                let mut sent = 0;
                while !is_held_back(&bed.ask(request(from + sent)).await.result) {
                    sent += 1;
                }
                sent as usize
            };
            assert_eq!(sent(1).await, most);
            bed.clock.advance((24 * HOUR + 15 * 60 * SECOND).saturating_sub(Duration::from_millis(early)));
            assert_eq!(sent(11).await, strictly, "{early} ms before the day is over");
        }
    }
}

/// How many of 54 strangers of six countries, each a millisecond later, are sent a code by a server whose clock is behind, just after
/// a block of all countries has ended by an answer; and how many of 40 more by the one whose clock is right.
async fn sent_after_the_end(behind_by: Duration) -> (usize, usize) {
    let bed = guarded(GuardMode::On).await;
    let behind = Neighbour::with(&bed, |policy| policy.guard.mode = GuardMode::On);
    let both = |number| if number % 2 == 0 { stranger(number) } else { foreigner(number) };
    prolonged(&bed, (1..=19).map(both)).await;
    join(&bed, stranger(20)).await;
    bed.clock.advance(SECOND);
    bed.ask(stranger(21)).await.result.unwrap();
    behind.clock.advance((15 * 60 * SECOND + SECOND).saturating_sub(behind_by));
    let (mut sent, mut later) = (0, 0);
    for (number, country) in
        (31..85).zip(["49151", "33612", "34612", "39312", "31612", "48512"].iter().cycle())
    {
        sent += usize::from(behind.auth.request(of(country, number)).await.result.is_ok());
        behind.clock.advance(Duration::from_millis(1));
    }
    bed.clock.advance(SECOND);
    for (number, country) in (100..140).zip(["32470", "43664", "45201", "46701"].iter().cycle()) {
        later += usize::from(bed.ask(of(country, number)).await.result.is_ok());
    }
    (sent, later)
}

#[tokio::test]
async fn a_clock_that_is_behind_the_end_of_a_block_sends_no_more_than_another() {
    for behind_by in [Duration::ZERO, Duration::from_millis(5), SECOND, 60 * SECOND] {
        assert_eq!(sent_after_the_end(behind_by).await, (9, 0), "{behind_by:?}");
    }
}
