//! Sessions over several nodes: what ends on one is refused on the others, and nobody else is logged out.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::Cluster;

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_refreshes_is_one_generation_and_logs_nobody_out() {
    let Some(cluster) = Cluster::start() else { return };
    let login = cluster.log_in().await;
    let body = json!({ "refresh": login["refresh"] });
    let calls = (0..120).map(|_| cluster.post(cluster.any(), "198.51.100.1", "/token/refresh/", &body));
    let mut pairs = Vec::new();
    for (status, pair) in join_all(calls).await {
        assert_eq!(status, 200, "{pair}");
        pairs.push(pair);
    }
    pairs.dedup_by_key(|pair| pair["refresh"].clone());
    assert_eq!(pairs.len(), 1, "the same refresh token");
    assert_eq!(cluster.count("SELECT generation FROM sessions"), 1, "one more than at the login");
    for node in &cluster.nodes {
        assert_eq!(cluster.status(node, pairs[0]["access"].as_str().unwrap()).await.0, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ends_on_one_node_is_refused_on_the_others() {
    let Some(cluster) = Cluster::start() else { return };
    let [first, second, third] = &cluster.nodes[..] else { panic!("three") };
    let login = cluster.log_in().await;
    let access = login["access"].as_str().unwrap();
    for node in &cluster.nodes {
        assert_eq!(cluster.status(node, access).await.0, 200);
    }
    let body = json!({ "refresh": login["refresh"] });
    assert_eq!(cluster.post(first, "198.51.100.1", "/logout/", &body).await.0, 200);
    assert_eq!(cluster.status(first, access).await.0, 401, "where it ended, at once");
    for node in [second, third] {
        cluster.is_out(node, access).await;
        assert_eq!(cluster.post(node, "198.51.100.1", "/token/refresh/", &body).await.0, 401);
    }

    let login = cluster.log_in().await;
    let access = login["access"].as_str().unwrap();
    let phone = login["user"]["phone_number"].as_str().unwrap();
    cluster.place.run(&format!("user deactivate {phone} --yes"));
    for node in &cluster.nodes {
        let is_off = |(status, answer): &(u16, Value)| *status == 200 && answer["account_active"] == false;
        cluster.becomes(node, access, is_off).await;
        assert_eq!(cluster.request(node, "198.51.100.3", phone).await.0, 403);
    }
}
