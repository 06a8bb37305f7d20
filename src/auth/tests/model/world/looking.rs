//! Holds the models against the database.

use super::super::super::*;
use super::super::acts::{Act, Call};
use super::super::rules::{DAY, Seen, SeenUser, State};
use super::noting::thin;
use super::{Checked, NUMBERS, World};
use crate::domain::quota::Quota;
use crate::domain::{ChallengeState, Timestamp};

impl World {
    /// Keeps the models that agree with what is in the database.
    pub(super) fn look(&mut self) -> Checked {
        let node = &self.nodes[0];
        let phones: Vec<_> = (0..NUMBERS).map(|number| self.people.phone(number)).collect();
        let (at, keys) = (node.clock.read(), node.means.keys.clone());
        let read = node.store.read(move |view| {
            phones
                .iter()
                .map(|phone| see(view, phone, &phones, (at.now, &keys)))
                .collect::<StoreResult<Vec<_>>>()
        });
        let seen = node.runtime().block_on(read).unwrap();
        let call = Call { act: Act::Maintain, address: 0, node: 0 };
        let mut after = self.models.clone();
        after.retain_mut(|model| model.agrees(&seen, &self.moment(&call, None)));
        thin(&mut after);
        if after.is_empty() {
            let first = self.models.first();
            return Err(format!("the database has\n{seen:#?}\nwhere it must be so:\n{first:#?}"));
        }
        self.models = after;
        Ok(())
    }
}

fn see(
    view: &dyn View,
    phone: &PhoneNumber,
    phones: &[PhoneNumber],
    (now, keys): (Timestamp, &KeyRing),
) -> StoreResult<Seen> {
    let erased: Vec<_> = keys.all().map(|keys| keys.erased_subject(phone)).collect();
    let subjects: Vec<_> = std::iter::once(phone.as_str()).chain(erased.iter().map(String::as_str)).collect();
    let units = |quota| view.spends(quota, &subjects, now - DAY);
    let codes = view.challenges(Mode::Production, phone, Purpose::Login, 32)?;
    let alive = codes.iter().filter(|code| code.is_alive(now));
    let mut seen = Seen {
        user: None,
        codes: units(Quota::User(Mode::Production))?,
        failures: units(Quota::Failures(Mode::Production))?,
        alive: alive.map(|code| (state(code.state), code.attempts)).collect(),
    };
    if let Some(user) = view.user_by_phone(phone)? {
        let waiting = view.phone_change(user.id)?.map(|change| {
            let number = phones.iter().position(|phone| *phone == change.phone).unwrap();
            (number, change.effective_at, change.wrong_cancels)
        });
        let logins = view.live_sessions(user.id, now)?;
        seen.user = Some(SeenUser {
            id: user.id,
            is_verified: user.phone_verified,
            is_active: user.is_active,
            role: user.role,
            deletes_at: user.deletes_at,
            logins: logins
                .into_iter()
                .map(|login| (login.id, login.generation, login.generation_used))
                .collect(),
            devices: view.devices_of(user.id)?.into_iter().map(|device| device.id).collect(),
            waiting,
        });
    }
    Ok(seen)
}

const fn state(state: ChallengeState) -> State {
    match state {
        ChallengeState::Sending => State::Sending,
        ChallengeState::Live => State::Live,
        ChallengeState::Unknown => State::Unknown,
        ChallengeState::Used => State::Used,
        ChallengeState::Void => State::Void,
    }
}
