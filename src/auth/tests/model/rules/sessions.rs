//! Sessions and devices.

use std::time::Duration;

use super::{DAY, Ended, Expected, Login, Model, Moment, Phone, Ruled};
use crate::auth::AuthError;
use crate::auth::tests::model::acts::Token;
use crate::domain::{DeviceId, SessionId, Timestamp};

const GRACE: Duration = Duration::from_mins(1);
const REFRESH: Duration = Duration::from_hours(30 * 24);
const MOST: usize = 3;

/// Addresses of one network; the others are in another.
const NEIGHBOURS: usize = 2;

impl Model {
    pub(super) fn is_live(&self, login: usize, at: &Moment<'_>) -> bool {
        let login = &self.logins[login];
        login.ended.is_none() && at.times.earlier() < login.refresh_until
    }

    pub(super) fn is_deactivated(&self, login: usize, at: &Moment<'_>) -> bool {
        let login = &self.logins[login];
        login.ended == Some(Ended::Deactivated) && at.times.earlier() < login.refresh_until
    }

    /// The session of a token, if it and its user are there.
    fn login_of(&self, token: &Token) -> Result<usize, AuthError> {
        let place = self.logins.iter().position(|login| login.id.as_ref() == Some(&token.session));
        place
            .filter(|place| self.users[self.logins[*place].user].number.is_some())
            .ok_or(AuthError::TokenInvalid)
    }

    /// The user of an access token; its generation counts as used.
    pub(super) fn bearer(&mut self, token: &Token, at: &mut Moment<'_>) -> Result<usize, AuthError> {
        if at.times.wall.as_secs() >= token.expires_at.as_secs() {
            return Err(AuthError::TokenExpired);
        }
        let place = self.login_of(token)?;
        let user = self.logins[place].user;
        if self.is_live(place, at) {
            let login = &mut self.logins[place];
            if login.generation == token.generation && !login.is_used {
                login.is_used = true;
                // The answer does not wait for that write.
                at.between.push(self.clone());
            }
            return Ok(user);
        }
        if self.is_deactivated(place, at) && !self.users[user].is_active {
            return Ok(user);
        }
        Err(AuthError::TokenInvalid)
    }

    /// The live session of a refresh token.
    fn refreshable(&self, token: &Token, at: &Moment<'_>) -> Result<usize, AuthError> {
        if at.times.wall.as_secs() >= token.expires_at.as_secs() {
            let doubt = at.times.doubt.map(AuthError::ClockInDoubt);
            return Err(doubt.unwrap_or(AuthError::TokenExpired));
        }
        let place = self.login_of(token)?;
        if self.is_live(place, at) {
            return Ok(place);
        }
        let is_disabled = self.is_deactivated(place, at) && !self.users[self.logins[place].user].is_active;
        Err(if is_disabled { AuthError::AccountDisabled } else { AuthError::TokenInvalid })
    }

    pub(super) fn refresh(&mut self, token: &Token, at: &mut Moment<'_>) -> Ruled {
        let place = self.refreshable(token, at)?;
        let (now, wall, address) = (at.now(), at.times.wall, at.call.address);
        let login = &mut self.logins[place];
        let is_elsewhere = (login.address < NEIGHBOURS) != (address < NEIGHBOURS);
        let is_repeated = token.generation < login.generation;
        if is_repeated {
            let is_prompt =
                login.rotated.get(&token.generation).is_some_and(|rotated| now < *rotated + GRACE);
            let is_previous = token.generation + 1 == login.generation;
            if !is_prompt && (!is_previous || login.is_used) {
                return self.end_reused(place);
            }
            if !is_prompt && is_elsewhere {
                if login.repeated_elsewhere.is_some_and(|before| before + 1 == login.generation) {
                    return self.end_reused(place);
                }
                login.repeated_elsewhere = Some(login.generation);
            }
        } else {
            login.rotated.insert(login.generation, now);
            login.generation += 1;
            (login.is_used, login.issued_at, login.address) = (false, wall, address);
            login.refresh_until = (wall + REFRESH).min(login.expires_at);
        }
        at.between.push(self.clone());
        let login = &self.logins[place];
        let device = match login.device {
            None => {
                let device = self.keep_device(login.user, None, wall);
                self.logins[place].device = Some(device);
                Some(device)
            }
            Some(device) => {
                let known = &self.devices[device];
                (is_repeated && !known.has_ended && known.issued_at == login.issued_at).then_some(device)
            }
        };
        Ok(Expected::Refreshed { login: place, device })
    }

    fn end_reused(&mut self, place: usize) -> Ruled {
        self.revoke(place);
        Err(AuthError::TokenReused)
    }

    /// Ends a session that may be a thief's, and the change of number that it asked for.
    fn revoke(&mut self, place: usize) {
        self.logins[place].ended = Some(Ended::Otherwise);
        self.waiting.retain(|_, waiting| waiting.login != place);
    }

    pub(super) fn live_of(&self, user: usize, now: Timestamp) -> Vec<usize> {
        let is_live = |place: &usize| {
            let login = &self.logins[*place];
            login.user == user && login.ended.is_none() && now < login.refresh_until
        };
        (0..self.logins.len()).filter(is_live).collect()
    }

    pub(super) fn end_logins(&mut self, user: usize, how: Ended, now: Timestamp) {
        for place in self.live_of(user, now) {
            self.logins[place].ended = Some(how);
        }
    }

    /// Ends the sessions of a user, and what they have asked for.
    pub(super) fn revoke_logins(&mut self, user: usize, now: Timestamp) {
        for place in self.live_of(user, now) {
            self.revoke(place);
        }
    }

    /// What else a refresh may give beside another at the same moment: the device that a session lacked `before` both is given by a
    /// write of its own, which each of them finds to be missing.
    pub(in super::super) fn refreshed_beside(&self, expected: &Expected, before: &Self) -> Option<Expected> {
        match *expected {
            Expected::Refreshed { login, device: None } if before.logins.get(login)?.device.is_none() => {
                Some(Expected::Refreshed { login, device: self.logins[login].device })
            }
            _ => None,
        }
    }

    pub(super) fn log_in(&mut self, user: usize, device: usize, at: &Moment<'_>) -> usize {
        let (now, wall) = (at.times.earlier(), at.times.wall);
        let live = self.live_of(user, now);
        for place in live.iter().take((live.len() + 1).saturating_sub(MOST)) {
            self.logins[*place].ended = Some(Ended::Otherwise);
        }
        self.logins.push(Login {
            id: None,
            user,
            generation: 0,
            is_used: false,
            issued_at: wall,
            refresh_until: wall + REFRESH,
            expires_at: wall + 365 * DAY,
            ended: None,
            rotated: std::collections::BTreeMap::new(),
            address: at.call.address,
            repeated_elsewhere: None,
            device: Some(device),
        });
        self.logins.len() - 1
    }

    pub(super) fn log_out(&mut self, token: &Token, at: &Moment<'_>) -> Ruled {
        let place = self.refreshable(token, at).map_err(|error| match error {
            AuthError::ClockInDoubt(_) => AuthError::TokenExpired,
            error => error,
        })?;
        self.logins[place].ended = Some(Ended::Otherwise);
        Ok(Expected::Done)
    }

    pub(super) fn log_out_everywhere(
        &mut self,
        access: &Token,
        device: Option<&DeviceId>,
        at: &mut Moment<'_>,
    ) -> Ruled {
        let user = self.bearer(access, at)?;
        let known = self.users[user].number.and_then(|number| self.device_of(device, number));
        if known.is_some() {
            self.end_devices(user, known);
        }
        self.revoke_logins(user, at.times.earlier());
        Ok(Expected::Done)
    }

    pub(super) fn end_session(&mut self, access: &Token, session: &SessionId, at: &mut Moment<'_>) -> Ruled {
        let user = self.bearer(access, at)?;
        let place =
            self.logins.iter().position(|login| login.id.as_ref() == Some(session) && login.user == user);
        let place = place.filter(|place| self.is_live(*place, at)).ok_or(AuthError::SessionNotFound)?;
        self.revoke(place);
        Ok(Expected::Done)
    }

    /// The devices of a user, the one whose login is the longest ago at the front.
    pub(super) fn devices_of(&self, user: usize) -> Vec<usize> {
        let mut own: Vec<_> = (0..self.devices.len())
            .filter(|place| self.devices[*place].user == user && !self.devices[*place].has_ended)
            .collect();
        own.sort_by_key(|place| self.devices[*place].issued_at);
        own
    }

    /// Renews the device that a login comes from, or begins one; the oldest that are too many end.
    pub(super) fn keep_device(&mut self, user: usize, device: Option<usize>, wall: Timestamp) -> usize {
        let mut others = self.devices_of(user);
        others.retain(|other| Some(*other) != device);
        let surplus = (others.len() + 1).saturating_sub(MOST);
        for oldest in others.into_iter().take(surplus) {
            self.devices[oldest].has_ended = true;
        }
        if let Some(device) = device {
            self.devices[device].issued_at = wall;
            return device;
        }
        self.devices.push(Phone { id: None, user, issued_at: wall, has_ended: false });
        self.devices.len() - 1
    }

    pub(super) fn end_devices(&mut self, user: usize, spared: Option<usize>) {
        for device in self.devices_of(user) {
            self.devices[device].has_ended |= Some(device) != spared;
        }
    }
}
