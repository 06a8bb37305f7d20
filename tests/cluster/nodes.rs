//! Nodes that come, go and differ.

use std::io::{BufRead as _, BufReader, Write as _};

use crate::process::{Place, Server};
use crate::{Cluster, PHONE, place};

const LIVING: &str = "SELECT count(*) FROM nodes JOIN pg_locks ON locktype = 'advisory'
    AND classid::bigint = (nodes.lock >> 32 & 4294967295) AND objid::bigint = (nodes.lock & 4294967295)";

const STATES: &str = "SELECT state FROM challenges ORDER BY id";

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_starts_leaves_alone_what_a_living_one_sends_and_settles_what_a_dead_one_sent() {
    let Some(mut cluster) = Cluster::start() else { return };
    cluster.twilio.hold();
    let (call, begin) = (cluster.request(&cluster.nodes[0], "198.51.100.1", PHONE), async {
        cluster.until("the SMS", || cluster.twilio.requests().len() == 1).await;
        let newcomer = cluster.place.start();
        assert_eq!(cluster.schema.words(STATES), ["sending"], "it is on its way");
        cluster.twilio.release();
        newcomer
    });
    let ((status, _), newcomer) = tokio::join!(call, begin);
    assert_eq!((status, cluster.schema.words(STATES)), (200, vec!["live".to_owned()]));
    newcomer.stop();

    cluster.twilio.hold();
    let dying = cluster.nodes.remove(0);
    let url = dying.url("/api/mobile/auth/production/request/");
    let call = cluster.client.post(url).json(&serde_json::json!({ "phone_number": PHONE }));
    let call = tokio::spawn(call.send());
    cluster.until("the SMS", || cluster.twilio.requests().len() == 2).await;
    dying.kill();
    assert!(call.await.unwrap().is_err());
    // Its connections end with it, which the database notices.
    cluster.until("the database to notice", || cluster.count(LIVING) == 2).await;
    let newcomer = cluster.place.start();
    assert_eq!(cluster.schema.words(STATES), ["live", "unknown"]);
    cluster.twilio.release();
    let code = cluster.code();
    assert_eq!(cluster.verify(&newcomer, "198.51.100.1", &code).await.0, 200, "the SMS arrived");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_other_keys_is_refused_and_one_that_shares_a_key_is_not() {
    const NEW: &str = "another secret for tests of more than thirty-two bytes";
    let Some(cluster) = Cluster::start() else { return };
    let stranger = with(&cluster).with("SECRET_KEY", NEW);
    stranger.refused().assert_says(&["none of this one's keys", "secret_key_fallbacks"]);
    let rotating = with(&cluster).with("SECRET_KEY", NEW).with("SECRET_KEY_FALLBACKS", crate::SECRET);
    rotating.start().stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_other_settings_is_told_of_by_their_keys() {
    let Some(cluster) = Cluster::start() else { return };
    let other = with(&cluster).with("FRESHK_OTP__TTL", "5m").with("FRESHK_LIMITS__IP", "7").start();
    let log = other.stderr.text();
    let warned = log.lines().find(|line| line.contains("has other settings")).unwrap();
    assert!(warned.contains("limits.ip, otp.ttl") && warned.contains("WARN"), "{warned}");
    let checked = cluster.place.tool("check --offline").output().unwrap();
    let text = String::from_utf8(checked.stdout).unwrap();
    assert!(text.contains("limits.ip, otp.ttl"), "{text}");
    other.stop();
}

/// They would make two accounts of one telephone.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_spells_numbers_otherwise_is_refused_until_the_others_have_stopped() {
    let Some(mut cluster) = Cluster::start() else { return };
    let strict = with(&cluster).with("FRESHK_PHONE__STRICT", "true");
    strict
        .refused()
        .assert_says(&["phone.strict is on here and off on", "stop all servers of this database"]);
    cluster.nodes.drain(..).for_each(Server::stop);
    let first = strict.start();
    with(&cluster).refused().assert_says(&["phone.strict is off here and on on"]);
    with(&cluster).with("FRESHK_PHONE__STRICT", "1").start().stop();
    first.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_has_taken_over_at_a_reload_is_what_the_others_know_of_it() {
    const KINDS: &str = "SELECT count(DISTINCT settings) FROM nodes";
    let Some(cluster) = Cluster::start() else { return };
    let other = with(&cluster);
    let node = other.start();
    assert_eq!(cluster.count(KINDS), 1);
    // The second key needs a restart, and is not in force.
    let toml = "[limits]\nip = 7\n[tokens]\nissuer = \"other\"\n";
    for (toml, kinds) in
        [("[limits]\nip = 7\n", 2), ("", 1), ("[tokens]\nissuer = \"other\"\n", 1), (toml, 2)]
    {
        std::fs::write(other.path().join("freshk.toml"), toml).unwrap();
        let before = node.stderr.text().len();
        node.signal("HUP");
        cluster.until("the reload", || node.stderr.text()[before..].contains("was reloaded")).await;
        cluster.until("the others to know", || cluster.count(KINDS) == kinds).await;
    }
    let checked = cluster.place.tool("check --offline").output().unwrap();
    let text = String::from_utf8(checked.stdout).unwrap();
    assert!(text.contains("limits.ip") && !text.contains("tokens.issuer"), "{text}");
    node.stop();
}

/// The server still takes the connection before for alive where the network was cut: it has the lock for a while.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_connection_was_lost_lives_again_as_soon_as_its_lock_is_free() {
    const HELD: &str = "locktype = 'advisory' AND granted AND classid::bigint = (SELECT lock >> 32 & 4294967295 FROM nodes
        ORDER BY started_at LIMIT 1) AND objid::bigint = (SELECT lock & 4294967295 FROM nodes ORDER BY started_at LIMIT 1)";
    let Some(mut cluster) = Cluster::start() else { return };
    let lock = cluster.schema.words("SELECT lock FROM nodes ORDER BY started_at LIMIT 1").remove(0);
    let mut session = cluster.schema.session();
    let (mut input, output) = (session.stdin.take().unwrap(), session.stdout.take().unwrap());
    writeln!(input, "SELECT pg_advisory_lock({lock}); SELECT 'held';").unwrap();
    let waits =
        || cluster.count("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted") > 0;
    cluster.until("the other session to wait", waits).await;
    cluster.schema.sql(&format!("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE {HELD}")).unwrap();
    let mut lines = BufReader::new(output).lines().map_while(Result::ok);
    assert!(lines.any(|line| line == "held"));
    let log = |node: &mut Server| node.stderr.text().contains("the database is back").then_some(());
    cluster.nodes[0].eventually("the node to come back", log);
    assert_eq!(cluster.count(LIVING), 3, "the row has a lock, though it is another's");
    drop(input);
    session.wait().unwrap();
    cluster
        .until("its own lock", || cluster.count(&format!("SELECT count(*) FROM pg_locks WHERE {HELD}")) == 1)
        .await;
}

/// The same place once more.
fn with(cluster: &Cluster) -> Place {
    place(&cluster.twilio, &cluster.schema)
}
