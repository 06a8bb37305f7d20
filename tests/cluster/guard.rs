//! The guard against SMS pumping and budgets over several nodes, at each of which strangers arrive at the same moment.

use std::ops::Range;

use crate::{Cluster, statuses};

/// Strangers of one country ask at once, each from a network of their own and with a range of numbers of their own: how many got
/// which status.
async fn attack(cluster: &Cluster, strangers: Range<usize>) -> Vec<(u16, usize)> {
    let place = |n: usize| (format!("198.18.{n}.7"), format!("+49151{n:05}000"));
    let places: Vec<_> = strangers.map(place).collect();
    statuses(places.iter().map(|(ip, phone)| cluster.request(cluster.any(), ip, phone))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attack_over_all_nodes_begins_one_block_which_lets_one_message_through() {
    let Some(cluster) = Cluster::with(&[("FRESHK_SMS__GUARD", "on")]) else { return };
    let told = || {
        cluster.count("SELECT count(*) FROM audit WHERE event = 'sms_blocked' AND detail LIKE '%country%'")
    };
    attack(&cluster, 0..90).await;
    assert_eq!(cluster.schema.words("SELECT scope, key FROM blocks WHERE scope = 'country'"), ["country|DE"]);
    assert_eq!(told(), 1);
    // It is time for the one that is let through, while the block lasts.
    cluster.schema.execute("UPDATE blocks SET until = until + 3600000, probe_at = since");
    assert_eq!(attack(&cluster, 100..130).await, [(200, 1), (429, 29)]);
    // What was let through is answered: nobody is refused any more.
    cluster.schema.execute("UPDATE purchases SET converted_at = at");
    assert_eq!(attack(&cluster, 200..206).await, [(200, 6)]);
    assert_eq!(told(), 1);
}

/// How many units of a budget are spent.
fn used(cluster: &Cluster) -> String {
    cluster.schema.words("SELECT used FROM budgets WHERE budget = 'hour' AND share = 'all'").remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_is_spent_once_over_all_nodes_and_what_was_not_sent_is_given_back() {
    let Some(cluster) = Cluster::with(&[("FRESHK_SMS__BUDGET_PER_HOUR", "20")]) else { return };
    let refused = crate::twilio::Answer::Error { http: 400, code: 21211, message: "not a number" };
    cluster.twilio.always(refused);
    assert_eq!(attack(&cluster, 0..12).await, [(400, 12)]);
    assert_eq!(used(&cluster), "0");
    cluster.twilio.always(crate::twilio::Answer::Accepted);
    let answers = attack(&cluster, 100..160).await;
    assert_eq!((answers[0], answers.len()), ((200, 20), 2), "{answers:?}");
    assert_eq!((cluster.twilio.requests().len(), used(&cluster)), (32, "20".to_owned()));
    assert_eq!(
        cluster.count("SELECT count(*) FROM audit WHERE event = 'sms_budget_warning'"),
        1,
        "told once"
    );
}
