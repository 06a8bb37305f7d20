//! Units of quotas, and refusals.

use freshk::domain::quota::{Endpoint, Quota};
use freshk::domain::{Mode, SpendId, Timestamp};
use freshk::storage::PurgeHorizon;
use freshk::storage::audit::AuditOf;

use crate::maintenance::horizon;
use crate::support::{ADDRESS, Bed, Fixture, OTHER, START, after, phone};

pub(crate) const IP: Quota = Quota::Ip(Endpoint::Request);
pub(crate) const USER: Quota = Quota::User(Mode::Production);

pub(crate) async fn s19_spends_are_kept_by_subject_and_quota_and_given_back<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    let late = bed
        .write(|tx| {
            let late = tx.spend(IP, ADDRESS, after(50))?;
            tx.spend(IP, ADDRESS, after(10))?;
            tx.spend(Quota::IpShared, ADDRESS, after(20))?;
            tx.spend(USER, phone(1).as_str(), after(20))?;
            tx.spend(IP, OTHER, after(20))?;
            Ok(late)
        })
        .await;
    let spent = |since: Timestamp| bed.read(move |view| view.spends(IP, &[ADDRESS], since));
    assert_eq!(spent(START).await, [after(10), after(50)]);
    assert_eq!(spent(after(10)).await, [after(50)], "since means after");
    bed.write(|tx| tx.clamp_future_spends(IP, ADDRESS, after(30))).await;
    assert_eq!(spent(START).await, [after(10), after(30)]);
    bed.write(move |tx| tx.unspend(IP, OTHER, late)).await;
    assert_eq!(spent(START).await.len(), 2, "it was not that one's");
    for _ in 0..2 {
        bed.write(move |tx| tx.unspend(IP, ADDRESS, late)).await;
        assert_eq!(spent(START).await, [after(10)]);
    }
    // A number that was given back is not given out again: a second give-back must hit nobody else.
    assert!(bed.write(|tx| tx.spend(IP, OTHER, after(60))).await > late);
}

pub(crate) async fn units_are_paged_in_the_order_of_spending<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    bed.write(|tx| {
        for (quota, subject, seconds) in [(IP, ADDRESS, 3), (IP, OTHER, 1), (Quota::IpShared, ADDRESS, 2)] {
            tx.spend(quota, subject, after(seconds))?;
        }
        Ok(())
    })
    .await;
    let page = |after| bed.read(move |view| view.spends_after(after, 2));
    let first = page(SpendId(0)).await;
    let units: Vec<_> = first.iter().map(|unit| (unit.quota, unit.subject.as_str(), unit.at)).collect();
    assert_eq!(units, [(IP, ADDRESS, after(3)), (IP, OTHER, after(1))]);
    let rest = page(first[1].id).await;
    assert_eq!((rest.len(), rest[0].quota), (1, Quota::IpShared));
}

pub(crate) async fn s35_the_first_refusal_of_a_window_is_told_and_the_rest_are_summed_up<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    let refuse = |quota, subject: &str, at, until, refusals| {
        let subject = subject.to_owned();
        bed.write(move |tx| tx.count_refusals(quota, &subject, at..until, refusals))
    };
    assert!(refuse(IP, ADDRESS, after(0), after(60), 1).await);
    assert!(!refuse(IP, ADDRESS, after(10), after(70), 1).await);
    assert!(!refuse(IP, ADDRESS, after(59), after(70), 15).await);
    assert!(refuse(IP, OTHER, after(10), after(60), 1).await);
    assert_eq!(bed.read(|view| view.untold_refusals(START)).await, 16);
    assert_eq!(bed.read(|view| view.untold_refusals(after(5))).await, 0, "since the first of the window");
    assert!(refuse(IP, ADDRESS, after(60), after(120), 1).await, "the window has closed");
    assert!(refuse(IP, OTHER, after(60), after(120), 1).await, "one refusal was told already");
    assert!(refuse(USER, phone(1).as_str(), after(60), after(120), 3).await);
    let closed = PurgeHorizon { audit: START, ..horizon(after(120)) };
    assert!(bed.write(move |tx| tx.purge(&closed, 2)).await);
    assert!(!bed.write(move |tx| tx.purge(&closed, 2)).await);
    assert_eq!(bed.read(|view| view.untold_refusals(START)).await, 0);
    let lines = bed.read(|view| view.audit_after(&AuditOf::Everybody, 0, 9)).await;
    let lines: Vec<_> = lines
        .into_iter()
        .map(|line| (line.event.as_str(), line.mode, line.phone, line.ip, line.detail.unwrap()))
        .collect();
    let event = "excess_rate_limit_exceeded";
    assert_eq!(
        lines,
        [
            (event, None, None, Some(ADDRESS.to_owned()), "ip:request refused 17 times".to_owned()),
            (
                event,
                Some("production".to_owned()),
                Some("+15*****0001".to_owned()),
                None,
                "user refused 3 times".to_owned()
            ),
        ]
    );
}

pub(crate) async fn a_reset_gives_one_subject_all_its_units_back<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    bed.write(|tx| {
        tx.spend(IP, ADDRESS, after(1))?;
        tx.spend(Quota::IpShared, ADDRESS, after(1))?;
        tx.spend(IP, OTHER, after(1))?;
        tx.count_refusals(IP, ADDRESS, after(1)..after(60), 1).map(drop)
    })
    .await;
    assert_eq!(bed.write(|tx| tx.reset_limits(ADDRESS)).await, (2, 1));
    assert_eq!(bed.write(|tx| tx.reset_limits(ADDRESS)).await, (0, 0));
    assert_eq!(bed.read(|view| view.spends(IP, &[ADDRESS], START)).await, []);
    assert_eq!(bed.read(|view| view.spends(IP, &[OTHER], START)).await, [after(1)]);
    assert!(bed.write(|tx| tx.count_refusals(IP, ADDRESS, after(2)..after(60), 1)).await);
}

pub(crate) async fn what_a_subject_has_spent_counts_for_its_heir_and_is_read_with_it<F: Fixture>() {
    const HEIR: &str = "erased:00112233445566778899aabbccddeeff";
    let bed = Bed::<F>::new().await;
    bed.write(|tx| {
        tx.spend(USER, phone(1).as_str(), after(5))?;
        tx.spend(USER, phone(1).as_str(), after(1))?;
        tx.spend(USER, phone(2).as_str(), after(2))?;
        tx.count_refusals(USER, phone(1).as_str(), after(1)..after(60), 3).map(drop)
    })
    .await;
    assert_eq!(bed.write(|tx| tx.bequeath(phone(1).as_str(), HEIR)).await, 2);
    assert_eq!(bed.write(|tx| tx.bequeath(phone(1).as_str(), HEIR)).await, 0);
    bed.write(|tx| tx.spend(USER, phone(1).as_str(), after(3))).await;
    let spent = |subjects: &'static [&'static str]| bed.read(move |view| view.spends(USER, subjects, START));
    assert_eq!(spent(&[HEIR]).await, [after(1), after(5)]);
    assert_eq!(spent(&["+15550000001", HEIR]).await, [after(1), after(3), after(5)]);
    assert_eq!(spent(&[]).await, []);
    // They are one budget, so a clock that stepped back moves both.
    bed.write(|tx| tx.clamp_future_spends(USER, HEIR, after(2))).await;
    assert_eq!(spent(&["+15550000001", HEIR]).await, [after(1), after(2), after(3)]);
    assert_eq!(bed.read(|view| view.untold_refusals(START)).await, 0, "a window of refusals names the phone");
    bed.write(|tx| tx.spend(USER, phone(1).as_str(), after(4))).await;
    assert_eq!(bed.write(|tx| tx.bequeath(phone(1).as_str(), HEIR)).await, 2, "a second time");
    assert_eq!(spent(&[HEIR]).await.len(), 4);
}
