//! Devices on which somebody has logged in. A call that brings the token of one is judged by that device's own quotas, so that
//! strangers who spend those of the number lock nobody out; what a device spends counts for the number, too.

use super::audited::AuditedTx;
use super::quota::Subject;
use super::{Auth, Origin};
use crate::domain::clock::Times;
use crate::domain::keys::KeyRing;
use crate::domain::{Challenge, Device, DeviceId, PhoneNumber, Secret, Session, Timestamp, User, UserId};
use crate::random;
use crate::storage::{Locks, StoreResult, View};
use crate::tokens::DeviceClaims;

impl Auth {
    /// What the token of a device says that came with a call; nothing where it is not good.
    pub(super) fn device_claims(&self, token: Option<&Secret>, wall: Timestamp) -> Option<DeviceClaims> {
        self.settings().devices.read(token?, wall)
    }

    /// The device that a call with this token comes from, if it is live and its user has the number.
    pub(super) async fn calling_device(
        &self,
        token: Option<&Secret>,
        phone: &PhoneNumber,
        times: &Times,
    ) -> StoreResult<Option<Device>> {
        let Some(claims) = self.device_claims(token, times.wall) else { return Ok(None) };
        let (phone, at) = (phone.clone(), times.earlier());
        let read = self.parts.store.read(move |view| {
            let user = view.user_by_phone(&phone)?;
            find(view, Some(&claims), user.as_ref(), at)
        });
        read.await
    }

    /// The token of a device, for the answer.
    pub(super) fn device_token(&self, device: &Device) -> Option<Secret> {
        self.settings().devices.sign(device)
    }

    /// The token of a refreshed session's device, where the app cannot have it: the session gets one if it never had one, and
    /// one that the refresh gave whose answer is repeated comes again.
    pub(super) async fn token_for_refreshed(
        &self,
        session: &Session,
        is_repeated: bool,
        origin: &Origin,
        times: Times,
    ) -> Option<Secret> {
        let device = match &session.device_id {
            None => self.give_device(session, origin, times).await,
            Some(id) if is_repeated => {
                let (id, issued_at) = (id.clone(), session.issued_at);
                let device = self.parts.store.read(move |view| view.device(&id)).await;
                device.map(|device| device.filter(|device| device.issued_at == issued_at))
            }
            Some(_) => return None,
        };
        match device {
            Ok(device) => self.device_token(&device?),
            Err(error) => {
                tracing::debug!(%error, "a session got no device; its next refresh tries again");
                None
            }
        }
    }

    async fn give_device(
        &self,
        session: &Session,
        origin: &Origin,
        times: Times,
    ) -> StoreResult<Option<Device>> {
        let (id, new) = (session.id.clone(), random::device_id(&*self.parts.random, times.now));
        let most = self.policy().max_devices;
        let locks = Locks::none().user(session.user);
        let given = self.write(locks, origin.actor(times.now), move |tx| {
            let Some(session) = tx.session(&id)?.filter(|session| session.is_live(times.earlier())) else {
                return Ok(None);
            };
            // Another refresh may have been faster.
            if let Some(device) = &session.device_id {
                return tx.device(device);
            }
            let mut device = Device::new(new.clone(), session.user, times.wall);
            // As at a login: what a test number has opened ends with it.
            let user = tx.user(session.user)?;
            let phone = user.as_ref().and_then(|user| user.phone.as_ref());
            if let Some(number) = phone.map(|phone| tx.test_number(phone)).transpose()?.flatten() {
                device = device.bounded(number.until);
            }
            keep(tx, &device, most)?;
            tx.update_session(&mut Session { device_id: Some(device.id.clone()), ..session })?;
            Ok(Some(device))
        });
        given.await
    }
}

/// The device of these claims, if it is live at `at` and `user`'s.
pub(super) fn find(
    view: &dyn View,
    claims: Option<&DeviceClaims>,
    user: Option<&User>,
    at: Timestamp,
) -> StoreResult<Option<Device>> {
    let (Some(claims), Some(user)) = (claims, user) else { return Ok(None) };
    Ok(view.device(&claims.device)?.filter(|device| device.user == user.id && device.is_live(at)))
}

/// Keeps a device, new or renewed, and ends those of its user that are too many with it.
pub(super) fn keep(tx: &mut AuditedTx<'_>, device: &Device, most: usize) -> StoreResult<()> {
    let mut others = tx.devices_of(device.user)?;
    others.retain(|other| other.id != device.id);
    let surplus = (others.len() + 1).saturating_sub(most);
    for oldest in others.into_iter().take(surplus) {
        tx.delete_device(&oldest.id)?;
    }
    tx.keep_device(device)
}

/// Ends the devices of a user, save one.
pub(super) fn end_all(tx: &mut AuditedTx<'_>, user: UserId, spared: Option<&DeviceId>) -> StoreResult<()> {
    for device in tx.devices_of(user)? {
        if spared != Some(&device.id) {
            tx.delete_device(&device.id)?;
        }
    }
    Ok(())
}

/// Whose quotas judge a call: a device's own, or else those of the phone.
pub(super) fn subject<'p>(device: Option<&Device>, phone: &'p PhoneNumber, keys: &KeyRing) -> Subject<'p> {
    device.map_or_else(|| Subject::phone(phone, keys), |device| Subject::device(&device.id))
}

/// How many wrong guesses a challenge has taken from the side of the caller: from that device, or from whoever has none.
pub(super) fn guesses(view: &dyn View, challenge: &Challenge, device: Option<&Device>) -> StoreResult<u32> {
    match device {
        Some(device) => view.device_guesses(challenge.id, &device.id),
        None => Ok(challenge.attempts),
    }
}
