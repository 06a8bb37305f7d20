//! Changes of number: whom they concern, what they change, and those that wait: done when they are due, or taken back.

use std::sync::Arc;

use super::audited::AuditedTx;
use super::ending::end;
use super::error::{FlowError, commit_refusal};
use super::gate::Call;
use super::lookup::good_test_number;
use super::quota::WithQuotas;
use super::renumber::renumber;
use super::settings::Settings;
use super::{Auth, AuthError, Authenticated, Origin, happened};
use crate::domain::audit::{Actor, AuditDetail, AuditEvent, LoginFailure};
use crate::domain::clock::Times;
use crate::domain::keys::KeyRing;
use crate::domain::phone_change::Cancelled;
use crate::domain::policy::Policy;
use crate::domain::quota::Endpoint;
use crate::domain::session::EndReason;
use crate::domain::{Code, Mode, PhoneChange, PhoneNumber, Session, SessionId, Timestamp, User, UserId};
use crate::storage::{Locks, StoreError, StoreResult, View};

/// How often a write begins again because a number got another user before it was locked.
pub(super) const TRIES: usize = 5;

/// How many changes are read at once.
const SLICE: usize = 200;

/// A call that takes a change of number back with its cancel code, parsed.
#[derive(Clone, Debug)]
pub struct CancelRequest {
    /// The number before, which was sent the code.
    pub phone: PhoneNumber,
    /// The code; `None` where what was given can be none.
    pub code: Option<Code>,
    /// Where it came from.
    pub origin: Origin,
}

/// Whom a change to a number concerns. Read before the write, because their locks are declared before it.
#[derive(Clone)]
pub(super) struct Parties {
    /// Whose number changes.
    pub(super) user: User,
    /// The number before.
    pub(super) before: PhoneNumber,
    /// The new number, as its user will be found by it.
    phone: PhoneNumber,
    /// Who has that number.
    holder: Option<UserId>,
}

/// The changes of number that wait and that one number is part of: those to it, and that of the user who has it.
pub(super) struct WaitingChanges(Vec<PhoneChange>);

/// A change of number while it is carried out.
pub(super) struct Renumbering<'a> {
    pub(super) phone: &'a PhoneNumber,
    /// The session that asked for it, and outlives it.
    pub(super) spared: Option<&'a SessionId>,
    /// When sessions must be live to end by it.
    pub(super) live_at: Timestamp,
    pub(super) keys: &'a KeyRing,
}

impl Parties {
    /// Reads them; none without such a user, or where the user's number has gone to somebody else.
    pub(super) fn read(view: &dyn View, user: UserId, phone: &PhoneNumber) -> StoreResult<Option<Self>> {
        let Some(user) = view.user(user)? else { return Ok(None) };
        let Some(before) = user.phone.clone() else { return Ok(None) };
        let holder = view.user_by_phone(phone)?.map(|holder| holder.id);
        Ok(Some(Self { user, before, phone: phone.clone(), holder }))
    }

    /// The locks of a write that changes the number.
    pub(super) fn locks(&self) -> Locks {
        let locks = Locks::none().test_numbers().phones([&self.before, &self.phone]);
        locks.user(self.user.id).users(self.holder.as_ref())
    }

    /// The user as it is under the locks; none where these are no longer the right ones.
    pub(super) fn locked(&self, view: &dyn View) -> StoreResult<Option<User>> {
        let now = Self::read(view, self.user.id, &self.phone)?;
        let now = now.filter(|now| now.before == self.before && now.holder == self.holder);
        Ok(now.map(|now| now.user))
    }
}

impl Renumbering<'_> {
    /// Whether nobody can be given the number: somebody has proven it, or it is a test number, whose code would log in whoever
    /// had it.
    pub(super) fn is_taken(&self, tx: &AuditedTx<'_>) -> StoreResult<bool> {
        if good_test_number(&**tx, Mode::Production, self.phone, tx.at())?.is_some() {
            return Ok(true);
        }
        let Some(holder) = tx.user_by_phone(self.phone)? else { return Ok(false) };
        Ok(!tx.registration(holder.id)?.is_some_and(|registration| registration.makes_way()))
    }

    /// Gives the number, which is not taken, to a user who has proven it; all sessions end but the one that asked.
    pub(super) fn carry_out(&self, tx: &mut AuditedTx<'_>, user: &User) -> StoreResult<User> {
        if let Some(holder) = tx.user_by_phone(self.phone)? {
            tx.delete_user(holder.id)?;
            happened::deleted(tx, &holder)?;
        }
        cancel_others(tx, user.id, self.phone)?;
        // A foreign token that asked has no session that could be spared.
        let has_foreign_tokens = user.has_foreign_tokens && self.spared.is_none();
        let proven =
            User { phone_verified: true, is_testing_only: false, has_foreign_tokens, ..user.clone() };
        let changed = renumber(tx, &proven, self.phone, self.keys)?;
        self.record(tx, AuditEvent::PhoneChanged, user);
        if user.has_foreign_tokens != has_foreign_tokens {
            let line = tx.did(AuditEvent::TokenRevoked).user(user.id);
            tx.record(line.detail(AuditDetail::ForeignTokens));
        }
        for session in tx.live_sessions(user.id, self.live_at)? {
            if self.spared == Some(&session.id) {
                // Its device has ended with the number before; the next refresh brings one.
                tx.update_session(&mut Session { device_id: None, ..session })?;
            } else {
                end(tx, session, EndReason::PhoneChanged)?;
            }
        }
        Ok(changed)
    }

    /// Writes a line for each of the two numbers.
    pub(super) fn record(&self, tx: &mut AuditedTx<'_>, event: AuditEvent, user: &User) {
        let before = user.phone.iter().map(|phone| (phone, AuditDetail::OldPhone));
        for (phone, detail) in before.chain([(self.phone, AuditDetail::NewPhone)]) {
            let hash = self.keys.current().audit_hash(phone);
            let actor = Arc::new(Actor::clone(tx.actor()).with_phone(phone, hash));
            tx.record(actor.did(event).user(user.id).detail(detail));
        }
    }
}

/// Ends the change of a user that waits; false where none does.
pub(super) fn cancel(tx: &mut AuditedTx<'_>, user: UserId, why: Cancelled) -> StoreResult<bool> {
    let is_cancelled = tx.delete_phone_change(user, None)?;
    if is_cancelled {
        let line = tx.did(AuditEvent::PhoneChangeCancelled).user(user);
        tx.record(line.detail(AuditDetail::PhoneChangeCancelled(why)));
    }
    Ok(is_cancelled)
}

/// Ends the change of anybody else to a number that `user` has proven.
pub(super) fn cancel_others(tx: &mut AuditedTx<'_>, user: UserId, phone: &PhoneNumber) -> StoreResult<()> {
    match tx.phone_change_to(phone)? {
        Some(other) if other.user != user => give_way(tx, &other),
        _ => Ok(()),
    }
}

/// Ends a change to a number that somebody else has proven. Its user's line says nothing of who did.
fn give_way(tx: &mut AuditedTx<'_>, change: &PhoneChange) -> StoreResult<()> {
    // Its user is not locked, and may want another number by now.
    if tx.delete_phone_change(change.user, Some(&change.phone))? {
        let actor = Arc::new(Actor::system(tx.at()).in_mode(Mode::Production));
        let line = actor.did(AuditEvent::PhoneChangeCancelled).user(change.user);
        tx.record(line.detail(AuditDetail::PhoneChangeCancelled(Cancelled::NumberTaken)));
    }
    Ok(())
}

impl WaitingChanges {
    /// Reads them.
    pub(super) fn about(view: &dyn View, phone: &PhoneNumber) -> StoreResult<Self> {
        view.phone_changes_about(phone).map(Self)
    }

    /// Those that are due at `at`, and those of the number in another spelling.
    pub(super) fn due(
        &self,
        view: &dyn View,
        phone: &PhoneNumber,
        at: Timestamp,
        policy: &Policy,
    ) -> StoreResult<Vec<PhoneChange>> {
        let mut due: Vec<_> = self.0.iter().filter(|change| change.is_due(at)).cloned().collect();
        if policy.phones.strict {
            // One that was asked for before that may spell the number otherwise.
            let mut others = view.phone_changes_due(at, None, SLICE)?;
            others.retain(|change| policy.phones.spelling(&change.phone).as_ref() == Some(phone));
            due.append(&mut others);
        }
        Ok(due)
    }

    /// Ends what a login with the number ends: the user's own, and that of anybody else to the number.
    pub(super) fn end_at_login(
        &self,
        tx: &mut AuditedTx<'_>,
        user: UserId,
        phone: &PhoneNumber,
    ) -> StoreResult<()> {
        for change in &self.0 {
            if change.user == user {
                cancel(tx, user, Cancelled::Login)?;
            } else if change.phone == *phone {
                give_way(tx, change)?;
            }
        }
        Ok(())
    }
}

impl Auth {
    /// Takes back the change of the bearer that waits.
    ///
    /// # Errors
    /// [`AuthError::NoPhoneChange`] where none does.
    pub async fn keep_phone(
        self: &Arc<Self>,
        bearer: &Authenticated,
        origin: Origin,
    ) -> Result<(), AuthError> {
        let (auth, user, times) = (self.clone(), bearer.user.clone(), self.parts.clock.read());
        let phone = bearer.phone()?.clone();
        let flow = async move {
            auth.complete_due(Some(user.id), &phone, &times).await?;
            let actor = auth.actor(times.now, Mode::Production, &phone, &origin);
            let locks = Locks::none().user(user.id);
            let cancelled = auth.write(locks, actor, move |tx| cancel(tx, user.id, Cancelled::Bearer));
            if cancelled.await? { Ok(()) } else { Err(AuthError::NoPhoneChange) }
        };
        self.run(flow).await?
    }

    /// Takes a change back with the code that the number before was sent.
    pub async fn cancel_phone_change(self: &Arc<Self>, mut request: CancelRequest) -> WithQuotas<()> {
        let times = self.parts.clock.read();
        let Some(code) = request.code.take() else {
            let CancelRequest { phone, origin, .. } = request;
            let noted = self.run(self.clone().note_part(Mode::Production, phone, origin, times.now)).await;
            return WithQuotas::none(Err(noted.map_or_else(|died| died, |()| AuthError::NotACode)));
        };
        let CancelRequest { phone, origin, .. } = request;
        let call = Call {
            mode: Mode::Production,
            endpoint: Endpoint::PhoneCancel,
            address: origin.address,
            now: times.now,
        };
        let flow = |auth: Arc<Self>, gate: Arc<super::gate::AddressGate>| async move {
            if let Err(error) = auth.complete_due(None, &phone, &times).await {
                return WithQuotas::none(Err(error.into()));
            }
            let actor = auth.actor(times.now, Mode::Production, &phone, &origin);
            let (locks, keys) = (gate.locks().user_of(&phone), auth.settings().keys.clone());
            let written = auth.write(locks, actor, move |tx| {
                let mut address = None;
                let spent = gate.spend(tx, &mut address);
                let result = spent.and_then(|()| cancel_by_code(tx, &phone, &code, &keys));
                Ok((address, commit_refusal(result)?))
            });
            match written.await {
                Ok((address, result)) => WithQuotas { quotas: address.into_iter().collect(), result },
                Err(error) => WithQuotas::none(Err(error.into())),
            }
        };
        self.gated(call, flow).await
    }

    /// Does what is due of the changes that a number or a user is part of, before anything else is decided about them.
    pub(super) async fn complete_due(
        &self,
        user: Option<UserId>,
        phone: &PhoneNumber,
        times: &Times,
    ) -> StoreResult<()> {
        let (phone, at, policy) = (phone.clone(), times.retention, self.policy());
        let due = self.parts.store.read(move |view| {
            let mut due = WaitingChanges::about(view, &phone)?.due(view, &phone, at, &policy)?;
            if let Some(user) = user {
                due.extend(view.phone_change(user)?.filter(|change| change.is_due(at)));
            }
            Ok(due)
        });
        for change in due.await? {
            self.complete(&change, *times).await?;
        }
        Ok(())
    }

    /// Does all that is due.
    pub(super) async fn complete_all_due(&self, times: Times) -> Result<(), AuthError> {
        let mut after = None;
        loop {
            let page =
                self.parts.store.read(move |view| view.phone_changes_due(times.retention, after, SLICE));
            let page = page.await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some((last.effective_at, last.user));
            for change in page {
                match self.complete(&change, times).await {
                    // One that cannot be done keeps no other from being done.
                    Err(StoreError::Broken) => {
                        tracing::error!(
                            user_id = change.user.0,
                            "a change of number that is due could not be done"
                        );
                    }
                    done => done?,
                }
            }
        }
    }

    async fn complete(&self, change: &PhoneChange, times: Times) -> StoreResult<()> {
        for _ in 0..TRIES {
            let settings = self.settings();
            // Where `phone.strict` came while it waited, nobody is found by another spelling any more.
            let telephone = settings.policy.phones.telephone(&change.phone);
            let (user, phone) = (change.user, telephone.unwrap_or_else(|| change.phone.clone()));
            let hash = settings.keys.current().audit_hash(&phone);
            let actor = Actor::system(times.now).in_mode(Mode::Production).with_phone(&phone, hash);
            let parties = self.parts.store.read(move |view| Parties::read(view, user, &phone)).await?;
            let Some(parties) = parties else { return Ok(()) };
            let change = change.clone();
            let locks = parties.locks();
            let written =
                self.write(locks, actor, move |tx| complete(tx, &parties, &change, &settings, times));
            if written.await? {
                return Ok(());
            }
        }
        Err(StoreError::Overloaded)
    }
}

/// Does a change that is due, unless that was done meanwhile; false where other locks are needed.
fn complete(
    tx: &mut AuditedTx<'_>,
    parties: &Parties,
    change: &PhoneChange,
    settings: &Settings,
    times: Times,
) -> StoreResult<bool> {
    let waiting = tx.phone_change(change.user)?;
    let Some(PhoneChange { session, .. }) =
        waiting.filter(|now| now.phone == change.phone && now.is_due(times.retention))
    else {
        return Ok(true);
    };
    let Some(user) = parties.locked(&**tx)? else { return Ok(false) };
    let renumbering = Renumbering {
        phone: &parties.phone,
        spared: session.as_ref(),
        live_at: times.earlier(),
        keys: &settings.keys,
    };
    if !user.is_active {
        cancel(tx, user.id, Cancelled::Deactivated)?;
    } else if settings.policy.phones.telephone(&change.phone).is_none() {
        cancel(tx, user.id, Cancelled::Unassigned)?;
    } else if parties.holder == Some(user.id) || renumbering.is_taken(tx)? {
        cancel(tx, user.id, Cancelled::NumberTaken)?;
    } else {
        renumbering.carry_out(tx, &user)?;
    }
    Ok(true)
}

/// Takes a change back. What is wrong is not told, nor whether one waits.
fn cancel_by_code(
    tx: &mut AuditedTx<'_>,
    phone: &PhoneNumber,
    code: &Code,
    keys: &KeyRing,
) -> Result<(), FlowError> {
    let user = tx.user_by_phone(phone)?;
    let waiting = user.map(|user| tx.phone_change(user.id)).transpose()?.flatten();
    // Without one a code is hashed all the same, so that time does not tell.
    let compared = waiting.clone().unwrap_or_else(|| PhoneChange::of_nobody(phone, keys));
    let is_right = compared.is_cancelled_by(code, keys);
    let Some(change) = waiting else { return Err(AuthError::InvalidOtp.into()) };
    if is_right {
        cancel(tx, change.user, Cancelled::Code)?;
        return Ok(());
    }
    let line = tx.did(AuditEvent::LoginFail).user(change.user);
    tx.record(line.detail(AuditDetail::LoginFailure(LoginFailure::WrongCancelCode)));
    let user = change.user;
    match change.guessed_wrong() {
        // Somebody else may have proven the number meanwhile, which ends the change.
        Some(counted) => tx.count_wrong_cancel(&counted).map(drop)?,
        None => cancel(tx, user, Cancelled::WrongCodes).map(drop)?,
    }
    Err(AuthError::InvalidOtp.into())
}
