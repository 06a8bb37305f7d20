//! What a write will ask, asked in one exchange: with its locks, or where it says so. Nobody else changes what the locks cover until
//! it ends.

use super::answers::Question;
use super::ids::Sequence;
use super::tx::PostgresTx;
use super::{challenges, devices, ledger, messages, phone_changes, sessions, test_numbers, users};
use crate::storage::ahead::{ReadAhead, Wanted};
use crate::storage::columns::count;
use crate::storage::locks::Lock;
use crate::storage::{Locks, StoreResult};

/// The questions that whoever takes these locks asks, as a rule.
pub(super) fn of(locks: &Locks) -> Vec<Question> {
    let of_lock = |(lock, _): (&Lock, _)| match lock {
        Lock::Phone(phone) => Some(Question::new(users::BY_PHONE, vec![Box::new(phone.clone())])),
        Lock::User(user) => Some(Question::new(users::BY_ID, vec![Box::new(*user)])),
        Lock::Session(session) => Some(Question::new(sessions::BY_ID, vec![Box::new(session.clone())])),
        Lock::TestNumbers | Lock::Address(_) | Lock::UserOf(_) => None,
    };
    locks.iter().filter_map(of_lock).collect()
}

impl ReadAhead for PostgresTx<'_> {
    fn read_ahead<'w>(&self, wanted: &dyn Fn() -> Vec<Wanted<'w>>) -> StoreResult<()> {
        let wanted = wanted();
        let questions: Vec<_> = wanted.iter().map(question).collect();
        self.run(|conn| conn.ask(&questions))?;
        for one in &wanted {
            match *one {
                Wanted::NewIds { units, of_code } => self.draw_ids(units, of_code)?,
                Wanted::NewLine => self.draw_line()?,
                _ => {}
            }
        }
        Ok(())
    }
}

fn question(wanted: &Wanted<'_>) -> Question {
    match *wanted {
        Wanted::Spends { quota, ref subjects, since } => {
            let params = ledger::spent_since(subjects.clone(), quota, since);
            Question::new(ledger::SPENT_SINCE, params).about(subjects.clone())
        }
        Wanted::Challenges { mode, phone, purpose, limit } => Question::new(
            challenges::NEWEST,
            vec![
                Box::new(phone.clone()),
                Box::new(mode),
                Box::new(purpose.change_of()),
                Box::new(count(limit)),
            ],
        ),
        Wanted::NewestChallenge { mode, phone, purpose, by_device } => Question::new(
            challenges::NEWEST_OF_SIDE,
            vec![Box::new(phone.clone()), Box::new(mode), Box::new(purpose.change_of()), Box::new(by_device)],
        ),
        Wanted::Challenge(id) => Question::new(challenges::BY_ID, vec![Box::new(id)]),
        Wanted::Message(id) => Question::new(messages::BY_ID, vec![Box::new(id)]),
        Wanted::TestNumber(phone) => Question::new(test_numbers::BY_PHONE, vec![Box::new(phone.clone())]),
        Wanted::Devices(user) => Question::new(devices::OF_USER, vec![Box::new(user)]),
        Wanted::LiveSessions(user, at) => Question::new(sessions::LIVE, vec![Box::new(user), Box::new(at)]),
        Wanted::PhoneChangesAbout(phone) => {
            Question::new(phone_changes::ABOUT, vec![Box::new(phone.clone())])
        }
        Wanted::NewLine => Question::new(Sequence::Audit.next(), Vec::new()),
        Wanted::NewIds { units, of_code } => {
            Question::new(super::ids::DRAW, vec![Box::new(count(units)), Box::new(of_code)])
        }
    }
}
