//! Giving a code: one write counts the guess, compares, consumes and opens the session; tokens are signed after it.

use std::sync::Arc;
use std::time::Duration;

use hmac::Mac;
use subtle::ConstantTimeEq;

use super::error::{Stop, said};
use super::lookup::find_session;
use super::opening::{NewSession, OpenedBy};
use super::quota::{self, AddressQuota, Limited, QuotaState};
use super::settle::{LATEST, ensure_user};
use super::trail::Trail;
use super::{Auth, AuthError, Origin};
use crate::domain::audit::{Actor, AuditEvent};
use crate::domain::challenge::{Use, live_codes};
use crate::domain::clock::Times;
use crate::domain::keys::KeyRing;
use crate::domain::policy::OtpPolicy;
use crate::domain::quota::{Endpoint, Quota};
use crate::domain::{Challenge, Channel, Code, PhoneNumber, Secret, Session, TestNumber, User};
use crate::random;
use crate::storage::{Fault, Stored, Tx};
use crate::tokens::TokenPair;

/// How long a verify may be repeated with the same `Idempotency-Key`: the phone lost the answer.
const REPEATABLE: Duration = Duration::from_mins(1);

/// A call of `verify/`, parsed.
#[derive(Clone, Debug)]
pub struct VerifyRequest {
    /// Production or testing.
    pub channel: Channel,
    /// The number to prove.
    pub phone: PhoneNumber,
    /// The code; `None` where what was given can be none.
    pub code: Option<Code>,
    /// The header that makes a repetition safe.
    pub idempotency_key: Option<Secret>,
    /// What the client calls its device.
    pub device: String,
    /// Where it came from.
    pub origin: Origin,
}

/// A login.
#[derive(Debug)]
pub struct LoggedIn {
    /// The session's tokens.
    pub tokens: TokenPair,
    /// Its user, now verified.
    pub user: User,
    /// Whether the number had never been verified before.
    pub is_new_user: bool,
}

/// Everything that the write needs, drawn and derived beforehand.
struct Attempt {
    request: VerifyRequest,
    code: Code,
    actor: Actor,
    address: Option<AddressQuota>,
    otp: OtpPolicy,
    keys: KeyRing,
    role: String,
    conceal: bool,
    session: NewSession,
}

/// What the write decided.
struct Attempted {
    address: Option<QuotaState>,
    login: Result<Opened, AuthError>,
    trail: Trail,
}

struct Opened {
    session: Session,
    user: User,
    is_new_user: bool,
}

/// A login that may be repeated.
struct Repeatable<'c> {
    /// What it was made with.
    challenge: &'c Challenge,
    /// The session to give again, or why the right code gets none.
    session: Result<Session, AuthError>,
}

impl Auth {
    /// Checks a code and opens a session.
    pub async fn verify(self: &Arc<Self>, request: VerifyRequest) -> Limited<LoggedIn> {
        // Phones submit codes digit by digit: a part of one is no guess, and costs the address nothing.
        let Some(code) = request.code.clone() else {
            return Limited::free(Err(AuthError::NotACode));
        };
        let times = self.parts.clock.read();
        let foreign_writes = self.parts.store.foreign_writes();
        let address = self.address_quota(request.channel, Endpoint::Verify, &request.origin);
        if let Some(refused) = self.refuse_early(address.as_ref(), times.now, foreign_writes) {
            return refused;
        }
        let flow = self.clone().check_code(request, code, address, times, foreign_writes);
        self.run(flow).await.unwrap_or_else(|died| Limited::free(Err(died)))
    }

    async fn check_code(
        self: Arc<Self>,
        request: VerifyRequest,
        code: Code,
        address: Option<AddressQuota>,
        times: Times,
        foreign_writes: u64,
    ) -> Limited<LoggedIn> {
        // Which codes are good depends on what became of their messages.
        self.settle_late(request.channel, &request.phone).await;
        let random = &*self.parts.random;
        let attempt = Attempt {
            actor: self.actor(times.now, request.channel, &request.phone, &request.origin),
            session: self.new_session(request.device.clone(), &request.origin, times),
            request,
            code,
            address: address.clone(),
            otp: self.policy().otp.clone(),
            keys: self.parts.keys.clone(),
            role: self.policy().default_role.clone(),
            conceal: self.policy().conceal_accounts,
        };
        let channel = attempt.request.channel;
        let attempted = match self.parts.store.write(move |tx| attempt.write(tx)).await {
            Ok(attempted) => attempted,
            Err(fault) => return Limited::free(Err(fault.into())),
        };
        attempted.trail.log();
        self.count(channel, attempted.login.as_ref().err());
        self.remember_refusal(address, attempted.address, times.now, foreign_writes);
        let result = attempted.login.and_then(|Opened { session, user, is_new_user }| {
            let tokens = self.parts.tokens.pair(&session, &user, random::jti(random), times.wall);
            Ok(LoggedIn { tokens: tokens.ok_or(AuthError::Internal)?, user, is_new_user })
        });
        Limited { quotas: attempted.address.into_iter().collect(), result }
    }
}

impl Auth {
    /// Counts a code that was judged; refusals for other reasons say nothing of codes.
    fn count(&self, channel: Channel, refusal: Option<&AuthError>) {
        let (metrics, channel) = (&self.parts.metrics, channel.as_str());
        match refusal {
            None => metrics.authenticated(channel),
            Some(AuthError::InvalidOtp) => metrics.authentication_failed(channel, "invalid_otp"),
            Some(AuthError::UserNotFound) => metrics.authentication_failed(channel, "user_not_found"),
            Some(AuthError::AccountDisabled) => metrics.authentication_failed(channel, "account_disabled"),
            Some(_) => {}
        }
    }
}

impl Attempt {
    fn write(self, tx: &mut dyn Tx) -> Stored<Attempted> {
        let (mut address, mut trail) = (None, Trail::default());
        let login = said(self.decide(tx, &mut address, &mut trail))?;
        Ok(Attempted { address, login, trail })
    }

    /// First fault wins, in the order of the contract.
    fn decide(
        &self,
        tx: &mut dyn Tx,
        address: &mut Option<QuotaState>,
        trail: &mut Trail,
    ) -> Result<Opened, Stop> {
        let (channel, phone, now) = (self.request.channel, &self.request.phone, self.actor.at);
        quota::spend_address(tx, trail, &self.actor, self.address.as_ref(), address)?;
        let user = tx.user_by_phone(phone)?;
        let latest = tx.challenges(channel, phone, LATEST)?;
        let alive = live_codes(&latest, now);
        if user.is_none() && alive.is_empty() {
            return Err(if self.conceal { AuthError::InvalidOtp } else { AuthError::UserNotFound }.into());
        }
        let test = self.test_number(tx)?;
        let left =
            quota::failures_left(tx, trail, &self.actor, channel, phone.as_str(), &self.otp.failures())?;
        let repeatable = self.repeatable(tx, &latest, user.as_ref())?;
        // A guess costs a unit of the day for each code that it is tried against: on the last one the newest is tried
        // alone (S6).
        let usable: Vec<_> = alive
            .into_iter()
            .filter(|challenge| !challenge.is_over_tried(self.otp.max_attempts))
            .chain(repeatable.as_ref().map(|repeatable| repeatable.challenge))
            .take(left)
            .collect();
        // Every usable code is compared, so that time does not tell which one was right.
        let right: Vec<_> = usable
            .iter()
            .filter_map(|each| Some((each.id, each, self.proof(each, test.as_ref())?)))
            .collect();
        if let Some(Repeatable { challenge, session }) = repeatable
            && right.iter().any(|(id, ..)| *id == challenge.id)
        {
            return self.repeat(tx, trail, session?, user);
        }
        if let Some((_, challenge, proof)) = right.first() {
            self.log_in(tx, trail, challenge, *proof, &latest, user)
        } else {
            self.count_wrong(tx, trail, &latest, &usable, user.as_ref())?;
            Err(AuthError::InvalidOtp.into())
        }
    }

    /// The test number with this phone, while it has not ended.
    fn test_number(&self, tx: &dyn Tx) -> Stored<Option<TestNumber>> {
        if self.request.channel != Channel::Production {
            return Ok(None);
        }
        Ok(tx.test_number(&self.request.phone)?.filter(|number| number.is_good(self.actor.at)))
    }

    /// How the code that was given proves the number for a challenge, if it does.
    fn proof(&self, challenge: &Challenge, test: Option<&TestNumber>) -> Option<OpenedBy> {
        let code = &self.code;
        if challenge.hash.matches(code, &self.keys, challenge.id, &self.request.phone) {
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
    ) -> Stored<Option<Repeatable<'c>>> {
        let (Some(key), Some(user)) = (&self.request.idempotency_key, user) else { return Ok(None) };
        let now = self.actor.at;
        for challenge in latest {
            let Some(Use { at, session: Some(session), idempotency: Some(stored) }) = &challenge.used else {
                continue;
            };
            let same_key = self.idempotency_mac(key, challenge).is_some_and(|mac| mac.ct_eq(stored).into());
            if !same_key || now >= *at + REPEATABLE {
                continue;
            }
            if challenge.is_over_tried(self.otp.max_attempts) {
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
        trail: &mut Trail,
        session: Session,
        user: Option<User>,
    ) -> Result<Opened, Stop> {
        let user = user.ok_or(Fault::Broken)?;
        let line = self.actor.did(AuditEvent::TokenCreated).user(user.id).session(&session.id);
        trail.add(tx, line.detail("repeated verify"))?;
        Ok(Opened { session, user, is_new_user: false })
    }

    fn idempotency_mac(&self, key: &Secret, challenge: &Challenge) -> Option<Vec<u8>> {
        let mac = self.keys.numbered(challenge.hash.key)?.code_mac();
        let mac = mac.chain_update(b"idempotency").chain_update(challenge.id.0.to_be_bytes());
        Some(mac.chain_update(key.expose()).finalize().into_bytes().to_vec())
    }

    /// Consumes the code and opens a session; a deactivated user spends the code and gets none.
    fn log_in(
        &self,
        tx: &mut dyn Tx,
        trail: &mut Trail,
        challenge: &Challenge,
        proof: OpenedBy,
        latest: &[Challenge],
        user: Option<User>,
    ) -> Result<Opened, Stop> {
        let (phone, now) = (&self.request.phone, self.actor.at);
        for other in latest.iter().filter(|other| other.id != challenge.id && other.state.is_open()) {
            tx.update_challenge(&other.clone().superseded())?;
        }
        let active = user.as_ref().is_none_or(|user| user.is_active);
        let idempotency =
            self.request.idempotency_key.as_ref().and_then(|key| self.idempotency_mac(key, challenge));
        let spent = Use { at: now, session: active.then(|| self.session.id.clone()), idempotency };
        tx.update_challenge(&challenge.clone().consumed(spent))?;
        let mut user = match user {
            Some(user) => user,
            None => ensure_user(tx, trail, &self.actor, phone, &self.role)?,
        };
        if !active {
            trail.add(tx, self.actor.did(AuditEvent::LoginFail).user(user.id).detail("account disabled"))?;
            return Err(AuthError::AccountDisabled.into());
        }
        let is_new_user = !user.phone_verified;
        if is_new_user {
            user.phone_verified = true;
            tx.update_user(&user)?;
        }
        let mut success = self.actor.did(AuditEvent::LoginSuccess).user(user.id).session(&self.session.id);
        success.detail = proof.detail();
        trail.add(tx, success)?;
        let session = self.session.open(tx, trail, &self.actor, user.id, proof)?;
        Ok(Opened { session, user, is_new_user })
    }

    /// Counts a wrong guess against the phone's codes, which share one budget, and once against its day for each code
    /// that it was tried against. Where no code takes guesses it could not have hit, and costs nothing.
    fn count_wrong(
        &self,
        tx: &mut dyn Tx,
        trail: &mut Trail,
        latest: &[Challenge],
        usable: &[&Challenge],
        user: Option<&User>,
    ) -> Stored<()> {
        if usable.is_empty() {
            return Ok(());
        }
        let (phone, now) = (self.request.phone.as_str(), self.actor.at);
        let mut over_tried = false;
        let counts = |challenge: &&Challenge| {
            challenge.is_alive(now) || usable.iter().any(|usable| usable.id == challenge.id)
        };
        for challenge in latest.iter().filter(counts) {
            let guessed = challenge.clone().guessed_wrong();
            over_tried |= guessed.attempts == self.otp.max_attempts;
            tx.update_challenge(&guessed)?;
        }
        let mut day = quota::Spent::Off;
        for _ in usable {
            let quota = Quota::Failures(self.request.channel);
            day = quota::spend(tx, quota, &self.otp.failures(), phone, now)?;
        }
        let mut fail = self.actor.did(AuditEvent::LoginFail);
        fail.user = user.map(|user| user.id);
        trail.add(tx, fail.clone())?;
        let day_spent = matches!(day, quota::Spent::Unit(_, QuotaState { remaining: 0, .. }));
        for (reached, what) in [(over_tried, "code"), (day_spent, "day")] {
            if reached {
                let mut line = self.actor.did(AuditEvent::LoginFailMax).detail(what);
                line.user = fail.user;
                trail.add(tx, line)?;
            }
        }
        Ok(())
    }
}
