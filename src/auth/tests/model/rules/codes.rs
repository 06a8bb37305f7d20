//! Codes: sent, guessed, used up.

use std::collections::BTreeMap;
use std::time::Duration;

use super::quotas::{Counted, Whose};
use super::{Account, Expected, For, Model, Moment, Ruled, SentCode, State, Use, undelivered};
use crate::auth::AuthError;
use crate::auth::tests::model::acts::{Act, Fate};
use crate::domain::quota::Endpoint;
use crate::domain::{DeviceId, Timestamp};

/// How many guesses a code takes, of each side.
const GUESSES: u32 = 5;
const TTL: Duration = Duration::from_mins(10);
const REPEATABLE: Duration = Duration::from_mins(1);

impl SentCode {
    fn is_open(&self) -> bool {
        matches!(self.state, State::Sending | State::Live | State::Unknown)
    }

    pub(in super::super) fn is_alive(&self, now: Timestamp) -> bool {
        self.is_open() && now < self.expires_at
    }

    fn wrong_of(&self, device: Option<usize>) -> u32 {
        device.map_or(self.wrong, |device| self.wrong_by.get(&device).copied().unwrap_or_default())
    }
}

impl Model {
    /// Has a code be sent, or says why not; the message is under way then. `bearer` is who has proven the number.
    pub(super) fn send(
        &mut self,
        number: usize,
        purpose: For,
        (device, bearer): (Option<&DeviceId>, Option<usize>),
        at: &mut Moment<'_>,
    ) -> Result<u64, AuthError> {
        let (device, now) = (self.device_of(device, number), at.now());
        let holder = self.holder(number);
        let endpoint = match (purpose, &at.call.act) {
            (For::Change(_), _) => Endpoint::Phone,
            (For::Login, Act::Resend { .. }) => Endpoint::Resend,
            (For::Login, _) => Endpoint::Request,
        };
        let user = match purpose {
            For::Login if bearer.is_some_and(|bearer| holder != Some(bearer)) => {
                return Err(AuthError::TokenInvalid);
            }
            For::Login => holder,
            For::Change(user) => match self.users[user].number {
                None => return Err(AuthError::TokenInvalid),
                Some(own) if own == number => return Err(AuthError::OwnNumber),
                Some(_) => Some(user),
            },
        };
        self.gate(endpoint, at)?;
        if user.is_some_and(|user| !self.users[user].is_active) {
            return Err(AuthError::AccountDisabled);
        }
        let whose = device.map_or(Whose::Number(number), Whose::Device);
        self.need(Counted::Failures, whose, now)?;
        if let For::Change(user) = purpose {
            self.need(Counted::Changes, Whose::User(user), now)?;
        }
        self.need(Counted::Codes, whose, now)?;
        if let For::Change(user) = purpose {
            self.spend(Counted::Changes, Whose::User(user), now);
        }
        let own = device.map(|device| (device, self.spend(Counted::Codes, whose, now)));
        let unit = self.spend(Counted::Codes, Whose::Number(number), now);
        self.serial += 1;
        let was_new = user.is_none_or(|user| !self.users[user].is_verified);
        self.codes.push(SentCode {
            serial: self.serial,
            number,
            purpose,
            digits: at.mail.clone(),
            state: State::Sending,
            expires_at: now + TTL,
            wrong: 0,
            wrong_by: BTreeMap::new(),
            unit: Some(unit),
            device: own,
            used: None,
            leader: Some(at.call.node),
            was_new,
        });
        at.between.push(self.clone());
        Ok(self.serial)
    }

    fn code(&mut self, serial: u64) -> Option<&mut SentCode> {
        self.codes.iter_mut().find(|code| code.serial == serial)
    }

    /// What became of a message, and what its caller is answered.
    pub(super) fn settle(&mut self, serial: u64, fate: Fate, at: &Moment<'_>) -> Expected {
        let is_new = self.code(serial).is_some_and(|code| code.was_new);
        if at.is_held {
            self.flight = Some((serial, is_new));
            return Expected::Sent { is_new };
        }
        match fate {
            Fate::Accepted => self.accept(serial, at.now()),
            Fate::Lost => self.lose(serial, at.now()),
            Fate::Refused => self.fail(serial, at.now()),
        }
        if fate == Fate::Accepted { Expected::Sent { is_new } } else { Expected::Refused(undelivered()) }
    }

    /// The message that was under way comes to its end.
    pub(in super::super) fn land(&mut self, fate: Fate, at: &Moment<'_>) -> Expected {
        let Some((serial, is_new)) = self.flight.take() else { return Expected::Done };
        match self.settle(serial, fate, at) {
            Expected::Sent { .. } => Expected::Sent { is_new },
            other => other,
        }
    }

    /// Notes what came of the sending; a late answer revives nothing. `None` where the code is gone.
    fn close(&mut self, serial: u64, state: State) -> Option<SentCode> {
        let code = self.code(serial)?;
        code.leader = None;
        if matches!(code.state, State::Sending | State::Unknown) {
            code.state = state;
        }
        Some(code.clone())
    }

    fn accept(&mut self, serial: u64, now: Timestamp) {
        let Some(code) = self.close(serial, State::Live) else { return };
        for other in &mut self.codes {
            let is_alike = (other.number, other.purpose) == (code.number, code.purpose);
            if is_alike && other.serial < serial && other.is_open() {
                other.state = State::Void;
            }
        }
        self.register(code.number, code.purpose, now);
    }

    /// Nobody can say what became of the message: the code is good, and buys no second one.
    pub(super) fn lose(&mut self, serial: u64, now: Timestamp) {
        if let Some(code) = self.close(serial, State::Unknown) {
            self.register(code.number, code.purpose, now);
        }
    }

    fn fail(&mut self, serial: u64, now: Timestamp) {
        let Some(code) = self.close(serial, State::Void) else { return };
        if let Some(unit) = code.unit {
            self.give_back(Whose::Number(code.number), unit, now);
        }
        if let Some((device, unit)) = code.device {
            self.give_back(Whose::Device(device), unit, now);
        }
    }

    fn register(&mut self, number: usize, purpose: For, now: Timestamp) {
        if purpose == For::Login {
            self.user_of(number, now);
        }
    }

    /// Who has a number, registered now if nobody does.
    fn user_of(&mut self, number: usize, now: Timestamp) -> usize {
        self.holder(number).unwrap_or_else(|| {
            self.users.push(Account {
                id: None,
                number: Some(number),
                joined_at: now,
                is_verified: false,
                is_active: true,
                role: "retailer",
                deletes_at: None,
            });
            self.users.len() - 1
        })
    }

    /// The latest codes of a number, newest first.
    fn latest(&self, number: usize, purpose: For) -> Vec<usize> {
        let is_of = |place: &usize| {
            let code = &self.codes[*place];
            (code.number, code.purpose) == (number, purpose)
        };
        (0..self.codes.len()).rev().filter(is_of).collect()
    }

    /// Two at most: the newest, and beside it the newest that was accepted, or else the one before.
    fn live(&self, latest: &[usize], now: Timestamp) -> Vec<usize> {
        let mut alive = latest.iter().copied().filter(|place| self.codes[*place].is_alive(now));
        let newest = alive.next();
        let rest: Vec<_> = alive.collect();
        let accepted = rest.iter().find(|place| self.codes[**place].state == State::Live);
        newest.into_iter().chain(accepted.or(rest.first()).copied()).collect()
    }

    /// Judges a guess; gives the place of the code that was right. A wrong one is counted.
    pub(super) fn guess(
        &mut self,
        (number, purpose, digits): (usize, For, &str),
        device: Option<usize>,
        used: Option<usize>,
        now: Timestamp,
    ) -> Result<usize, AuthError> {
        let whose = device.map_or(Whose::Number(number), Whose::Device);
        let left = self.need(Counted::Failures, whose, now)?;
        let latest = self.latest(number, purpose);
        let mut tried = self.live(&latest, now);
        tried.retain(|place| self.codes[*place].wrong_of(device) < GUESSES);
        tried.extend(used);
        tried.truncate(left);
        let mut right =
            tried.iter().copied().filter(|place| self.codes[*place].digits.as_deref() == Some(digits));
        let first = right.next();
        if let Some(first) = first {
            return Ok(right.chain([first]).find(|place| used == Some(*place)).unwrap_or(first));
        }
        if !tried.is_empty() {
            for place in latest {
                let code = &mut self.codes[place];
                if code.is_alive(now) || tried.contains(&place) {
                    match device {
                        Some(device) => *code.wrong_by.entry(device).or_default() += 1,
                        None => code.wrong += 1,
                    }
                }
            }
            for _ in &tried {
                self.spend(Counted::Failures, whose, now);
                if device.is_some() {
                    self.spend(Counted::Failures, Whose::Number(number), now);
                }
            }
        }
        Err(AuthError::InvalidOtp)
    }

    /// Uses a code up; the others of its number and purpose are void.
    pub(super) fn consume(&mut self, place: usize, used: Use) {
        let (number, purpose) = (self.codes[place].number, self.codes[place].purpose);
        for other in &mut self.codes {
            if (other.number, other.purpose) == (number, purpose) && other.is_open() {
                other.state = State::Void;
            }
        }
        self.codes[place].state = State::Used;
        self.codes[place].used = Some(used);
    }

    pub(super) fn verify(
        &mut self,
        number: usize,
        digits: &str,
        (device, key): (Option<&DeviceId>, u32),
        at: &mut Moment<'_>,
    ) -> Ruled {
        self.complete_due(number, None, at);
        let now = at.now();
        self.gate(Endpoint::Verify, at)?;
        let device = self.device_of(device, number);
        let holder = self.holder(number);
        if holder.is_none() && !self.codes.iter().any(|code| code.number == number && code.is_alive(now)) {
            return Err(AuthError::UserNotFound);
        }
        let repeated = holder.and_then(|user| self.repeatable(user, (number, key), device, at));
        let place = self.guess((number, For::Login, digits), device, repeated.map(|(code, _)| code), now)?;
        if let Some((_, login)) = repeated.filter(|(code, _)| *code == place) {
            let Some(login) = login else { return Err(AuthError::AccountDisabled) };
            let user = self.logins[login].user;
            let device = self.logins[login].device.filter(|device| !self.devices[*device].has_ended);
            let (is_new, is_restored) =
                self.codes[place].used.as_ref().map_or((false, false), |used| used.said);
            return Ok(Expected::LoggedIn { user, login, device, is_new, is_restored });
        }
        let is_barred = holder.is_some_and(|user| !self.users[user].is_active);
        let login = (!is_barred).then_some(self.logins.len());
        let said = holder.map_or((true, false), |user| {
            let known = &self.users[user];
            (!known.is_verified, known.deletes_at.is_some())
        });
        self.consume(place, Use { at: now, login, key: Some(key), said });
        let user = self.user_of(number, now);
        if is_barred {
            return Err(AuthError::AccountDisabled);
        }
        let known = &mut self.users[user];
        (known.is_verified, known.deletes_at) = (true, None);
        let device = self.keep_device(user, device, at.times.wall);
        self.waiting.remove(&user);
        self.forget_others(user, number);
        let login = self.log_in(user, device, at);
        let (device, (is_new, is_restored)) = (Some(device), said);
        Ok(Expected::LoggedIn { user, login, device, is_new, is_restored })
    }

    /// The code of the login that a call with this key repeats, and its session unless that ended with its user's deactivation.
    fn repeatable(
        &self,
        user: usize,
        (number, key): (usize, u32),
        device: Option<usize>,
        at: &Moment<'_>,
    ) -> Option<(usize, Option<usize>)> {
        for place in self.latest(number, For::Login) {
            let code = &self.codes[place];
            let Some(Use { at: given_at, login: Some(login), key: Some(of), .. }) = &code.used else {
                continue;
            };
            if *of != key || at.now() >= *given_at + REPEATABLE {
                continue;
            }
            let session = &self.logins[*login];
            if code.wrong_of(device) >= GUESSES || session.user != user {
                return None;
            }
            if self.is_live(*login, at) {
                return (session.generation == 0).then_some((place, Some(*login)));
            }
            return (self.is_deactivated(*login, at) && !self.users[user].is_active).then_some((place, None));
        }
        None
    }
}
