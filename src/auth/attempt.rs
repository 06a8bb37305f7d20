//! The one write of `verify/`: counts the guess, compares, consumes the code and opens the session, or notes why not.

use std::sync::Arc;

use super::audited::AuditedTx;
use super::devices::guesses;
use super::ending::end;
use super::error::{FlowError, commit_refusal};
use super::gate::AddressGate;
use super::lookup::good_test_number;
use super::opening::{NewSession, OpenedBy};
use super::quota::{Balance, QuotaState, Spent, count, spend};
use super::repetition::{Repeatable, Repetition, mac};
use super::settle::{LATEST, ensure_user};
use super::{AuthError, devices};
use crate::domain::audit::{AuditDetail, AuditEvent, LoginFailure};
use crate::domain::challenge::{Use, live_codes};
use crate::domain::keys::KeyRing;
use crate::domain::policy::Policy;
use crate::domain::quota::Quota;
use crate::domain::session::EndReason;
use crate::domain::{
    Challenge, ChallengeState, Code, Device, DeviceId, Mode, PhoneNumber, Secret, Session, TestNumber, User,
    UserId,
};
use crate::storage::{StoreError, StoreResult};
use crate::tokens::DeviceClaims;

/// Everything that the write needs, drawn and derived beforehand.
pub(super) struct Attempt {
    pub(super) mode: Mode,
    pub(super) phone: PhoneNumber,
    pub(super) code: Code,
    pub(super) idempotency_key: Option<Secret>,
    /// What the token of the caller's device says, if a good one came along.
    pub(super) device: Option<DeviceClaims>,
    /// The name of the device where a login comes without one.
    pub(super) new_device: DeviceId,
    pub(super) gate: Arc<AddressGate>,
    /// Whether a refusal that costs nobody anything gets a line in the audit trail. Where the address has a quota, that
    /// bounds the lines.
    pub(super) has_line: bool,
    pub(super) keys: Arc<KeyRing>,
    pub(super) policy: Arc<Policy>,
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
    pub(super) is_new_user: bool,
    /// The device on which it was opened, unless that has ended.
    pub(super) device: Option<Device>,
}

/// An attempt while it is judged.
struct Judging<'a, 't> {
    attempt: &'a Attempt,
    tx: &'a mut AuditedTx<'t>,
    /// The device that the call comes from, whose quotas judge it.
    device: Option<Device>,
    address: Option<QuotaState>,
    was_free: bool,
}

/// A challenge whose code was given, and how that proves the number.
struct Match<'c> {
    challenge: &'c Challenge,
    proof: OpenedBy,
    /// The phone's latest challenges.
    latest: &'c [Challenge],
}

impl Attempt {
    pub(super) fn write(self, tx: &mut AuditedTx<'_>) -> StoreResult<Attempted> {
        let mut judging = Judging { attempt: &self, tx, device: None, address: None, was_free: false };
        let login = commit_refusal(judging.decide())?;
        Ok(Attempted { address: judging.address, login, was_free: judging.was_free })
    }

    /// How the code that was given proves the number for a challenge, if it does.
    fn proof(&self, challenge: &Challenge, test: Option<&TestNumber>) -> Option<OpenedBy> {
        let code = &self.code;
        if challenge.hash.matches(code, &self.keys, challenge.id, &self.phone) {
            return Some(OpenedBy::Code);
        }
        let test = test.filter(|test| test.matches(code, &self.keys))?;
        Some(OpenedBy::TestNumber { until: test.until })
    }

    /// Why the right code opens nothing for a user. A code of the testing mode is read on a console: it must not open the
    /// account of somebody who has proven the number.
    fn bars(&self, user: &User) -> Option<LoginFailure> {
        if !user.is_active {
            return Some(LoginFailure::Disabled);
        }
        let is_testing = self.mode == Mode::Testing;
        (is_testing && user.phone_verified && !user.is_testing_only)
            .then_some(LoginFailure::VerifiedInProduction)
    }
}

impl Judging<'_, '_> {
    /// First fault wins, in the order of the contract.
    fn decide(&mut self) -> Result<OpenedSession, FlowError> {
        let Attempt { mode, phone, policy, .. } = self.attempt;
        self.attempt.gate.spend(self.tx, &mut self.address)?;
        let user = self.tx.user_by_phone(phone)?;
        let live_at = self.attempt.session.times.earlier();
        self.device = devices::find(&**self.tx, self.attempt.device.as_ref(), user.as_ref(), live_at)?;
        let latest = self.tx.challenges(*mode, phone, LATEST)?;
        let alive = live_codes(&latest, self.tx.at());
        if user.is_none() && alive.is_empty() {
            self.note_failure(None, LoginFailure::UnknownNumber, false);
            let answer =
                if policy.conceal_accounts { AuthError::InvalidOtp } else { AuthError::UserNotFound };
            return Err(answer.into());
        }
        let test = good_test_number(&**self.tx, *mode, phone, self.tx.at())?;
        let left = self.guesses_left(user.as_ref())?;
        let repeatable = self.repeatable(&latest, user.as_ref())?;
        // A guess costs a unit of the day for each code that it is tried against: on the last one the newest is tried
        // alone (S6).
        let tried: Vec<_> = self
            .guessable(alive)?
            .into_iter()
            .chain(repeatable.as_ref().map(|repeatable| repeatable.challenge))
            .take(left)
            .collect();
        // Every one of them is compared, so that time does not tell which one was right.
        let proof = |challenge| Some((challenge, self.attempt.proof(challenge, test.as_ref())?));
        let right: Vec<_> = tried.iter().copied().filter_map(proof).collect();
        if let Some(Repeatable { challenge, session }) = repeatable
            && right.iter().any(|(right, _)| right.id == challenge.id)
        {
            return self.repeat(session, user);
        }
        if let Some((challenge, proof)) = right.first().copied() {
            return self.log_in(&Match { challenge, proof, latest: &latest }, user);
        }
        let failure = self.failure(&latest, &tried, test.as_ref());
        self.note_failure(user.as_ref(), failure, !tried.is_empty());
        self.count_wrong(&latest, &tried, user.as_ref())?;
        Err(AuthError::InvalidOtp.into())
    }

    /// Those challenges that still take guesses of this caller.
    fn guessable<'c>(&self, alive: Vec<&'c Challenge>) -> StoreResult<Vec<&'c Challenge>> {
        let mut guessable = Vec::with_capacity(alive.len());
        for challenge in alive {
            if guesses(&**self.tx, challenge, self.device.as_ref())? < self.attempt.policy.otp.max_attempts {
                guessable.push(challenge);
            }
        }
        Ok(guessable)
    }

    /// How many wrong guesses the day of the phone, or of the device, still has.
    fn guesses_left(&mut self, user: Option<&User>) -> Result<usize, FlowError> {
        let Attempt { mode, phone, policy, .. } = self.attempt;
        let limits = [policy.otp.failures()];
        let subject = devices::subject(self.device.as_ref(), phone);
        let day = Balance::read(self.tx, Quota::Failures(*mode), &subject, &limits)?;
        let left = day.left(self.tx);
        if let Err(FlowError::Refused(_)) = left {
            self.note_failure(user, LoginFailure::DaySpent, false);
        }
        left
    }

    /// Notes why the attempt was refused. `has_cost` tells whether it cost the phone a guess.
    ///
    /// The trail stays bounded: an attempt costs its address a unit, or the phone a guess; where it costs neither (limits
    /// that are off, the testing mode), the lines of an address and of all are numbered, and the rest is counted.
    fn note_failure(&mut self, user: Option<&User>, failure: LoginFailure, has_cost: bool) {
        self.was_free = !self.attempt.gate.is_on() && !has_cost;
        if self.was_free && !self.attempt.has_line {
            return;
        }
        let line = self.tx.did(AuditEvent::LoginFail).detail(AuditDetail::LoginFailure(failure));
        self.tx.record(line.user(user.map(|user| user.id)));
    }

    /// Why a code is not good that none of the `tried` challenges took; the client does not learn it (S10). Only codes
    /// that can open nothing any more are compared: another comparison would be another guess.
    fn failure(&self, latest: &[Challenge], tried: &[&Challenge], test: Option<&TestNumber>) -> LoginFailure {
        let now = self.tx.at();
        let (alive, dead): (Vec<_>, Vec<_>) = latest.iter().partition(|challenge| challenge.is_alive(now));
        let given_before = dead.into_iter().find(|challenge| self.attempt.proof(challenge, test).is_some());
        match given_before.map(|challenge| challenge.state) {
            Some(ChallengeState::Used) => LoginFailure::Used,
            Some(ChallengeState::Void) => LoginFailure::Superseded,
            Some(ChallengeState::Sending | ChallengeState::Live | ChallengeState::Unknown) => {
                LoginFailure::Expired
            }
            None if !tried.is_empty() => LoginFailure::Wrong,
            None if !alive.is_empty() => LoginFailure::OverTried,
            None => LoginFailure::NoCode,
        }
    }

    /// The login that this call repeats, if it has the `Idempotency-Key` of one.
    fn repeatable<'c>(
        &self,
        latest: &'c [Challenge],
        user: Option<&User>,
    ) -> StoreResult<Option<Repeatable<'c>>> {
        let Attempt { idempotency_key, keys, policy, session, .. } = self.attempt;
        let (Some(key), Some(user)) = (idempotency_key, user) else { return Ok(None) };
        let live_at = session.times.earlier();
        let (device, max_attempts) = (self.device.as_ref(), policy.otp.max_attempts);
        Repetition { key, keys, device, max_attempts, live_at }.find(self.tx, latest, user)
    }

    /// Gives the session of a login again.
    fn repeat(
        &mut self,
        session: Result<Session, AuthError>,
        user: Option<User>,
    ) -> Result<OpenedSession, FlowError> {
        let user = user.ok_or(StoreError::Broken)?;
        let session = match session {
            Ok(session) => session,
            Err(refusal) => {
                self.note_failure(Some(&user), LoginFailure::Disabled, false);
                return Err(refusal.into());
            }
        };
        let line = self.tx.did(AuditEvent::TokenCreated).user(user.id).session(&session.id);
        self.tx.record(line.detail(AuditDetail::RepeatedVerify));
        let device = session.device_id.as_ref().map(|id| self.tx.device(id)).transpose()?.flatten();
        Ok(OpenedSession { session, user, is_new_user: false, device })
    }

    /// Consumes the code and opens a session; a user who may not log in spends the code and gets none.
    fn log_in(&mut self, given: &Match<'_>, user: Option<User>) -> Result<OpenedSession, FlowError> {
        let Attempt { phone, policy, session: new, .. } = self.attempt;
        let Match { challenge, proof, latest } = *given;
        for other in latest.iter().filter(|other| other.id != challenge.id && other.state.is_open()) {
            self.tx.update_challenge(&mut other.clone().superseded())?;
        }
        let barred = user.as_ref().and_then(|user| self.attempt.bars(user));
        let key = self.attempt.idempotency_key.as_ref();
        let idempotency = key.and_then(|key| mac(key, &self.attempt.keys, challenge));
        let session = barred.is_none().then(|| new.id.clone());
        let consumption = Use { at: self.tx.at(), session, idempotency };
        self.tx.update_challenge(&mut challenge.clone().consumed(consumption))?;
        let user = match user {
            Some(user) => user,
            None => ensure_user(self.tx, phone, &policy.default_role)?,
        };
        if let Some(failure) = barred {
            self.note_failure(Some(&user), failure, true);
            return Err(AuthError::AccountDisabled.into());
        }
        let is_new_user = !user.phone_verified;
        let user = self.verify(user)?;
        let mut success = self.tx.did(AuditEvent::LoginSuccess).user(user.id).session(&new.id);
        success.detail = proof.detail();
        self.tx.record(success);
        let device = self.keep_device(user.id, proof)?;
        let session = new.open(self.tx, user.id, proof, Some(device.id.clone()))?;
        Ok(OpenedSession { session, user, is_new_user, device: Some(device) })
    }

    /// Renews the device that the login comes from, or begins one. What a test number opens ends when that does.
    fn keep_device(&mut self, user: UserId, proof: OpenedBy) -> StoreResult<Device> {
        let wall = self.attempt.session.times.wall;
        let device = match self.device.take() {
            Some(device) => device.renewed(wall),
            None => Device::new(self.attempt.new_device.clone(), user, wall),
        };
        let device = match proof {
            OpenedBy::TestNumber { until } => device.bounded(until),
            OpenedBy::Code | OpenedBy::Exchange => device,
        };
        devices::keep(self.tx, &device, self.attempt.policy.max_devices)?;
        Ok(device)
    }

    /// Notes that the user has proven the number. What was opened by codes of the testing mode before ends with the first
    /// proof in production: whoever read the console need not be the person with the phone.
    fn verify(&mut self, user: User) -> StoreResult<User> {
        let is_testing_only = self.attempt.mode == Mode::Testing;
        if user.phone_verified && user.is_testing_only == is_testing_only {
            return Ok(user);
        }
        if user.is_testing_only {
            for session in self.tx.live_sessions(user.id, self.attempt.session.times.earlier())? {
                end(self.tx, session, EndReason::VerifiedInProduction)?;
            }
            devices::end_all(self.tx, user.id, None)?;
            self.device = None;
        }
        let mut user = User { phone_verified: true, is_testing_only, ..user };
        self.tx.update_user(&mut user)?;
        Ok(user)
    }

    /// Counts a wrong guess against the phone's codes, which share one budget, and once against its day for each code
    /// that it was tried against. Where no code takes guesses it could not have hit, and costs nothing.
    fn count_wrong(
        &mut self,
        latest: &[Challenge],
        tried: &[&Challenge],
        user: Option<&User>,
    ) -> StoreResult<()> {
        if tried.is_empty() {
            return Ok(());
        }
        let Attempt { mode, phone, policy, .. } = self.attempt;
        let now = self.tx.at();
        let mut over_tried = false;
        let counts = |challenge: &&Challenge| {
            challenge.is_alive(now) || tried.iter().any(|tried| tried.id == challenge.id)
        };
        for challenge in latest.iter().filter(counts) {
            over_tried |= self.count_guess(challenge)? == policy.otp.max_attempts;
        }
        let subject = devices::subject(self.device.as_ref(), phone);
        let (quota, limits) = (Quota::Failures(*mode), [policy.otp.failures()]);
        let mut day = Spent::Off;
        for _ in tried {
            day = spend(self.tx, quota, &subject, &limits)?;
            if self.device.is_some() {
                count(self.tx, quota, phone.as_str(), &limits)?;
            }
        }
        let day_spent = matches!(day, Spent::Unit(_, QuotaState { remaining: 0, .. }));
        for (reached, what) in [(over_tried, AuditDetail::CodeOverTried), (day_spent, AuditDetail::DaySpent)]
        {
            if reached {
                let line = self.tx.did(AuditEvent::LoginFailMax).detail(what);
                self.tx.record(line.user(user.map(|user| user.id)));
            }
        }
        Ok(())
    }

    /// Counts a wrong guess at a challenge, and gives how many it has taken from the side of the caller.
    fn count_guess(&mut self, challenge: &Challenge) -> StoreResult<u32> {
        if let Some(device) = &self.device {
            return self.tx.count_device_guess(challenge.id, &device.id);
        }
        let mut guessed = challenge.clone().guessed_wrong();
        self.tx.update_challenge(&mut guessed)?;
        Ok(guessed.attempts)
    }
}
