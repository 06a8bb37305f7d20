//! What each answer of Twilio's becomes (S25), and what it was asked (S27).

use std::time::Duration;

use data_encoding::BASE64;
use freshk::domain::Secret;
use freshk::domain::message::MessageState;
use freshk::sms::twilio::{Credentials, Sender, Sid};
use freshk::sms::{FailureReason, SmsSender as _, Unavailable};

use crate::twilio::{ACCOUNT_SID, AUTH_TOKEN, Answer, FakeTwilio, NUMBER, sms_code};
use crate::{Bench, PHONE, accepted, hurry, refused, unknown};

#[tokio::test]
async fn s25_a_message_is_sent_as_twilio_wants_it() {
    let bench = Bench::new();
    let accepted = accepted(bench.send().await);
    assert!(accepted.sid.unwrap().starts_with("SM"));
    assert_eq!((accepted.state, accepted.segments), (MessageState::Queued, Some(1)));

    assert_eq!(bench.posts(), 1);
    let request = bench.fake.requests().remove(0);
    assert_eq!(request.path, format!("/2010-04-01/Accounts/{ACCOUNT_SID}/Messages.json"));
    let fields: Vec<_> = request.form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let text = "Your FreshK code is 123456. It expires in 10 minutes. Never share it.";
    assert_eq!(fields, [("To", PHONE), ("From", NUMBER), ("Body", text), ("ValidityPeriod", "600")]);
    assert_eq!(sms_code(&request), "123456");
    let basic = format!("Basic {}", BASE64.encode(format!("{ACCOUNT_SID}:{AUTH_TOKEN}").as_bytes()));
    assert_eq!(request.header("authorization"), Some(basic.as_str()));
    assert_eq!(request.header("accept-encoding"), None, "a small answer need not be unpacked");
}

#[tokio::test]
async fn an_api_key_and_a_messaging_service_will_do() {
    let (key, service) = (format!("SK{}", "b".repeat(32)), format!("MG{}", "c".repeat(32)));
    let bench = Bench::with(FakeTwilio::start(), |settings| {
        let sid = Sid::parse("SK", &key).unwrap();
        settings.credentials = Credentials::ApiKey { sid, secret: Secret::new("the secret of the key") };
        settings.sender = Sender::MessagingService(Sid::parse("MG", &service).unwrap());
    });
    let accepted = accepted(bench.send().await);
    // A service has not picked a sender yet, so that Twilio cannot say how many segments it will be.
    assert_eq!((accepted.state, accepted.segments), (MessageState::Queued, None));
    assert_eq!(bench.posts(), 1);
    let request = bench.fake.requests().remove(0);
    assert_eq!((request.field("MessagingServiceSid"), request.field("From")), (Some(service.as_str()), None));
    assert!(request.path.contains(ACCOUNT_SID));
    let basic = format!("Basic {}", BASE64.encode(format!("{key}:the secret of the key").as_bytes()));
    assert_eq!(request.header("authorization"), Some(basic.as_str()));
}

#[tokio::test]
async fn s26_the_callback_carries_our_own_number() {
    for (configured, sent) in [
        ("https://freshk.example/status/", "https://freshk.example/status/?message=7"),
        ("https://freshk.example/status/?a=b", "https://freshk.example/status/?a=b&message=7"),
    ] {
        let bench = Bench::with(FakeTwilio::start(), |settings| {
            settings.status_callback = Some(configured.to_owned());
        });
        accepted(bench.send().await);
        assert_eq!(bench.posts(), 1);
        assert_eq!(bench.fake.requests()[0].field("StatusCallback"), Some(sent));
    }
}

#[tokio::test]
async fn s27_a_message_is_valid_no_longer_than_its_code() {
    for (millis, validity) in [(90_900, "90"), (1000, "1"), (100_000_000, "36000")] {
        let bench = Bench::new();
        let message = bench.message_for(Duration::from_millis(millis));
        accepted(bench.sender.reserve(1).ok().unwrap().send(message).await);
        assert_eq!(bench.posts(), 1);
        assert_eq!(bench.fake.requests()[0].field("ValidityPeriod"), Some(validity));
    }
}

#[tokio::test]
async fn s27_a_code_without_a_second_left_is_not_sent() {
    let bench = Bench::new();
    let message = bench.message_for(Duration::from_millis(999));
    refused(bench.sender.reserve(1).ok().unwrap().send(message).await);
    assert_eq!((bench.posts(), bench.fake.connections()), (0, 0));
}

#[tokio::test]
async fn s25_any_201_counts_as_sent() {
    for answer in [
        Answer::AcceptedGarbage,
        Answer::AcceptedTruncated,
        Answer::AcceptedWrongLength,
        Answer::AcceptedHuge,
    ] {
        let bench = Bench::new();
        bench.fake.always(answer.clone());
        let accepted = accepted(bench.send().await);
        assert_eq!((accepted.sid, accepted.state), (None, MessageState::Queued), "{answer:?}");
        assert_eq!(bench.posts(), 1, "{answer:?}");
    }
}

#[tokio::test]
async fn s25_a_201_whose_body_drips_counts_as_sent() {
    let bench = Bench::hurried(FakeTwilio::start());
    bench.fake.always(Answer::AcceptedSlowBody);
    assert_eq!(accepted(bench.send().await).sid, None);
    assert_eq!(bench.posts(), 1);
}

#[tokio::test]
async fn s25_each_code_is_told_apart_in_both_shapes() {
    use FailureReason::{CountryNotAllowed, Delivery, Destination, InvalidNumber, OptedOut};
    let opted_out = OptedOut { sender: Some(NUMBER.to_owned()) };
    let table = [
        (400, 21211, &InvalidNumber, false),
        (400, 21614, &InvalidNumber, false),
        (400, 21635, &InvalidNumber, false),
        (400, 21408, &CountryNotAllowed, false),
        (400, 21610, &opted_out, false),
        (400, 21612, &InvalidNumber, false),
        (401, 20003, &Delivery, true),
        (400, 21212, &Delivery, true),
        (400, 21606, &Delivery, true),
        (400, 21608, &Destination, false),
        (429, 21611, &Delivery, false),
        (429, 63038, &Delivery, false),
        (400, 30450, &Destination, false),
        (400, 30453, &Destination, false),
        (403, 60410, &Destination, false),
        (403, 20403, &Destination, false),
        (401, 99999, &Delivery, true),
        (400, 12345, &Destination, false),
    ];
    for (http, code, reason, opens) in table {
        let message = "Twilio's own words";
        for answer in [Answer::Error { http, code, message }, Answer::Problem { http, code, message }] {
            let bench = Bench::new();
            // 429 is tried again, whatever its code.
            let posts = if http == 429 { 2 } else { 1 };
            bench.fake.always(answer.clone());
            let failure = refused(bench.send().await);
            assert_eq!(&failure.reason, reason, "{answer:?}");
            assert_eq!(failure.code, Some(i64::from(code)));
            assert!(!failure.detail.contains(message), "{failure:?}");
            assert_eq!(bench.posts(), posts, "{answer:?}");
            let open = matches!(bench.sender.reserve(1).err(), Some(Unavailable::BreakerOpen(_)));
            assert_eq!(open, opens, "{answer:?}");
        }
    }
}

#[tokio::test]
async fn s25_a_5xx_is_unknown_and_asked_once() {
    for answer in [
        Answer::Html { http: 500 },
        Answer::Html { http: 503 },
        Answer::Error { http: 500, code: 20500, message: "Internal Server Error" },
        Answer::Html { http: 200 },
    ] {
        let bench = Bench::new();
        bench.fake.always(answer.clone());
        unknown(bench.send().await);
        assert_eq!(bench.posts(), 1, "{answer:?}");
    }
}

#[tokio::test]
async fn s23_what_breaks_off_is_unknown_and_asked_once() {
    for answer in [Answer::ResetBeforeBody, Answer::ResetAfterBody, Answer::Hang, Answer::OneByteASecond] {
        let bench = Bench::with(FakeTwilio::start(), |settings| {
            if matches!(answer, Answer::Hang | Answer::OneByteASecond) {
                hurry(settings);
            }
        });
        bench.fake.always(answer.clone());
        unknown(bench.send().await);
        assert_eq!(bench.posts(), 1, "{answer:?}");
    }
}

#[tokio::test]
async fn s22_a_redirect_is_not_followed() {
    let bench = Bench::new();
    bench.fake.always(Answer::Redirect302);
    let failure = refused(bench.send().await);
    assert!(failure.detail.contains("redirect"), "{failure:?}");
    assert_eq!(bench.posts(), 1);
}
