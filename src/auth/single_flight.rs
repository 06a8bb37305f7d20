//! Requests for one phone that are in flight at once become one SMS; the first leads, the others get its outcome.
//!
//! Who leads is decided in the database: whoever finds a challenge that does not say what came of its sending, or one of this
//! run whose request was in flight when its own came in, follows it. Here only the outcome is passed on. Everyone joins a group before asking the database, so
//! leader and followers of one challenge always share one.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use tokio::sync::watch;

use super::AuthError;
use crate::domain::{ChallengeId, Channel, DeliveryId, Mode, PhoneNumber, Purpose};
use crate::sync::lock;

/// A code is on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Whether the number was never verified; always false where accounts are concealed.
    pub is_new_user: bool,
    /// How long the code is good.
    pub expires_in: Duration,
    /// What finds the state of its delivery; `None` in the testing mode.
    pub delivery: Option<DeliveryId>,
}

/// What requests have in common that share a flight: those for another purpose or channel never do, nor do calls with the
/// token of a device and calls without one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Flight {
    pub(super) mode: Mode,
    pub(super) phone: PhoneNumber,
    pub(super) purpose: Purpose,
    pub(super) by_device: bool,
    /// What the code was asked for by.
    pub(super) channel: Option<Channel>,
}

type Answer = Result<Sent, AuthError>;

/// The phones with requests in flight.
#[derive(Default)]
pub(super) struct SingleFlight {
    groups: Mutex<HashMap<Flight, Weak<Group>>>,
    /// The latest challenge that this process has led; numbers ascend.
    latest: AtomicI64,
}

/// The requests for one phone that overlap.
struct Group {
    /// The latest challenge that this process had led when the first of them came.
    before: ChallengeId,
    outcomes: watch::Sender<BTreeMap<ChallengeId, Answer>>,
}

/// One request's place in the group of its phone.
pub(super) struct Participant {
    requests: Arc<SingleFlight>,
    key: Flight,
    group: Option<Arc<Group>>,
    /// Which challenges this request follows.
    pub(super) overlap: Overlap,
}

/// Which challenges are of requests that were in flight when this one came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Overlap {
    after: ChallengeId,
}

impl Overlap {
    /// Whether the newest challenge of the phone is of such a request.
    pub(super) fn holds(self, newest: ChallengeId) -> bool {
        newest > self.after
    }
}

impl SingleFlight {
    /// Notes a challenge that a flow of this process leads.
    pub(super) fn note(&self, challenge: ChallengeId) {
        self.latest.fetch_max(challenge.0, Ordering::SeqCst);
    }

    /// Joins the group of a phone, before the database is asked.
    pub(super) fn join(self: &Arc<Self>, key: Flight) -> Participant {
        let mut groups = self.lock();
        let group = groups.get(&key).and_then(Weak::upgrade).unwrap_or_else(|| {
            let before = ChallengeId(self.latest.load(Ordering::SeqCst));
            let group = Arc::new(Group { before, outcomes: watch::Sender::default() });
            groups.insert(key.clone(), Arc::downgrade(&group));
            group
        });
        let published = group.outcomes.borrow().keys().next_back().copied();
        let overlap = Overlap { after: published.unwrap_or(group.before) };
        Participant { requests: self.clone(), key, group: Some(group), overlap }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Flight, Weak<Group>>> {
        lock(&self.groups)
    }
}

impl Participant {
    /// Leads the request of a challenge, and tells the followers what came of it.
    pub(super) async fn lead(&self, challenge: ChallengeId, request: impl Future<Output = Answer>) -> Answer {
        self.requests.note(challenge);
        let outcome = request.await;
        self.publish(challenge, &outcome);
        outcome
    }

    fn publish(&self, challenge: ChallengeId, outcome: &Answer) {
        if let Some(group) = &self.group {
            group.outcomes.send_modify(|published| drop(published.insert(challenge, outcome.clone())));
        }
    }

    /// Waits for the outcome of the challenge that another request leads, at most `patience`: one whose leader is not
    /// in this process, or died, may or may not have been sent.
    pub(super) async fn follow(
        &self,
        challenge: ChallengeId,
        delivery: Option<DeliveryId>,
        patience: Duration,
    ) -> Answer {
        let unknown = Err(AuthError::undelivered(None, delivery));
        let Some(group) = &self.group else { return unknown };
        let mut published = group.outcomes.subscribe();
        let publication = published.wait_for(|published| published.contains_key(&challenge));
        match tokio::time::timeout(patience, publication).await {
            Ok(Ok(published)) => published.get(&challenge).cloned().unwrap_or(unknown),
            Ok(Err(_)) | Err(_) => unknown,
        }
    }
}

impl Drop for Participant {
    fn drop(&mut self) {
        let mut groups = self.requests.lock();
        drop(self.group.take());
        if groups.get(&self.key).is_some_and(|group| group.strong_count() == 0) {
            groups.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn join(requests: &Arc<SingleFlight>) -> Participant {
        requests.join(flight())
    }

    fn flight() -> Flight {
        Flight {
            mode: Mode::Production,
            phone: PhoneNumber::parse("+1234567890", 10).unwrap(),
            purpose: Purpose::Login,
            by_device: false,
            channel: None,
        }
    }

    #[test]
    fn s4_requests_for_different_purposes_share_no_group() {
        let requests = Arc::<SingleFlight>::default();
        let change = Flight { purpose: Purpose::PhoneChange(crate::domain::UserId(1)), ..flight() };
        let (login, change) = (join(&requests), requests.join(change));
        assert_eq!(requests.lock().len(), 2);
        drop((login, change));
        assert!(requests.lock().is_empty());
    }

    #[tokio::test]
    async fn a_follower_gets_the_leaders_outcome_and_the_group_goes_with_its_last_participant() {
        let requests = Arc::<SingleFlight>::default();
        let (leader, follower) = (join(&requests), join(&requests));
        leader.publish(ChallengeId(1), &Err(AuthError::InvalidPhone));
        drop(leader);
        let outcome = follower.follow(ChallengeId(1), None, Duration::from_mins(1)).await;
        assert_eq!(outcome.unwrap_err(), AuthError::InvalidPhone);
        drop(follower);
        assert!(requests.lock().is_empty());
    }

    #[test]
    fn who_came_while_a_request_was_in_flight_follows_it_even_after_its_outcome_was_published() {
        let requests = Arc::<SingleFlight>::default();
        requests.note(ChallengeId(6));
        let (leader, follower) = (join(&requests), join(&requests));
        requests.note(ChallengeId(7));
        leader.publish(ChallengeId(7), &Err(AuthError::InvalidPhone));
        assert!(follower.overlap.holds(ChallengeId(7)));
        assert!(!follower.overlap.holds(ChallengeId(6)), "older than both");
        let later = join(&requests);
        assert!(!later.overlap.holds(ChallengeId(7)), "its outcome was published before the later one came");
        drop((leader, follower, later));
        assert!(!join(&requests).overlap.holds(ChallengeId(7)), "nobody is in flight any more");
    }

    #[tokio::test]
    async fn a_leader_that_never_publishes_leaves_its_followers_uncertain() {
        let requests = Arc::<SingleFlight>::default();
        let outcome = join(&requests).follow(ChallengeId(1), None, Duration::ZERO).await;
        assert!(matches!(outcome, Err(AuthError::SmsDeliveryFailed { .. })));
    }
}
