//! Numbers that change hands, accounts that are deleted, and what maintenance does.

use super::quotas::{Counted, Whose};
use super::{DAY, Ended, Expected, For, Model, Moment, Ruled, Use, Waiting};
use crate::auth::AuthError;
use crate::auth::tests::model::acts::Token;
use crate::domain::quota::Endpoint;
use crate::domain::{DeviceId, Timestamp};

/// How many wrong codes end a change.
const WRONG_CANCELS: u32 = 5;

/// What is asked of two codes at once.
type Codes<'c> = (&'c str, Option<&'c str>);

impl Model {
    /// Does what is due of the changes that a number or a user is part of.
    pub(super) fn complete_due(&mut self, number: usize, user: Option<usize>, at: &mut Moment<'_>) {
        let wanting =
            self.waiting.iter().find(|(_, waiting)| waiting.number == number).map(|(user, _)| *user);
        let due: Vec<_> = wanting.into_iter().chain(self.holder(number)).chain(user).collect();
        for user in due {
            self.complete(user, at);
        }
    }

    fn complete(&mut self, user: usize, at: &mut Moment<'_>) {
        let is_due = |waiting: &&Waiting| waiting.at <= at.times.retention;
        let Some(Waiting { number, login, .. }) = self.waiting.get(&user).filter(is_due).cloned() else {
            return;
        };
        self.waiting.remove(&user);
        if self.users[user].is_active && self.holder(number) != Some(user) && !self.is_taken(number) {
            self.give(user, number, login, at);
        }
        at.between.push(self.clone());
    }

    /// Whether somebody has proven a number, or was shut out with it.
    fn is_taken(&self, number: usize) -> bool {
        self.holder(number).is_some_and(|user| self.users[user].is_verified || !self.users[user].is_active)
    }

    /// Gives a user a number; all sessions end but the one that asked.
    fn give(&mut self, user: usize, number: usize, spared: usize, at: &Moment<'_>) {
        if let Some(holder) = self.holder(number) {
            self.forget(holder);
        }
        self.forget_others(user, number);
        self.users[user].is_verified = true;
        self.renumber(user, number, at.now());
        for (place, login) in self.logins.iter_mut().enumerate() {
            if login.user == user && login.ended.is_none() {
                if place == spared {
                    login.device = None;
                } else {
                    login.ended = Some(Ended::Otherwise);
                }
            }
        }
    }

    pub(super) fn renumber(&mut self, user: usize, number: usize, now: Timestamp) {
        self.waiting.remove(&user);
        if let Some(before) = self.users[user].number.replace(number) {
            self.codes.retain(|code| code.number != before || code.is_alive(now));
            self.bequeath(before);
        }
        self.end_devices(user, None);
    }

    /// Nobody else's change goes on to a number that somebody has proven.
    pub(super) fn forget_others(&mut self, user: usize, number: usize) {
        self.waiting.retain(|of, waiting| *of == user || waiting.number != number);
    }

    /// A user is gone, with what is the user's alone.
    fn forget(&mut self, user: usize) {
        self.users[user].number = None;
        self.waiting.remove(&user);
        self.end_devices(user, None);
        for login in &mut self.logins {
            if login.user == user {
                login.ended.get_or_insert(Ended::Otherwise);
            }
        }
    }

    pub(super) fn erase(&mut self, user: usize) {
        let Some(number) = self.users[user].number else { return };
        let devices = self.devices_of(user);
        self.spent.retain(|(_, whose), _| match whose {
            Whose::User(of) => *of != user,
            Whose::Device(of) => !devices.contains(of),
            Whose::Number(_) | Whose::Address(_) => true,
        });
        self.forget(user);
        self.codes.retain(|code| code.number != number && code.purpose != For::Change(user));
        self.bequeath(number);
    }

    pub(super) fn prove(
        &mut self,
        access: &Token,
        number: usize,
        (new, current): Codes<'_>,
        at: &mut Moment<'_>,
    ) -> Ruled {
        let user = self.bearer(access, at)?;
        self.complete_due(number, Some(user), at);
        let before = self.users[user].number.ok_or(AuthError::TokenInvalid)?;
        if before == number {
            return Err(AuthError::OwnNumber);
        }
        self.gate(Endpoint::PhoneVerify, at)?;
        if !self.users[user].is_active {
            return Err(AuthError::AccountDisabled);
        }
        let login = self.logins.iter().position(|login| login.id.as_ref() == Some(&access.session));
        let login = login.filter(|login| self.is_live(*login, at)).ok_or(AuthError::TokenInvalid)?;
        let now = at.now();
        let new = self.guess((number, For::Change(user), new), None, None, now);
        let current = current.map(|digits| self.guess((before, For::Login, digits), None, None, now));
        let (new, current) = (new?, current.transpose()?);
        if self.is_taken(number) {
            return Err(AuthError::PhoneInUse);
        }
        let by_proof = Use { at: now, login: None, key: None, said: (false, false) };
        self.consume(new, by_proof.clone());
        self.waiting.remove(&user);
        if let Some(current) = current {
            self.consume(current, by_proof);
            self.give(user, number, login, at);
            return Ok(Expected::Changed);
        }
        self.forget_others(user, number);
        let due = at.times.retention.max(now) + DAY;
        self.waiting.insert(user, Waiting { number, at: due, login, cancel: at.mail.clone(), wrong: 0 });
        at.between.push(self.clone());
        Ok(Expected::Waits(due))
    }

    pub(super) fn cancel_by_code(&mut self, number: usize, digits: &str, at: &mut Moment<'_>) -> Ruled {
        self.complete_due(number, None, at);
        self.gate(Endpoint::PhoneCancel, at)?;
        let user = self.holder(number).ok_or(AuthError::InvalidOtp)?;
        let waiting = self.waiting.get_mut(&user).ok_or(AuthError::InvalidOtp)?;
        waiting.wrong += 1;
        let is_right = waiting.cancel.as_deref() == Some(digits);
        if is_right || waiting.wrong == WRONG_CANCELS {
            self.waiting.remove(&user);
        }
        if is_right { Ok(Expected::Done) } else { Err(AuthError::InvalidOtp) }
    }

    pub(super) fn delete(
        &mut self,
        access: &Token,
        digits: &str,
        device: Option<&DeviceId>,
        at: &mut Moment<'_>,
    ) -> Ruled {
        let user = self.bearer(access, at)?;
        let number = self.users[user].number.ok_or(AuthError::AccountDisabled)?;
        self.complete_due(number, None, at);
        if self.holder(number) != Some(user) {
            return Err(AuthError::TokenInvalid);
        }
        self.gate(Endpoint::AccountDelete, at)?;
        if !self.users[user].is_active {
            return Err(AuthError::AccountDisabled);
        }
        let (device, now) = (self.device_of(device, number), at.now());
        let place = self.guess((number, For::Login, digits), device, None, now)?;
        if self.settings.grace.is_zero() {
            self.erase(user);
            return Ok(Expected::Deleted(None));
        }
        self.consume(place, Use { at: now, login: None, key: None, said: (false, false) });
        self.revoke_logins(user, at.times.earlier());
        self.waiting.remove(&user);
        let due = now + self.settings.grace;
        self.users[user].deletes_at = Some(due);
        Ok(Expected::Deleted(Some(due)))
    }

    pub(super) fn maintain(&mut self, at: &mut Moment<'_>) {
        let due = at.times.retention.min(at.now());
        let mut waiting: Vec<_> = self.waiting.iter().map(|(user, waiting)| (waiting.at, *user)).collect();
        // Of one moment in the order of the users.
        waiting.sort_by_key(|(at, user)| (*at, self.users[*user].id));
        for (_, user) in waiting {
            self.complete(user, at);
        }
        for user in 0..self.users.len() {
            let Some(number) = self.users[user].number else { continue };
            let known = &self.users[user];
            let is_left = !known.is_verified && known.is_active && known.joined_at < due - 7 * DAY;
            if is_left && !self.codes.iter().any(|code| code.number == number && code.is_alive(due)) {
                self.forget(user);
                at.between.push(self.clone());
            } else if known.deletes_at.is_some_and(|deletes_at| deletes_at <= due) {
                self.erase(user);
                at.between.push(self.clone());
            }
        }
        let horizon = at.now() - 8 * DAY;
        self.codes.retain(|code| code.leader.is_some() || code.expires_at > horizon);
        for units in self.spent.values_mut() {
            units.retain(|(spent, _)| *spent > horizon);
        }
    }

    /// Units of a number within a day, oldest first.
    pub(super) fn units_of(&self, what: Counted, number: usize, now: Timestamp) -> Vec<Timestamp> {
        let units = self.spent.get(&(what, Whose::Number(number))).into_iter().flatten();
        let mut within: Vec<_> = units.map(|(at, _)| *at).filter(|at| *at > now - DAY).collect();
        within.sort_unstable();
        within
    }
}
