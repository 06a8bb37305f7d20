//! Users whose numbers are spelled otherwise than the numbering plan spells them.

use std::collections::BTreeMap;

use super::Operator;
use crate::auth::happened;
use crate::auth::renumber::respell;
use crate::domain::audit::{AuditEvent, OperatorAct};
use crate::domain::{PhoneNumber, User, plan};
use crate::storage::{StoreResult, View};

/// A telephone that some user's number spells otherwise than the plan.
#[derive(Clone, Debug)]
pub struct Telephone {
    /// As the plan spells it.
    pub phone: PhoneNumber,
    /// Whose number is the telephone's in any spelling; first the one who has it, or gets it, where `phone.strict` is on.
    pub users: Vec<User>,
}

impl Telephone {
    /// Whether several users have it.
    pub const fn is_shared(&self) -> bool {
        self.users.len() > 1
    }
}

/// What was found among all users.
#[derive(Debug, Default)]
pub struct Spellings {
    /// Those with another spelling, by that of the plan.
    others: BTreeMap<PhoneNumber, Vec<User>>,
    /// How many users have a number that the plan gives to no telephone.
    pub unassigned: usize,
    /// How many have another spelling.
    pub otherwise: usize,
}

impl Spellings {
    /// Takes what a page of users brought.
    pub fn take(&mut self, page: Vec<User>) {
        for user in page {
            let Some(phone) = &user.phone else { continue };
            match plan::canonical(phone) {
                None => self.unassigned += 1,
                Some(canonical) if canonical == *phone => {}
                Some(canonical) => {
                    self.otherwise += 1;
                    self.others.entry(canonical).or_default().push(user);
                }
            }
        }
    }

    /// The telephones, each with all of its users: first who has proven it, then who has it in the plan's spelling, is active and
    /// is the oldest. Whoever asks for a code has a registration, and must not take the number from an account by that.
    ///
    /// # Errors
    /// A fault of the database.
    pub fn telephones(self, view: &dyn View) -> StoreResult<Vec<Telephone>> {
        let complete = |(phone, mut users): (PhoneNumber, Vec<User>)| {
            users.extend(view.user_by_phone(&phone)?);
            users.sort_by_key(|user| {
                (!user.phone_verified, user.phone.as_ref() != Some(&phone), !user.is_active, user.id)
            });
            Ok(Telephone { phone, users })
        };
        self.others.into_iter().map(complete).collect()
    }
}

impl Operator<'_, '_> {
    /// Gives a telephone's first user its number in the spelling of the plan; sessions and devices go on. A registration that
    /// nobody logged in with makes way for a user who has proven the number. False where somebody else has it in that spelling, it
    /// is a test number, or the user has changed since it was found.
    ///
    /// # Errors
    /// Any [`StoreError`](crate::storage::StoreError); then nothing remains of the act.
    pub fn respell(&mut self, telephone: &Telephone) -> StoreResult<bool> {
        let Telephone { phone, users } = telephone;
        let Some(found) = users.first().filter(|first| first.phone.as_ref() != Some(phone)) else {
            return Ok(false);
        };
        let user = self.tx.user(found.id)?.filter(|user| user.phone == found.phone);
        let Some(user) = user else { return Ok(false) };
        if self.is_test_number(phone)? {
            return Ok(false);
        }
        if let Some(holder) = self.tx.user_by_phone(phone)? {
            // Of the users of the telephone alone it is known that they are locked.
            let is_locked = users.iter().any(|user| user.id == holder.id);
            let registration = self.tx.registration(holder.id)?;
            if !is_locked || !user.phone_verified || !registration.is_some_and(|found| found.makes_way()) {
                return Ok(false);
            }
            self.tx.delete_user(holder.id)?;
            happened::deleted(self.tx, &holder)?;
        }
        let changed = respell(self.tx, &user, phone, self.keys)?;
        self.note(AuditEvent::UserUpdated, &user, OperatorAct::OldPhone);
        self.note(AuditEvent::UserUpdated, &changed, OperatorAct::NewPhone);
        Ok(true)
    }
}
