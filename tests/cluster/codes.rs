//! Limits, flights and guesses over several nodes.

use futures_util::future::join_all;

use crate::{Cluster, PHONE, address, statuses};

#[tokio::test(flavor = "multi_thread")]
async fn an_address_has_its_five_over_all_nodes() {
    let Some(cluster) = Cluster::start() else { return };
    let phones: Vec<_> = (0..300).map(|n| format!("+1999{n:07}")).collect();
    let calls = phones.iter().map(|phone| cluster.request(cluster.any(), "203.0.113.7", phone));
    assert_eq!(statuses(calls).await, [(200, 5), (429, 295)]);
    assert_eq!(cluster.twilio.requests().len(), 5);
    assert_eq!(cluster.count("SELECT count(*) FROM spends WHERE quota = 'ip:request'"), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_at_once_for_one_phone_are_one_sms_and_two_hundred_answers() {
    let Some(cluster) = Cluster::start() else { return };
    cluster.twilio.hold();
    let addresses: Vec<_> = (0..200).map(address).collect();
    let calls = statuses(addresses.iter().map(|ip| cluster.request(cluster.any(), ip, PHONE)));
    let release = async {
        // Each pays with its own address, so that all are in.
        let paid = || cluster.count("SELECT count(*) FROM spends WHERE quota = 'ip:request'") == 200;
        cluster.until("all to be in", paid).await;
        cluster.twilio.release();
    };
    let (answers, ()) = tokio::join!(calls, release);
    assert_eq!(answers, [(200, 200)]);
    assert_eq!(cluster.twilio.requests().len(), 1);
    assert_eq!(cluster.count("SELECT count(*) FROM spends WHERE quota = 'user'"), 1);
    assert_eq!(cluster.count("SELECT count(*) FROM challenges"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_told_to_those_who_follow_on_another_node() {
    let Some(cluster) = Cluster::start() else { return };
    let refused = crate::twilio::Answer::Error { http: 400, code: 21211, message: "not a number" };
    cluster.twilio.always(refused);
    cluster.twilio.hold();
    let addresses: Vec<_> = (0..12).map(address).collect();
    let calls = join_all(addresses.iter().map(|ip| cluster.request(cluster.any(), ip, PHONE)));
    let release = async {
        let paid = || cluster.count("SELECT count(*) FROM spends WHERE quota = 'ip:request'") == 12;
        cluster.until("all to be in", paid).await;
        cluster.twilio.release();
    };
    let (answers, ()) = tokio::join!(calls, release);
    for (status, answer) in answers {
        assert_eq!((status, answer["code"].as_str()), (400, Some("invalid_phone_number")), "{answer}");
    }
    assert_eq!(cluster.twilio.requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_hundred_right_codes_one_logs_in() {
    let Some(cluster) = Cluster::start() else { return };
    assert_eq!(cluster.request(cluster.any(), "198.51.100.1", PHONE).await.0, 200);
    let code = cluster.code();
    let addresses: Vec<_> = (0..200).map(address).collect();
    let answers = statuses(addresses.iter().map(|ip| cluster.verify(cluster.any(), ip, &code))).await;
    assert_eq!(answers, [(200, 1), (400, 199)]);
    assert_eq!(cluster.count("SELECT count(*) FROM sessions"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_hundred_wrong_codes_five_are_evaluated() {
    let Some(cluster) = Cluster::start() else { return };
    assert_eq!(cluster.request(cluster.any(), "198.51.100.1", PHONE).await.0, 200);
    let right = cluster.code();
    let wrong = if right == "123456" { "654321" } else { "123456" };
    let addresses: Vec<_> = (0..200).map(address).collect();
    let answers = statuses(addresses.iter().map(|ip| cluster.verify(cluster.any(), ip, wrong))).await;
    assert_eq!(answers, [(400, 200)]);
    assert_eq!(cluster.count("SELECT count(*) FROM spends WHERE quota = 'failures'"), 5);
    assert_eq!(cluster.count("SELECT attempts FROM challenges"), 5);
    assert_eq!(cluster.verify(cluster.any(), "198.51.100.2", &right).await.0, 400, "over-tried");
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_share_the_pace_of_a_sender() {
    let pace = [("FRESHK_TWILIO__SEGMENTS_PER_SECOND", "3"), ("FRESHK_TWILIO__MAX_WAIT", "1s")];
    let Some(cluster) = Cluster::with(&pace) else { return };
    // The last to start knows of the others, and goes once a second: one message now, one that waits, and no other in time.
    let last = &cluster.nodes[2];
    let calls: Vec<_> = (0..5).map(|number| (address(number), format!("+1555000000{number}"))).collect();
    let answers = statuses(calls.iter().map(|(ip, phone)| cluster.request(last, ip, phone))).await;
    assert_eq!(answers, [(200, 2), (503, 3)]);
}
