//! The one write of `verify/`: judges the code, consumes it and opens the session, or notes why not.

use super::audited::AuditedTx;
use super::dormant::{is_dormant, recycle};
use super::ending::end;
use super::error::{FlowError, commit_refusal};
use super::opening::{NewSession, OpenedBy};
use super::phone_change::WaitingChanges;
use super::proof::{Guess, Judging, Match};
use super::quota::QuotaState;
use super::repetition::{Repeatable, Repetition, Said, keep};
use super::settle::{LATEST, ensure_user};
use super::{AuthError, devices, happened};
use crate::domain::audit::{AuditDetail, AuditEvent, LoginFailure};
use crate::domain::challenge::Use;
use crate::domain::quota::Quota;
use crate::domain::session::EndReason;
use crate::domain::{Challenge, Device, DeviceId, EventKind, Mode, Purpose, Secret, Session, User, UserId};
use crate::storage::ahead::Wanted;
use crate::storage::{StoreError, StoreResult};

/// Everything that the write needs, drawn and derived beforehand.
pub(super) struct Attempt {
    pub(super) guess: Guess,
    pub(super) idempotency_key: Option<Secret>,
    /// The name of the device where a login comes without one.
    pub(super) new_device: DeviceId,
    pub(super) session: NewSession,
}

/// What the write decided.
pub(super) struct Attempted {
    /// How the quota of the caller's address stands.
    pub(super) address: Option<QuotaState>,
    pub(super) login: Result<OpenedSession, AuthError>,
    /// Whether it was refused at nobody's cost: no quota bounds how often that can be.
    pub(super) was_free: bool,
}

/// The session that a login opened, or opened before.
pub(super) struct OpenedSession {
    pub(super) session: Session,
    pub(super) user: User,
    pub(super) said: Said,
    /// Whether it was opened before, and is given again.
    pub(super) is_repeated: bool,
    /// The device on which it was opened, unless that has ended.
    pub(super) device: Option<Device>,
}

/// Whether the changes of the number that are due have been done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DueChanges {
    /// Nobody has looked.
    Unknown,
    /// They have.
    Done,
}

/// An attempt while its code is judged.
struct LoggingIn<'a, 't> {
    attempt: &'a Attempt,
    judging: Judging<'a, 't>,
    /// What waits of changes of the number.
    waiting: WaitingChanges,
}

impl Attempt {
    /// Judges the code; `None`, and nothing written, where a change of the number is to be done first.
    pub(super) fn write(&self, tx: &mut AuditedTx<'_>, due: DueChanges) -> StoreResult<Option<Attempted>> {
        let Guess { phone, policy, .. } = &self.guess;
        let judging = Judging::begin(&self.guess, tx)?;
        self.read_ahead(&judging)?;
        let view = &**judging.tx;
        let waiting = WaitingChanges::about(view, phone)?;
        let at = self.session.times.retention;
        if due == DueChanges::Unknown && !waiting.due(view, phone, at, policy)?.is_empty() {
            return Ok(None);
        }
        let (mut address, mut logging_in) = (None, LoggingIn { attempt: self, judging, waiting });
        let login = commit_refusal(logging_in.decide(&mut address))?;
        let was_free = logging_in.judging.was_free;
        Ok(Some(Attempted { address, login, was_free }))
    }

    /// Has the engine answer at once what is asked of a call that logs in.
    fn read_ahead(&self, judging: &Judging<'_, '_>) -> StoreResult<()> {
        let Guess { mode, ref phone, ref gate, ref keys, ref policy, live_at, .. } = self.guess;
        let Judging { tx, user, device, .. } = judging;
        let now = tx.at();
        tx.read_ahead(&|| {
            let mut wanted = gate.wanted(now);
            let units = wanted.len();
            let subject = devices::subject(device.as_ref(), phone, keys);
            wanted.push(Wanted::PhoneChangesAbout(phone));
            wanted.push(Wanted::Challenges { mode, phone, purpose: Purpose::Login, limit: LATEST });
            wanted.extend(subject.wanted(Quota::Failures(mode), &[policy.otp.failures()], now));
            if let Some(user) = user {
                wanted.extend([Wanted::Devices(user.id), Wanted::LiveSessions(user.id, live_at)]);
            }
            if mode == Mode::Production {
                wanted.push(Wanted::TestNumber(phone));
            }
            wanted.push(Wanted::NewIds { units, of_code: false });
            wanted
        })
    }

    /// Why the right code opens nothing for a user. A code of the testing mode is read on a console: it must not open the
    /// account of somebody who has proven the number.
    fn bars(&self, user: &User) -> Option<LoginFailure> {
        if !user.is_active {
            return Some(LoginFailure::Disabled);
        }
        let is_testing = self.guess.mode == Mode::Testing;
        (is_testing && user.phone_verified && !user.is_testing_only)
            .then_some(LoginFailure::VerifiedInProduction)
    }
}

impl LoggingIn<'_, '_> {
    /// First fault wins, in the order of the contract.
    fn decide(&mut self, address: &mut Option<QuotaState>) -> Result<OpenedSession, FlowError> {
        let Guess { gate, policy, .. } = &self.attempt.guess;
        gate.spend(self.judging.tx, address)?;
        let latest = self.judging.latest()?;
        if self.judging.user.is_none() && !self.has_live_code()? {
            self.judging.note_failure(LoginFailure::UnknownNumber, false);
            let answer =
                if policy.conceal_accounts { AuthError::InvalidOtp } else { AuthError::UserNotFound };
            return Err(answer.into());
        }
        let repeatable = self.repeatable(&latest)?;
        let given = self.judging.judge(&latest, repeatable.as_ref().map(|found| found.challenge))?;
        match repeatable {
            Some(Repeatable { challenge, said, session }) if challenge.id == given.challenge.id => {
                self.repeat(said, session)
            }
            _ => self.log_in(&given),
        }
    }

    /// Whether any code of the number may be given, though perhaps not here.
    fn has_live_code(&self) -> StoreResult<bool> {
        let (Guess { mode, phone, .. }, tx) = (&self.attempt.guess, &*self.judging.tx);
        tx.has_live_code(*mode, phone, tx.at())
    }

    /// The login that this call repeats, if it has the `Idempotency-Key` of one.
    fn repeatable<'c>(&self, latest: &'c [Challenge]) -> StoreResult<Option<Repeatable<'c>>> {
        let Attempt { idempotency_key, guess, .. } = self.attempt;
        let (Some(key), Some(user)) = (idempotency_key, &self.judging.user) else { return Ok(None) };
        let Guess { keys, policy, live_at, .. } = guess;
        let (device, max_attempts) = (self.judging.device.as_ref(), policy.otp.max_attempts);
        let repetition = Repetition { key, keys, device, max_attempts, live_at: *live_at };
        repetition.find(&*self.judging.tx, latest, user)
    }

    /// Gives the session of a login again, and says of its user what was said then.
    fn repeat(
        &mut self,
        said: Said,
        session: Result<Session, AuthError>,
    ) -> Result<OpenedSession, FlowError> {
        let user = self.judging.user.clone().ok_or(StoreError::Broken)?;
        let session = match session {
            Ok(session) => session,
            Err(refusal) => {
                self.judging.note_failure(LoginFailure::Disabled, false);
                return Err(refusal.into());
            }
        };
        let tx = &mut *self.judging.tx;
        let line = tx.did(AuditEvent::TokenCreated).user(user.id).session(&session.id);
        tx.record(line.detail(AuditDetail::RepeatedVerify));
        let device = session.device_id.as_ref().map(|id| tx.device(id)).transpose()?.flatten();
        Ok(OpenedSession { session, user, said, is_repeated: true, device })
    }

    /// Consumes the code and opens a session; a user who may not log in spends the code and gets none.
    fn log_in(&mut self, given: &Match<'_>) -> Result<OpenedSession, FlowError> {
        let Attempt { guess, session: new, idempotency_key, .. } = self.attempt;
        let barred = self.judging.user.as_ref().and_then(|user| self.attempt.bars(user));
        let dormant = self.take_dormant(given.by)?;
        let said = Said::of(self.judging.user.as_ref(), dormant.is_some());
        let kept = |key| keep(key, &guess.keys, given.challenge, said);
        let idempotency = idempotency_key.as_ref().and_then(kept);
        let session = barred.is_none().then(|| new.id.clone());
        let at = self.judging.tx.at();
        given.consume(self.judging.tx, Use { at, session, idempotency })?;
        if let Some(dormant) = &dormant {
            recycle(self.judging.tx, dormant, guess.live_at)?;
        }
        let user = match self.judging.user.clone() {
            Some(user) => user,
            None => ensure_user(self.judging.tx, &guess.phone, &guess.policy.default_role)?,
        };
        if let Some(failure) = barred {
            self.judging.note_failure(failure, true);
            return Err(AuthError::AccountDisabled.into());
        }
        let user = self.verify(user)?;
        let device = self.keep_device(user.id, given.by)?;
        let tx = &mut *self.judging.tx;
        if guess.mode == Mode::Production {
            self.waiting.end_at_login(tx, user.id, &guess.phone)?;
        }
        let mut success = tx.did(AuditEvent::LoginSuccess).user(user.id).session(&new.id);
        success.detail = given.by.detail();
        tx.record(success);
        let session = new.open(tx, user.id, given.by, Some(device.id.clone()))?;
        Ok(OpenedSession { session, user, said, is_repeated: false, device: Some(device) })
    }

    /// The user of an account that lies dormant, whose device the login does not come from; the number is nobody's then. Whoever is
    /// barred has none: a deactivated account does not lie dormant, and a code of the testing mode proves nothing.
    fn take_dormant(&mut self, by: OpenedBy) -> StoreResult<Option<User>> {
        let Attempt { guess, session, .. } = self.attempt;
        let has_proven = guess.mode == Mode::Production && matches!(by, OpenedBy::Code);
        let Some(user) = self.judging.user.take_if(|_| has_proven && self.judging.device.is_none()) else {
            return Ok(None);
        };
        let (view, policy) = (&**self.judging.tx, &guess.policy.retention);
        if is_dormant(view, &user, policy, session.times.retention)? {
            return Ok(Some(user));
        }
        self.judging.user = Some(user);
        Ok(None)
    }

    /// Renews the device that the login comes from, or begins one. What a test number opens ends when that does.
    fn keep_device(&mut self, user: UserId, by: OpenedBy) -> StoreResult<Device> {
        let wall = self.attempt.session.times.wall;
        let device = match self.judging.device.take() {
            Some(device) => device.renewed(wall),
            None => Device::new(self.attempt.new_device.clone(), user, wall),
        };
        let device = match by {
            OpenedBy::TestNumber { until } => device.bounded(until),
            OpenedBy::Code | OpenedBy::Exchange => device,
        };
        devices::keep(self.judging.tx, &device, self.attempt.guess.policy.max_devices)?;
        Ok(device)
    }

    /// Notes that the user has proven the number, which restores an account that is to be deleted. What was opened by codes of the testing mode before ends with the first
    /// proof in production: whoever read the console need not be the person with the phone.
    fn verify(&mut self, user: User) -> StoreResult<User> {
        let is_testing_only = self.attempt.guess.mode == Mode::Testing;
        let is_known = user.phone_verified && user.is_testing_only == is_testing_only;
        if is_known && user.deletes_at.is_none() {
            return Ok(user);
        }
        let tx = &mut *self.judging.tx;
        if user.is_testing_only && !is_testing_only {
            for session in tx.live_sessions(user.id, self.attempt.guess.live_at)? {
                end(tx, session, EndReason::VerifiedInProduction)?;
            }
            devices::end_all(tx, user.id, None)?;
            self.judging.device = None;
        }
        if user.deletes_at.is_some() {
            let line = tx.did(AuditEvent::UserRestored).user(user.id);
            tx.record(line.detail(AuditDetail::ByOwner));
        }
        let mut changed = User { phone_verified: true, is_testing_only, deletes_at: None, ..user.clone() };
        let tx = &mut *self.judging.tx;
        tx.update_user(&mut changed)?;
        // That a deletion waited was told to nobody.
        if !is_known {
            happened::to_user(tx, EventKind::UserVerified, &user, &changed)?;
        }
        Ok(changed)
    }
}
