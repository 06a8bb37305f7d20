//! S26: many reports at a time, repeated, in any order, of messages that are none, and forged.

use std::collections::BTreeMap;

use freshk::random::{Random as _, SeededRandom};
use futures_util::StreamExt as _;
use reqwest::Method;

use crate::callbacks::with;
use crate::support::{Answer, App};
use crate::twilio::{AUTH_TOKEN, signed_callback};

const PATH: &str = "/api/mobile/auth/sms/twilio/status/";
const URL: &str = "https://freshk.example/sub/api/mobile/auth/sms/twilio/status/";

async fn post(app: &App, token: &str, sid: &str, (status, code): (&str, &str)) -> u16 {
    let params = [("MessageSid", sid), ("MessageStatus", status), ("ErrorCode", code)];
    let signed = signed_callback(token, URL, &params);
    let request = app.build(Method::POST, PATH).header("x-twilio-signature", signed.signature);
    let request = request.header("content-type", "application/x-www-form-urlencoded").body(signed.body);
    Answer::of(request).await.status
}

/// What every message is reported as before its end.
const WAY: [(&str, &str); 4] = [("queued", ""), ("sending", ""), ("sent", ""), ("sent", "")];

#[tokio::test]
async fn s26_reports_in_any_order_repeated_unknown_and_forged_lead_to_the_same_end() {
    const MESSAGES: usize = 40;
    let app = with(&[("FRESHK_LIMITS__IP", "0"), ("FRESHK_LIMITS__FLOOD_PER_SECOND", "0")]).await;
    let (mut ends, mut deliveries) = (BTreeMap::new(), BTreeMap::new());
    for n in 0..MESSAGES {
        let answer = app.request(&format!("+1999{n:07}")).await;
        let sid = crate::callbacks::sid(&app);
        deliveries.insert(sid.clone(), answer.header("x-delivery-id").to_owned());
        ends.insert(sid, if n % 3 == 0 { ("undelivered", "30003") } else { ("delivered", "") });
    }
    let stranger = |n: usize| format!("SMf{n:031x}");
    let mut reports = Vec::new();
    for (n, (sid, end)) in ends.iter().enumerate() {
        let of_way = WAY.into_iter().chain([*end, *end]).map(|report| (AUTH_TOKEN, sid.clone(), report));
        reports.extend(of_way);
        reports.push((AUTH_TOKEN, stranger(n), *end));
        let lie = if end.0 == "delivered" { ("failed", "30008") } else { ("delivered", "") };
        reports.push(("a token of somebody else", sid.clone(), lie));
    }
    let random = SeededRandom::new(11);
    for at in (1..reports.len()).rev() {
        let other = random.below(u32::try_from(at + 1).unwrap());
        reports.swap(at, usize::try_from(other).unwrap());
    }
    let all = reports.len();
    let answers: Vec<(bool, u16)> = futures_util::stream::iter(reports)
        .map(|(token, sid, report)| {
            let app = &app;
            async move { (token == AUTH_TOKEN, post(app, token, &sid, report).await) }
        })
        .buffer_unordered(16)
        .collect()
        .await;
    assert_eq!(answers.len(), all);
    for (is_signed, status) in answers {
        assert_eq!(status, if is_signed { 204 } else { 403 });
    }
    for (sid, end) in &ends {
        let state = app.words(&format!("SELECT state FROM messages WHERE sid = '{sid}'"));
        assert_eq!(state, [end.0], "{sid}");
        let path = format!("/api/mobile/auth/production/delivery/{}/", deliveries[sid]);
        assert_eq!(Answer::of(app.build(Method::GET, &path)).await.json()["state"], end.0);
    }
    let lost = i64::try_from(MESSAGES.div_ceil(3)).unwrap();
    assert_eq!(app.count("SELECT count(*) FROM audit WHERE event = 'sms_undelivered'"), lost);
    assert_eq!((app.spent("user"), app.spent("refunds")), (i64::try_from(MESSAGES).unwrap() - lost, lost));
    let (_, page) = app.operations("/metrics").await;
    let delivered =
        format!("freshk_sms_sender_delivered_total{{sender=\"twilio\",channel=\"sms\"}} {}", 40 - lost);
    assert!(page.contains(&delivered), "{page}");
}
