//! A connection to the database that is lost in a commit: before it has arrived, or before its answer has.

use serde_json::{Value, json};

use crate::proxy::{Cut, Proxy};
use crate::{Cluster, PHONE, postgres};

const REQUESTED: &str = "INSERT INTO challenges";
const SETTLED: &str = "UPDATE challenges SET state";
const LOGGED_IN: &str = "INSERT INTO sessions";
const CHANGED: &str = "UPDATE sessions SET generation = ";

/// One node behind a proxy.
fn start() -> Option<(Proxy, Cluster)> {
    let server = postgres::server()?;
    let proxy = Proxy::before(server.socket());
    let cluster = Cluster::of(1, &[("DATABASE_URL", &postgres::url_on(proxy.port()))])?;
    Some((proxy, cluster))
}

async fn post(cluster: &Cluster, path: &str, body: Value) -> (u16, Value) {
    cluster.post(cluster.any(), "198.51.100.1", path, &body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_to_a_commit_that_is_lost_changes_nothing_for_the_caller() {
    let Some((proxy, cluster)) = start() else { return };
    for (statement, messages) in [(REQUESTED, 1), (SETTLED, 2)] {
        proxy.arm(statement, Cut::Answer);
        let (status, answer) = cluster.request(cluster.any(), "198.51.100.1", PHONE).await;
        assert_eq!((status, cluster.twilio.requests().len()), (200, messages), "{answer}");
        // What could not be written at once is written soon after.
        cluster.until("the cut", || proxy.has_cut()).await;
        assert_eq!(cluster.count("SELECT count(*) FROM spends WHERE quota = 'user'"), messages);
    }

    proxy.arm(LOGGED_IN, Cut::Answer);
    let (status, login) = cluster.verify(cluster.any(), "198.51.100.1", &cluster.code()).await;
    assert_eq!((status, proxy.has_cut()), (200, true), "{login}");
    let again = cluster.verify(cluster.any(), "198.51.100.1", &cluster.code()).await;
    assert_eq!((again.0, cluster.count("SELECT count(*) FROM sessions")), (400, 1), "{}", again.1);

    proxy.arm(CHANGED, Cut::Answer);
    let (status, pair) = post(&cluster, "/token/refresh/", json!({ "refresh": login["refresh"] })).await;
    assert_eq!((status, proxy.has_cut()), (200, true), "{pair}");
    let (status, pair) = post(&cluster, "/token/refresh/", json!({ "refresh": pair["refresh"] })).await;
    assert_eq!(status, 200, "{pair}");
    let access = pair["access"].as_str().unwrap();
    assert_eq!(cluster.status(cluster.any(), access).await.0, 200);

    proxy.arm(CHANGED, Cut::Answer);
    let (status, answer) = post(&cluster, "/logout/", json!({ "refresh": pair["refresh"] })).await;
    assert_eq!((status, proxy.has_cut()), (200, true), "{answer}");
    assert_eq!(cluster.status(cluster.any(), access).await.0, 401);
    let log = cluster.nodes[0].stderr.text();
    assert!(log.contains("the answer to a commit was lost; its outcome is known"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_does_not_arrive_is_not_acknowledged_and_the_call_can_be_repeated() {
    let Some((proxy, cluster)) = start() else { return };
    proxy.arm(REQUESTED, Cut::Commit);
    let (status, answer) = cluster.request(cluster.any(), "198.51.100.1", PHONE).await;
    assert_eq!((status, answer["code"].as_str()), (503, Some("unavailable")), "{answer}");
    assert_eq!((proxy.has_cut(), cluster.twilio.requests().len()), (true, 0));
    assert_eq!(cluster.count("SELECT count(*) FROM spends WHERE quota = 'user'"), 0);
    let (status, answer) = cluster.request(cluster.any(), "198.51.100.1", PHONE).await;
    assert_eq!((status, cluster.twilio.requests().len()), (200, 1), "{answer}");

    let mut login = Value::Null;
    for expected in [503, 200] {
        if expected == 503 {
            proxy.arm(LOGGED_IN, Cut::Commit);
        }
        let (status, answer) = cluster.verify(cluster.any(), "198.51.100.1", &cluster.code()).await;
        assert_eq!((status, proxy.has_cut()), (expected, true), "{answer}");
        login = answer;
    }
    assert_eq!(cluster.count("SELECT count(*) FROM sessions"), 1);
    for path in ["/token/refresh/", "/logout/"] {
        for expected in [503, 200] {
            if expected == 503 {
                proxy.arm(CHANGED, Cut::Commit);
            }
            let (status, answer) = post(&cluster, path, json!({ "refresh": login["refresh"] })).await;
            assert_eq!((status, proxy.has_cut()), (expected, true), "{path} {answer}");
        }
    }
    assert_eq!(cluster.status(cluster.any(), login["access"].as_str().unwrap()).await.0, 401);
}

/// Begin with what is always asked, ask the rest, write all and commit: a database in another building is a millisecond away, and
/// every exchange costs that while locks are held.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_call_asks_of_the_database_is_asked_at_once() {
    let Some((proxy, cluster)) = start() else { return };
    let mut devices = vec![String::new(); 12];
    // Numbers that are new, then known, then come with their device.
    for round in 0..3 {
        proxy.forget();
        for (n, device) in devices.iter_mut().enumerate() {
            let phone = format!("+49151{n:08}");
            let call = async |path: &str, body: Value| {
                let call =
                    cluster.client.post(cluster.any().url(&format!("{}/production/{path}/", crate::BASE)));
                let call = call.header("x-forwarded-for", crate::address(n)).json(&body);
                let call = if round == 2 { call.header("x-device-token", &*device) } else { call };
                let answer = call.send().await.unwrap();
                assert_eq!(answer.status(), 200);
                answer.json::<Value>().await.unwrap()
            };
            call("request", json!({ "phone_number": phone })).await;
            let login = call("verify", json!({ "phone_number": phone, "otp": cluster.code() })).await;
            *device = login["device_token"].as_str().unwrap_or_default().to_owned();
        }
        // Where a connection is new, each statement is an exchange more.
        let fewest = [REQUESTED, "UPDATE messages SET", LOGGED_IN].map(|it| proxy.exchanges(it)[0]);
        // A user who is new has an id first.
        let of_message = if round == 0 { 4 } else { 3 };
        assert_eq!(fewest, [3, of_message, 3], "round {round}");
    }
}
