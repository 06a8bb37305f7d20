//! Judging a code that was given for a number: the guess is counted and committed before its answer, whoever takes it. What the
//! right code is good for is said by the flow that was given it: `verify/` opens a session; for others it proves that the bearer
//! of a token has the number.

use std::sync::Arc;

use super::audited::AuditedTx;
use super::devices::{self, guesses};
use super::error::FlowError;
use super::gate::AddressGate;
use super::lookup::good_test_number;
use super::opening::OpenedBy;
use super::quota::{Balance, QuotaState, Spent, count, spend};
use super::settle::LATEST;
use super::{Auth, AuthError, Origin};
use crate::domain::audit::{AuditDetail, AuditEvent, LoginFailure};
use crate::domain::challenge::{Use, live_codes};
use crate::domain::clock::Times;
use crate::domain::keys::KeyRing;
use crate::domain::policy::Policy;
use crate::domain::quota::Quota;
use crate::domain::{
    Challenge, ChallengeId, ChallengeState, Code, Device, Mode, PhoneNumber, Purpose, Secret, TestNumber,
    Timestamp, User, UserId,
};
use crate::storage::{Locks, StoreResult};
use crate::tokens::DeviceClaims;

/// A code as it came with a call.
pub(super) struct GivenCode {
    pub(super) mode: Mode,
    /// What it is given for.
    pub(super) purpose: Purpose,
    /// The number that it is given for.
    pub(super) phone: PhoneNumber,
    pub(super) code: Code,
    /// The token of the caller's device, if one came along.
    pub(super) device_token: Option<Secret>,
}

/// A code that was given for a number, and what it is judged by; drawn and derived before the write.
pub(super) struct Guess {
    pub(super) mode: Mode,
    pub(super) purpose: Purpose,
    pub(super) phone: PhoneNumber,
    pub(super) code: Code,
    /// What the token of the caller's device says, if a good one came along.
    pub(super) device: Option<DeviceClaims>,
    /// When that device must be live.
    pub(super) live_at: Timestamp,
    /// What the call costs its caller's address; spending it is the flow's.
    pub(super) gate: Arc<AddressGate>,
    /// Whether a refusal that costs nobody anything gets a line in the audit trail. Where the address has a quota, that
    /// bounds the lines.
    pub(super) has_line: bool,
    pub(super) keys: Arc<KeyRing>,
    pub(super) policy: Arc<Policy>,
}

/// A guess while it is judged, in an open transaction.
pub(super) struct Judging<'a, 't> {
    pub(super) guess: &'a Guess,
    pub(super) tx: &'a mut AuditedTx<'t>,
    /// The user who has the number, or who wants it where the code is for that.
    pub(super) user: Option<User>,
    /// The device that the call comes from, whose quotas judge it.
    pub(super) device: Option<Device>,
    /// Whether it was refused at nobody's cost: no quota bounds how often that can be.
    pub(super) was_free: bool,
}

/// A challenge whose code was given, and how that proves the number.
pub(super) struct Match<'c> {
    pub(super) challenge: &'c Challenge,
    pub(super) by: OpenedBy,
    /// The number's latest challenges.
    pub(super) latest: &'c [Challenge],
}

/// The proof that a bearer has the number: good once, when it is consumed.
pub(super) struct Proof {
    challenge: Challenge,
    latest: Vec<Challenge>,
}

impl Auth {
    /// Puts a guess together.
    pub(super) fn guess(
        &self,
        given: GivenCode,
        gate: Arc<AddressGate>,
        origin: &Origin,
        times: &Times,
    ) -> Guess {
        let GivenCode { mode, purpose, phone, code, device_token } = given;
        let settings = self.settings();
        Guess {
            mode,
            purpose,
            phone,
            code,
            device: self.device_claims(device_token.as_ref(), times.wall),
            live_at: times.earlier(),
            gate,
            has_line: self.lines.has_line(&origin.address.subject(), times.now),
            keys: settings.keys.clone(),
            policy: settings.policy.clone(),
        }
    }

    /// Counts a guess that was refused at nobody's cost and had its line.
    pub(super) fn count_free(&self, was_free: bool, origin: &Origin, now: Timestamp) {
        if was_free {
            self.lines.count(&origin.address.subject(), now);
        }
    }

    /// Writes that what was given for a number can be no code; so many times an hour, since it costs nothing. The answer is
    /// the same where the line cannot be written.
    pub(super) async fn note_part(
        self: Arc<Self>,
        mode: Mode,
        phone: PhoneNumber,
        origin: Origin,
        now: Timestamp,
    ) {
        if !self.lines.count(&origin.address.subject(), now) {
            return;
        }
        let written = self.write(Locks::none(), self.actor(now, mode, &phone, &origin), move |tx| {
            let user = tx.user_by_phone(&phone)?.map(|user| user.id);
            tx.record(
                tx.did(AuditEvent::LoginFail)
                    .detail(AuditDetail::LoginFailure(LoginFailure::NotACode))
                    .user(user),
            );
            Ok(())
        });
        if let Err(error) = written.await {
            tracing::debug!(%error, "that no code was given could not be noted");
        }
    }
}

impl Guess {
    /// How the code proves the number for a challenge, if it does.
    fn proof(&self, challenge: &Challenge, test: Option<&TestNumber>) -> Option<OpenedBy> {
        let code = &self.code;
        if challenge.hash.matches(code, &self.keys, challenge.binding()) {
            return Some(OpenedBy::Code);
        }
        let test = test.filter(|test| test.matches(code, &self.keys))?;
        Some(OpenedBy::TestNumber { until: test.until })
    }
}

impl<'a, 't> Judging<'a, 't> {
    /// Reads for whom the code is, and which device the call comes from.
    pub(super) fn begin(guess: &'a Guess, tx: &'a mut AuditedTx<'t>) -> StoreResult<Self> {
        let user = match guess.purpose {
            Purpose::Login => tx.user_by_phone(&guess.phone)?,
            Purpose::PhoneChange(user) => tx.user(user)?,
        };
        let device = devices::find(&**tx, guess.device.as_ref(), user.as_ref(), guess.live_at)?;
        Ok(Self { guess, tx, user, device, was_free: false })
    }

    /// The number's latest challenges for the purpose, newest first.
    pub(super) fn latest(&self) -> StoreResult<Vec<Challenge>> {
        let Guess { mode, phone, purpose, .. } = self.guess;
        self.tx.challenges(*mode, phone, *purpose, LATEST)
    }

    /// Judges the code against those of the latest challenges that may be given, and against that of `used`, which a repeated
    /// call may give once more. A wrong one is counted, and refused without a reason (S10).
    pub(super) fn judge<'c>(
        &mut self,
        latest: &'c [Challenge],
        used: Option<&'c Challenge>,
    ) -> Result<Match<'c>, FlowError> {
        let test = match self.guess.purpose {
            Purpose::Login => good_test_number(&**self.tx, self.guess.mode, &self.guess.phone, self.tx.at())?,
            Purpose::PhoneChange(_) => None,
        };
        let left = self.guesses_left()?;
        // A guess costs a unit of the day for each code that it is tried against: on the last one the newest is tried
        // alone (S6).
        let alive = live_codes(latest, self.tx.at());
        let tried: Vec<_> = self.guessable(alive)?.into_iter().chain(used).take(left).collect();
        // Every one of them is compared, so that time does not tell which one was right.
        let right: Vec<_> = tried
            .iter()
            .copied()
            .filter_map(|challenge| Some((challenge, self.guess.proof(challenge, test.as_ref())?)))
            .collect();
        let is_used = |challenge: &Challenge| used.is_some_and(|used| used.id == challenge.id);
        let best = right.iter().find(|(challenge, _)| is_used(challenge)).or(right.first());
        if let Some((challenge, by)) = best.copied() {
            return Ok(Match { challenge, by, latest });
        }
        let failure = self.failure(latest, &tried, test.as_ref());
        self.note_failure(failure, !tried.is_empty());
        self.count_wrong(latest, &tried)?;
        Err(AuthError::InvalidOtp.into())
    }

    /// The user who has the number, if it is the `bearer` of the call.
    pub(super) fn bearer(&self, bearer: UserId) -> Result<&User, FlowError> {
        // The token was read with what memory knew: its user may be gone or have another number by now.
        let user = self.user.as_ref().filter(|user| user.id == bearer);
        Ok(user.ok_or(AuthError::TokenInvalid)?)
    }

    /// Takes the code as the proof that `bearer`, whose token is good, has the number: judged as `verify/` judges it, whichever of
    /// `resend/` and `request/` sent it. Nothing is used up yet, so that two proofs can be consumed together or neither.
    pub(super) fn prove(&mut self, bearer: UserId) -> Result<Proof, FlowError> {
        if !self.bearer(bearer)?.is_active {
            return Err(AuthError::AccountDisabled.into());
        }
        let latest = self.latest()?;
        let challenge = self.judge(&latest, None)?.challenge.clone();
        Ok(Proof { challenge, latest })
    }

    /// Notes why the code was refused. `has_cost` tells whether it cost the number a guess.
    ///
    /// The trail stays bounded: a guess costs its address a unit, or the number a guess; where it costs neither (limits
    /// that are off, the testing mode), the lines of an address and of all are numbered, and the rest is counted.
    pub(super) fn note_failure(&mut self, failure: LoginFailure, has_cost: bool) {
        self.was_free = !self.guess.gate.is_on() && !has_cost;
        if self.was_free && !self.guess.has_line {
            return;
        }
        let line = self.tx.did(AuditEvent::LoginFail).detail(AuditDetail::LoginFailure(failure));
        self.tx.record(line.user(self.user.as_ref().map(|user| user.id)));
    }

    /// Those challenges that still take guesses of this caller.
    fn guessable<'c>(&self, alive: Vec<&'c Challenge>) -> StoreResult<Vec<&'c Challenge>> {
        let most = self.guess.policy.otp.max_attempts;
        let mut guessable = Vec::with_capacity(alive.len());
        for challenge in alive {
            if guesses(&**self.tx, challenge, self.device.as_ref())? < most {
                guessable.push(challenge);
            }
        }
        Ok(guessable)
    }

    /// How many wrong guesses the day of the number, or of the device, still has.
    fn guesses_left(&mut self) -> Result<usize, FlowError> {
        let Guess { mode, phone, keys, policy, .. } = self.guess;
        let limits = [policy.otp.failures()];
        let subject = devices::subject(self.device.as_ref(), phone, keys);
        let day = Balance::read(self.tx, Quota::Failures(*mode), &subject, &limits)?;
        let left = day.left(self.tx);
        if let Err(FlowError::Refused(_)) = left {
            self.note_failure(LoginFailure::DaySpent, false);
        }
        left
    }

    /// Why a code is not good that none of the `tried` challenges took; the client does not learn it (S10). Only codes
    /// that can open nothing any more are compared: another comparison would be another guess.
    fn failure(&self, latest: &[Challenge], tried: &[&Challenge], test: Option<&TestNumber>) -> LoginFailure {
        let now = self.tx.at();
        let (alive, dead): (Vec<_>, Vec<_>) = latest.iter().partition(|challenge| challenge.is_alive(now));
        let given_before = dead.into_iter().find(|challenge| self.guess.proof(challenge, test).is_some());
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

    /// Counts a wrong guess against the number's codes, which share one budget, and once against its day for each code
    /// that it was tried against. Where no code takes guesses it could not have hit, and costs nothing.
    fn count_wrong(&mut self, latest: &[Challenge], tried: &[&Challenge]) -> StoreResult<()> {
        if tried.is_empty() {
            return Ok(());
        }
        let Guess { mode, phone, keys, policy, .. } = self.guess;
        let now = self.tx.at();
        let mut over_tried = false;
        let counts = |challenge: &&Challenge| {
            challenge.is_alive(now) || tried.iter().any(|tried| tried.id == challenge.id)
        };
        for challenge in latest.iter().filter(counts) {
            over_tried |= self.count_guess(challenge)? == policy.otp.max_attempts;
        }
        let subject = devices::subject(self.device.as_ref(), phone, keys);
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
                self.tx.record(line.user(self.user.as_ref().map(|user| user.id)));
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

impl Match<'_> {
    /// Uses the code up; the number's other codes are void.
    pub(super) fn consume(&self, tx: &mut AuditedTx<'_>, used: Use) -> StoreResult<()> {
        consume(tx, self.challenge, self.latest, used)
    }
}

impl Proof {
    /// The challenge whose code was given.
    pub(super) const fn challenge_id(&self) -> ChallengeId {
        self.challenge.id
    }

    /// Uses the code up; the number's other codes are void.
    pub(super) fn consume(self, tx: &mut AuditedTx<'_>) -> StoreResult<()> {
        let used = Use { at: tx.at(), session: None, idempotency: None };
        consume(tx, &self.challenge, &self.latest, used)
    }
}

fn consume(
    tx: &mut AuditedTx<'_>,
    challenge: &Challenge,
    latest: &[Challenge],
    used: Use,
) -> StoreResult<()> {
    for other in latest.iter().filter(|other| other.id != challenge.id && other.state.is_open()) {
        tx.update_challenge(&mut other.clone().superseded())?;
    }
    let all: Vec<_> = latest.iter().map(|other| other.id).collect();
    tx.convert(challenge.id, &all, used.at)?;
    tx.update_challenge(&mut challenge.clone().consumed(used))
}
