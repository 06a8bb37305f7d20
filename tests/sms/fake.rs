//! The fake itself, held against Twilio's description: a fake that lies proves nothing.

use freshk::domain::Secret;
use freshk::sms::SmsSender as _;
use freshk::sms::twilio::signature;
use serde_json::{Value, json};

use crate::Bench;
use crate::twilio::description::{message_violations, violations};
use crate::twilio::{AUTH_TOKEN, Answer, FakeTwilio, NUMBER, Recorded, SignedCallback, signed_callback};

fn request(path: &str, form: &[(&str, &str)]) -> Recorded {
    let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let basic =
        format!("Basic {}", data_encoding::BASE64.encode(format!("AC{}:t", "a".repeat(32)).as_bytes()));
    Recorded {
        method: "POST".to_owned(),
        path: path.to_owned(),
        headers: vec![
            ("authorization".to_owned(), basic),
            ("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned()),
        ],
        form: form.iter().map(pair).collect(),
    }
}

fn path() -> String {
    format!("/2010-04-01/Accounts/AC{}/Messages.json", "a".repeat(32))
}

async fn post(fake: &FakeTwilio, form: &'static str) -> (u16, Value) {
    let answer = reqwest::Client::new()
        .post(format!("{}{}", fake.url(), path()))
        .header("authorization", request("", &[]).headers.remove(0).1)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form)
        .send()
        .await
        .unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

#[tokio::test]
async fn its_201_is_what_twilio_describes() {
    let fake = FakeTwilio::start();
    let service =
        concat!("To=%2B12345678901&Body=Hi&MessagingServiceSid=MG", "cccccccccccccccccccccccccccccccc");
    let mut sids = Vec::new();
    for form in ["To=%2B12345678901&Body=Hi&From=%2B15005550006&ValidityPeriod=600", service] {
        let (status, message) = post(&fake, form).await;
        assert_eq!((status, message_violations(&message)), (201, Vec::<String>::new()), "{message}");
        assert_eq!((&message["to"], &message["body"]), (&json!("+12345678901"), &json!("Hi")));
        sids.push(message["sid"].clone());
    }
    assert_ne!(sids[0], sids[1]);
    fake.assert_conforming();
}

/// The description knows the 201 only; the two shapes of errors are Twilio's documented ones.
#[tokio::test]
async fn its_errors_have_twilios_members() {
    let fake = FakeTwilio::start();
    let message = "Invalid 'To' Phone Number";
    fake.script(vec![
        Answer::Error { http: 400, code: 21211, message },
        Answer::Problem { http: 400, code: 21211, message },
        Answer::TooMany { retry_after: None },
    ]);
    let form = "To=%2B12345678901&Body=Hi&From=%2B15005550006";
    let page = "https://www.twilio.com/docs/errors/21211";
    let (status, classic) = post(&fake, form).await;
    assert_eq!(status, 400);
    assert_eq!(classic, json!({ "code": 21211, "message": message, "more_info": page, "status": 400 }));
    let (_, problem) = post(&fake, form).await;
    assert_eq!(
        problem,
        json!({ "type": page, "title": "Bad Request", "status": 400, "code": 21211, "detail": message })
    );
    let (status, throttled) = post(&fake, form).await;
    assert_eq!((status, &throttled["code"]), (429, &json!(20429)));
}

#[test]
fn it_notices_what_breaks_the_description() {
    let good = [("To", "+12345678901"), ("Body", "Hi"), ("From", NUMBER), ("ValidityPeriod", "600")];
    assert_eq!(violations(&request(&path(), &good)), Vec::<String>::new());
    let without = |name: &str| good.into_iter().filter(|(own, _)| *own != name).collect::<Vec<_>>();
    let with = |name, value| [good.to_vec(), vec![(name, value)]].concat();
    for form in [
        without("To"),
        without("Body"),
        without("From"),
        with("Smart", "true"),
        with("MessagingServiceSid", "MG1"),
        with("To", "+12345678902"),
        [without("ValidityPeriod"), vec![("ValidityPeriod", "0")]].concat(),
        [without("ValidityPeriod"), vec![("ValidityPeriod", "36001")]].concat(),
        [without("ValidityPeriod"), vec![("ValidityPeriod", "soon")]].concat(),
    ] {
        assert!(!violations(&request(&path(), &form)).is_empty(), "{form:?}");
    }
    for bad in ["/elsewhere", "/2010-04-01/Accounts/AC1/Messages.json"] {
        assert!(!violations(&request(bad, &good)).is_empty(), "{bad}");
    }
    let mut anonymous = request(&path(), &good);
    anonymous.headers.remove(0);
    assert_eq!(violations(&anonymous).len(), 1);
}

#[test]
fn it_notices_what_breaks_the_reference_of_calls_and_of_feedback() {
    let account = format!("/2010-04-01/Accounts/AC{}", "a".repeat(32));
    let calls = format!("{account}/Calls.json");
    let call = [("To", "+12345678901"), ("From", NUMBER), ("Twiml", "<Response/>"), ("Timeout", "25")];
    assert_eq!(violations(&request(&calls, &call)), Vec::<String>::new());
    let changed = |name: &'static str, value: &'static str| {
        let others = call.into_iter().filter(|(own, _)| *own != name);
        others.chain([(name, value)].into_iter().filter(|(_, value)| !value.is_empty())).collect::<Vec<_>>()
    };
    for form in
        [changed("Twiml", ""), changed("To", "12345678901"), changed("Timeout", "601"), changed("Body", "Hi")]
    {
        assert!(!violations(&request(&calls, &form)).is_empty(), "{form:?}");
    }
    let feedback = |sid: &str| format!("{account}/Messages/{sid}/Feedback.json");
    let sid = format!("SM{}", "0".repeat(32));
    let confirmed = [("Outcome", "confirmed")];
    assert_eq!(violations(&request(&feedback(&sid), &confirmed)), Vec::<String>::new());
    assert!(!violations(&request(&feedback("SM1"), &confirmed)).is_empty());
    assert!(!violations(&request(&feedback(&sid), &[("Outcome", "used")])).is_empty());
    let mut anonymous = request(&feedback(&sid), &confirmed);
    anonymous.headers.remove(0);
    assert_eq!(violations(&anonymous).len(), 1);
}

#[test]
fn it_notices_a_201_that_breaks_the_description() {
    let sid = format!("SM{}", "0".repeat(32));
    for (message, fault) in [
        (json!({ "sid": "SM1" }), "sid cannot be"),
        (json!({ "sid": sid, "num_segments": 1 }), "num_segments cannot be"),
        (json!({ "sid": sid, "status": "lost" }), "status cannot be"),
        (json!({ "sid": sid, "colour": "red" }), "colour is unknown"),
        (json!({ "sid": sid }), "to is missing"),
    ] {
        let found = message_violations(&message);
        assert!(found.iter().any(|violation| violation.starts_with(fault)), "{fault}: {found:?}");
    }
}

#[test]
fn s26_it_signs_callbacks_as_twilio_does() {
    let url = "https://freshk.example/api/mobile/auth/sms/twilio/status/?message=7";
    let params =
        [("MessageSid", "SM1"), ("MessageStatus", "delivered"), ("To", "+1 234é"), ("ErrorCode", "")];
    let SignedCallback { signature, body } = signed_callback(AUTH_TOKEN, url, &params);
    let owned = params.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert!(signature::verify(&Secret::new(AUTH_TOKEN), url, &owned, &signature));
    assert!(!signature::verify(&Secret::new(AUTH_TOKEN), &url.replace('7', "8"), &owned, &signature));
    assert_eq!(body, "MessageSid=SM1&MessageStatus=delivered&To=%2B1%20234%C3%A9&ErrorCode=");
}

#[tokio::test]
async fn it_waits_and_counts() {
    let bench = Bench::new();
    bench.send().await;
    bench.fake.wait_for(1);
    assert_eq!(bench.fake.connections(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_holds_its_answers_until_released() {
    let bench = Bench::new();
    bench.fake.hold();
    let sending = tokio::spawn(bench.sender.reserve(1).ok().unwrap().send(bench.message()));
    bench.fake.wait_for(1);
    assert!(!sending.is_finished());
    bench.fake.release();
    crate::accepted(sending.await.unwrap());
}
