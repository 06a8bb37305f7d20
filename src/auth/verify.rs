//! Giving a code: one write judges it and opens the session; tokens are signed after it.

use std::sync::Arc;

use super::attempt::{Attempt, Attempted, Opened};
use super::quota::{AddressQuota, Limited};
use super::trail::Trail;
use super::{Auth, AuthError, Origin};
use crate::domain::audit::{AuditEvent, LoginFailure};
use crate::domain::clock::Times;
use crate::domain::quota::Endpoint;
use crate::domain::{Code, Mode, PhoneNumber, Secret, Timestamp, User};
use crate::random;
use crate::tokens::TokenPair;

/// A call of `verify/`, parsed.
#[derive(Clone, Debug)]
pub struct VerifyRequest {
    /// Production or testing.
    pub mode: Mode,
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

impl Auth {
    /// Checks a code and opens a session.
    pub async fn verify(self: &Arc<Self>, request: VerifyRequest) -> Limited<LoggedIn> {
        let times = self.parts.clock.read();
        // Phones submit codes digit by digit: a part of one is no guess, and costs the address nothing.
        let Some(code) = request.code.clone() else {
            let flow = self.clone().note_part(request, times.now);
            return Limited::free(Err(self
                .run(flow)
                .await
                .map_or_else(|died| died, |()| AuthError::NotACode)));
        };
        let foreign_writes = self.parts.store.foreign_writes();
        let address = self.address_quota(request.mode, Endpoint::Verify, &request.origin);
        if let Some(refused) = self.refuse_early(address.as_ref(), times.now, foreign_writes) {
            return refused;
        }
        let flow = self.clone().check_code(request, code, address, times, foreign_writes);
        self.run(flow).await.unwrap_or_else(|died| Limited::free(Err(died)))
    }

    /// Writes that what was given can be no code; so many times an hour, since it costs nothing. The answer is the same
    /// where the line cannot be written.
    async fn note_part(self: Arc<Self>, request: VerifyRequest, now: Timestamp) {
        if !self.lines.count(&request.origin.address.subject(), now) {
            return;
        }
        let actor = self.actor(now, request.mode, &request.phone, &request.origin);
        let written = self.parts.store.write(move |tx| {
            let mut line = actor.did(AuditEvent::LoginFail).detail(LoginFailure::NotACode.as_str());
            line.user = tx.user_by_phone(&request.phone)?.map(|user| user.id);
            let mut trail = Trail::default();
            trail.add(tx, line)?;
            Ok(trail)
        });
        if let Ok(trail) = written.await {
            trail.log();
        }
    }

    async fn check_code(
        self: Arc<Self>,
        request: VerifyRequest,
        code: Code,
        address: Option<AddressQuota>,
        times: Times,
        foreign_writes: u64,
    ) -> Limited<LoggedIn> {
        let VerifyRequest { mode, phone, idempotency_key, device, origin, .. } = request;
        // Which codes are good depends on what became of their messages.
        self.settle_late(mode, &phone).await;
        let random = &*self.parts.random;
        let attempt = Attempt {
            actor: self.actor(times.now, mode, &phone, &origin),
            session: self.new_session(device, &origin, times),
            mode,
            phone,
            code,
            idempotency_key,
            address: address.clone(),
            has_line: self.lines.has_line(&origin.address.subject(), times.now),
            keys: self.parts.keys.clone(),
            policy: self.parts.policy.clone(),
        };
        let Attempted { address: address_state, login, trail, was_free } =
            match self.parts.store.write(move |tx| attempt.write(tx)).await {
                Ok(attempted) => attempted,
                Err(fault) => return Limited::free(Err(fault.into())),
            };
        trail.log();
        if was_free {
            self.lines.count(&origin.address.subject(), times.now);
        }
        self.count(mode, login.as_ref().err());
        self.remember_refusal(address, address_state, times.now, foreign_writes);
        let result = login.and_then(|Opened { session, user, is_new_user }| {
            let tokens = self.parts.tokens.pair(&session, &user, random::jti(random), times.wall);
            Ok(LoggedIn { tokens: tokens.ok_or(AuthError::Internal)?, user, is_new_user })
        });
        Limited { quotas: address_state.into_iter().collect(), result }
    }

    /// Counts a code that was judged; refusals for other reasons say nothing of codes.
    fn count(&self, mode: Mode, refusal: Option<&AuthError>) {
        let (metrics, mode) = (&self.parts.metrics, mode.as_str());
        match refusal {
            None => metrics.authenticated(mode),
            Some(AuthError::InvalidOtp) => metrics.authentication_failed(mode, "invalid_otp"),
            Some(AuthError::UserNotFound) => metrics.authentication_failed(mode, "user_not_found"),
            Some(AuthError::AccountDisabled) => metrics.authentication_failed(mode, "account_disabled"),
            Some(_) => {}
        }
    }
}
