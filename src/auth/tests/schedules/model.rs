//! What must be so of changes of number, whatever happens at the same moment.

use std::collections::BTreeMap;
use std::time::Duration;

use super::DAY;
use crate::auth::AuthError;
use crate::domain::phone_change::CANCEL_GUESSES;
use crate::domain::{Code, SessionId, Timestamp, UserId};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Person {
    Alice,
    Bob,
    Thief,
}

/// Who reads the messages to each number.
pub(super) const HOLDERS: [Person; 5] =
    [Person::Alice, Person::Alice, Person::Bob, Person::Bob, Person::Thief];

#[derive(Clone, Debug)]
pub(super) enum Act {
    LogIn { number: usize },
    Prove { session: usize, number: usize, current: bool, by: Person },
    Cancel { number: usize, code: Code },
    Keep { session: usize },
}

#[derive(Clone, Debug)]
pub(super) enum Outcome {
    LoggedIn(UserId, SessionId),
    Waits(Timestamp),
    Changed,
    TakenBack,
    Refused(AuthError),
}

/// A change that waits.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    pub(super) number: usize,
    pub(super) at: Timestamp,
    pub(super) session: SessionId,
    pub(super) code: Option<Code>,
    pub(super) wrong: u32,
    pub(super) by: Person,
}

/// What must be so.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    /// The number of each account.
    pub(super) links: BTreeMap<UserId, usize>,
    pub(super) waiting: BTreeMap<UserId, Waiting>,
    /// Sessions with their account, and whether they live.
    pub(super) sessions: Vec<(SessionId, UserId, bool)>,
    /// When codes were sent that are not used up: to log in, and to change an account's number.
    pub(super) logins: BTreeMap<usize, Timestamp>,
    pub(super) changes: BTreeMap<(UserId, usize), Timestamp>,
}

impl Model {
    pub(super) fn holder(&self, number: usize) -> Option<UserId> {
        self.links.iter().find(|(_, linked)| **linked == number).map(|(user, _)| *user)
    }

    /// What is due is done, met or not.
    pub(super) fn pass(&mut self, now: Timestamp) {
        let mut due: Vec<_> = self.waiting.iter().filter(|(_, waiting)| waiting.at <= now).collect();
        due.sort_by_key(|(user, waiting)| (waiting.at, **user));
        for (user, Waiting { number, session, .. }) in
            due.into_iter().map(|(user, waiting)| (*user, waiting.clone())).collect::<Vec<_>>()
        {
            self.waiting.remove(&user);
            if self.holder(number).is_none() {
                self.give(user, number, &session);
            }
        }
    }

    pub(super) fn give(&mut self, user: UserId, number: usize, spared: &SessionId) {
        self.links.insert(user, number);
        self.prove(user, number);
        for (id, of, live) in &mut self.sessions {
            *live &= *of != user || id == spared;
        }
    }

    /// Nobody else's change to a number goes on that somebody has proven.
    pub(super) fn prove(&mut self, user: UserId, number: usize) {
        self.waiting.retain(|of, waiting| *of == user || waiting.number != number);
    }

    /// Whether an act can have had this outcome, and what follows from it.
    pub(super) fn takes(&mut self, act: &Act, outcome: &Outcome, now: Timestamp) -> bool {
        let is_good =
            |sent: Option<&Timestamp>| sent.is_some_and(|sent| now < *sent + Duration::from_mins(10));
        self.pass(now);
        match (act, outcome) {
            (Act::LogIn { number }, Outcome::LoggedIn(user, session)) => {
                let linked = self.holder(*number);
                if !is_good(self.logins.get(number))
                    || linked.map_or(self.links.contains_key(user), |linked| linked != *user)
                {
                    return false;
                }
                self.logins.remove(number);
                self.links.insert(*user, *number);
                self.waiting.remove(user);
                self.prove(*user, *number);
                self.sessions.push((session.clone(), *user, true));
                true
            }
            (Act::LogIn { number }, Outcome::Refused(error)) => {
                !is_good(self.logins.get(number))
                    && matches!(error, AuthError::InvalidOtp | AuthError::UserNotFound)
            }
            (Act::Prove { session, number, current, by }, outcome) => {
                let (session, user, live) = self.sessions[*session].clone();
                let own = self.links[&user];
                let is_right = is_good(self.changes.get(&(user, *number)))
                    && (!current || is_good(self.logins.get(&own)));
                let is_taken = self.holder(*number).is_some_and(|holder| holder != user);
                match outcome {
                    Outcome::Refused(AuthError::OwnNumber) => own == *number,
                    Outcome::Refused(AuthError::TokenInvalid) => !live,
                    Outcome::Refused(AuthError::InvalidOtp) => live && own != *number && !is_right,
                    Outcome::Refused(AuthError::PhoneInUse) => live && is_right && is_taken,
                    _ if !live || own == *number || !is_right || is_taken => false,
                    Outcome::Changed if *current => {
                        self.changes.remove(&(user, *number));
                        self.logins.remove(&own);
                        self.waiting.remove(&user);
                        self.give(user, *number, &session);
                        true
                    }
                    Outcome::Waits(at) if !*current => {
                        self.changes.remove(&(user, *number));
                        self.prove(user, *number);
                        let (number, at, by) = (*number, *at, *by);
                        self.waiting.insert(user, Waiting { number, at, session, code: None, wrong: 0, by });
                        at == now + DAY
                    }
                    _ => false,
                }
            }
            (Act::Cancel { number, code }, outcome) => {
                let user = self.holder(*number);
                let waiting = user.and_then(|user| self.waiting.get_mut(&user));
                let is_right = waiting.as_ref().is_some_and(|waiting| waiting.code.as_ref() == Some(code));
                if let Some(waiting) = waiting {
                    waiting.wrong += 1;
                    if is_right || waiting.wrong == CANCEL_GUESSES {
                        self.waiting.retain(|of, _| Some(*of) != user);
                    }
                }
                match outcome {
                    Outcome::TakenBack => is_right,
                    Outcome::Refused(error) => !is_right && *error == AuthError::InvalidOtp,
                    _ => false,
                }
            }
            (Act::Keep { session }, outcome) => {
                let taken_back = self.waiting.remove(&self.sessions[*session].1).is_some();
                match outcome {
                    Outcome::TakenBack => taken_back,
                    Outcome::Refused(error) => !taken_back && *error == AuthError::NoPhoneChange,
                    _ => false,
                }
            }
            (Act::LogIn { .. }, _) => false,
        }
    }
}
