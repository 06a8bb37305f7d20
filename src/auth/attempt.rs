//! The one write of `verify/`: counts the guess, compares, consumes the code and opens the session, or notes why not.

use std::sync::Arc;
use std::time::Duration;

use hmac::Mac;
use subtle::ConstantTimeEq;

use super::AuthError;
use super::ending::end;
use super::error::{Stop, commit_refusal};
use super::lookup::find_session;
use super::opening::{NewSession, OpenedBy};
use super::quota::{self, AddressQuota, QuotaState};
use super::settle::{LATEST, ensure_user};
use super::trail::Trail;
use crate::domain::audit::{Actor, AuditEvent, LoginFailure};
use crate::domain::challenge::{Use, live_codes};
use crate::domain::keys::KeyRing;
use crate::domain::policy::Policy;
use crate::domain::quota::Quota;
use crate::domain::session::EndReason;
use crate::domain::{Challenge, ChallengeState, Code, Mode, PhoneNumber, Secret, Session, TestNumber, User};
use crate::storage::{StoreError, StoreResult, Tx};

/// How long a verify may be repeated with the same `Idempotency-Key`: the phone lost the answer.
const REPEATABLE: Duration = Duration::from_mins(1);

/// Everything that the write needs, drawn and derived beforehand.
pub(super) struct Attempt {
    pub(super) mode: Mode,
    pub(super) phone: PhoneNumber,
    pub(super) code: Code,
    pub(super) idempotency_key: Option<Secret>,
    pub(super) actor: Actor,
    pub(super) address: Option<AddressQuota>,
    /// Whether a refusal that costs nobody anything gets a line in the audit trail. Where the address has a quota, that
    /// bounds the lines.
    pub(super) has_line: bool,
    pub(super) keys: KeyRing,
    pub(super) policy: Arc<Policy>,
    pub(super) session: NewSession,
}

/// What the write decided.
pub(super) struct Attempted {
    pub(super) address: Option<QuotaState>,
    pub(super) login: Result<Opened, AuthError>,
    pub(super) trail: Trail,
    /// Whether it was refused at nobody's cost: no quota bounds how often that can be.
    pub(super) was_free: bool,
}

pub(super) struct Opened {
    pub(super) session: Session,
    pub(super) user: User,
    pub(super) is_new_user: bool,
}

/// A login that may be repeated.
struct Repeatable<'c> {
    /// What it was made with.
    challenge: &'c Challenge,
    /// The session to give again, or why the right code gets none.
    session: Result<Session, AuthError>,
}

impl Attempt {
    pub(super) fn write(self, tx: &mut dyn Tx) -> StoreResult<Attempted> {
        let mut attempted = Attempted {
            address: None,
            login: Err(AuthError::Internal),
            trail: Trail::default(),
            was_free: false,
        };
        attempted.login = commit_refusal(self.decide(tx, &mut attempted))?;
        Ok(attempted)
    }

    /// First fault wins, in the order of the contract.
    fn decide(&self, tx: &mut dyn Tx, attempted: &mut Attempted) -> Result<Opened, Stop> {
        let (mode, phone, now, otp) = (self.mode, &self.phone, self.actor.at, &self.policy.otp);
        let address = self.address.as_ref();
        quota::spend_address(tx, &mut attempted.trail, &self.actor, address, &mut attempted.address)?;
        let user = tx.user_by_phone(phone)?;
        let latest = tx.challenges(mode, phone, LATEST)?;
        let alive = live_codes(&latest, now);
        if user.is_none() && alive.is_empty() {
            self.note_failure(tx, attempted, None, LoginFailure::UnknownNumber, false)?;
            let told =
                if self.policy.conceal_accounts { AuthError::InvalidOtp } else { AuthError::UserNotFound };
            return Err(told.into());
        }
        let test = self.test_number(tx)?;
        let left = self.guesses_left(tx, attempted, user.as_ref())?;
        let repeatable = self.repeatable(tx, &latest, user.as_ref())?;
        // A guess costs a unit of the day for each code that it is tried against: on the last one the newest is tried
        // alone (S6).
        let tried: Vec<_> = alive
            .into_iter()
            .filter(|challenge| !challenge.is_over_tried(otp.max_attempts))
            .chain(repeatable.as_ref().map(|repeatable| repeatable.challenge))
            .take(left)
            .collect();
        // Every one of them is compared, so that time does not tell which one was right.
        let right: Vec<_> =
            tried.iter().filter_map(|each| Some((each.id, each, self.proof(each, test.as_ref())?))).collect();
        if let Some(Repeatable { challenge, session }) = repeatable
            && right.iter().any(|(id, ..)| *id == challenge.id)
        {
            return self.repeat(tx, attempted, session, user);
        }
        if let Some((_, challenge, proof)) = right.first() {
            return self.log_in(tx, attempted, challenge, *proof, &latest, user);
        }
        let failure = self.failure(&latest, &tried, test.as_ref());
        self.note_failure(tx, attempted, user.as_ref(), failure, !tried.is_empty())?;
        self.count_wrong(tx, &mut attempted.trail, &latest, &tried, user.as_ref())?;
        Err(AuthError::InvalidOtp.into())
    }

    /// How many wrong guesses the phone's day still has.
    fn guesses_left(
        &self,
        tx: &mut dyn Tx,
        attempted: &mut Attempted,
        user: Option<&User>,
    ) -> Result<usize, Stop> {
        let (mode, phone, limit) = (self.mode, self.phone.as_str(), self.policy.otp.failures());
        let left = quota::failures_left(tx, &mut attempted.trail, &self.actor, mode, phone, &limit);
        if let Err(Stop::Refused(_)) = left {
            self.note_failure(tx, attempted, user, LoginFailure::DaySpent, false)?;
        }
        left
    }

    /// Writes why the attempt was refused. `has_cost` tells whether it cost the phone a guess.
    ///
    /// The trail stays bounded: an attempt costs its address a unit, or the phone a guess; where it costs neither (limits
    /// that are off, the testing mode), the lines of an address and of all are numbered, and the rest is counted.
    fn note_failure(
        &self,
        tx: &mut dyn Tx,
        attempted: &mut Attempted,
        user: Option<&User>,
        failure: LoginFailure,
        has_cost: bool,
    ) -> StoreResult<()> {
        attempted.was_free = self.address.is_none() && !has_cost;
        if attempted.was_free && !self.has_line {
            return Ok(());
        }
        let mut line = self.actor.did(AuditEvent::LoginFail).detail(failure.as_str());
        line.user = user.map(|user| user.id);
        attempted.trail.add(tx, line)
    }

    /// Why a code is not good that none of the `tried` challenges took; the client is told none of it (S10). Only codes
    /// that can open nothing any more are compared: another comparison would be another guess.
    fn failure(&self, latest: &[Challenge], tried: &[&Challenge], test: Option<&TestNumber>) -> LoginFailure {
        let now = self.actor.at;
        let (alive, dead): (Vec<_>, Vec<_>) = latest.iter().partition(|challenge| challenge.is_alive(now));
        let given_before = dead.into_iter().find(|challenge| self.proof(challenge, test).is_some());
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

    /// The test number with this phone, while it has not ended.
    fn test_number(&self, tx: &dyn Tx) -> StoreResult<Option<TestNumber>> {
        if self.mode != Mode::Production {
            return Ok(None);
        }
        Ok(tx.test_number(&self.phone)?.filter(|number| number.is_good(self.actor.at)))
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

    /// The latest login whose answer may have been lost, if this call has its `Idempotency-Key`. The code that it was made
    /// with is guessed against like any other, or a key that others can know would let them try all codes.
    fn repeatable<'c>(
        &self,
        tx: &dyn Tx,
        latest: &'c [Challenge],
        user: Option<&User>,
    ) -> StoreResult<Option<Repeatable<'c>>> {
        let (Some(key), Some(user)) = (&self.idempotency_key, user) else { return Ok(None) };
        let now = self.actor.at;
        for challenge in latest {
            let Some(Use { at, session: Some(session), idempotency: Some(stored) }) = &challenge.used else {
                continue;
            };
            let same_key = self.idempotency_mac(key, challenge).is_some_and(|mac| mac.ct_eq(stored).into());
            if !same_key || now >= *at + REPEATABLE {
                continue;
            }
            if challenge.is_over_tried(self.policy.otp.max_attempts) {
                return Ok(None);
            }
            let session = match find_session(tx, session, user, self.session.times.earlier())? {
                // A phone that has refreshed has had its answer.
                Ok(session) if session.generation > 0 => return Ok(None),
                Ok(_) if !user.is_active => Err(AuthError::AccountDisabled),
                Err(AuthError::TokenInvalid) => return Ok(None),
                found => found,
            };
            return Ok(Some(Repeatable { challenge, session }));
        }
        Ok(None)
    }

    /// Gives the session of a login again.
    fn repeat(
        &self,
        tx: &mut dyn Tx,
        attempted: &mut Attempted,
        session: Result<Session, AuthError>,
        user: Option<User>,
    ) -> Result<Opened, Stop> {
        let user = user.ok_or(StoreError::Broken)?;
        let session = match session {
            Ok(session) => session,
            Err(refusal) => {
                self.note_failure(tx, attempted, Some(&user), LoginFailure::Disabled, false)?;
                return Err(refusal.into());
            }
        };
        let line = self.actor.did(AuditEvent::TokenCreated).user(user.id).session(&session.id);
        attempted.trail.add(tx, line.detail("repeated verify"))?;
        Ok(Opened { session, user, is_new_user: false })
    }

    fn idempotency_mac(&self, key: &Secret, challenge: &Challenge) -> Option<Vec<u8>> {
        let mac = self.keys.numbered(challenge.hash.key)?.code_mac();
        let mac = mac.chain_update(b"idempotency").chain_update(challenge.id.0.to_be_bytes());
        Some(mac.chain_update(key.expose()).finalize().into_bytes().to_vec())
    }

    /// Consumes the code and opens a session; a user who may not log in spends the code and gets none.
    fn log_in(
        &self,
        tx: &mut dyn Tx,
        attempted: &mut Attempted,
        challenge: &Challenge,
        proof: OpenedBy,
        latest: &[Challenge],
        user: Option<User>,
    ) -> Result<Opened, Stop> {
        let (phone, now) = (&self.phone, self.actor.at);
        for other in latest.iter().filter(|other| other.id != challenge.id && other.state.is_open()) {
            tx.update_challenge(&other.clone().superseded())?;
        }
        let barred = user.as_ref().and_then(|user| self.bars(user));
        let idempotency = self.idempotency_key.as_ref().and_then(|key| self.idempotency_mac(key, challenge));
        let session = barred.is_none().then(|| self.session.id.clone());
        tx.update_challenge(&challenge.clone().consumed(Use { at: now, session, idempotency }))?;
        let user = match user {
            Some(user) => user,
            None => ensure_user(tx, &mut attempted.trail, &self.actor, phone, &self.policy.default_role)?,
        };
        if let Some(failure) = barred {
            self.note_failure(tx, attempted, Some(&user), failure, true)?;
            return Err(AuthError::AccountDisabled.into());
        }
        let is_new_user = !user.phone_verified;
        let user = self.verify(tx, attempted, user)?;
        let mut success = self.actor.did(AuditEvent::LoginSuccess).user(user.id).session(&self.session.id);
        success.detail = proof.detail();
        attempted.trail.add(tx, success)?;
        let session = self.session.open(tx, &mut attempted.trail, &self.actor, user.id, proof)?;
        Ok(Opened { session, user, is_new_user })
    }

    /// Why the right code opens nothing for a user. A code of the testing mode is read on a console: it must not open
    /// the account of somebody who has proven the number.
    fn bars(&self, user: &User) -> Option<LoginFailure> {
        if !user.is_active {
            return Some(LoginFailure::Disabled);
        }
        let is_testing = self.mode == Mode::Testing;
        (is_testing && user.phone_verified && !user.is_testing_only)
            .then_some(LoginFailure::VerifiedInProduction)
    }

    /// Notes that the user has proven the number. What was opened by codes of the testing mode before ends with the first
    /// proof in production: whoever read the console need not be the person with the phone.
    fn verify(&self, tx: &mut dyn Tx, attempted: &mut Attempted, user: User) -> StoreResult<User> {
        let is_testing_only = self.mode == Mode::Testing;
        if user.phone_verified && user.is_testing_only == is_testing_only {
            return Ok(user);
        }
        if user.is_testing_only {
            for session in tx.live_sessions(user.id, self.session.times.earlier())? {
                let reason = EndReason::VerifiedInProduction;
                end(tx, &mut attempted.trail, &self.actor, session, reason)?;
            }
        }
        let user = User { phone_verified: true, is_testing_only, ..user };
        tx.update_user(&user)?;
        Ok(user)
    }

    /// Counts a wrong guess against the phone's codes, which share one budget, and once against its day for each code
    /// that it was tried against. Where no code takes guesses it could not have hit, and costs nothing.
    fn count_wrong(
        &self,
        tx: &mut dyn Tx,
        trail: &mut Trail,
        latest: &[Challenge],
        tried: &[&Challenge],
        user: Option<&User>,
    ) -> StoreResult<()> {
        if tried.is_empty() {
            return Ok(());
        }
        let (phone, now) = (self.phone.as_str(), self.actor.at);
        let mut over_tried = false;
        let counts = |challenge: &&Challenge| {
            challenge.is_alive(now) || tried.iter().any(|tried| tried.id == challenge.id)
        };
        for challenge in latest.iter().filter(counts) {
            let guessed = challenge.clone().guessed_wrong();
            over_tried |= guessed.attempts == self.policy.otp.max_attempts;
            tx.update_challenge(&guessed)?;
        }
        let mut day = quota::Spent::Off;
        for _ in tried {
            let quota = Quota::Failures(self.mode);
            day = quota::spend(tx, quota, &self.policy.otp.failures(), phone, now)?;
        }
        let day_spent = matches!(day, quota::Spent::Unit(_, QuotaState { remaining: 0, .. }));
        for (reached, what) in [(over_tried, "code"), (day_spent, "day")] {
            if reached {
                let mut line = self.actor.did(AuditEvent::LoginFailMax).detail(what);
                line.user = user.map(|user| user.id);
                trail.add(tx, line)?;
            }
        }
        Ok(())
    }
}
