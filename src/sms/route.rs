//! Senders in order: whoever is first and has a place takes the message; where it surely did not go out, the next one does.
//!
//! What may have gone out is never sent a second time here: that would buy two messages for one code.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::{Failure, SendOutcome, Slot, SmsSender, TextMessage, Unavailable};
use crate::clock::Stopwatch;
use crate::domain::message::DeliveryReport;
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

/// Whether a message may go on to another sender, once that is known.
pub type Permission<'a> = BoxFuture<'a, bool>;

/// Is asked before a message that surely did not go out goes on to another sender.
pub trait Passing: Sync {
    /// Whether it may: a sender that says no is left out.
    fn may_go_on<'a>(&'a self, to: &'a Via) -> Permission<'a>;
}

/// Every message may.
pub struct Always;

impl Passing for Always {
    fn may_go_on<'a>(&'a self, _: &'a Via) -> Permission<'a> {
        Box::pin(std::future::ready(true))
    }
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

    /// The same, leaving out those that call.
    ///
    /// # Errors
    /// As [`Self::reserve`].
    pub fn reserve_without_calls(&self, need: Need<'_>) -> Result<Reservation, Unavailable> {
        let mut members = self.candidates(need);
        members.retain(|member| member.via.channel != Channel::Voice);
        self.reserve_from(members, need.segments)
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

    /// Whether one of the senders' providers must be asked what becomes of messages.
    pub fn asks(&self) -> bool {
        self.0.iter().any(|member| member.sender.is_asked())
    }

    /// Whether a sender's provider must be asked what becomes of its messages.
    pub fn is_asked(&self, via: &Via) -> bool {
        self.member(via).is_some_and(|member| member.sender.is_asked())
    }

    /// Asks the sender's provider what became of the message that it calls `sid`; `None` where it does not say.
    pub async fn ask(&self, via: &Via, sid: &str) -> Option<DeliveryReport> {
        self.member(via)?.sender.ask(sid).await
    }

    /// Whether one of the senders' providers wants to know which codes were used.
    pub fn want_confirmation(&self) -> bool {
        self.0.iter().any(|member| member.sender.wants_confirmation())
    }

    /// Tells the sender's provider that the code of the message that it calls `sid` was used.
    pub fn confirm(&self, via: &Via, sid: &str) {
        let sender = self.member(via).map(|member| &member.sender);
        if let Some(sender) = sender.filter(|sender| sender.wants_confirmation()) {
            sender.confirm(sid);
        }
    }

    /// Each sender's name, and whether its provider is left alone after failures.
    pub fn breakers(&self) -> impl Iterator<Item = (&str, bool)> {
        self.0.iter().map(|member| (member.via.sender.as_str(), member.sender.is_breaker_open()))
    }

    /// Shares the pace of each sender among so many servers.
    pub fn share(&self, among: u32) {
        self.0.iter().for_each(|member| member.sender.share(among));
    }

    /// The longest that sending can take, however many senders try: a challenge that is *sending* for longer has lost its flow.
    pub fn deadline(&self) -> Duration {
        deadline(&self.0)
    }

    fn member(&self, via: &Via) -> Option<&Member> {
        self.0.iter().find(|member| member.via == *via)
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

    /// Sends one message, and waits for the outcome within the deadline of the route; `passing` is asked before another sender than
    /// the first takes it.
    pub async fn send(self, message: TextMessage, passing: &dyn Passing) -> Routed {
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
            let left = || {
                let left = deadline.saturating_sub(watch.elapsed() + SLACK);
                (left >= deadline / LEAST).then_some(left)
            };
            if is_final || left().is_none() {
                return refused(told);
            }
            let slot = next.sender.reserve(segments).ok();
            let may_go_on = slot.is_some() && passing.may_go_on(&next.via).await;
            // Paying takes its time, too; a call that was paid and is not made is given back with the refusal.
            let Some(left) = left() else { return refused(told) };
            (via, outcome) = match slot.filter(|_| may_go_on) {
                Some(slot) => {
                    let message = TextMessage { patience: Some(left), ..message.clone() };
                    (next.via, slot.send(message).await)
                }
                None => (told.1, SendOutcome::Refused(told.0)),
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
mod tests;
