//! What memory refuses without the database, and when the ledger is asked again.

use super::*;
use crate::auth::AuthError;

/// The flows, and what the third call of an address got, which may make two.
async fn at_its_limit() -> (Bed, WithQuotas<Sent>) {
    let bed = Bed::with(|policy| policy.limits.ip = 2).await;
    for number in 1..=2 {
        bed.request(number).await.result.unwrap();
    }
    let refused = bed.request(3).await;
    assert!(matches!(refused.result, Err(AuthError::RateLimited(_))));
    (bed, refused)
}

#[tokio::test]
async fn an_address_that_is_known_to_be_at_its_limit_is_refused_without_a_write_until_the_window_is_over() {
    let (bed, refused) = at_its_limit().await;
    bed.faults.plan(0, 1);
    for number in 1..=3 {
        let again = bed.request(number).await;
        assert_eq!((again.result, again.quotas), (refused.result.clone(), refused.quotas.clone()));
    }
    let other = CodeRequest { origin: origin("203.0.113.8"), ..code_request(1) };
    assert_eq!(bed.ask(other).await.result, Err(AuthError::Unavailable), "another's call is written");
    bed.clock.advance(HOUR);
    bed.request(3).await.result.unwrap();
}

#[tokio::test]
async fn a_reset_tells_what_it_has_forgotten_of_an_address() {
    let (bed, _) = at_its_limit().await;
    bed.request(4).await.result.unwrap_err();
    bed.auth.maintain().await.unwrap();
    let act = |operator: &mut Operator<'_, '_>| operator.reset_limits(&[ADDRESS.to_owned()], None);
    let locks = Locks::none().address(ADDRESS);
    let reset = operator::act(&bed.store, locks, bed.clock.now(), bed.means.clone(), act).await.unwrap();
    assert_eq!(reset, (2, 1), "units, and a window of refusals");
}

#[tokio::test]
async fn a_limit_that_was_raised_holds_at_once() {
    let (bed, _) = at_its_limit().await;
    let mut raised = policy();
    raised.limits.ip = 3;
    bed.auth.adopt(settings(&Secret::new(SECRET), &bed.means.keys, raised));
    bed.request(3).await.result.unwrap();
    assert!(bed.request(4).await.result.is_err());
}

#[tokio::test]
async fn a_network_with_a_number_of_its_own_within_a_48_takes_nothing_from_the_others() {
    let bed = Bed::with(|policy| {
        (policy.limits.ip, policy.limits.user, policy.limits.user_per_day) = (1, 0, 0);
        policy.limits.networks = vec![("2001:db8:7:1::/64".parse().unwrap(), 30)];
    })
    .await;
    let ask = async |address: &str| bed.ask(CodeRequest { origin: origin(address), ..code_request(1) }).await;
    for _ in 0..30 {
        ask("2001:db8:7:1::1").await.result.unwrap();
    }
    assert!(ask("2001:db8:7:1::1").await.result.is_err());
    for network in 2..12 {
        ask(&format!("2001:db8:7:{network}::1")).await.result.unwrap();
    }
    assert!(ask("2001:db8:7:12::1").await.result.is_err(), "the /48 has ten times one");
}
