//! What the operator does to users, sessions, codes and limits; each act leaves its lines in the audit trail, in the same
//! transaction.

use std::sync::Arc;

use super::audited::{self, AuditedTx};
use super::ending::{end_by, end_foreign};
use super::erasure::{Erased, erase, reset_own};
use super::phone_change::cancel;
use super::renumber::renumber;
use super::{devices, happened};
use crate::domain::audit::{Actor, AuditDetail, AuditEvent, OperatorAct};
use crate::domain::guard::Scope;
use crate::domain::keys::KeyRing;
use crate::domain::phone_change::Cancelled;
use crate::domain::session::EndReason;
use crate::domain::{
    Attributes, ChallengeId, EventKind, PhoneNumber, PhonePolicy, Session, Timestamp, User, UserId,
};
use crate::storage::users::ImportedUser;
use crate::storage::{Locks, Store, StoreResult, View};

mod means;
mod spelling;
mod test_numbers;
mod webhooks;

pub use means::Means;
pub use spelling::{Spellings, Telephone};
pub use test_numbers::TestNumberRefusal;
pub use webhooks::{Webhooks, act_on_webhooks};

/// The operator, in an open transaction.
pub struct Operator<'a, 't> {
    tx: &'a mut AuditedTx<'t>,
    /// Hash phones for the audit trail.
    keys: &'a KeyRing,
}

/// Why nobody can be given a phone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occupied {
    /// Somebody has it.
    User,
    /// It is a test number, whose code would log in whoever had it.
    TestNumber,
}

/// One slice of an import.
#[derive(Clone, Debug, Default)]
pub struct Imported {
    /// Written: the place in the slice, and the id.
    pub written: Vec<(usize, UserId)>,
    /// Taken by somebody who came first: the places in the slice.
    pub taken: Vec<usize>,
}

/// Finds a user by id, phone or username, in this order.
///
/// # Errors
/// A fault of the database.
pub fn find_user(view: &dyn View, name: &str, phones: &PhonePolicy) -> StoreResult<Option<User>> {
    if let Ok(id) = name.parse()
        && name.bytes().all(|b| b.is_ascii_digit())
        && let Some(user) = view.user(UserId(id))?
    {
        return Ok(Some(user));
    }
    if let Ok(phone) = phones.read_to_find(name)
        && let Some(user) = view.user_by_phone(&phone)?
    {
        return Ok(Some(user));
    }
    view.user_by_username(name)
}

/// Has the operator act at `at`, in one transaction, and logs the lines of the audit trail once they are durable; `locks` cover
/// what the act reads and then replaces.
///
/// # Errors
/// Any [`StoreError`](crate::storage::StoreError), as [`Store::write`].
pub async fn act<T, F>(store: &Store, locks: Locks, at: Timestamp, means: Means, act: F) -> StoreResult<T>
where
    T: Send + 'static,
    F: Fn(&mut Operator<'_, '_>) -> StoreResult<T> + Send + 'static,
{
    let actor = Arc::new(Actor::system(at));
    let Means { keys, outbox } = means;
    audited::write(store, &outbox, locks, actor, move |tx| act(&mut Operator { tx, keys: &keys })).await
}

impl Operator<'_, '_> {
    /// What the operator sees in the transaction.
    pub fn view(&self) -> &dyn View {
        &**self.tx
    }

    /// Writes a user.
    ///
    /// # Errors
    /// Any [`StoreError`](crate::storage::StoreError); then nothing remains of the act.
    pub fn create(
        &mut self,
        phone: &PhoneNumber,
        role: &str,
        verified: bool,
    ) -> StoreResult<Result<User, Occupied>> {
        if let Some(occupied) = self.occupied(phone)? {
            return Ok(Err(occupied));
        }
        let at = self.tx.at();
        let mut user = self.tx.insert_user(phone, role, at)?;
        user.phone_verified = verified;
        // Replaced in any case: the row is not as a registration writes it, so that its event is not written again.
        self.tx.update_user(&mut user)?;
        self.note(AuditEvent::UserCreated, &user, OperatorAct::Created);
        happened::created(self.tx, &user)?;
        Ok(Ok(user))
    }

    /// Gives a user another role.
    ///
    /// # Errors
    /// Any [`StoreError`](crate::storage::StoreError); then nothing remains of the act.
    pub fn set_role(&mut self, user: &User, role: &str) -> StoreResult<User> {
        let mut changed = User { role: role.to_owned(), ..user.clone() };
        self.tx.update_user(&mut changed)?;
        let act = OperatorAct::Role { from: user.role.clone(), to: role.to_owned() };
        self.note(AuditEvent::RoleChanged, user, act);
        happened::to_user(self.tx, EventKind::UserUpdated, user, &changed)?;
        Ok(changed)
    }

    /// Notes something else about a user; tokens that carry it have it from the next login or refresh on.
    ///
    /// # Errors
    /// Any [`StoreError`](crate::storage::StoreError); then nothing remains of the act.
    pub fn set_attributes(&mut self, user: &User, attributes: Attributes) -> StoreResult<User> {
        let mut changed = User { attributes, ..user.clone() };
        self.tx.update_user(&mut changed)?;
        self.note(AuditEvent::UserUpdated, user, OperatorAct::Attributes);
        happened::to_user(self.tx, EventKind::UserUpdated, user, &changed)?;
        Ok(changed)
    }

    /// Lets a user log in again. The sessions of before have ended with the deactivation, and its foreign tokens are
    /// worthless from now on; until now they were refused because the account is disabled.
    ///
    /// # Errors
    /// Any [`StoreError`](crate::storage::StoreError); then nothing remains of the act.
    pub fn activate(&mut self, user: &User) -> StoreResult<User> {
        let mut changed = User { is_active: true, ..user.clone() };
        self.tx.update_user(&mut changed)?;
        let at = self.tx.at();
        self.tx.note_seen(user.id, at)?;
        self.note(AuditEvent::UserUpdated, user, OperatorAct::Activated);
        happened::to_user(self.tx, EventKind::UserActivated, user, &changed)?;
        if user.is_active { Ok(changed) } else { self.revoke_foreign(&changed) }
    }

    /// Lets a user log in no longer, ends the live sessions for good and says how many there were.
    ///
    /// # Errors
    /// Any [`StoreError`](crate::storage::StoreError); then nothing remains of the act.
    pub fn deactivate(&mut self, user: &User) -> StoreResult<(User, usize)> {
        let mut changed = User { is_active: false, ..user.clone() };
        self.tx.update_user(&mut changed)?;
        self.note(AuditEvent::UserUpdated, user, OperatorAct::Deactivated);
        happened::to_user(self.tx, EventKind::UserDeactivated, user, &changed)?;
        let ended = self.end_all(user, EndReason::Deactivated)?;
        cancel(self.tx, user.id, Cancelled::Deactivated)?;
        devices::end_all(self.tx, user.id, None)?;
        Ok((changed, ended))
    }

    /// Gives a user another phone, and a name to fit if the old one was made from the old phone; ends the sessions.
    ///
    /// # Errors
    /// Any [`StoreError`](crate::storage::StoreError); then nothing remains of the act.
    pub fn set_phone(
        &mut self,
        user: &User,
        phone: &PhoneNumber,
    ) -> StoreResult<Result<(User, usize), Occupied>> {
        let is_own = user.phone.as_ref() == Some(phone);
        if !is_own && let Some(occupied) = self.occupied(phone)? {
            return Ok(Err(occupied));
        }
        let changed = if is_own { user.clone() } else { renumber(self.tx, user, phone, self.keys)? };
        self.note(AuditEvent::UserUpdated, user, OperatorAct::OldPhone);
        self.note(AuditEvent::UserUpdated, &changed, OperatorAct::NewPhone);
        let ended = self.log_out(&changed)?;
        Ok(Ok((changed, ended)))
    }

    /// Takes back the change of number of a user that waits; false where none does.
    ///
    /// # Errors
    /// Any [`StoreError`](crate::storage::StoreError); then nothing remains of the act.
    pub fn cancel_phone_change(&mut self, user: &User) -> StoreResult<bool> {
        let is_cancelled = self.tx.delete_phone_change(user.id, None)?;
        if is_cancelled {
            self.note(AuditEvent::PhoneChangeCancelled, user, OperatorAct::PhoneChangeCancelled);
        }
        Ok(is_cancelled)
    }

    /// Ends a user's live sessions and says how many there were; foreign tokens are worthless from now on.
    ///
    /// # Errors
    /// Any [`StoreError`](crate::storage::StoreError); then nothing remains of the act.
    pub fn log_out(&mut self, user: &User) -> StoreResult<usize> {
        let ended = self.end_all(user, EndReason::Revoked)?;
        self.revoke_foreign(user)?;
        Ok(ended)
    }

    /// Ends one session.
    ///
    /// # Errors
    /// Any [`StoreError`](crate::storage::StoreError); then nothing remains of the act.
    pub fn revoke(&mut self, session: Session) -> StoreResult<()> {
        self.end(session, EndReason::Revoked)
    }

    fn end_all(&mut self, user: &User, reason: EndReason) -> StoreResult<usize> {
        let sessions = self.tx.live_sessions(user.id, self.tx.at())?;
        let ended = sessions.len();
        for session in sessions {
            self.end(session, reason)?;
        }
        Ok(ended)
    }

    fn end(&mut self, session: Session, reason: EndReason) -> StoreResult<()> {
        end_by(self.tx, session, reason, true)
    }

    /// Makes a user's foreign tokens worthless, whenever they were issued.
    fn revoke_foreign(&mut self, user: &User) -> StoreResult<User> {
        if !user.has_foreign_tokens {
            return Ok(user.clone());
        }
        end_foreign(self.tx, user.clone(), AuditDetail::Operator(OperatorAct::ForeignRevoked))
    }

    /// Deletes a user and whatever identifies the person; the audit lines stay, without the phone.
    ///
    /// # Errors
    /// Any [`StoreError`](crate::storage::StoreError); then nothing remains of the act.
    pub fn delete(&mut self, user: &User) -> StoreResult<Erased> {
        let number = user.phone.as_ref().map(|phone| self.tx.test_number(phone)).transpose()?;
        if let Some(number) = number.flatten() {
            self.forget(&number)?;
        }
        let erased = erase(self.tx, user, self.keys)?;
        let line = self.tx.did(AuditEvent::UserDeleted).user(user.id);
        self.tx.record(line.detail(AuditDetail::Operator(OperatorAct::Deleted)));
        Ok(erased)
    }

    /// Keeps a user who is to be deleted; the sessions that have ended stay so.
    ///
    /// # Errors
    /// Any [`StoreError`](crate::storage::StoreError); then nothing remains of the act.
    pub fn restore(&mut self, user: &User) -> StoreResult<User> {
        let mut changed = User { deletes_at: None, ..user.clone() };
        self.tx.update_user(&mut changed)?;
        self.note(AuditEvent::UserRestored, user, OperatorAct::Restored);
        Ok(changed)
    }

    /// Gives an address with the /48 around it, or a phone and the devices of its user, all quotas back; gives the units and the
    /// windows of refusals forgotten.
    ///
    /// # Errors
    /// Any [`StoreError`](crate::storage::StoreError); then nothing remains of the act.
    pub fn reset_limits(
        &mut self,
        subjects: &[String],
        phone: Option<&PhoneNumber>,
    ) -> StoreResult<(usize, usize)> {
        let (mut units, mut refusals) = (0, 0);
        for subject in subjects {
            let reset = self.tx.reset_limits(subject)?;
            units += reset.0;
            refusals += reset.1;
        }
        // What was spent before an earlier user of the phone was deleted.
        for subject in phone.iter().flat_map(|phone| self.keys.all().map(|keys| keys.erased_subject(phone))) {
            units += self.tx.reset_limits(&subject)?.0;
        }
        if let Some(user) = phone.map(|phone| self.tx.user_by_phone(phone)).transpose()?.flatten() {
            let reset = reset_own(self.tx, user.id)?;
            units += reset.0;
            refusals += reset.1;
        }
        let actor = match phone {
            Some(phone) => self.about(phone),
            None => Arc::new(Actor { ip: subjects.first().cloned(), ..Actor::system(self.tx.at()) }),
        };
        let line = actor.did(AuditEvent::LimitReset);
        self.tx.record(line.detail(AuditDetail::Operator(OperatorAct::UnitsReturned(units))));
        Ok((units, refusals))
    }

    /// Lets go what the guard holds back; false where that is nothing.
    ///
    /// # Errors
    /// Any [`StoreError`](crate::storage::StoreError); then nothing remains of the act.
    pub fn end_block(&mut self, scope: Scope, key: &str) -> StoreResult<bool> {
        let at = self.tx.at();
        self.tx.end_block(scope, key, at)
    }

    /// Deletes one slice of codes that were made before `before` and cannot be given any more; gives how many, and
    /// where to go on.
    ///
    /// # Errors
    /// Any [`StoreError`](crate::storage::StoreError); then nothing remains of the act.
    pub fn purge_codes(
        &mut self,
        before: Timestamp,
        after: ChallengeId,
        rows: usize,
    ) -> StoreResult<(usize, Option<ChallengeId>)> {
        let at = self.tx.at();
        let (gone, next) = self.tx.purge_codes(before, at, after, rows)?;
        if gone > 0 {
            let line = self.tx.did(AuditEvent::CodesPurged);
            self.tx.record(line.detail(AuditDetail::Operator(OperatorAct::CodesDeleted(gone))));
        }
        Ok((gone, next))
    }

    /// Writes one slice of users from elsewhere.
    ///
    /// # Errors
    /// Any [`StoreError`](crate::storage::StoreError); then nothing remains of the act.
    pub fn import(&mut self, users: &[ImportedUser]) -> StoreResult<Imported> {
        let (mut imported, at) = (Imported::default(), self.tx.at());
        for (place, user) in users.iter().enumerate() {
            if self.is_test_number(&user.phone)? {
                imported.taken.push(place);
                continue;
            }
            match self.tx.import_user(user, at)? {
                Some(id) => {
                    happened::imported(self.tx, id)?;
                    imported.written.push((place, id));
                }
                None => imported.taken.push(place),
            }
        }
        let line = self.tx.did(AuditEvent::UsersImported);
        self.tx.record(line.detail(AuditDetail::Operator(OperatorAct::Imported(imported.written.len()))));
        Ok(imported)
    }

    /// Takes one slice of an import back.
    ///
    /// # Errors
    /// Any [`StoreError`](crate::storage::StoreError); then nothing remains of the act.
    pub fn undo_import(&mut self, users: &[UserId]) -> StoreResult<()> {
        for id in users {
            if let Some(user) = self.tx.user(*id)? {
                self.tx.delete_user(*id)?;
                happened::deleted(self.tx, &user)?;
            }
        }
        let line = self.tx.did(AuditEvent::UsersImported);
        self.tx.record(line.detail(AuditDetail::Operator(OperatorAct::ImportUndone(users.len()))));
        Ok(())
    }

    /// Notes that a test message was sent, and what came of it.
    pub fn note_test_message(&mut self, phone: &PhoneNumber, outcome: &'static str) {
        let line = self.about(phone).did(AuditEvent::TestSent);
        self.tx.record(line.detail(AuditDetail::Operator(OperatorAct::TestMessage(outcome))));
    }

    fn note(&mut self, event: AuditEvent, user: &User, act: OperatorAct) {
        let actor = match &user.phone {
            Some(phone) => self.about(phone),
            None => Arc::new(Actor::system(self.tx.at())),
        };
        let line = actor.did(event).user(user.id);
        self.tx.record(line.detail(AuditDetail::Operator(act)));
    }

    /// The operator, acting on a phone.
    fn about(&self, phone: &PhoneNumber) -> Arc<Actor> {
        let hash = self.keys.current().audit_hash(phone);
        Arc::new(Actor::system(self.tx.at()).with_phone(phone, hash))
    }
}
