use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::domain::clock::AHEAD;
use crate::domain::{ClientAddress, PhoneNumber, Timestamp};

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000) + Duration::from_secs(seconds)
}

fn sends(unconverted: u32, converted: u32) -> Sends {
    Sends { unconverted, converted }
}

fn place() -> Place {
    let address = ClientAddress::new("203.0.113.7".parse().unwrap());
    Place::of(address, &PhoneNumber::parse("+4915112345678", 10).unwrap())
}

fn broken(counts: &Counts) -> Option<Rule> {
    judge(counts, Usual::default(), Usual::default()).map(|excess| excess.rule)
}

#[test]
fn a_place_is_network_range_and_country() {
    let Place { network, range, country } = place();
    assert_eq!((network.as_str(), range.as_str(), country.as_str()), ("203.0.113.0/24", "+4915112345", "DE"));
    let site = ClientAddress::new("2001:db8:1:2::1".parse().unwrap());
    assert_eq!(
        Place::of(site, &PhoneNumber::parse("+9991234567890", 10).unwrap()).network,
        "2001:db8:1::/48"
    );
}

#[test]
fn each_rule_begins_at_its_number() {
    let rules = [
        (Counts { network: sends(5, 0), ..Counts::default() }, Rule::Network),
        (Counts { range: sends(3, 0), ..Counts::default() }, Rule::Range),
        (Counts { country: windows(sends(10, 0), sends(10, 0)), ..Counts::default() }, Rule::CountryBurst),
        (Counts { country: windows(sends(0, 0), sends(20, 0)), ..Counts::default() }, Rule::CountryHour),
        (Counts { country_day: sends(25, 5), ..Counts::default() }, Rule::CountryDay),
        (Counts { world: windows(sends(10, 0), sends(10, 0)), ..Counts::default() }, Rule::WorldBurst),
        (Counts { world: windows(sends(0, 0), sends(20, 0)), ..Counts::default() }, Rule::WorldHour),
    ];
    for (counts, rule) in rules {
        assert_eq!(broken(&counts), Some(rule));
        let less = |sends: Sends| Sends { unconverted: sends.unconverted.saturating_sub(1), ..sends };
        let fewer = Counts {
            network: less(counts.network),
            range: less(counts.range),
            country: windows(less(counts.country.burst), less(counts.country.hour)),
            country_day: less(counts.country_day),
            world: windows(less(counts.world.burst), less(counts.world.hour)),
            ..counts
        };
        assert_eq!(broken(&fewer), None, "{rule:?}");
    }
}

const fn windows(burst: Sends, hour: Sends) -> Windows {
    Windows { burst, hour }
}

#[test]
fn how_somebody_stands_reads_back_and_other_words_do_not() {
    for standing in [Standing::Known, Standing::Trusted, Standing::Stranger] {
        assert_eq!(Standing::parse(standing.as_str()), Some(standing));
    }
    assert_eq!(Standing::parse("friend"), None);
}

#[test]
fn a_block_of_the_day_goes_on_where_it_began_within_a_day_and_no_other_does() {
    let of = |rule| Excess { rule, counted: 20, allowed: 20 };
    let day = |hours: u64| at(hours * 3600);
    let block = Block::begin(None, &place(), of(Rule::CountryDay), day(0));
    let resumed = Block::resumed(Some(&block), of(Rule::CountryDay), day(23)).unwrap();
    assert_eq!((resumed.since, resumed.until), (block.since, day(23) + FIRST_BLOCK));
    assert_eq!((resumed.times, resumed.probe_at), (block.times, block.probe_at));
    assert_eq!(Block::resumed(Some(&block), of(Rule::CountryDay), day(24)), None, "it began a day ago");
    assert_eq!(Block::resumed(Some(&block), of(Rule::CountryHour), day(1)), None);
    let of_the_hour = Block::begin(None, &place(), of(Rule::CountryHour), day(0));
    assert_eq!(Block::resumed(Some(&of_the_hour), of(Rule::CountryDay), day(1)), None);
    assert_eq!(Block::resumed(None, of(Rule::CountryDay), day(1)), None);
}

#[test]
fn after_a_block_one_message_is_unanswered_at_most() {
    let network = Counts { network: sends(1, 0), ..Counts::default() };
    let range = Counts { range: sends(1, 0), ..Counts::default() };
    assert_eq!((broken(&network), broken(&range)), (None, None));
    assert_eq!(broken(&Counts { network_was_blocked: true, ..network }), Some(Rule::Network));
    assert_eq!(broken(&Counts { range_was_blocked: true, ..range }), Some(Rule::Range));
}

#[test]
fn what_is_answered_makes_room() {
    for (counts, is_broken) in [
        (Counts { network: sends(6, 2), ..Counts::default() }, false),
        (Counts { network: sends(7, 2), ..Counts::default() }, true),
        (Counts { range: sends(4, 2), ..Counts::default() }, false),
        (Counts { range: sends(5, 2), ..Counts::default() }, true),
        (Counts { country: windows(sends(11, 11), sends(11, 11)), ..Counts::default() }, false),
        (Counts { country: windows(sends(12, 11), sends(12, 11)), ..Counts::default() }, true),
    ] {
        assert_eq!(broken(&counts).is_some(), is_broken, "{counts:?}");
    }
}

#[test]
fn what_is_usual_makes_room_too() {
    let counts = Counts { country: windows(sends(39, 0), sends(39, 0)), ..Counts::default() };
    assert!(Rule::CountryBurst.excess(&counts, Usual { burst: 19, hour: 19 }, Usual::default()).is_some());
    assert_eq!(Rule::CountryBurst.excess(&counts, Usual { burst: 20, hour: 20 }, Usual::default()), None);
}

#[test]
fn a_network_is_trusted_for_two_verifications_while_most_are_answered() {
    let trusted =
        |known, network| is_trusted(&Counts { known, known_longer: known, network, ..Counts::default() });
    assert!(trusted(2, sends(5, 0)) && !trusted(2, sends(6, 0)) && !trusted(1, sends(0, 0)));
    assert!(trusted(2, sends(8, 3)) && !trusted(2, sends(9, 3)));
}

#[test]
fn a_network_known_for_less_than_a_day_is_trusted_while_as_many_are_answered_as_not() {
    let trusted =
        |known_longer, network| is_trusted(&Counts { known: 2, known_longer, network, ..Counts::default() });
    assert!(trusted(0, sends(5, 0)) && !trusted(0, sends(6, 0)));
    assert!(trusted(1, sends(8, 9)) && !trusted(1, sends(9, 9)) && trusted(2, sends(26, 9)));
}

#[test]
fn blocks_of_a_network_double_to_half_a_day_and_begin_anew_after_a_day() {
    let excess = Excess { rule: Rule::Network, counted: 5, allowed: 5 };
    let mut block = Block::begin(None, &place(), excess, at(0));
    let mut minutes = vec![];
    for _ in 0..8 {
        minutes.push(block.since.until(block.until).as_secs() / 60);
        assert!(block.is_active(block.since) && !block.is_active(block.until));
        block = Block::begin(Some(&block), &place(), excess, block.until);
    }
    assert_eq!(minutes, [15, 30, 60, 120, 240, 480, 720, 720]);
    let later = Block::begin(Some(&block), &place(), excess, block.until + Duration::from_hours(24));
    assert_eq!(later.times, 1);
}

/// A block of the country, begun at 0.
fn of_country() -> Block {
    Block::begin(None, &place(), Excess { rule: Rule::CountryHour, counted: 20, allowed: 20 }, at(0))
}

#[test]
fn a_block_of_a_country_begins_with_the_first_wait_though_there_was_one_today() {
    let before = Block { times: 4, ..of_country() };
    let block = Block::begin(Some(&before), &place(), before.excess, before.until);
    assert_eq!((block.times, block.since.until(block.probe_at)), (1, FIRST_BLOCK));
}

#[test]
fn a_block_of_a_clock_that_was_ahead_is_as_good_as_none() {
    let (now, moment) = (at(100_000), Duration::from_millis(1));
    let (far, farthest) = (now + AHEAD * 2, now + AHEAD + Duration::from_hours(12));
    let block = |since, until, probe_at| Block { since, until, probe_at, ..of_country() };
    for (block, is_active) in [
        (block(far, farthest, farthest), true),
        (block(far + moment, farthest, farthest), false),
        (block(far, farthest + moment, farthest), false),
        (block(far, farthest, farthest + moment), false),
    ] {
        assert_eq!((block.is_active(now), block.is_believed(now)), (is_active, is_active), "{block:?}");
        let of_day = Excess { rule: Rule::CountryDay, counted: 20, allowed: 20 };
        let resumed = Block::resumed(Some(&Block { excess: of_day, ..block.clone() }), of_day, now);
        assert_eq!(resumed.is_some(), is_active);
        let of_network = Excess { rule: Rule::Network, counted: 5, allowed: 5 };
        let before = Block { scope: Scope::Network, ..block };
        let next = Block::begin(Some(&before), &place(), of_network, now);
        assert_eq!(next.times, if is_active { 2 } else { 1 });
    }
}

#[test]
fn a_country_is_held_back_until_fifteen_quiet_minutes() {
    let block = of_country();
    let refused = |attempts, now| {
        let attempts = block.wants_attempts(now).then_some(attempts);
        block.pass(Sends::default(), attempts, Usual::default(), now)
    };
    assert_eq!(refused(0, at(1)), Passage::Refused(None));
    assert_eq!(refused(1000, at(599)), Passage::Refused(None), "nobody has counted yet");
    assert!(matches!(refused(1000, at(600)), Passage::Refused(Some(_))));
    assert_eq!(refused(4, at(700)), Passage::Refused(None), "five in a quarter of an hour is quiet");
    let Passage::Refused(Some(prolonged)) = refused(5, at(700)) else { panic!("it is loud") };
    assert_eq!(prolonged.until, at(700 + 15 * 60));
    assert_eq!(prolonged.since, block.since);
}

#[test]
fn a_country_is_held_back_for_its_day_as_soon_as_that_is_too_full() {
    let full = Counts { country_day: sends(22, 2), ..Counts::default() };
    let block = of_country();
    assert_eq!(block.of_day(&Counts { country_day: sends(21, 2), ..full }), None);
    let of_day = block.of_day(&full).unwrap();
    assert_eq!(of_day.excess, Excess { rule: Rule::CountryDay, counted: 22, allowed: 22 });
    assert_eq!((of_day.since, of_day.until, of_day.times), (block.since, block.until, block.times));
    assert_eq!(of_day.of_day(&full), None, "it is one already");
    let world = Block { scope: Scope::World, ..block };
    assert_eq!(world.of_day(&full), None);
}

#[test]
fn now_and_then_one_message_is_let_through_and_the_block_ends_if_those_are_answered() {
    let mut block = Block { until: at(1_000_000), ..of_country() };
    let mut waits = vec![];
    for probes in 0..4 {
        let before = block.probe_at;
        assert!(matches!(
            block.pass(sends(probes, 0), Some(0), Usual::default(), at(1)),
            Passage::Refused(_)
        ));
        let Passage::Probe(next) = block.pass(sends(probes, 0), Some(0), Usual::default(), before) else {
            panic!("{probes}")
        };
        assert_eq!(next.until, block.until, "few attempts prolong nothing");
        waits.push(before.until(next.probe_at).as_secs() / 60);
        block = next;
    }
    assert_eq!(waits, [30, 60, 120, 240]);
    assert!(matches!(block.pass(sends(2, 1), Some(0), Usual::default(), at(1)), Passage::Refused(_)));
    let Passage::Over(over) = block.pass(sends(1, 1), Some(0), Usual::default(), at(7)) else {
        panic!("answered")
    };
    assert!(!over.is_active(at(7)));
    assert!(!over.is_active(at(0)), "nor for whom it is a little earlier");
    assert!(Block { until: at(1_000), ..over }.is_active(at(7)), "it goes on");
}

#[test]
fn what_is_usual_is_the_highest_of_five_minutes_and_of_any_hour() {
    let buckets = |counts: &[(i64, u32)]| counts.iter().copied().collect();
    assert_eq!(Usual::of(&buckets(&[])), Usual::default());
    let counts = buckets(&[(0, 3), (5, 9), (11, 4), (12, 1), (100, 8)]);
    assert_eq!(Usual::of(&counts), Usual { burst: 9, hour: 16 });
    // An hour begins anywhere.
    assert_eq!(Usual::of(&buckets(&[(7, 2), (18, 2), (19, 2)])), Usual { burst: 2, hour: 4 });
}

#[test]
fn words_read_back() {
    for rule in Rule::ALL {
        assert_eq!(Rule::parse(rule.as_str()), Some(rule));
        assert_eq!(Scope::parse(rule.scope().as_str()), Some(rule.scope()));
    }
    assert_eq!(
        of_country().to_string(),
        "numbers of the country DE: 20 messages of an hour to new numbers were not answered, and 20 are too many"
    );
}

#[test]
fn s34_the_last_five_digits_of_a_range_are_shown_to_the_operator_alone() {
    let block = Block::begin(None, &place(), Excess { rule: Rule::Range, counted: 3, allowed: 3 }, at(0));
    assert!(
        block
            .to_string()
            .starts_with("a thousand of the numbers that begin with +49151: 3 messages of a day")
    );
    assert_eq!(block.told(GuardMode::On)["key"], "+49151");
    assert!(block.in_full().starts_with("numbers +4915112345 and three more digits: 3 messages of a day"));
    assert_eq!(block.shown(GuardMode::On)["key"], "+4915112345");
    let (mut shown, told) = (of_country().shown(GuardMode::On), of_country().told(GuardMode::On));
    assert_eq!(shown["probe_at"], shown["until"], "after the first wait one message is let through");
    shown.as_object_mut().unwrap().remove("probe_at");
    assert_eq!(shown, told);
    assert_eq!(block.shown(GuardMode::On)["probe_at"], serde_json::Value::Null, "a range lets none through");
}

#[test]
fn who_is_allowed_is_a_network_or_a_prefix() {
    let allowed =
        Allowed { networks: vec!["203.0.113.0/28".parse().unwrap()], prefixes: vec!["+49151".to_owned()] };
    let holds = |address: &str, phone: &str| {
        let address = ClientAddress::new(address.parse().unwrap());
        allowed.holds(address, &PhoneNumber::parse(phone, 10).unwrap())
    };
    assert!(holds("203.0.113.7", "+15550000001") && holds("198.51.100.1", "+4915112345678"));
    assert!(holds("64:ff9b::203.0.113.7", "+15550000001"));
    assert!(!holds("203.0.113.17", "+15550000001") && !holds("198.51.100.1", "+4916012345678"));
}

fn any_sends() -> impl Strategy<Value = Sends> {
    (0u32..2000, 0u32..2000).prop_map(|(unconverted, converted)| Sends { unconverted, converted })
}

fn any_counts() -> impl Strategy<Value = Counts> {
    let windows = || (any_sends(), any_sends()).prop_map(|(burst, hour)| Windows { burst, hour });
    let days = (any_sends(), any_sends(), any_sends());
    ((0u32..3, 0u32..3), days, any::<(bool, bool)>(), windows(), windows()).prop_map(
        |(
            (known, longer),
            (network, range, country_day),
            (network_was_blocked, range_was_blocked),
            country,
            world,
        )| {
            Counts {
                known,
                known_longer: longer.min(known),
                network,
                network_was_blocked,
                range,
                range_was_blocked,
                country,
                country_day,
                world,
            }
        },
    )
}

proptest! {
    #[test]
    fn whoever_answers_more_often_than_not_is_never_held_back(mut counts in any_counts()) {
        let windows = [&mut counts.country, &mut counts.world];
        let windows = windows.into_iter().flat_map(|windows| [&mut windows.burst, &mut windows.hour]);
        let days = [&mut counts.network, &mut counts.range, &mut counts.country_day];
        for sends in days.into_iter().chain(windows) {
            sends.unconverted = sends.unconverted.min(sends.converted);
        }
        // The first message after a block must be answered before the next.
        counts.network_was_blocked = false;
        counts.range_was_blocked = false;
        prop_assert_eq!(broken(&counts), None);
    }

    #[test]
    fn a_day_of_a_country_never_has_more_than_the_floor_unanswered(counts in any_counts(), burst in 0u32..100, hour in 0u32..1000) {
        let usual = Usual { burst, hour };
        if counts.country_day.unconverted >= FLOOR + counts.country_day.converted {
            prop_assert!(judge(&counts, usual, usual).is_some());
        }
    }

    #[test]
    fn under_the_floors_nobody_is_held_back(counts in any_counts()) {
        let low = |sends: Sends, most: u32| Sends { unconverted: sends.unconverted.min(most), ..sends };
        let windows = |windows: Windows| Windows { burst: low(windows.burst, 9), hour: low(windows.hour, 19) };
        let counts = Counts {
            network: low(counts.network, 4),
            network_was_blocked: false,
            range: low(counts.range, 2),
            range_was_blocked: false,
            country: windows(counts.country),
            country_day: low(counts.country_day, 19),
            world: windows(counts.world),
            ..counts
        };
        prop_assert_eq!(broken(&counts), None);
    }
}
