//! What the operator does to users, sessions, codes and limits; each act writes its line of the audit trail in the same
//! transaction, so that a closure of the store's one writer is all that it takes.

use crate::domain::audit::{Actor, AuditEvent, AuditRecord};
use crate::domain::keys::KeyRing;
use crate::domain::session::EndReason;
use crate::domain::user::username_for;
use crate::domain::{ChallengeId, PhoneNumber, Session, Timestamp, User, UserId};
use crate::storage::users::ImportedUser;
use crate::storage::{StoreError, StoreResult, Tx, View};

mod test_numbers;

pub use test_numbers::TestNumberRefusal;

/// The operator at an instant.
#[derive(Clone, Debug)]
pub struct Operator {
    at: Timestamp,
    keys: KeyRing,
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

/// What was deleted with a user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Erased {
    /// Sessions.
    pub sessions: usize,
    /// Codes, and with them their messages.
    pub challenges: usize,
    /// Units in the ledger.
    pub spends: usize,
    /// Lines of the audit trail that no longer name the phone.
    pub audit: usize,
}

/// Finds a user by id, phone or username, in this order.
///
/// # Errors
/// A fault of the database.
pub fn find_user(view: &dyn View, name: &str, min_digits: usize) -> StoreResult<Option<User>> {
    if let Ok(id) = name.parse()
        && name.bytes().all(|b| b.is_ascii_digit())
        && let Some(user) = view.user(UserId(id))?
    {
        return Ok(Some(user));
    }
    if let Ok(phone) = PhoneNumber::parse(name, min_digits)
        && let Some(user) = view.user_by_phone(&phone)?
    {
        return Ok(Some(user));
    }
    view.user_by_username(name)
}

impl Operator {
    /// The operator at `at`; `keys` hash phones for the audit trail.
    pub const fn new(at: Timestamp, keys: KeyRing) -> Self {
        Self { at, keys }
    }

    /// Writes a user.
    ///
    /// # Errors
    /// A fault of the database, here and below.
    pub fn create(
        &self,
        tx: &mut dyn Tx,
        phone: &PhoneNumber,
        role: &str,
        verified: bool,
    ) -> StoreResult<Result<User, Occupied>> {
        if let Some(occupied) = self.occupied(tx, phone)? {
            return Ok(Err(occupied));
        }
        let mut user = tx.insert_user(phone, role, self.at)?;
        if verified {
            user.phone_verified = true;
            tx.update_user(&user)?;
        }
        tx.audit(self.line(AuditEvent::UserCreated, &user, "created"))?;
        Ok(Ok(user))
    }

    /// Gives a user another role.
    pub fn set_role(&self, tx: &mut dyn Tx, user: &User, role: &str) -> StoreResult<User> {
        let changed = User { role: role.to_owned(), ..user.clone() };
        tx.update_user(&changed)?;
        let detail = format!("role {} to {role}", user.role);
        tx.audit(self.line(AuditEvent::RoleChanged, user, &detail))?;
        Ok(changed)
    }

    /// Lets a user log in again. The sessions of before have ended with the deactivation, and its foreign tokens are
    /// worthless from now on; until now they were refused because the account is disabled.
    pub fn activate(&self, tx: &mut dyn Tx, user: &User) -> StoreResult<User> {
        let changed = User { is_active: true, ..user.clone() };
        tx.update_user(&changed)?;
        tx.audit(self.line(AuditEvent::UserUpdated, user, "activated"))?;
        if user.is_active { Ok(changed) } else { self.revoke_foreign(tx, &changed) }
    }

    /// Lets a user log in no longer, ends the live sessions for good and says how many there were.
    pub fn deactivate(&self, tx: &mut dyn Tx, user: &User) -> StoreResult<(User, usize)> {
        let changed = User { is_active: false, ..user.clone() };
        tx.update_user(&changed)?;
        tx.audit(self.line(AuditEvent::UserUpdated, user, "deactivated"))?;
        let ended = self.end_all(tx, user, EndReason::Deactivated)?;
        Ok((changed, ended))
    }

    /// Gives a user another phone, and a name to fit if the old one was made from the old phone; ends the sessions.
    pub fn set_phone(
        &self,
        tx: &mut dyn Tx,
        user: &User,
        phone: &PhoneNumber,
    ) -> StoreResult<Result<(User, usize), Occupied>> {
        if user.phone != *phone
            && let Some(occupied) = self.occupied(tx, phone)?
        {
            return Ok(Err(occupied));
        }
        let mut changed = User { phone: phone.clone(), ..user.clone() };
        if user.has_derived_name() && user.phone != *phone {
            changed.username = free_name(tx, phone)?;
        }
        tx.update_user(&changed)?;
        tx.audit(self.line(AuditEvent::UserUpdated, user, "phone changed: the old one"))?;
        tx.audit(self.line(AuditEvent::UserUpdated, &changed, "phone changed: the new one"))?;
        let ended = self.log_out(tx, &changed)?;
        Ok(Ok((changed, ended)))
    }

    /// Ends a user's live sessions and says how many there were; foreign tokens are worthless from now on.
    pub fn log_out(&self, tx: &mut dyn Tx, user: &User) -> StoreResult<usize> {
        let ended = self.end_all(tx, user, EndReason::Revoked)?;
        self.revoke_foreign(tx, user)?;
        Ok(ended)
    }

    /// Ends one session.
    pub fn revoke(&self, tx: &mut dyn Tx, session: Session) -> StoreResult<()> {
        self.end(tx, session, EndReason::Revoked)
    }

    fn end_all(&self, tx: &mut dyn Tx, user: &User, reason: EndReason) -> StoreResult<usize> {
        let sessions = tx.live_sessions(user.id, self.at)?;
        let ended = sessions.len();
        for session in sessions {
            self.end(tx, session, reason)?;
        }
        Ok(ended)
    }

    fn end(&self, tx: &mut dyn Tx, session: Session, reason: EndReason) -> StoreResult<()> {
        let line = Actor::system(self.at).did(AuditEvent::TokenRevoked);
        let detail = format!("operator: {}", reason.as_str());
        tx.audit(line.user(session.user).session(&session.id).detail(detail))?;
        tx.update_session(&session.ended(self.at, reason))
    }

    /// Makes a user's foreign tokens worthless, whenever they were issued.
    fn revoke_foreign(&self, tx: &mut dyn Tx, user: &User) -> StoreResult<User> {
        if !user.has_foreign_tokens {
            return Ok(user.clone());
        }
        let changed = User { has_foreign_tokens: false, ..user.clone() };
        tx.update_user(&changed)?;
        let line = Actor::system(self.at).did(AuditEvent::TokenRevoked).user(user.id);
        tx.audit(line.detail("operator: foreign tokens revoked"))?;
        Ok(changed)
    }

    /// Deletes a user and whatever identifies the person; the audit lines stay, without the phone.
    pub fn delete(&self, tx: &mut dyn Tx, user: &User) -> StoreResult<Erased> {
        // Before the lines are cleared, so that this one is too.
        if let Some(number) = tx.test_number(&user.phone)? {
            self.forget(tx, &number)?;
        }
        let sessions = tx.delete_user(user.id)?.ok_or(StoreError::Broken)?;
        let hashes: Vec<_> = self.keys.all().map(|keys| keys.audit_hash(&user.phone)).collect();
        let challenges = tx.delete_challenges_of(&user.phone)?;
        let (spends, _) = tx.reset_limits(user.phone.as_str())?;
        let audit = tx.forget_phone(user.id, &hashes)?;
        let line = Actor::system(self.at).did(AuditEvent::UserDeleted).user(user.id);
        tx.audit(line.detail("operator: deleted"))?;
        Ok(Erased { sessions, challenges, spends, audit })
    }

    /// Gives an address or a phone all its quotas back; gives the units and the windows of refusals forgotten.
    pub fn reset_limits(
        &self,
        tx: &mut dyn Tx,
        subject: &str,
        phone: Option<&PhoneNumber>,
    ) -> StoreResult<(usize, usize)> {
        let (units, refusals) = tx.reset_limits(subject)?;
        let actor = Actor::system(self.at);
        let actor = match phone {
            Some(phone) => actor.with_phone(phone, self.keys.current().audit_hash(phone)),
            None => Actor { ip: Some(subject.to_owned()), ..actor },
        };
        let line = actor.did(AuditEvent::LimitReset);
        tx.audit(line.detail(format!("operator: {units} units given back")))?;
        Ok((units, refusals))
    }

    /// Deletes one slice of codes that were made before `before` and cannot be given any more; gives how many, and
    /// where to go on.
    pub fn purge_codes(
        &self,
        tx: &mut dyn Tx,
        before: Timestamp,
        after: ChallengeId,
        rows: usize,
    ) -> StoreResult<(usize, Option<ChallengeId>)> {
        let (gone, next) = tx.purge_codes(before, self.at, after, rows)?;
        if gone > 0 {
            let line = Actor::system(self.at).did(AuditEvent::CodesPurged);
            tx.audit(line.detail(format!("operator: {gone} codes deleted")))?;
        }
        Ok((gone, next))
    }

    /// Writes one slice of users from elsewhere.
    pub fn import(&self, tx: &mut dyn Tx, users: &[ImportedUser]) -> StoreResult<Imported> {
        let mut imported = Imported::default();
        for (place, user) in users.iter().enumerate() {
            if self.is_test_number(tx, &user.phone)? {
                imported.taken.push(place);
                continue;
            }
            match tx.import_user(user, self.at)? {
                Some(id) => imported.written.push((place, id)),
                None => imported.taken.push(place),
            }
        }
        let line = Actor::system(self.at).did(AuditEvent::UsersImported);
        tx.audit(line.detail(format!("operator: {} users", imported.written.len())))?;
        Ok(imported)
    }

    /// Takes one slice of an import back.
    pub fn undo_import(&self, tx: &mut dyn Tx, users: &[UserId]) -> StoreResult<()> {
        for user in users {
            tx.delete_user(*user)?;
        }
        let line = Actor::system(self.at).did(AuditEvent::UsersImported);
        tx.audit(line.detail(format!("operator: {} users taken back", users.len())))
    }

    /// A line about a test message.
    pub fn sent_test(&self, tx: &mut dyn Tx, phone: &PhoneNumber, outcome: &str) -> StoreResult<()> {
        let actor = Actor::system(self.at).with_phone(phone, self.keys.current().audit_hash(phone));
        tx.audit(actor.did(AuditEvent::TestSent).detail(format!("operator: {outcome}")))
    }

    fn line(&self, event: AuditEvent, user: &User, detail: &str) -> AuditRecord {
        let hash = self.keys.current().audit_hash(&user.phone);
        let actor = Actor::system(self.at).with_phone(&user.phone, hash);
        actor.did(event).user(user.id).detail(format!("operator: {detail}"))
    }
}

/// The phone's name, with a number after it where that is taken.
fn free_name(view: &dyn View, phone: &PhoneNumber) -> StoreResult<String> {
    let derived = username_for(phone);
    let mut name = derived.clone();
    let mut number = 1;
    while view.user_by_username(&name)?.is_some() {
        number += 1;
        name = format!("{derived}_{number}");
    }
    Ok(name)
}
