//! What people do next who know what they want: steps whose token, number and codes belong together, and whose moment is the one at
//! which something ends.

use std::time::Duration;

use super::super::acts::{Act, Fate, Token};
use super::super::rules::{For, Model, SentCode};
use super::{NUMBERS, Raw, World, at};
use crate::clock::Clock as _;
use crate::domain::DeviceId;
use crate::domain::clock::Times;

impl World {
    /// The next of the calls that a change of number takes, at once or later, and of what may become of one that waits.
    pub(super) fn towards_change(&self, raw: &Raw) -> Option<Act> {
        let (model, times) = self.known()?;
        let waiting = model.waiting.keys().filter_map(|user| model.users[*user].number).collect::<Vec<_>>();
        if !waiting.is_empty() && raw.third.is_multiple_of(2) {
            return Some(self.towards_login(waiting[at(raw.second, waiting.len())], raw));
        }
        for (code, digits) in self.codes() {
            let For::Change(user) = code.purpose else { continue };
            let (Some(access), Some(own)) = (self.access_of(user, &times), model.users[user].number) else {
                continue;
            };
            if self.sessions_of(user) < 2 && raw.third.is_multiple_of(2) {
                return Some(self.towards_login(own, raw));
            }
            let current = self.codes_of(own).first().map(|(_, current)| current.clone());
            return Some(match (current, raw.second % 4) {
                (None, 1 | 2) => self.request(own, raw),
                (current, 0 | 1) => Act::Prove { access, number: code.number, new: digits, current },
                (_, _) => Act::Prove { access, number: code.number, new: digits, current: None },
            });
        }
        // What ends the other sessions is the more telling the more there are.
        let users = (0..model.users.len()).filter(|user| model.users[*user].number.is_some());
        let able = users.filter_map(|user| Some((self.access_of(user, &times)?, self.sessions_of(user))));
        let Some((access, _)) = able.max_by_key(|(_, sessions)| *sessions) else {
            return Some(self.towards_login(at(raw.first, NUMBERS), raw));
        };
        let is_free = |number: &usize| {
            let holder = model.users.iter().find(|user| user.number == Some(*number));
            holder.is_none_or(|user| !user.is_verified && user.is_active)
        };
        let free = (0..NUMBERS).filter(is_free).collect::<Vec<_>>();
        let number = free.get(at(raw.first, free.len().max(1))).copied().unwrap_or(at(raw.first, NUMBERS));
        Some(Act::AskChange { access, number, fate: Fate::Accepted })
    }

    /// The next of the calls that a deletion takes.
    pub(super) fn towards_deletion(&self, raw: &Raw) -> Option<Act> {
        let (model, times) = self.known()?;
        let number = at(raw.first, NUMBERS);
        let user = model.users.iter().position(|user| user.number == Some(number));
        let Some(access) = user.and_then(|user| self.access_of(user, &times)) else {
            return Some(self.towards_login(number, raw));
        };
        Some(match self.codes_of(number).first() {
            Some((_, digits)) => {
                Act::Delete { access, digits: digits.clone(), device: self.device(raw.second) }
            }
            None => self.request(number, raw),
        })
    }

    /// The next of the calls that bring a number's day to its last guess while two codes are good, and that guess.
    pub(super) fn towards_last_guess(&self, raw: &Raw) -> Option<Act> {
        let (model, times) = self.known()?;
        let left = |number: usize| model.guesses_left(number, times.now);
        let by_need = |number: &usize| (self.codes_of(*number).len().min(2), usize::MAX - left(*number));
        let number = (0..NUMBERS).filter(|number| left(*number) > 0).max_by_key(by_need)?;
        let codes = self.codes_of(number);
        let give = |digits| Act::Verify { number, digits, device: None, key: raw.third };
        Some(match (codes.as_slice(), raw.third % 4) {
            ([], _) => self.request(number, raw),
            // The one before it stays good beside a message of which nobody can say what became of it.
            ([_], _) => Act::Request { number, device: None, fate: Fate::Lost },
            ([.., (_, older)], 0) => give(older.clone()),
            ([.., (_, older)], _) if left(number) == 1 => give(older.clone()),
            _ => {
                let device = raw.second.is_multiple_of(3).then(|| self.device_at(number)).flatten();
                Act::Verify { number, digits: self.wrong(number, raw.third), device, key: raw.third }
            }
        })
    }

    /// A wrong guess at the code whose message is under way; once it has one, a server ends.
    pub(super) fn while_under_way(&self, raw: &Raw) -> Option<Act> {
        let (model, _) = self.known()?;
        let (serial, _) = model.flight?;
        let code = model.codes.iter().find(|code| code.serial == serial && code.wrong == 0)?;
        let digits = self.wrong(code.number, raw.third);
        Some(Act::Verify { number: code.number, digits, device: None, key: raw.third })
    }

    /// How long it is until something ends, and what is done in that moment or just before it.
    pub(super) fn last_moment(&self, raw: &Raw) -> Option<(Duration, Act)> {
        if self.flight.is_some() || !raw.waits() {
            return None;
        }
        let (model, times) = self.known()?;
        let mut moments = Vec::new();
        for (code, digits) in self.codes() {
            let number = code.number;
            let act = match code.purpose {
                For::Login => Act::Verify { number, digits, device: self.device(raw.second), key: raw.third },
                For::Change(user) => {
                    let Some(access) = self.access_of(user, &times) else { continue };
                    Act::Prove { access, number, new: digits, current: None }
                }
            };
            moments.push((times.now.until(code.expires_at), act));
        }
        for (user, waiting) in &model.waiting {
            let Some(own) = model.users[*user].number else { continue };
            let digits = waiting.cancel.clone().unwrap_or_else(|| self.wrong(own, raw.third));
            let act = match raw.third % 4 {
                0 => Act::CancelByCode { number: own, digits },
                1 => self.request(own, raw),
                2 => self.request(waiting.number, raw),
                _ => Act::Maintain,
            };
            moments.push((times.retention.until(waiting.at), act));
        }
        if moments.is_empty() {
            return None;
        }
        let (until, act) = moments.swap_remove(at(raw.first, moments.len()));
        let before = Duration::from_millis(u64::from(raw.second.is_multiple_of(3)));
        Some((until.saturating_sub(before), act))
    }

    /// The next of the calls that a login takes.
    fn towards_login(&self, number: usize, raw: &Raw) -> Act {
        match self.codes_of(number).first() {
            Some((_, digits)) => Act::Verify {
                number,
                digits: digits.clone(),
                device: self.device(raw.second),
                key: raw.third,
            },
            None => self.request(number, raw),
        }
    }

    fn request(&self, number: usize, raw: &Raw) -> Act {
        Act::Request { number, device: self.device(raw.second), fate: Fate::Accepted }
    }

    /// What is so, as far as it is known, and when.
    fn known(&self) -> Option<(&Model, Times)> {
        Some((self.models.first()?, self.nodes[0].clock.read()))
    }

    /// The codes that can be given now, newest first.
    fn codes(&self) -> impl Iterator<Item = (&SentCode, String)> {
        let known = self.known();
        let codes = known
            .into_iter()
            .flat_map(|(model, times)| model.codes.iter().rev().filter(move |code| code.is_alive(times.now)));
        codes.filter_map(|code| Some((code, code.digits.clone()?)))
    }

    /// Those of them that log in with a number.
    fn codes_of(&self, number: usize) -> Vec<(&SentCode, String)> {
        self.codes().filter(|(code, _)| (code.number, code.purpose) == (number, For::Login)).collect()
    }

    /// A device of whoever has a number, and has its token.
    fn device_at(&self, number: usize) -> Option<DeviceId> {
        let model = self.models.first()?;
        let is_own = |user: usize| model.users[user].number == Some(number);
        let devices = model.devices.iter().rev().filter(|device| !device.has_ended && is_own(device.user));
        devices.filter_map(|device| device.id.clone()).find(|id| self.people.devices.contains_key(id))
    }

    /// How many sessions a user has.
    fn sessions_of(&self, user: usize) -> usize {
        let logins = self.models.first().map_or(&[][..], |model| &model.logins);
        logins.iter().filter(|login| login.user == user && login.ended.is_none()).count()
    }

    /// The latest good access token of a user.
    fn access_of(&self, user: usize, times: &Times) -> Option<Token> {
        let model = self.models.first()?;
        let is_good = |token: &&Token| {
            let of = |id| model.logins.iter().find(|login| login.id.as_ref() == Some(id));
            token.expires_at > times.wall
                && of(&token.session).is_some_and(|login| login.user == user && login.ended.is_none())
        };
        self.accesses.iter().rev().find(is_good).cloned()
    }
}
