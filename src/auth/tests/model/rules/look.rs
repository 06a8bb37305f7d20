//! What the database has, held against what must be so.

use super::quotas::Counted;
use super::{For, Model, Moment, State};
use crate::domain::{DeviceId, SessionId, Timestamp, UserId};

/// What the database has of a number.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Seen {
    pub(in super::super) user: Option<SeenUser>,
    /// Units of codes and of failures within a day, oldest first.
    pub(in super::super) codes: Vec<Timestamp>,
    pub(in super::super) failures: Vec<Timestamp>,
    /// Login codes that can still be given, newest first, with their wrong guesses.
    pub(in super::super) alive: Vec<(State, u32)>,
}

/// What it has of the user who has the number.
#[derive(Clone, Debug)]
pub(in super::super) struct SeenUser {
    pub(in super::super) id: UserId,
    pub(in super::super) is_verified: bool,
    pub(in super::super) is_active: bool,
    pub(in super::super) role: String,
    pub(in super::super) deletes_at: Option<Timestamp>,
    /// Live sessions, oldest first, with their generation and whether that was used.
    pub(in super::super) logins: Vec<(SessionId, u32, bool)>,
    pub(in super::super) devices: Vec<DeviceId>,
    /// The change that waits, with its wrong codes.
    pub(in super::super) waiting: Option<(usize, Timestamp, u32)>,
}

impl Model {
    /// Whether all that was seen is so; what was not known of it is learnt.
    pub(in super::super) fn agrees(&mut self, seen: &[Seen], at: &Moment<'_>) -> bool {
        seen.iter().enumerate().all(|(number, seen)| self.agrees_on(number, seen, at))
    }

    fn agrees_on(&mut self, number: usize, seen: &Seen, at: &Moment<'_>) -> bool {
        let now = at.now();
        let mut alive: Vec<_> = self
            .codes
            .iter()
            .filter(|code| code.number == number && code.purpose == For::Login && code.is_alive(now))
            .map(|code| (code.state, code.wrong))
            .collect();
        alive.reverse();
        if alive != seen.alive
            || self.units_of(Counted::Codes, number, now) != seen.codes
            || self.units_of(Counted::Failures, number, now) != seen.failures
        {
            return false;
        }
        let (Some(user), Some(seen)) = (self.holder(number), &seen.user) else {
            return self.holder(number).is_none() && seen.user.is_none();
        };
        let known = &self.users[user];
        let waiting = self.waiting.get(&user).map(|waiting| (waiting.number, waiting.at, waiting.wrong));
        if (known.is_verified, known.is_active, known.deletes_at)
            != (seen.is_verified, seen.is_active, seen.deletes_at)
            || known.role != seen.role
            || waiting != seen.waiting
            || !self.learn_user(user, seen.id)
        {
            return false;
        }
        let (logins, devices) = (self.live_of(user, at.times.earlier()), self.devices_of(user));
        logins.len() == seen.logins.len()
            && devices.len() == seen.devices.len()
            && logins.iter().zip(&seen.logins).all(|(login, (id, generation, is_used))| {
                let known = &self.logins[*login];
                (known.generation, known.is_used) == (*generation, *is_used) && self.learn_login(*login, id)
            })
            && devices
                .iter()
                .zip(&seen.devices)
                .all(|(device, id)| self.takes_device(Some(*device), Some(id)))
    }
}
