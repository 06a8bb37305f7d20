//! Tables of few rows.

use std::time::Duration;

use freshk::domain::clock::StoredClock;
use freshk::domain::test_number::Source;
use freshk::domain::{CodeHash, Exchange, NameClaim, TestNumber};

use crate::support::{Bed, Fixture, START, after, phone, session, some_hash};

pub(crate) async fn exchanges_are_read_as_they_were_written_once<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    let user = bed.user(1).await.id;
    let opened = Exchange {
        jti: "a".repeat(32),
        user,
        session: Some(session(1, user).id),
        at: after(1),
        expires_at: after(9),
    };
    let logged_out = Exchange { jti: "b".repeat(32), session: None, ..opened.clone() };
    for exchange in [opened, logged_out] {
        let written = exchange.clone();
        bed.write(move |tx| tx.insert_exchange(&written)).await;
        let again = Exchange { at: after(5), ..exchange.clone() };
        bed.broken(move |tx| tx.insert_exchange(&again)).await;
        let jti = exchange.jti.clone();
        assert_eq!(bed.read(move |view| view.exchange(&jti)).await, Some(exchange));
    }
    assert_eq!(bed.read(|view| view.exchange("c")).await, None);
}

pub(crate) async fn test_numbers_are_replaced_and_deleted_by_their_phone<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    let number =
        |n, seconds, source| TestNumber { phone: phone(n), hash: some_hash(), until: after(seconds), source };
    let (second, first) = (number(2, 9, Source::Command), number(1, 9, Source::Command));
    let hash = CodeHash { key: 8, tag: vec![2; 32] };
    let replaced = TestNumber { hash, ..number(2, 20, Source::Configuration) };
    let written = replaced.clone();
    bed.write(move |tx| {
        tx.keep_test_number(&second)?;
        tx.keep_test_number(&first)?;
        tx.keep_test_number(&written)
    })
    .await;
    let all = bed.read(|view| view.test_numbers()).await;
    assert_eq!(all, [number(1, 9, Source::Command), replaced.clone()]);
    assert_eq!(bed.read(|view| view.test_number(&phone(2))).await, Some(replaced));
    bed.write(|tx| tx.forget_test_number(&phone(2))).await;
    assert_eq!(bed.read(|view| view.test_number(&phone(2))).await, None);
}

pub(crate) async fn names_of_tokens_are_replaced_and_deleted<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    let [issuer, audience] = NameClaim::ALL;
    let name = |claim| bed.read(move |view| view.token_name(claim));
    assert_eq!(name(issuer).await, None);
    bed.write(move |tx| tx.store_token_name(issuer, Some("one"), after(1))).await;
    bed.write(move |tx| tx.store_token_name(issuer, Some("two"), after(2))).await;
    assert_eq!(name(issuer).await, Some(("two".into(), after(2))));
    assert_eq!(name(audience).await, None);
    bed.write(move |tx| tx.store_token_name(issuer, None, after(3))).await;
    assert_eq!(name(issuer).await, None);
}

pub(crate) async fn the_clock_is_one_row_that_is_replaced<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    assert_eq!(bed.read(|view| view.clock()).await, None);
    let first = StoredClock { wall: after(9), retention: START, quiet: Duration::from_millis(7) };
    bed.write(move |tx| tx.store_clock(&first)).await;
    assert_eq!(bed.read(|view| view.clock()).await, Some(first));
    let next = StoredClock { wall: after(2), retention: after(1), ..first };
    bed.write(move |tx| tx.store_clock(&next)).await;
    assert_eq!(bed.read(|view| view.clock()).await, Some(next));
}
