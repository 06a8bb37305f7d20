//! What a write will ask first, asked with its locks in one exchange: nobody else changes what the locks cover until it ends.

use super::answers::Question;
use super::{sessions, test_numbers, users};
use crate::storage::Locks;
use crate::storage::locks::Lock;

/// The questions that whoever takes these locks asks, as a rule.
pub(super) fn of(locks: &Locks) -> Vec<Question> {
    let mut ahead = Vec::new();
    for (lock, _) in locks.iter() {
        match lock {
            Lock::Phone(phone) => {
                ahead.push(Question { sql: users::BY_PHONE, params: vec![Box::new(phone.clone())] });
                ahead.push(Question { sql: test_numbers::BY_PHONE, params: vec![Box::new(phone.clone())] });
            }
            Lock::User(user) => {
                ahead.push(Question { sql: users::BY_ID, params: vec![Box::new(*user)] });
            }
            Lock::Session(session) => {
                ahead.push(Question { sql: sessions::BY_ID, params: vec![Box::new(session.clone())] });
            }
            Lock::TestNumbers | Lock::Address(_) | Lock::UserOf(_) => {}
        }
    }
    ahead
}
