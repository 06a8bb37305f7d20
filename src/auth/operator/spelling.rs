//! Users whose numbers are spelled otherwise than the numbering plan spells them.

use std::collections::BTreeMap;

use super::Operator;
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

    /// The telephones, each with all of its users: first who has it in the plan's spelling, then who has proven it, is active and
    /// is the oldest.
    ///
    /// # Errors
    /// A fault of the database.
    pub fn telephones(self, view: &dyn View) -> StoreResult<Vec<Telephone>> {
        let complete = |(phone, mut users): (PhoneNumber, Vec<User>)| {
            users.extend(view.user_by_phone(&phone)?);
            users.sort_by_key(|user| {
                (user.phone.as_ref() != Some(&phone), !user.phone_verified, !user.is_active, user.id)
            });
            Ok(Telephone { phone, users })
        };
        self.others.into_iter().map(complete).collect()
    }
}

impl Operator<'_, '_> {
    /// Gives a user's number the spelling of the plan; sessions and devices go on. False where somebody has it in that spelling, or
    /// it is a test number.
    ///
    /// # Errors
    /// Any [`StoreError`](crate::storage::StoreError); then nothing remains of the act.
    pub fn respell(&mut self, user: &User, phone: &PhoneNumber) -> StoreResult<bool> {
        if self.occupied(phone)?.is_some() {
            return Ok(false);
        }
        let changed = respell(self.tx, user, phone, self.keys)?;
        self.note(AuditEvent::UserUpdated, user, OperatorAct::OldPhone);
        self.note(AuditEvent::UserUpdated, &changed, OperatorAct::NewPhone);
        Ok(true)
    }
}
