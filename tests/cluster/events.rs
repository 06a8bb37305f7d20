//! Events over several nodes: one of them sends, and another one goes on where it ends.

use serde_json::json;

use crate::Cluster;
use crate::sink::{Received, Sink};

const KINDS: [&str; 3] = ["user.created", "user.verified", "session.created"];

#[tokio::test(flavor = "multi_thread")]
async fn each_event_is_sent_by_one_node_and_by_another_when_that_has_ended() {
    let sink = Sink::start();
    let Some(mut cluster) = Cluster::with(&[("FRESHK_WEBHOOKS", &sink.webhook("shop", ""))]) else { return };
    let received = || sink.requests().iter().map(Received::kind).collect::<Vec<_>>();
    cluster.log_in().await;
    cluster.until("the events of a login", || received().len() >= 3).await;
    assert_eq!(received(), KINDS);
    let noted = |cluster: &Cluster, events: usize| {
        cluster.count("SELECT count(*) FROM deliveries WHERE state = 'delivered'") == events
    };
    // What is sent and not noted yet comes again.
    cluster.until("them to be noted", || noted(&cluster, 3)).await;
    // The oldest, which sends.
    cluster.nodes.remove(0).kill();
    cluster.place.run("user set-role +1234567890 retailer");
    cluster.log_in().await;
    cluster.until("another node to send", || received().len() >= 5).await;
    assert_eq!(received()[3..], ["user.updated", "session.created"]);
    cluster.until("them to be noted", || noted(&cluster, 5)).await;
    let ids: std::collections::BTreeSet<_> =
        sink.requests().iter().map(|received| received.header("webhook-id").to_owned()).collect();
    assert_eq!((ids.len(), sink.requests().len()), (5, 5), "each once");
    assert_eq!(sink.requests()[4].json()["data"]["user"]["phone_number"], json!(crate::PHONE));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_is_slow_gets_each_event_from_one_node_alone() {
    let sink = Sink::start();
    let webhook = sink.webhook("shop", "session.created");
    let Some(cluster) = Cluster::with(&[("FRESHK_WEBHOOKS", &webhook)]) else { return };
    sink.hold("+1555");
    // What a node writes has it look at once for what is due, and so is all that is under way.
    for (n, node) in cluster.nodes.iter().enumerate() {
        let (ip, phone) = (crate::address(n), format!("+1555000000{n}"));
        assert_eq!(cluster.request(node, &ip, &phone).await.0, 200);
        let body = json!({ "phone_number": phone, "otp": cluster.code() });
        assert_eq!(cluster.post(node, &ip, "/production/verify/", &body).await.0, 200);
        cluster.until("its event to set out", || sink.requests().len() == n + 1).await;
    }
    sink.release();
    let noted = || cluster.count("SELECT count(*) FROM deliveries WHERE state = 'delivered'") == 3;
    cluster.until("them to be noted", noted).await;
    assert_eq!(sink.requests().len(), 3);
}
