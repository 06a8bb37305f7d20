//! Events and webhooks as the operator meets them.

use serde_json::json;

use crate::sink::{Received, Reply, Sink};
use crate::support::{PHONE, Place, until};

fn place(sink: &Sink) -> Place {
    let place = Place::new();
    let table = format!(
        "debug = true\n[[webhooks]]\nname = \"shop\"\nurl = \"{}?token=hush\"\nsecret = \"{}\"\n[users]\nroles = \
         [\"retailer\", \"staff\"]\n",
        sink.url(),
        crate::sink::WEBHOOK_SECRET
    );
    place.write("freshk.toml", table);
    std::fs::set_permissions(place.path("freshk.toml"), std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .unwrap();
    place
}

#[test]
fn a_command_tells_the_webhooks_and_the_list_shows_what_waits() {
    let sink = Sink::start();
    let place = place(&sink);
    place.good("user create +1234567890");
    place.good("user set-role +1234567890 staff");
    let listed = place.json("event list");
    assert_eq!(listed["total"], 2);
    let newest = &listed["events"][0];
    assert_eq!((&newest["type"], &newest["user_id"]), (&json!("user.updated"), &json!(1)));
    assert_eq!(
        newest["deliveries"],
        json!([{ "webhook": "shop", "state": "waiting", "attempts": 0, "answer": null, "settled_at": null }])
    );
    let text = place.good("event list --user 1 --since 1h");
    assert!(text.contains("user.created") && text.contains("shop: waiting"), "{text}");
    assert!(!text.contains("1234567890"), "no phone: {text}");
    assert_eq!(place.json("event list --user 9")["events"], json!([]));
    let webhooks = place.json("webhook list");
    let webhook = &webhooks["webhooks"][0];
    assert_eq!(
        (&webhook["name"], &webhook["waiting"], &webhook["off_since"]),
        (&json!("shop"), &json!(2), &json!(null))
    );
    let text = place.good("webhook list");
    assert!(text.contains("/freshk/webhook/?…") && text.contains("all"), "{text}");
    for shown in [text, webhooks.to_string(), place.good("config show")] {
        assert!(!shown.contains("hush") && !shown.contains("MfKQ9r8G"), "{shown}");
    }
}

#[test]
fn a_test_message_is_signed_and_shown_with_its_answer() {
    let sink = Sink::start();
    let place = place(&sink);
    let answer = place.run("webhook test shop");
    assert_eq!((answer.code, answer.stdout.as_str()), (0, "shop took the message: 204\n"));
    let requests = sink.requests();
    assert_eq!((requests.len(), requests[0].kind().as_str()), (1, "webhook.test"));
    assert!(requests[0].path.ends_with("/freshk/webhook/?token=hush"));
    assert!(requests[0].header("webhook-signature").starts_with("v1,"));
    sink.reply(Reply::Status(403));
    let answer = place.run("webhook test shop");
    assert_eq!(answer.code, 1);
    assert!(answer.stderr.contains("shop did not take the message: 403"), "{}", answer.stderr);
    let answer = place.run("webhook test other");
    assert!(answer.code == 1 && answer.stderr.contains("the configuration has shop"), "{}", answer.stderr);
    assert!(!place.path("freshk.db").exists(), "it needs no database");
}

#[tokio::test]
async fn a_running_server_sends_what_commands_write_and_replays_it() {
    let sink = Sink::start();
    let place = place(&sink);
    let server = place.serve();
    server.log_in(PHONE).await;
    until(async || sink.requests().len() == 3).await;
    place.good("user set-role +1234567890 staff");
    until(async || sink.requests().len() == 4).await;
    assert_eq!(
        sink.requests().iter().map(Received::kind).collect::<Vec<_>>(),
        ["user.created", "user.verified", "session.created", "user.updated"]
    );
    assert_eq!(place.good("event replay --since 1h"), "4 events to be sent to shop again\n");
    until(async || sink.requests().len() == 8).await;
    let requests = sink.requests();
    let ids: Vec<_> = requests.iter().map(|received| received.header("webhook-id")).collect();
    assert_eq!(ids[..4], ids[4..]);
    // Gone: switched off until it is enabled.
    sink.reply(Reply::Status(410));
    place.good("user set-role +1234567890 retailer");
    until(async || place.json("webhook list")["webhooks"][0]["off_since"].is_string()).await;
    sink.reply(Reply::Taken);
    assert_eq!(place.good("webhook enable shop"), "shop is switched on; 1 event waiting\n");
    until(async || place.json("webhook list")["webhooks"][0]["waiting"] == 0).await;
    assert_eq!(sink.requests().len(), 10);
    assert_eq!(place.json("webhook enable shop")["was_off"], false);
    let trail = |event: &str| place.json(&format!("audit list --event {event}"));
    let (enabled, replayed) = (trail("webhook_enabled"), trail("events_replayed"));
    assert_eq!((&enabled["total"], &replayed["total"]), (&1.into(), &1.into()));
    assert_eq!(enabled["lines"][0]["detail"], "operator: shop switched on");
    assert_eq!(replayed["lines"][0]["detail"], "operator: 4 events to shop again");
}
