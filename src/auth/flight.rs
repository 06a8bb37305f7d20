//! Requests for one phone that are in flight at once become one SMS; the first leads, the others get its outcome.
//!
//! Who leads is decided in the database: whoever finds a challenge *sending* follows it. Here only the outcome is
//! passed on. Everyone takes a ticket before asking the database, so leader and followers of one challenge always share
//! a group.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::watch;

use super::{AuthError, Sent};
use crate::domain::{ChallengeId, Channel, PhoneNumber};

type Key = (Channel, PhoneNumber);
type Outcome = Result<Sent, AuthError>;
type Outcomes = watch::Sender<BTreeMap<ChallengeId, Outcome>>;

/// The phones with requests in flight.
#[derive(Default)]
pub(super) struct Flights {
    groups: Mutex<HashMap<Key, Weak<Outcomes>>>,
}

/// One request's place in the group of its phone.
pub(super) struct Ticket {
    flights: Arc<Flights>,
    key: Key,
    outcomes: Option<Arc<Outcomes>>,
}

impl Flights {
    /// Joins the group of a phone, before the database is asked.
    pub(super) fn join(self: &Arc<Self>, channel: Channel, phone: &PhoneNumber) -> Ticket {
        let key = (channel, phone.clone());
        let mut groups = self.lock();
        let outcomes = groups.get(&key).and_then(Weak::upgrade).unwrap_or_else(|| {
            let outcomes = Arc::new(watch::Sender::default());
            groups.insert(key.clone(), Arc::downgrade(&outcomes));
            outcomes
        });
        Ticket { flights: self.clone(), key, outcomes: Some(outcomes) }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Weak<Outcomes>>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    /// Tells the followers what came of the challenge that this request led.
    pub(super) fn land(&self, challenge: ChallengeId, outcome: &Outcome) {
        if let Some(outcomes) = &self.outcomes {
            outcomes.send_modify(|landed| drop(landed.insert(challenge, outcome.clone())));
        }
    }

    /// Waits for the outcome of the challenge that another request leads, at most `patience`: one whose leader is not
    /// in this process, or died, may or may not have been sent.
    pub(super) async fn follow(&self, challenge: ChallengeId, patience: Duration) -> Outcome {
        let unknown = Err(AuthError::SmsDeliveryFailed { opted_out: None, retry_after: None });
        let Some(outcomes) = &self.outcomes else { return unknown };
        let mut landed = outcomes.subscribe();
        let waited =
            tokio::time::timeout(patience, landed.wait_for(|landed| landed.contains_key(&challenge))).await;
        match waited {
            Ok(Ok(landed)) => landed.get(&challenge).cloned().unwrap_or(unknown),
            Ok(Err(_)) | Err(_) => unknown,
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut groups = self.flights.lock();
        drop(self.outcomes.take());
        if groups.get(&self.key).is_some_and(|group| group.strong_count() == 0) {
            groups.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phone() -> PhoneNumber {
        PhoneNumber::parse("+1234567890", 10).unwrap()
    }

    #[tokio::test]
    async fn a_follower_gets_the_leaders_outcome_and_the_group_goes_with_its_last_ticket() {
        let flights = Arc::<Flights>::default();
        let leader = flights.join(Channel::Production, &phone());
        let follower = flights.join(Channel::Production, &phone());
        leader.land(ChallengeId(1), &Err(AuthError::InvalidPhone));
        drop(leader);
        let outcome = follower.follow(ChallengeId(1), Duration::from_mins(1)).await;
        assert_eq!(outcome.unwrap_err(), AuthError::InvalidPhone);
        drop(follower);
        assert!(flights.lock().is_empty());
    }

    #[tokio::test]
    async fn a_leader_that_never_lands_leaves_its_followers_uncertain() {
        let flights = Arc::<Flights>::default();
        let follower = flights.join(Channel::Production, &phone());
        let outcome = follower.follow(ChallengeId(1), Duration::ZERO).await;
        assert!(matches!(outcome, Err(AuthError::SmsDeliveryFailed { .. })));
    }
}
