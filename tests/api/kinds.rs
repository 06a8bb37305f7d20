//! Every kind of sender, in every order: who is sent what, whatever the first one answers.

use crate::callbacks::with;
use crate::sink::{Reply, Sink, WEBHOOK_SECRET};
use crate::support::{App, PHONE};
use crate::twilio::{Answer as Twilio, Recorded};

const ACCEPTED: Reply = Reply::Says(200, r#"{"status":"accepted"}"#);
const WHATSAPP: &str = "wa|kind=whatsapp|content_sid=HX0123456789abcdef0123456789abcdef|from=+15005550009";

/// Senders of all four kinds.
struct Four {
    app: App,
    sink: Sink,
}

impl Four {
    async fn new(order: &str) -> Self {
        let sink = Sink::start();
        sink.reply(ACCEPTED);
        let sections =
            format!("{WHATSAPP},call|kind=voice,local|kind=http|url={}|secret={WEBHOOK_SECRET}", sink.url());
        let variables = [
            ("FRESHK_SMS__SENDERS", order),
            ("FRESHK_SENDERS", sections.as_str()),
            ("FRESHK_LIMITS__IP", "0"),
        ];
        Self { app: with(&variables).await, sink }
    }

    /// What came of a request: status, who has the message, and how many each kind was sent.
    async fn request(&self, phone: &str) -> (u16, String, [usize; 4]) {
        let before = self.sent();
        let answer = self.app.request(phone).await;
        let (after, mut sent) = (self.sent(), [0; 4]);
        for (kind, count) in sent.iter_mut().enumerate() {
            *count = after[kind] - before[kind];
        }
        let sender = self.app.words("SELECT sender FROM messages ORDER BY id DESC LIMIT 1").remove(0);
        (answer.status, sender, sent)
    }

    /// How many messages each kind was sent, in the order of [`KINDS`].
    fn sent(&self) -> [usize; 4] {
        let requests = self.app.twilio.requests();
        let count = |kind| requests.iter().filter(|request| kind_of(request) == kind).count();
        [count("twilio"), count("wa"), count("call"), self.sink.requests().len()]
    }
}

const KINDS: [&str; 4] = ["twilio", "wa", "call", "local"];

fn kind_of(request: &Recorded) -> &'static str {
    if request.path.ends_with("/Calls.json") {
        "call"
    } else if request.field("To").is_some_and(|to| to.starts_with("whatsapp:")) {
        "wa"
    } else {
        "twilio"
    }
}

fn error(http: u16, code: u32) -> Twilio {
    Twilio::Error { http, code, message: "no" }
}

#[tokio::test]
async fn s23_a_sure_failure_of_whatsapp_or_a_call_moves_on_and_no_other_one_does() {
    let both = [
        (Twilio::Accepted, 200, false),
        (Twilio::AcceptedGarbage, 200, false),
        (Twilio::AcceptedTruncated, 200, false),
        (error(400, 21_211), 400, false),
        (error(400, 21_614), 200, true),
        (error(403, 21_408), 200, true),
        (error(403, 21_610), 500, false),
        (error(403, 30_450), 500, false),
        (error(401, 20_003), 200, true),
        (Twilio::TooMany { retry_after: Some("60") }, 200, true),
        (Twilio::Redirect302, 200, true),
        (Twilio::Html { http: 404 }, 200, true),
        (Twilio::Html { http: 500 }, 500, false),
        (error(503, 20_500), 500, false),
        (Twilio::ResetBeforeBody, 500, false),
        (Twilio::ResetAfterBody, 500, false),
    ];
    let whatsapp = [(error(400, 63_024), 200, true), (error(400, 63_007), 200, true)];
    let voice = [(error(400, 21_215), 200, true), (error(400, 13_224), 200, true)];
    for (kind, own) in [("wa", whatsapp), ("call", voice)] {
        for (answer, status, moves_on) in both.iter().cloned().chain(own) {
            let four = Four::new(&format!("{kind},local")).await;
            four.app.twilio.script(vec![answer.clone()]);
            let (came_of_it, sender, sent) = four.request(PHONE).await;
            let expected = if moves_on { "local" } else { kind };
            assert_eq!((came_of_it, sender.as_str()), (status, expected), "{kind} {answer:?}");
            // Of one that was reset before its body, the kind is not known.
            let by_twilio: usize = sent[..3].iter().sum();
            assert_eq!((by_twilio, sent[3]), (1, usize::from(moves_on)), "{kind} {answer:?}");
            four.app.twilio.assert_conforming();
        }
    }
}

/// All orders of the four.
fn orders() -> Vec<Vec<&'static str>> {
    let mut orders: Vec<Vec<&str>> = vec![Vec::new()];
    for _ in KINDS {
        orders = orders
            .into_iter()
            .flat_map(|order| {
                let rest: Vec<_> = KINDS.into_iter().filter(|kind| !order.contains(kind)).collect();
                rest.into_iter().map(move |kind| [&order[..], &[kind]].concat())
            })
            .collect();
    }
    orders
}

#[tokio::test]
async fn s23_in_every_order_one_message_is_sent_unless_the_first_surely_failed() {
    let orders = orders();
    assert_eq!(orders.len(), 24);
    for order in orders {
        let four = Four::new(&order.join(",")).await;
        let says = |word| Reply::Says(200, word);
        for (n, (answer, reply, status, moves)) in [
            (Twilio::Accepted, ACCEPTED, 200, 0),
            (error(400, 21_614), says(r#"{"status":"refused"}"#), 200, 1),
            (error(503, 20_500), Reply::Status(500), 500, 0),
            (error(400, 21_211), says(r#"{"status":"invalid_number"}"#), 400, 0),
        ]
        .into_iter()
        .enumerate()
        {
            if order[0] == "local" {
                four.sink.reply(reply);
            } else {
                four.app.twilio.script(vec![answer]);
            }
            let (came_of_it, sender, sent) = four.request(&format!("+1999000000{n}")).await;
            four.sink.reply(ACCEPTED);
            assert_eq!((came_of_it, sender.as_str()), (status, order[moves]), "{order:?} {n}");
            let expected = KINDS.map(|kind| usize::from(order[..=moves].contains(&kind)));
            assert_eq!(sent, expected, "{order:?} {n}");
        }
    }
}
