//! Senders in order: whoever is first and has a place takes the message; where it surely did not go out, the next one does.
//!
//! What may have gone out is never sent a second time here: that would buy two messages for one code.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::{Failure, SendOutcome, Slot, SmsSender, TextMessage, Unavailable};
use crate::clock::Stopwatch;
use crate::domain::{Channel, Country, PhoneNumber, Via};

/// One sender in its place.
#[derive(Clone)]
pub struct Member {
    /// Its name in the configuration, and what its messages come by.
    pub via: Via,
    /// Who sends.
    pub sender: Arc<dyn SmsSender>,
    /// Which numbers it sends to; `None`: all.
    pub countries: Option<Vec<Country>>,
    /// How long a delivery report is waited for before this sender is used; `None`: it is used only where no message went out.
    pub after: Option<Duration>,
}

/// The senders of codes, in order.
#[derive(Clone)]
pub struct Route(Arc<[Member]>);

/// What a message needs of its sender.
#[derive(Clone, Copy, Debug)]
pub struct Need<'n> {
    /// Whom it goes to.
    pub to: &'n PhoneNumber,
    /// How many segments it has as a text message.
    pub segments: u32,
    /// What the person wants it to come by; `None`: whatever comes first.
    pub channel: Option<Channel>,
}

/// A place that was reserved; dropped unused, it is free again.
pub struct Reservation {
    via: Via,
    slot: Box<dyn Slot>,
    rest: Vec<Member>,
    segments: u32,
    deadline: Duration,
}

/// What became of a message, and with whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routed {
    /// What became of it.
    pub outcome: SendOutcome,
    /// The sender that has it or may have it; where none has, the first that refused it.
    pub via: Via,
}

impl Route {
    /// Senders in this order.
    pub fn new(members: impl IntoIterator<Item = Member>) -> Self {
        Self(members.into_iter().collect())
    }

    /// One sender alone.
    pub fn single(via: Via, sender: Arc<dyn SmsSender>) -> Self {
        Self::new([Member { via, sender, countries: None, after: None }])
    }

    /// Reserves a place at the first sender that has one.
    ///
    /// # Errors
    /// Why the first has none, if none has; at once, since nothing waits.
    pub fn reserve(&self, need: Need<'_>) -> Result<Reservation, Unavailable> {
        self.reserve_from(self.candidates(need), need.segments)
    }

    /// Reserves a place at the sender that is used where nothing good was reported of the message that `before` took.
    ///
    /// # Errors
    /// Why it has none.
    pub fn reserve_after(&self, before: &Via, need: Need<'_>) -> Result<Option<Reservation>, Unavailable> {
        let Some((next, _)) = self.next(before, need) else { return Ok(None) };
        self.reserve_from(vec![next.clone()], need.segments).map(Some)
    }

    /// How long after a message that `before` took the next sender is used, if one is.
    pub fn patience_after(&self, before: &Via, need: Need<'_>) -> Option<Duration> {
        self.next(before, need).map(|(_, after)| after)
    }

    /// The sender that a message goes to first, wherever there is a place.
    pub fn first_via(&self, need: Need<'_>) -> Via {
        let first = self.candidates(need).into_iter().next();
        first.map_or_else(|| Via::new("none", need.channel.unwrap_or(Channel::Sms)), |member| member.via)
    }

    /// What messages can come by.
    pub fn channels(&self) -> BTreeSet<Channel> {
        self.0.iter().map(|member| member.via.channel).collect()
    }

    /// Whether one of the senders' providers wants to know which codes were used.
    pub fn want_confirmation(&self) -> bool {
        self.0.iter().any(|member| member.sender.wants_confirmation())
    }

    /// Tells the sender's provider that the code of the message that it calls `sid` was used.
    pub fn confirm(&self, via: &Via, sid: &str) {
        let sender = self.0.iter().find(|member| member.via == *via).map(|member| &member.sender);
        if let Some(sender) = sender.filter(|sender| sender.wants_confirmation()) {
            sender.confirm(sid);
        }
    }

    /// Each sender's name, and whether its provider is left alone after failures.
    pub fn breakers(&self) -> impl Iterator<Item = (&str, bool)> {
        self.0.iter().map(|member| (member.via.sender.as_str(), member.sender.is_breaker_open()))
    }

    /// The longest that sending can take, however many senders try: a challenge that is *sending* for longer has lost its flow.
    pub fn deadline(&self) -> Duration {
        deadline(&self.0)
    }

    fn candidates(&self, need: Need<'_>) -> Vec<Member> {
        let country = Country::of(need.to);
        let is_meant = |member: &&Member| {
            let is_of = |countries: &Vec<_>| country.is_some_and(|country| countries.contains(&country));
            need.channel.is_none_or(|channel| channel == member.via.channel)
                && member.countries.as_ref().is_none_or(is_of)
        };
        self.0.iter().filter(is_meant).cloned().collect()
    }

    fn next(&self, before: &Via, need: Need<'_>) -> Option<(Member, Duration)> {
        let mut candidates = self.candidates(need).into_iter();
        candidates.find(|member| member.via == *before)?;
        candidates.find_map(|member| Some((member.clone(), member.after?)))
    }

    fn reserve_from(&self, members: Vec<Member>, segments: u32) -> Result<Reservation, Unavailable> {
        let deadline = self.deadline();
        let mut refusal = None;
        let mut members = members.into_iter();
        while let Some(member) = members.next() {
            match member.sender.reserve(segments) {
                Ok(slot) => {
                    let (via, rest) = (member.via, members.collect());
                    return Ok(Reservation { via, slot, rest, segments, deadline });
                }
                Err(unavailable) => refusal = refusal.or(Some(unavailable)),
            }
        }
        Err(refusal.unwrap_or(Unavailable::NoSender))
    }
}

fn deadline(members: &[Member]) -> Duration {
    members.iter().map(|member| member.sender.deadline()).max().unwrap_or_default()
}

impl Reservation {
    /// The sender that takes the message at first.
    pub const fn via(&self) -> &Via {
        &self.via
    }

    /// Sends one message, and waits for the outcome within the deadline of the route.
    pub async fn send(self, message: TextMessage) -> Routed {
        let Self { via, slot, rest, segments, deadline } = self;
        let (watch, mut via) = (Stopwatch::start(), via);
        let mut outcome = slot.send(message.clone()).await;
        let mut first: Option<(Failure, Via)> = None;
        for next in rest {
            let SendOutcome::Refused(failure) = outcome else { return Routed { outcome, via } };
            let is_final = failure.is_final;
            let told = first.get_or_insert((failure, via)).clone();
            let refused = |(failure, via)| Routed { outcome: SendOutcome::Refused(failure), via };
            // What could not end in time would turn a sure failure into an unknown one.
            let left = deadline.saturating_sub(watch.elapsed() + SLACK);
            if is_final || left < deadline / LEAST {
                return refused(told);
            }
            (via, outcome) = match next.sender.reserve(segments) {
                Ok(slot) => {
                    let message = TextMessage { patience: Some(left), ..message.clone() };
                    (next.via, slot.send(message).await)
                }
                Err(_) => (told.1, SendOutcome::Refused(told.0)),
            };
        }
        match (outcome, first) {
            (SendOutcome::Refused(_), Some((failure, via))) => {
                Routed { outcome: SendOutcome::Refused(failure), via }
            }
            (outcome, _) => Routed { outcome, via },
        }
    }
}

/// For threads and timers that come late.
const SLACK: Duration = Duration::from_secs(2);

/// This part of the deadline must be left for a further sender.
const LEAST: u32 = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::message::MessageState;
    use crate::domain::{Code, MessageId, Timestamp};
    use crate::sms::memory::MemorySender;
    use crate::sms::template::Template;
    use crate::sms::{Accepted, FailureReason, TextKind};

    struct Bench {
        senders: Vec<MemorySender>,
        route: Route,
    }

    const CHANNELS: [Channel; 4] = [Channel::Sms, Channel::WhatsApp, Channel::Voice, Channel::Sms];

    fn to() -> PhoneNumber {
        PhoneNumber::parse("+1234567890", 10).unwrap()
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
            Self { route: Route::new(members), senders }
        }

        async fn send(&self, channel: Option<Channel>) -> Routed {
            let message = TextMessage {
                id: MessageId(1),
                to: to(),
                code: Code::from_number(1, 6),
                text: Template::default(),
                kind: TextKind::Code,
                expires_at: Timestamp::from_millis(600_000),
                patience: None,
            };
            let need = Need { to: &to(), segments: 1, channel };
            self.route.reserve(need).ok().unwrap().send(message).await
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
        let accepted =
            SendOutcome::Accepted(Accepted { sid: None, state: MessageState::Queued, segments: None });
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
}
