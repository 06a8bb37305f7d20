//! The promises, as a machine of their own: what an act does, and what it is answered. It knows no row and no flow of the program.

use std::collections::BTreeMap;
use std::time::Duration;

use super::acts::{Act, Call, Outcome, Token};
use crate::auth::AuthError;
use crate::domain::clock::Times;
use crate::domain::{DeviceId, SessionId, Timestamp, UserId};

mod codes;
mod look;
mod numbers;
mod operator;
mod quotas;
mod sessions;

pub(super) use look::{Seen, SeenUser};
use quotas::{Counted, Whose};

pub(super) const DAY: Duration = Duration::from_hours(24);

/// What differs from schedule to schedule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Settings {
    /// Calls of one endpoint that an address has in an hour; 0: any.
    pub(super) address: u32,
    /// How long a deletion waits.
    pub(super) grace: Duration,
    /// Wrong guesses that a number, or a device, has in a day.
    pub(super) failures: u32,
}

/// A user, by the place in the order of registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Account {
    /// Learnt when it is told for the first time.
    pub(super) id: Option<UserId>,
    /// `None` once deleted.
    pub(super) number: Option<usize>,
    pub(super) joined_at: Timestamp,
    pub(super) is_verified: bool,
    pub(super) is_active: bool,
    pub(super) role: &'static str,
    pub(super) deletes_at: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Sending,
    Live,
    Unknown,
    Used,
    Void,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum For {
    Login,
    Change(usize),
}

/// A code that was to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SentCode {
    pub(super) serial: u64,
    pub(super) number: usize,
    pub(super) purpose: For,
    /// What the message says; `None` where it never reached the sender.
    pub(super) digits: Option<String>,
    pub(super) state: State,
    pub(super) expires_at: Timestamp,
    pub(super) wrong: u32,
    /// Wrong guesses by devices.
    pub(super) wrong_by: BTreeMap<usize, u32>,
    pub(super) unit: Option<u64>,
    /// The device that asked for it, and its unit.
    pub(super) device: Option<(usize, u64)>,
    pub(super) used: Option<Use>,
    /// The node that sends it, until it is known what came of that.
    pub(super) leader: Option<usize>,
    pub(super) was_new: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Use {
    pub(super) at: Timestamp,
    pub(super) login: Option<usize>,
    pub(super) key: Option<u32>,
    /// Whether its login was the first of a user, and whether it restored an account.
    pub(super) said: (bool, bool),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Deactivated,
    Otherwise,
}

/// A session, by its place in the order of the logins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) id: Option<SessionId>,
    pub(super) user: usize,
    pub(super) generation: u32,
    pub(super) is_used: bool,
    pub(super) issued_at: Timestamp,
    pub(super) refresh_until: Timestamp,
    pub(super) expires_at: Timestamp,
    pub(super) ended: Option<Ended>,
    pub(super) rotated: BTreeMap<u32, Timestamp>,
    pub(super) address: usize,
    pub(super) repeated_elsewhere: Option<u32>,
    pub(super) device: Option<usize>,
}

/// A device, by its place in the order of their first logins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Phone {
    pub(super) id: Option<DeviceId>,
    pub(super) user: usize,
    pub(super) issued_at: Timestamp,
    pub(super) has_ended: bool,
}

/// A change of number that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) number: usize,
    pub(super) at: Timestamp,
    pub(super) login: usize,
    pub(super) cancel: Option<String>,
    pub(super) wrong: u32,
}

/// All that must be so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Model {
    pub(super) settings: Settings,
    pub(super) users: Vec<Account>,
    pub(super) codes: Vec<SentCode>,
    pub(super) logins: Vec<Login>,
    pub(super) devices: Vec<Phone>,
    pub(super) waiting: BTreeMap<usize, Waiting>,
    /// Units, and when they were spent.
    pub(super) spent: BTreeMap<(Counted, Whose), Vec<(Timestamp, u64)>>,
    pub(super) serial: u64,
    /// The code whose message is held back by the sender, and whether its caller is a new user.
    pub(super) flight: Option<(u64, bool)>,
}

/// What an act has to be answered.
#[derive(Clone, Debug)]
pub(super) enum Expected {
    Sent { is_new: bool },
    LoggedIn { user: usize, login: usize, device: Option<usize>, is_new: bool, is_restored: bool },
    Refreshed { login: usize, device: Option<usize> },
    Known { user: usize },
    Waits(Timestamp),
    Changed,
    Deleted(Option<Timestamp>),
    Done,
    Refused(AuthError),
}

pub(super) type Ruled = Result<Expected, AuthError>;

/// When and where an act is done, and what is seen of it.
pub(super) struct Moment<'a> {
    pub(super) call: &'a Call,
    pub(super) times: Times,
    /// The digits of the message that came of it.
    pub(super) mail: Option<String>,
    /// Whether the sender holds the message back.
    pub(super) is_held: bool,
    /// What is so after each write but the last: where the process may end.
    pub(super) between: Vec<Model>,
}

impl Moment<'_> {
    pub(super) fn now(&self) -> Timestamp {
        self.times.now
    }
}

/// What a message that was not, or perhaps not, sent is answered with.
pub(super) const fn undelivered() -> AuthError {
    AuthError::SmsDeliveryFailed { opted_out: None, retry_after: None, delivery: None }
}

impl Model {
    pub(super) fn new(settings: Settings) -> Self {
        Self { settings, ..Self::default() }
    }

    /// Does an act, and says what it is to be answered.
    pub(super) fn perform(&mut self, at: &mut Moment<'_>) -> Expected {
        self.decide(at).unwrap_or_else(Expected::Refused)
    }

    fn decide(&mut self, at: &mut Moment<'_>) -> Ruled {
        let call = at.call;
        match &call.act {
            Act::Request { number, device, fate } => self
                .send(*number, For::Login, (device.as_ref(), None), at)
                .map(|serial| self.settle(serial, *fate, at)),
            Act::Resend { access, device, fate } => {
                let user = self.bearer(access, at)?;
                let number = self.users[user].number.ok_or(AuthError::AccountDisabled)?;
                let serial = self.send(number, For::Login, (device.as_ref(), Some(user)), at)?;
                Ok(self.settle(serial, *fate, at))
            }
            Act::Verify { number, digits, device, key } => {
                self.verify(*number, digits, (device.as_ref(), *key), at)
            }
            Act::Refresh { token } => self.refresh(token, at),
            Act::Status { access } => self.bearer(access, at).map(|user| Expected::Known { user }),
            Act::LogOut { token } => self.log_out(token, at),
            Act::LogOutEverywhere { access, device } => self.log_out_everywhere(access, device.as_ref(), at),
            Act::EndSession { access, session } => self.end_session(access, session, at),
            Act::AskChange { access, number, fate } => {
                let user = self.bearer(access, at)?;
                self.complete_due(*number, Some(user), at);
                let serial = self.send(*number, For::Change(user), (None, None), at)?;
                Ok(self.settle(serial, *fate, at))
            }
            Act::Prove { access, number, new, current } => {
                self.prove(access, *number, (new, current.as_deref()), at)
            }
            Act::CancelByCode { number, digits } => self.cancel_by_code(*number, digits, at),
            Act::KeepPhone { access } => {
                let user = self.bearer(access, at)?;
                let number = self.users[user].number.ok_or(AuthError::AccountDisabled)?;
                self.complete_due(number, Some(user), at);
                self.waiting.remove(&user).map(|_| Expected::Done).ok_or(AuthError::NoPhoneChange)
            }
            Act::Delete { access, digits, device } => self.delete(access, digits, device.as_ref(), at),
            Act::Operate { number, deed } => {
                self.operate(*number, *deed, at);
                Ok(Expected::Done)
            }
            Act::Maintain => {
                self.maintain(at);
                Ok(Expected::Done)
            }
        }
    }

    pub(super) fn holder(&self, number: usize) -> Option<usize> {
        self.users.iter().position(|user| user.number == Some(number))
    }

    /// The device that a call comes from, if it is live and of the user who has the number.
    fn device_of(&self, device: Option<&DeviceId>, number: usize) -> Option<usize> {
        let place = self.devices.iter().position(|known| known.id.as_ref() == device && device.is_some())?;
        let known = &self.devices[place];
        (!known.has_ended && self.holder(number) == Some(known.user)).then_some(place)
    }

    /// Whether the answer is the one that is expected; what it tells for the first time is learnt.
    pub(super) fn takes(&mut self, expected: &Expected, outcome: &Outcome, now: Timestamp) -> bool {
        match (expected, outcome) {
            (Expected::Refused(expected), Outcome::Refused(error)) => match (expected, error) {
                (AuthError::RateLimited(expected), AuthError::RateLimited(wait)) => expected == wait,
                _ => std::mem::discriminant(expected) == std::mem::discriminant(error),
            },
            (Expected::Sent { is_new }, Outcome::Sent { is_new: told }) => is_new == told,
            (
                Expected::LoggedIn { user, login, device, is_new, is_restored },
                Outcome::LoggedIn { user: id, pair, is_new: told_new, is_restored: told, device: given },
            ) => {
                is_new == told_new
                    && is_restored == told
                    && self.learn_user(*user, *id)
                    && self.takes_pair(*login, pair, now)
                    && self.takes_device(*device, given.as_ref())
            }
            (Expected::Refreshed { login, device }, Outcome::Refreshed { pair, device: given }) => {
                self.takes_pair(*login, pair, now) && self.takes_device(*device, given.as_ref())
            }
            (Expected::Known { user }, Outcome::Known { user: id, is_active, role }) => {
                let known = &self.users[*user];
                (known.is_active, known.role) == (*is_active, role) && self.learn_user(*user, *id)
            }
            (Expected::Waits(expected), Outcome::Waits(at)) => expected == at,
            (Expected::Deleted(expected), Outcome::Deleted(at)) => expected == at,
            (Expected::Changed, Outcome::Changed) | (Expected::Done, Outcome::Done) => true,
            _ => false,
        }
    }

    /// An id is one user's for ever.
    fn learn_user(&mut self, user: usize, id: UserId) -> bool {
        let is_anothers =
            self.users.iter().enumerate().any(|(place, known)| place != user && known.id == Some(id));
        !is_anothers && *self.users[user].id.get_or_insert(id) == id
    }

    fn learn_login(&mut self, login: usize, id: &SessionId) -> bool {
        self.logins[login].id.get_or_insert_with(|| id.clone()) == id
    }

    fn takes_device(&mut self, device: Option<usize>, given: Option<&DeviceId>) -> bool {
        match (device, given) {
            (None, None) => true,
            (Some(device), Some(given)) => {
                let is_anothers =
                    |(place, known): (usize, &Phone)| place != device && known.id.as_ref() == Some(given);
                let is_anothers = self.devices.iter().enumerate().any(is_anothers);
                !is_anothers && self.devices[device].id.get_or_insert_with(|| given.clone()) == given
            }
            _ => false,
        }
    }

    fn takes_pair(&mut self, login: usize, pair: &super::acts::Pair, now: Timestamp) -> bool {
        let known = &self.logins[login];
        let is_right = |token: &Token, until: Timestamp| {
            token.generation == known.generation && token.expires_at.as_secs() == until.as_secs()
        };
        let access_until = (now + Duration::from_mins(15)).min(known.refresh_until);
        is_right(&pair.access, access_until)
            && is_right(&pair.refresh, known.refresh_until)
            && pair.access.session == pair.refresh.session
            && self.learn_login(login, &pair.access.session)
    }

    /// What an act does before the write that judges it.
    pub(super) fn begin(&mut self, at: &mut Moment<'_>) {
        if let Act::Verify { number, .. } = &at.call.act {
            self.complete_due(*number, None, at);
        }
    }

    /// The same where the process ended before the use of an access token was noted, which no answer waits for.
    pub(super) fn unnoted(&self, call: &Call) -> Option<Self> {
        let (Act::Resend { access, .. }
        | Act::Status { access }
        | Act::LogOutEverywhere { access, .. }
        | Act::EndSession { access, .. }
        | Act::AskChange { access, .. }
        | Act::Prove { access, .. }
        | Act::KeepPhone { access }
        | Act::Delete { access, .. }) = &call.act
        else {
            return None;
        };
        let place = self.logins.iter().position(|login| login.id.as_ref() == Some(&access.session))?;
        let mut other = self.clone();
        other.logins[place].is_used = false;
        Some(other)
    }

    /// What a node's end leaves: nobody can say what became of the messages that it sent.
    pub(super) fn restart(&mut self, node: usize, now: Timestamp) {
        let left: Vec<_> =
            self.codes.iter().filter(|code| code.leader == Some(node)).map(|code| code.serial).collect();
        for serial in left {
            self.lose(serial, now);
        }
    }
}
