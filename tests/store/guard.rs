//! Purchases, blocks and budgets.

use std::time::Duration;

use freshk::domain::budget::{Budget, Charge, Share};
use freshk::domain::guard::{Block, Counts, Excess, Place, Rule, Scope, Sends, Standing, Usual, Windows};
use freshk::domain::message::MessageState;
use freshk::domain::{ChallengeId, Timestamp};
use freshk::storage::PurgeHorizon;
use freshk::storage::guard::{CountryFigures, Horizons, Payment, Purchase, Verifications};

use crate::maintenance::horizon;
use crate::support::{Bed, Fixture, START, after, new_message};

fn place(network: u32, range: u32, country: &str) -> Place {
    Place {
        network: format!("203.0.{network}.0/24"),
        range: format!("+4915{range}"),
        country: country.to_owned(),
    }
}

fn purchase(challenge: i64, seconds: u64, place: Place) -> Purchase {
    Purchase {
        challenge: ChallengeId(challenge),
        at: after(seconds),
        place,
        standing: Standing::Stranger,
        cost: 75_000,
        charges: Vec::new(),
    }
}

async fn buy<F: Fixture>(bed: &Bed<F>, purchases: Vec<Purchase>) {
    bed.write(move |tx| purchases.iter().try_for_each(|purchase| tx.insert_purchase(purchase))).await;
}

/// Everything after `at`, for a day.
fn since(at: Timestamp) -> Horizons {
    let until = at + Duration::from_hours(24);
    Horizons { known: at, known_longer: at, network: at, range: at, country: [at; 3], world: [at; 2], until }
}

async fn counts<F: Fixture>(bed: &Bed<F>, place: Place, horizons: Horizons) -> Counts {
    bed.read(move |view| view.guard_counts(&place, &horizons)).await
}

fn sends(unconverted: u32, converted: u32) -> Sends {
    Sends { unconverted, converted }
}

pub(crate) async fn a_purchase_is_counted_at_its_place_until_it_is_answered_or_excused<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    let here = || place(1, 1, "DE");
    let known = Purchase { standing: Standing::Known, ..purchase(5, 5, here()) };
    let trusted = Purchase { standing: Standing::Trusted, ..purchase(6, 6, here()) };
    buy(
        &bed,
        vec![
            purchase(1, 1, here()),
            purchase(2, 2, here()),
            purchase(3, 3, place(1, 2, "FR")),
            purchase(4, 4, place(2, 1, "DE")),
            known,
            trusted,
        ],
    )
    .await;
    let both = |sends| Windows { burst: sends, hour: sends };
    let before = Counts {
        network: sends(4, 0),
        range: sends(4, 0),
        country: both(sends(3, 0)),
        country_day: sends(3, 0),
        world: both(sends(4, 0)),
        ..Counts::default()
    };
    assert_eq!(counts(&bed, here(), since(START)).await, before);
    bed.write(|tx| tx.convert(ChallengeId(2), &[ChallengeId(1), ChallengeId(99)], after(9))).await;
    // Once in its life.
    bed.write(|tx| tx.convert(ChallengeId(2), &[ChallengeId(3)], after(10))).await;
    bed.write(|tx| tx.convert(ChallengeId(5), &[ChallengeId(3)], after(10))).await;
    let answered = Counts {
        known: 1,
        network: sends(2, 1),
        range: sends(2, 1),
        country: both(sends(1, 1)),
        country_day: sends(1, 1),
        world: both(sends(2, 1)),
        ..Counts::default()
    };
    assert_eq!(counts(&bed, here(), since(START)).await, answered);
    let strangers = bed.read(|view| {
        let sent = |country, until| view.sent_to_strangers(country, START, after(until));
        Ok([sent(Some("DE"), 4)?, sent(None, 4)?, sent(Some("DE"), 3)?, sent(None, 3)?])
    });
    assert_eq!(strangers.await, [sends(1, 1), sends(2, 1), sends(0, 1), sends(1, 1)]);
    let latest = bed.read(|view| {
        let latest = |country, until| view.latest_to_strangers(country, after(until));
        Ok([latest(Some("DE"), 9)?, latest(Some("DE"), 3)?, latest(None, 3)?, latest(Some("IT"), 9)?])
    });
    assert_eq!(latest.await, [Some(after(4)), Some(after(2)), Some(after(3)), None]);
}

pub(crate) async fn what_lies_before_a_horizon_counts_no_longer_nor_does_what_is_still_to_come<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    buy(&bed, (1..=6).map(|n| purchase(n, n.unsigned_abs(), place(1, 1, "DE"))).collect()).await;
    bed.write(|tx| tx.convert(ChallengeId(6), &[], after(7))).await;
    let horizons = Horizons {
        known: after(1),
        known_longer: after(1),
        network: after(1),
        range: after(2),
        country: [after(4), after(3), after(2)],
        world: [after(5), after(0)],
        until: after(5),
    };
    let expected = Counts {
        network: sends(4, 0),
        range: sends(3, 0),
        country: Windows { burst: sends(1, 0), hour: sends(2, 0) },
        country_day: sends(3, 0),
        world: Windows { burst: sends(0, 0), hour: sends(5, 0) },
        ..Counts::default()
    };
    assert_eq!(counts(&bed, place(1, 1, "DE"), horizons).await, expected);
}

pub(crate) async fn first_verifications_of_a_network_are_counted_to_two_and_the_older_ones_apart<
    F: Fixture,
>() {
    let bed = Bed::<F>::new().await;
    buy(&bed, (1..=4).map(|n| purchase(n, n.unsigned_abs(), place(1, 1, "DE"))).collect()).await;
    for (id, until, expected) in
        [(1_i64, 4, (1, 0)), (1, 5, (1, 1)), (2, 9, (2, 1)), (3, 9, (2, 1)), (3, 10, (2, 2))]
    {
        let at = after(id.unsigned_abs() * 5);
        bed.write(move |tx| tx.convert(ChallengeId(id), &[], at)).await;
        let horizons = Horizons { known_longer: after(until), ..since(START) };
        let counted = counts(&bed, place(1, 1, "DE"), horizons).await;
        assert_eq!((counted.known, counted.known_longer), expected, "{id} {until}");
    }
}

pub(crate) async fn a_block_replaces_the_one_that_was_read_and_no_other<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    let here = place(1, 1, "DE");
    let excess = Excess { rule: Rule::CountryHour, counted: 20, allowed: 20 };
    let block = Block::begin(None, &here, excess, after(10));
    let put = |before: Option<Block>, block: &Block| {
        let block = block.clone();
        bed.write(move |tx| tx.replace_block(before.as_ref(), &block))
    };
    assert!(put(None, &block).await);
    assert!(!put(None, &Block { times: 7, ..block.clone() }).await, "another began it");
    let network =
        Block::begin(None, &here, Excess { rule: Rule::Network, counted: 5, allowed: 5 }, after(11));
    assert!(put(None, &network).await);
    let probed = Block { probe_at: after(2000), times: 2, ..block.clone() };
    assert!(put(Some(block.clone()), &probed).await);
    assert!(!put(Some(block.clone()), &probed).await, "another let the message through");
    let at = here.clone();
    let mut found = bed.read(move |view| view.blocks_at(&at)).await;
    found.sort_by_key(|block| block.scope);
    assert_eq!(found, [network.clone(), probed.clone()]);
    assert_eq!(bed.read(|view| view.blocks_at(&place(9, 9, "FR"))).await, []);
    assert_eq!(bed.read(|view| view.blocks_after(after(10))).await, [probed.clone(), network.clone()]);
    assert!(bed.write(|tx| tx.end_block(Scope::Network, "203.0.1.0/24", after(50))).await);
    assert!(!bed.write(|tx| tx.end_block(Scope::Network, "203.0.1.0/24", after(50))).await);
    assert_eq!(bed.read(|view| view.blocks_after(after(50))).await, [probed]);
    bed.write(|tx| {
        tx.note_refused_attempt(Scope::Country, "DE", after(1))?;
        tx.note_refused_attempt(Scope::Country, "DE", after(2))?;
        tx.note_refused_attempt(Scope::World, "", after(2))
    })
    .await;
    let refused = bed.read(|view| {
        Ok((
            view.refused_attempts(Scope::Country, "DE", START, after(99))?,
            view.refused_attempts(Scope::Country, "DE", after(1), after(99))?,
            view.refused_attempts(Scope::Country, "DE", START, after(1))?,
            view.refused_attempts(Scope::World, "", START, after(99))?,
        ))
    });
    assert_eq!(refused.await, (2, 1, 1, 1));
}

pub(crate) async fn first_verifications_are_counted_by_country_and_five_minutes<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    let country = |n: i64| if n < 4 { "DE" } else { "FR" };
    buy(&bed, (1..=5).map(|n| purchase(n, 1, place(1, 1, country(n)))).collect()).await;
    bed.write(|tx| {
        for (n, at) in [(1, 10), (2, 299), (3, 300), (4, 20)] {
            tx.convert(ChallengeId(n), &[], after(at))?;
        }
        Ok(())
    })
    .await;
    let mut counted = bed.read(|view| view.first_verifications(START, after(999))).await;
    counted.sort_by_key(|counted| (counted.country.clone(), counted.bucket));
    let first = START.as_millis() / 300_000;
    let row = |country: &str, bucket, count| Verifications { country: country.to_owned(), bucket, count };
    assert_eq!(counted, [row("DE", first, 2), row("DE", first + 1, 1), row("FR", first, 1)]);
    let usual = Usual::of(&[(first, 2), (first + 1, 1)].into_iter().collect());
    assert_eq!(usual, Usual { burst: 2, hour: 3 });
    let counted =
        async |since, until| bed.read(move |view| view.first_verifications(after(since), after(until))).await;
    assert_eq!(counted(299, 300).await, [row("DE", first + 1, 1)]);
    assert_eq!(counted(299, 299).await, []);
}

pub(crate) async fn figures_by_country_tell_what_was_bought_answered_and_delivered<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    let challenge = bed.challenge(1).await;
    let id = challenge.id;
    bed.write(move |tx| {
        let message = tx.insert_message(new_message(id, 1, 1, START))?;
        let mut message = tx.message(message)?.unwrap();
        message.state = MessageState::Delivered;
        tx.update_message(&mut message)
    })
    .await;
    let known = Purchase { standing: Standing::Known, ..purchase(901, 2, place(1, 1, "DE")) };
    buy(&bed, vec![purchase(id.0, 1, place(1, 1, "DE")), known, purchase(902, 3, place(1, 1, "FR"))]).await;
    bed.write(move |tx| tx.convert(id, &[], after(9))).await;
    let row = |country: &str, sent, new, converted, delivered| CountryFigures {
        country: country.to_owned(),
        sent,
        new,
        converted,
        delivered,
        cost: sent * 75_000,
    };
    assert_eq!(
        bed.read(|view| view.figures_by_country(START)).await,
        [row("DE", 2, 1, 1, 1), row("FR", 1, 1, 0, 0)]
    );
}

pub(crate) async fn a_purchase_that_is_taken_back_tells_what_it_was_charged<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    let charges = vec![
        Charge { window: Budget::Hour.window(Share::All, START), units: 1 },
        Charge { window: Budget::Money.window(Share::Verified, START), units: 75_000 },
    ];
    let bought = Purchase { charges: charges.clone(), ..purchase(1, 1, place(1, 1, "DE")) };
    buy(&bed, vec![bought]).await;
    assert_eq!(bed.write(|tx| tx.delete_purchase(ChallengeId(1))).await, charges);
    assert_eq!(bed.write(|tx| tx.delete_purchase(ChallengeId(1))).await, []);
    assert_eq!(counts(&bed, place(1, 1, "DE"), since(START)).await, Counts::default());
}

pub(crate) async fn what_a_purchase_was_paid_with_is_read_and_replaced<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    let charge = |budget: Budget| Charge { window: budget.window(Share::All, START), units: 1 };
    let bought = Purchase { charges: vec![charge(Budget::Day)], ..purchase(1, 1, place(1, 1, "DE")) };
    buy(&bed, vec![bought]).await;
    let paid = |cost, charges| Payment { standing: Standing::Stranger, cost, charges };
    let now = || bed.read(|view| view.payment(ChallengeId(1)));
    assert_eq!(now().await, Some(paid(75_000, vec![charge(Budget::Day)])));
    let more = paid(150_000, vec![charge(Budget::Day), charge(Budget::Voice)]);
    let written = more.clone();
    bed.write(move |tx| tx.update_payment(ChallengeId(1), &written)).await;
    assert_eq!(now().await, Some(more.clone()));
    assert_eq!(bed.write(|tx| tx.delete_purchase(ChallengeId(1))).await, more.charges);
    assert_eq!(now().await, None);
    assert_eq!(
        bed.write(move |tx| tx.spend_budget(Budget::Voice.window(Share::All, START), 1, 1)).await,
        Some(1)
    );
}

pub(crate) async fn a_budget_is_never_exceeded_and_warned_of_once<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    let window = Budget::Money.window(Share::All, START);
    let spend = |units| bed.write(move |tx| tx.spend_budget(window, units, 10));
    assert_eq!(spend(11).await, None);
    assert_eq!(spend(4).await, Some(4));
    assert_eq!(spend(6).await, Some(10));
    assert_eq!(spend(1).await, None);
    assert_eq!(spend(0).await, Some(10));
    bed.write(move |tx| tx.unspend_budget(window, 3)).await;
    assert_eq!(spend(4).await, None);
    assert_eq!(spend(3).await, Some(10));
    bed.write(move |tx| tx.unspend_budget(window, 30)).await;
    assert_eq!(bed.read(move |view| view.budget_used(window)).await, 0);
    assert!(bed.write(move |tx| tx.warn_of_budget(window)).await);
    assert!(!bed.write(move |tx| tx.warn_of_budget(window)).await);
    let other = Budget::Money.window(Share::Verified, START);
    assert_eq!(bed.read(move |view| view.budget_used(other)).await, 0);
    // Many at a time.
    let day = Budget::Day.window(Share::All, START);
    let spending = (0..40)
        .map(|_| bed.store.write(freshk::storage::Locks::none(), move |tx| tx.spend_budget(day, 1, 25)));
    let outcomes = futures_util::future::join_all(spending).await;
    assert_eq!(outcomes.into_iter().filter(|spent| spent.as_ref().unwrap().is_some()).count(), 25);
    assert_eq!(bed.read(move |view| view.budget_used(day)).await, 25);
}

pub(crate) async fn maintenance_forgets_ranges_after_a_day_and_purchases_after_thirty<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    buy(&bed, (1..=9).map(|n| purchase(n, n.unsigned_abs(), place(1, 1, "DE"))).collect()).await;
    bed.write(|tx| {
        tx.note_refused_attempt(Scope::Country, "DE", after(4))?;
        tx.note_refused_attempt(Scope::Country, "DE", after(6))
    })
    .await;
    let old = PurgeHorizon { now: after(60), purchases: after(2), guard: after(5), ..horizon(START) };
    while bed.write(move |tx| tx.purge(&old, 2)).await {}
    let left = counts(&bed, place(1, 1, "DE"), since(START)).await;
    assert_eq!((left.network, left.range), (sends(7, 0), sends(4, 0)));
    assert_eq!(bed.read(|view| view.refused_attempts(Scope::Country, "DE", START, after(99))).await, 1);
}
