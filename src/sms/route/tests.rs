//! Senders in order, each in memory.

use super::*;
use crate::domain::message::MessageState;
use crate::domain::{Code, MessageId, Timestamp};
use crate::sms::memory::MemorySender;
use crate::sms::template::Template;
use crate::sms::{Accepted, FailureReason, TextKind};

struct Bench {
    senders: Vec<MemorySender>,
    route: Route,
    refuses_calls: bool,
}

struct NoCalls(bool);

impl Passing for NoCalls {
    fn may_go_on<'a>(&'a self, to: &'a Via) -> BoxFuture<'a, bool> {
        let is_refused = self.0 && to.channel == Channel::Voice;
        Box::pin(std::future::ready(!is_refused))
    }
}

const CHANNELS: [Channel; 4] = [Channel::Sms, Channel::WhatsApp, Channel::Voice, Channel::Sms];

fn to() -> PhoneNumber {
    PhoneNumber::parse("+1234567890", 10).unwrap()
}

fn message() -> TextMessage {
    TextMessage {
        id: MessageId(1),
        to: to(),
        code: Code::from_number(1, 6),
        text: Template::default(),
        kind: TextKind::Code,
        expires_at: Timestamp::from_millis(600_000),
        patience: None,
    }
}

impl Bench {
    fn new(count: usize) -> Self {
        let senders: Vec<_> = (0..count).map(|_| MemorySender::new()).collect();
        let members = senders.iter().zip(CHANNELS).enumerate().map(|(at, (sender, channel))| Member {
            via: Via::new(at.to_string(), channel),
            sender: Arc::new(sender.clone()),
            countries: None,
            after: (at == 2).then_some(Duration::from_secs(30)),
        });
        Self { route: Route::new(members), senders, refuses_calls: false }
    }

    async fn send(&self, channel: Option<Channel>) -> Routed {
        let need = Need { to: &to(), segments: 1, channel };
        self.route.reserve(need).ok().unwrap().send(message(), &NoCalls(self.refuses_calls)).await
    }

    fn sent(&self) -> Vec<usize> {
        self.senders.iter().map(|sender| sender.messages().len()).collect()
    }
}

fn refused(detail: &str) -> SendOutcome {
    SendOutcome::Refused(Failure { reason: FailureReason::InvalidNumber, ..Failure::delivery(detail) })
}

#[tokio::test]
async fn the_first_sender_takes_it_and_no_other() {
    let bench = Bench::new(3);
    let routed = bench.send(None).await;
    assert!(matches!(routed.outcome, SendOutcome::Accepted(_)));
    assert_eq!((routed.via.sender.as_str(), bench.sent()), ("0", vec![1, 0, 0]));
}

#[tokio::test]
async fn a_sure_failure_is_followed_by_the_next_sender_with_the_same_code() {
    let bench = Bench::new(3);
    bench.senders[0].script([refused("first")]);
    bench.senders[1].script([refused("second")]);
    let routed = bench.send(None).await;
    assert!(matches!(routed.outcome, SendOutcome::Accepted(_)));
    assert_eq!((routed.via, bench.sent()), (Via::new("2", Channel::Voice), vec![1, 1, 1]));
    let codes: BTreeSet<_> =
        bench.senders.iter().map(|sender| sender.messages()[0].code.digits().to_owned()).collect();
    assert_eq!(codes.len(), 1);
    let patience: Vec<_> =
        bench.senders.iter().map(|sender| sender.messages()[0].patience.is_some()).collect();
    assert_eq!(patience, [false, true, true], "the deadline covers them all");
}

#[tokio::test]
async fn if_all_fail_the_first_ones_error_is_told() {
    let bench = Bench::new(3);
    for (sender, detail) in bench.senders.iter().zip(["first", "second", "third"]) {
        sender.script([refused(detail)]);
    }
    let routed = bench.send(None).await;
    assert_eq!((routed.outcome, routed.via.sender.as_str()), (refused("first"), "0"));
    assert_eq!(bench.sent(), [1, 1, 1]);
}

#[tokio::test]
async fn what_may_have_gone_out_and_what_is_final_moves_on_to_nobody() {
    let lost = SendOutcome::Unknown(Failure::delivery("lost"));
    let stopped = SendOutcome::Refused(Failure::delivery("STOP").finally());
    for outcome in [lost, stopped] {
        let bench = Bench::new(3);
        bench.senders[0].script([refused("first")]);
        bench.senders[1].script([outcome.clone()]);
        let routed = bench.send(None).await;
        assert_eq!(bench.sent(), [1, 1, 0]);
        if let SendOutcome::Unknown(_) = outcome {
            assert_eq!((routed.outcome, routed.via.sender.as_str()), (outcome, "1"));
        } else {
            assert_eq!((routed.outcome, routed.via.sender.as_str()), (refused("first"), "0"));
        }
    }
}

#[tokio::test]
async fn a_sender_without_a_place_is_passed_over() {
    let bench = Bench::new(3);
    bench.senders[0].refuse([Unavailable::BreakerOpen(Duration::from_secs(7))]);
    let routed = bench.send(None).await;
    assert_eq!((routed.via.sender.as_str(), bench.sent()), ("1", vec![0, 1, 0]));
    for sender in &bench.senders {
        sender.refuse([Unavailable::Overloaded(Duration::from_secs(1))]);
    }
    bench.senders[0].refuse([Unavailable::BreakerOpen(Duration::from_secs(7))]);
    let need = Need { to: &to(), segments: 1, channel: None };
    let refusal = bench.route.reserve(need).err();
    assert_eq!(refusal, Some(Unavailable::Overloaded(Duration::from_secs(1))), "the first one's");

    let bench = Bench::new(3);
    bench.senders[0].script([refused("first")]);
    bench.senders[1].refuse([Unavailable::Overloaded(Duration::from_secs(1))]);
    assert_eq!((bench.send(None).await.via.sender.as_str(), bench.sent()), ("2", vec![1, 0, 1]));
}

#[tokio::test]
async fn a_sender_that_the_message_may_not_go_on_to_is_left_out() {
    for (count, sender, sent) in [(3, "0", vec![1, 1, 0]), (4, "3", vec![1, 1, 0, 1])] {
        let bench = Bench { refuses_calls: true, ..Bench::new(count) };
        bench.senders[0].script([refused("first")]);
        bench.senders[1].script([refused("second")]);
        let routed = bench.send(None).await;
        assert_eq!((routed.via.sender.as_str(), bench.sent()), (sender, sent));
    }
    let bench = Bench::new(4);
    for sender in &bench.senders[..2] {
        sender.refuse([Unavailable::Overloaded(Duration::from_secs(1)); 2]);
    }
    let need = Need { to: &to(), segments: 1, channel: None };
    let via = |place: Result<Reservation, Unavailable>| place.ok().unwrap().via().sender.clone();
    assert_eq!(via(bench.route.reserve(need)), "2");
    assert_eq!(via(bench.route.reserve_without_calls(need)), "3");
    let calls = Need { channel: Some(Channel::Voice), ..need };
    assert_eq!(bench.route.reserve_without_calls(calls).err(), Some(Unavailable::NoSender));
}

#[tokio::test]
async fn a_channel_that_was_asked_for_is_the_only_one_that_is_used() {
    let bench = Bench::new(4);
    bench.senders[1].script([refused("busy")]);
    let routed = bench.send(Some(Channel::WhatsApp)).await;
    assert_eq!((routed.outcome, bench.sent()), (refused("busy"), vec![0, 1, 0, 0]));
}

#[tokio::test]
async fn a_sender_is_used_for_its_countries_alone() {
    let bench = Bench::new(2);
    let mut members: Vec<_> = bench.route.0.to_vec();
    members[0].countries = Some(vec!["DE".parse().unwrap()]);
    let bench = Bench { route: Route::new(members), ..bench };
    assert_eq!((bench.send(None).await.via.sender.as_str(), bench.sent()), ("1", vec![0, 1]));
}

#[test]
fn the_next_sender_after_a_while_is_the_next_one_that_says_after_how_long() {
    let bench = Bench::new(4);
    let (to, half) = (to(), Duration::from_secs(30));
    let need = Need { to: &to, segments: 1, channel: None };
    let after = |sender: &str, channel| bench.route.patience_after(&Via::new(sender, channel), need);
    assert_eq!(after("0", Channel::Sms), Some(half));
    assert_eq!(after("1", Channel::WhatsApp), Some(half));
    assert_eq!(after("2", Channel::Voice), None);
    assert_eq!(after("gone", Channel::Sms), None);
    let next = bench.route.reserve_after(&Via::new("0", Channel::Sms), need).ok().flatten().unwrap();
    assert_eq!(*next.via(), Via::new("2", Channel::Voice));
}

#[tokio::test]
async fn never_two_messages_for_one_code_unless_the_first_surely_failed() {
    let accepted = SendOutcome::Accepted(Accepted { sid: None, state: MessageState::Queued, segments: None });
    let outcomes = [accepted, SendOutcome::Unknown(Failure::delivery("lost")), refused("no"), {
        SendOutcome::Refused(Failure::delivery("STOP").finally())
    }];
    for (a, first) in outcomes.iter().enumerate() {
        for (b, second) in outcomes.iter().enumerate() {
            for third in &outcomes {
                let bench = Bench::new(3);
                for (sender, outcome) in bench.senders.iter().zip([first, second, third]) {
                    sender.script([outcome.clone()]);
                }
                bench.send(None).await;
                let moved = [true, a == 2, a == 2 && b == 2];
                assert_eq!(bench.sent(), moved.map(usize::from), "{first:?} {second:?} {third:?}");
            }
        }
    }
}

/// A sender whose time is nearly all that is kept for threads that come late.
struct Hasty(MemorySender);

impl SmsSender for Hasty {
    fn reserve(&self, segments: u32) -> Result<Box<dyn Slot>, Unavailable> {
        self.0.reserve(segments)
    }

    fn deadline(&self) -> Duration {
        SLACK + Duration::from_millis(500)
    }
}

struct SlowPayment;

impl Passing for SlowPayment {
    fn may_go_on<'a>(&'a self, _: &'a Via) -> Permission<'a> {
        Box::pin(async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            true
        })
    }
}

#[tokio::test]
async fn a_message_whose_payment_took_too_long_goes_on_to_nobody() {
    let bench = Bench::new(2);
    bench.senders[0].script([refused("first")]);
    let members = bench.senders.iter().enumerate().map(|(at, sender)| Member {
        via: Via::new(at.to_string(), Channel::Voice),
        sender: Arc::new(Hasty(sender.clone())),
        countries: None,
        after: None,
    });
    let need = Need { to: &to(), segments: 1, channel: None };
    let place = Route::new(members).reserve(need).ok().unwrap();
    let routed = place.send(message(), &SlowPayment).await;
    assert_eq!((routed.outcome, bench.sent()), (refused("first"), vec![1, 0]));
}
