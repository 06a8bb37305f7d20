//! Giving a code: one write judges it and opens the session; tokens are signed after it.

use std::sync::Arc;

use super::attempt::{Attempt, Attempted, DueChanges, OpenedSession};
use super::gate::{AddressGate, Call};
use super::proof::{GivenCode, Guess};
use super::quota::WithQuotas;
use super::repetition::Said;
use super::{Auth, AuthError, Origin};
use crate::domain::clock::Times;
use crate::domain::guard::Place;
use crate::domain::quota::Endpoint;
use crate::domain::{Code, Mode, PhoneNumber, Purpose, Secret, User};
use crate::random;
use crate::storage::{StoreError, StoreResult};
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
    /// The token of that device, if one came along.
    pub device_token: Option<Secret>,
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
    /// Whether the account was to be deleted until this login.
    pub is_restored: bool,
    /// Whether the number was a dormant account's until this login: the user is a new one, whatever was said before.
    pub is_recycled: bool,
    /// The token of the device that has logged in.
    pub device_token: Option<Secret>,
}

impl Auth {
    /// Checks a code and opens a session.
    pub async fn verify(self: &Arc<Self>, mut request: VerifyRequest) -> WithQuotas<LoggedIn> {
        let times = self.parts.clock.read();
        // Phones submit codes digit by digit: a part of one is no guess, and costs the address nothing.
        let Some(code) = request.code.take() else {
            let VerifyRequest { mode, phone, origin, .. } = request;
            let noted = self.run(self.clone().note_part(mode, phone, origin, times.now)).await;
            return WithQuotas::none(Err(noted.map_or_else(|died| died, |()| AuthError::NotACode)));
        };
        let VerifyRequest { mode, ref origin, .. } = request;
        let call = Call { mode, endpoint: Endpoint::Verify, address: origin.address, now: times.now };
        self.gated(call, |auth, gate| auth.check_code(request, code, gate, times)).await
    }

    async fn check_code(
        self: Arc<Self>,
        request: VerifyRequest,
        code: Code,
        gate: Arc<AddressGate>,
        times: Times,
    ) -> WithQuotas<LoggedIn> {
        let VerifyRequest { mode, phone, idempotency_key, device, device_token, origin, .. } = request;
        // Which codes are good depends on what became of their messages.
        self.settle_late(mode, &phone).await;
        let given = GivenCode { mode, purpose: Purpose::Login, phone, code, device_token };
        let attempt = Arc::new(Attempt {
            guess: self.guess(given, gate, &origin, &times),
            idempotency_key,
            new_device: random::device_id(&*self.parts.random, times.now),
            session: self.new_session(device, &origin, times),
        });
        let Attempted { address, login, was_free } = match self.attempt(&attempt, &origin, &times).await {
            Ok(attempted) => attempted,
            Err(error) => return WithQuotas::none(Err(error.into())),
        };
        self.count_free(was_free, &origin, times.now);
        self.count(mode, login.as_ref().err());
        let is_conversion = |login: &OpenedSession| login.said.is_new_user && !login.is_repeated;
        if login.as_ref().is_ok_and(is_conversion) && mode == Mode::Production {
            self.parts.metrics.sms_converted(&Place::country_of(&attempt.guess.phone));
        }
        if let Ok(opened) = &login {
            self.confirm(mode, attempt.guess.phone.clone(), opened.session.id.clone());
        }
        let result = login.and_then(|opened| {
            let OpenedSession { session, user, said, device, .. } = opened;
            let Said { is_new_user, is_restored, is_recycled } = said;
            let access_jti = random::jti(&*self.parts.random);
            let tokens = self.settings().tokens.pair(&session, &user, access_jti, times.wall);
            let device_token = device.and_then(|device| self.device_token(&device));
            Ok(LoggedIn {
                tokens: tokens.ok_or(AuthError::Internal)?,
                user,
                is_new_user,
                is_restored,
                is_recycled,
                device_token,
            })
        });
        WithQuotas { quotas: address.into_iter().collect(), result }
    }

    /// Writes the attempt, once what is due of changes of its number has been done.
    async fn attempt(
        &self,
        attempt: &Arc<Attempt>,
        origin: &Origin,
        times: &Times,
    ) -> StoreResult<Attempted> {
        let Guess { mode, phone, gate, .. } = &attempt.guess;
        let write = |due| {
            let (attempt, actor) = (attempt.clone(), self.actor(times.now, *mode, phone, origin));
            self.write(gate.locks().user_of(phone), actor, move |tx| attempt.write(tx, due))
        };
        if let Some(attempted) = write(DueChanges::Unknown).await? {
            return Ok(attempted);
        }
        self.complete_due(None, phone, times).await?;
        write(DueChanges::Done).await?.ok_or(StoreError::Broken)
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
