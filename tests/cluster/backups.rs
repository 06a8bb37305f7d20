//! Backups that others make, and of which the nodes are told.

use crate::Cluster;

#[tokio::test(flavor = "multi_thread")]
async fn every_node_tells_how_old_the_backup_is_that_was_noted() {
    let Some(cluster) = Cluster::of(0, &[("FRESHK_OPS__LISTEN", "127.0.0.1:0")]) else { return };
    cluster.place.run("db migrate");
    cluster.place.run("db backup-stamp");
    cluster.schema.sql("UPDATE backup_stamp SET at = at - 3 * 86400000").unwrap();
    for _ in 0..2 {
        let node = cluster.place.start();
        let age = loop {
            let page =
                cluster.client.get(format!("http://{}/metrics", node.operations())).send().await.unwrap();
            let page = page.text().await.unwrap();
            let age = page.lines().find_map(|line| line.strip_prefix("freshk_backup_age_seconds "));
            let age: f64 = age.unwrap().parse().unwrap();
            // The first round of maintenance reads it.
            if age.is_finite() {
                break age;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        };
        assert!((259_200.0..260_000.0).contains(&age), "{age}");
    }
}
