//! Test numbers: named in the configuration, or admin the running server.

use super::{Occupied, Operator};
use crate::domain::audit::{AuditDetail, AuditEvent, OperatorAct};
use crate::domain::test_number::{MAX_LIFETIME, MAX_TEST_NUMBERS, Source};
use crate::domain::{NewTestNumber, PhoneNumber, TestNumber, UserId};
use crate::storage::StoreResult;

/// Why a number cannot be a test number, or cannot cease to be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TestNumberRefusal {
    /// Its end has passed.
    Ended,
    /// Its end lies further ahead than [`MAX_LIFETIME`].
    TooFar,
    /// There are [`MAX_TEST_NUMBERS`] already.
    TooMany,
    /// The configuration names it, and would again at the next start.
    Configured,
    /// It is the number of this user, and nobody said that this is meant.
    User(UserId),
    /// It is none.
    Unknown,
}

impl Operator<'_, '_> {
    /// Makes a number a test number, or gives it another code and end.
    ///
    /// # Errors
    /// Any [`StoreError`](crate::storage::StoreError); then nothing remains of the act.
    pub fn add_test_number(
        &mut self,
        new: &NewTestNumber,
    ) -> StoreResult<Result<TestNumber, TestNumberRefusal>> {
        let kept = self.tx.test_numbers()?;
        let others =
            kept.iter().filter(|other| other.phone != new.phone && other.is_good(self.tx.at())).count();
        let refusal = if new.until <= self.tx.at() {
            Some(TestNumberRefusal::Ended)
        } else if kept.iter().any(|other| other.phone == new.phone && other.source == Source::Configuration) {
            Some(TestNumberRefusal::Configured)
        } else if others >= MAX_TEST_NUMBERS {
            Some(TestNumberRefusal::TooMany)
        } else {
            self.refusal(&kept, new)?
        };
        Ok(match refusal {
            Some(refusal) => Err(refusal),
            None => Ok(self.keep(new, Source::Command)?),
        })
    }

    /// Makes a test number a number like any other again.
    ///
    /// # Errors
    /// Any [`StoreError`](crate::storage::StoreError); then nothing remains of the act.
    pub fn remove_test_number(&mut self, phone: &PhoneNumber) -> StoreResult<Result<(), TestNumberRefusal>> {
        Ok(match self.tx.test_number(phone)? {
            None => Err(TestNumberRefusal::Unknown),
            Some(TestNumber { source: Source::Configuration, .. }) => Err(TestNumberRefusal::Configured),
            Some(number) => {
                self.forget(&number)?;
                Ok(())
            }
        })
    }

    /// Takes over what the configuration names, and drops what it no longer does; gives all that have not ended. Those
    /// of the configuration that have are passed over. One refusal, and nothing is changed.
    ///
    /// # Errors
    /// Any [`StoreError`](crate::storage::StoreError); then nothing remains of the act.
    pub fn adopt_test_numbers(
        &mut self,
        configured: &[NewTestNumber],
    ) -> StoreResult<Result<Vec<TestNumber>, (PhoneNumber, TestNumberRefusal)>> {
        let kept = self.tx.test_numbers()?;
        let wanted: Vec<_> = configured.iter().filter(|new| new.until > self.tx.at()).collect();
        let is_wanted = |number: &TestNumber| wanted.iter().any(|new| new.phone == number.phone);
        let others = kept.iter().filter(|other| {
            other.source == Source::Command && other.is_good(self.tx.at()) && !is_wanted(other)
        });
        if let Some(last) = wanted.last().filter(|_| others.count() + wanted.len() > MAX_TEST_NUMBERS) {
            return Ok(Err((last.phone.clone(), TestNumberRefusal::TooMany)));
        }
        for new in &wanted {
            if let Some(refusal) = self.refusal(&kept, new)? {
                return Ok(Err((new.phone.clone(), refusal)));
            }
        }
        for gone in kept.iter().filter(|old| old.source == Source::Configuration && !is_wanted(old)) {
            self.forget(gone)?;
        }
        for new in wanted {
            if !kept.contains(&new.kept(self.keys.current(), Source::Configuration)) {
                self.keep(new, Source::Configuration)?;
            }
        }
        let mut numbers = self.tx.test_numbers()?;
        numbers.retain(|number| number.is_good(self.tx.at()));
        Ok(Ok(numbers))
    }

    /// Why nobody can be given this phone, if so.
    pub(super) fn occupied(&self, phone: &PhoneNumber) -> StoreResult<Option<Occupied>> {
        if self.tx.user_by_phone(phone)?.is_some() {
            return Ok(Some(Occupied::User));
        }
        Ok(self.is_test_number(phone)?.then_some(Occupied::TestNumber))
    }

    pub(super) fn is_test_number(&self, phone: &PhoneNumber) -> StoreResult<bool> {
        Ok(self.tx.test_number(phone)?.is_some_and(|number| number.is_good(self.tx.at())))
    }

    fn refusal(&self, kept: &[TestNumber], new: &NewTestNumber) -> StoreResult<Option<TestNumberRefusal>> {
        if new.until > self.tx.at() + MAX_LIFETIME {
            return Ok(Some(TestNumberRefusal::TooFar));
        }
        // The user of a test number that goes on being one is most likely its own.
        let goes_on = kept.iter().any(|old| old.phone == new.phone && old.is_good(self.tx.at()));
        if new.existing_user || goes_on {
            return Ok(None);
        }
        Ok(self.tx.user_by_phone(&new.phone)?.map(|user| TestNumberRefusal::User(user.id)))
    }

    fn keep(&mut self, new: &NewTestNumber, source: Source) -> StoreResult<TestNumber> {
        let number = new.kept(self.keys.current(), source);
        self.tx.keep_test_number(&number)?;
        self.note_number(AuditEvent::TestNumberAdded, &number)?;
        Ok(number)
    }

    pub(super) fn forget(&mut self, number: &TestNumber) -> StoreResult<()> {
        self.tx.forget_test_number(&number.phone)?;
        self.note_number(AuditEvent::TestNumberRemoved, number)
    }

    fn note_number(&mut self, event: AuditEvent, number: &TestNumber) -> StoreResult<()> {
        let user = self.tx.user_by_phone(&number.phone)?.map(|user| user.id);
        let line = self.about(&number.phone).did(event).user(user);
        self.tx.record(line.detail(AuditDetail::Operator(OperatorAct::TestNumber(number.source))));
        Ok(())
    }
}
