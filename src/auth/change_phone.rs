//! Changing one's own number: a code to the new number, then the proof of it; at once where the number before is proven, too,
//! else after a delay of which that number is told.

use std::sync::Arc;

use super::audited::AuditedTx;
use super::error::{FlowError, commit_refusal};
use super::gate::{AddressGate, Call};
use super::lookup::{good_test_number, holder, live_session};
use super::notice::Notice;
use super::phone_change::{Parties, Renumbering, TRIES, cancel, cancel_others};
use super::proof::{GivenCode, Guess, Judging, Proof};
use super::quota::{QuotaState, WithQuotas};
use super::{Auth, AuthError, Authenticated, CodeRequest, Origin, Sent};
use crate::domain::audit::{Actor, AuditEvent};
use crate::domain::clock::Times;
use crate::domain::message::NewMessage;
use crate::domain::phone_change::Cancelled;
use crate::domain::quota::Endpoint;
use crate::domain::{
    Binding, Channel, Code, Languages, MessageId, Mode, PhoneChange, PhoneNumber, Purpose, Secret, Timestamp,
    User, Via,
};
use crate::random;
use crate::sms::route::Need;
use crate::storage::{StoreError, StoreResult};

/// A call of `account/phone/verify/`, parsed.
#[derive(Clone, Debug)]
pub struct PhoneProof {
    /// The new number.
    pub phone: PhoneNumber,
    /// The codes; `None` where what was given can be none.
    pub codes: Option<PhoneCodes>,
    /// The token of the caller's device, if one came along.
    pub device_token: Option<Secret>,
    /// Where it came from.
    pub origin: Origin,
}

/// The codes that prove numbers.
#[derive(Clone, Debug)]
pub struct PhoneCodes {
    /// What the new number was sent.
    pub new: Code,
    /// What the number before was sent, if that is to be proven too.
    pub current: Option<Code>,
}

/// A number that was proven to be the bearer's new one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPhone {
    /// The number.
    pub phone: PhoneNumber,
    /// When it replaces the one before; `None` where it has.
    pub effective_at: Option<Timestamp>,
}

/// A proof while it is taken.
struct Proving {
    bearer: Authenticated,
    proof: PhoneProof,
    codes: PhoneCodes,
    gate: Arc<AddressGate>,
    cancel_code: Code,
    times: Times,
}

/// Everything that the write needs, drawn and derived beforehand.
struct NumberChange {
    bearer: Authenticated,
    parties: Parties,
    new: Guess,
    current: Option<Guess>,
    /// Who acts on the number before.
    current_actor: Actor,
    cancel_code: Code,
    /// Which sender the notice goes to first, and what it costs.
    via: Via,
    segments: u32,
    times: Times,
}

/// What the write decided.
struct Judged {
    address: Option<QuotaState>,
    was_free: bool,
    result: Result<Applied, AuthError>,
}

/// What a proven number has led to.
struct Applied {
    effective_at: Option<Timestamp>,
    /// The message that tells the number before.
    notice: Option<MessageId>,
}

impl Auth {
    /// Sends a code to the number that the bearer wants.
    pub async fn ask_phone_change(
        self: &Arc<Self>,
        bearer: &Authenticated,
        phone: PhoneNumber,
        languages: Languages,
        origin: Origin,
    ) -> WithQuotas<Sent> {
        let times = self.parts.clock.read();
        if let Err(error) = self.complete_due(Some(bearer.user.id), &phone, &times).await {
            return WithQuotas::none(Err(error.into()));
        }
        self.request(CodeRequest {
            mode: Mode::Production,
            purpose: Purpose::PhoneChange(bearer.user.id),
            endpoint: Endpoint::Phone,
            phone,
            proven: None,
            channel: None,
            // A device is one of the number before; the new one knows none.
            device_token: None,
            languages,
            origin,
        })
        .await
    }

    /// Takes the proof of the bearer's new number.
    pub async fn change_phone(
        self: &Arc<Self>,
        bearer: Authenticated,
        mut proof: PhoneProof,
    ) -> WithQuotas<NewPhone> {
        let times = self.parts.clock.read();
        let Some(codes) = proof.codes.take() else {
            let PhoneProof { phone, origin, .. } = proof;
            let noted = self.run(self.clone().note_part(Mode::Production, phone, origin, times.now)).await;
            return WithQuotas::none(Err(noted.map_or_else(|died| died, |()| AuthError::NotACode)));
        };
        let address = proof.origin.address;
        let call = Call { mode: Mode::Production, endpoint: Endpoint::PhoneVerify, address, now: times.now };
        self.gated(call, |auth, gate| async move {
            let cancel_code = random::code(&*auth.parts.random, auth.policy().otp.length);
            let proving = Proving { bearer, proof, codes, gate, cancel_code, times };
            match auth.take_proof(&proving).await {
                Ok(answer) => answer,
                Err(error) => WithQuotas::none(Err(error.into())),
            }
        })
        .await
    }

    async fn take_proof(&self, proving: &Proving) -> StoreResult<WithQuotas<NewPhone>> {
        let Proving { bearer, proof, times, .. } = proving;
        let PhoneProof { phone, origin, .. } = proof;
        // Which codes are good depends on what became of their messages.
        self.settle_late(Mode::Production, phone).await;
        if let Some(current) = &bearer.user.phone {
            self.settle_late(Mode::Production, current).await;
        }
        self.complete_due(Some(bearer.user.id), phone, times).await?;
        for _ in 0..TRIES {
            let (user, wanted) = (bearer.user.id, phone.clone());
            let parties = self.parts.store.read(move |view| Parties::read(view, user, &wanted)).await?;
            let Some(parties) = parties else { return Ok(WithQuotas::none(Err(AuthError::TokenInvalid))) };
            let change = self.number_change(proving, parties);
            let (user, before) = (change.parties.user.id, change.parties.before.clone());
            let actor = self.actor(times.now, Mode::Production, phone, origin);
            let locks = proving.gate.locks().and(change.parties.locks());
            let current_actor = change.current_actor.clone();
            let Some(judged) = self.write(locks, actor, move |tx| change.write(tx)).await? else { continue };
            let Judged { address, was_free, result } = judged;
            self.count_free(was_free, origin, times.now);
            let result = match result {
                Ok(Applied { effective_at, notice }) => {
                    if let (Some(message), Some(_)) = (notice, effective_at) {
                        let expires_at = times.now + self.policy().phone_change_delay;
                        let code = proving.cancel_code.clone();
                        let notice = Notice { message, to: before, user, code, expires_at };
                        self.send_notice(notice, current_actor).await;
                    }
                    Ok(NewPhone { phone: phone.clone(), effective_at })
                }
                Err(error) => Err(error),
            };
            return Ok(WithQuotas { quotas: address.into_iter().collect(), result });
        }
        Err(StoreError::Overloaded)
    }

    fn number_change(&self, proving: &Proving, parties: Parties) -> NumberChange {
        let Proving { bearer, proof, codes, gate, cancel_code, times } = proving;
        let PhoneProof { phone, device_token, origin, .. } = proof;
        let mode = Mode::Production;
        let new = GivenCode {
            mode,
            purpose: Purpose::PhoneChange(parties.user.id),
            phone: phone.clone(),
            code: codes.new.clone(),
            device_token: None,
        };
        let current = codes.current.clone().map(|code| GivenCode {
            mode,
            purpose: Purpose::Login,
            phone: parties.before.clone(),
            code,
            device_token: device_token.clone(),
        });
        let segments = self.settings().notice().1;
        let need = Need { to: &parties.before, segments, channel: Some(Channel::Sms) };
        let via = self.senders(mode).first_via(need);
        NumberChange {
            bearer: bearer.clone(),
            new: self.guess(new, gate.clone(), origin, times),
            current: current.map(|current| self.guess(current, gate.clone(), origin, times)),
            current_actor: self.actor(times.now, mode, &parties.before, origin),
            parties,
            cancel_code: cancel_code.clone(),
            via,
            segments,
            times: *times,
        }
    }
}

impl NumberChange {
    /// Judges both codes; `None` where other locks are needed.
    fn write(&self, tx: &mut AuditedTx<'_>) -> StoreResult<Option<Judged>> {
        let Some(user) = self.parties.locked(&**tx)? else { return Ok(None) };
        let (mut address, mut was_free) = (None, false);
        // It is said of the body, so that it costs nothing.
        let is_own = self.parties.before == self.new.phone;
        let spent =
            if is_own { Err(AuthError::OwnNumber.into()) } else { self.new.gate.spend(tx, &mut address) };
        let applied = spent.and_then(|()| self.decide(tx, &user, &mut was_free));
        Ok(Some(Judged { address, was_free, result: commit_refusal(applied)? }))
    }

    /// First fault wins, in the order of the contract.
    fn decide(&self, tx: &mut AuditedTx<'_>, user: &User, was_free: &mut bool) -> Result<Applied, FlowError> {
        self.check_bearer(tx, user)?;
        let new = commit_refusal(judge(tx, &self.new, user, was_free))?;
        let actor = Actor::clone(tx.actor());
        tx.set_actor(self.current_actor.clone());
        // Both are judged, so that a wrong guess at either is counted.
        let current = self.current.as_ref().map(|guess| commit_refusal(judge(tx, guess, user, was_free)));
        let current = current.transpose()?;
        tx.set_actor(actor);
        let (new, current) = (new?, current.transpose()?);
        let renumbering = Renumbering {
            phone: &self.new.phone,
            spared: self.bearer.session.as_ref(),
            live_at: self.times.earlier(),
            keys: &self.new.keys,
        };
        if renumbering.is_taken(tx)? {
            return Err(AuthError::PhoneInUse.into());
        }
        let challenge = new.challenge_id();
        new.consume(tx)?;
        cancel(tx, user.id, Cancelled::Replaced)?;
        if let Some(current) = current {
            current.consume(tx)?;
            renumbering.carry_out(tx, user)?;
            return Ok(Applied { effective_at: None, notice: None });
        }
        cancel_others(tx, user.id, renumbering.phone)?;
        // After a stop the retention time lags, and catches up faster than time passes.
        let effective_at = self.times.retention.max(self.times.now) + self.new.policy.phone_change_delay;
        let binding = Binding::CancelChange(user.id, renumbering.phone, effective_at);
        tx.keep_phone_change(&PhoneChange {
            user: user.id,
            phone: renumbering.phone.clone(),
            effective_at,
            session: self.bearer.session.clone(),
            cancel: self.cancel_code.hash(self.new.keys.current(), binding),
            wrong_cancels: 0,
        })?;
        renumbering.record(tx, AuditEvent::PhoneChangePending, user);
        let at = tx.at();
        let (to, via, segments) = (self.parties.before.clone(), self.via.clone(), self.segments);
        let notice = tx.insert_message(NewMessage { challenge, to, via, segments, created_at: at })?;
        Ok(Applied { effective_at: Some(effective_at), notice: Some(notice) })
    }

    /// The token was read with what memory knew: its session may have ended, and its user may be deactivated by now.
    fn check_bearer(&self, tx: &AuditedTx<'_>, user: &User) -> Result<(), FlowError> {
        let is_live = match &self.bearer.session {
            Some(session) => live_session(&**tx, session, user.id, self.times.earlier())?.is_some(),
            None => holder(&**tx, user.id)?.is_some(),
        };
        if !user.is_active {
            return Err(AuthError::AccountDisabled.into());
        }
        if !is_live {
            return Err(AuthError::TokenInvalid.into());
        }
        match good_test_number(&**tx, Mode::Production, &self.parties.before, tx.at())? {
            Some(_) => Err(AuthError::TestAccount.into()),
            None => Ok(()),
        }
    }
}

/// Judges a code of the bearer's; nothing is used up by it.
fn judge(
    tx: &mut AuditedTx<'_>,
    guess: &Guess,
    user: &User,
    was_free: &mut bool,
) -> Result<Proof, FlowError> {
    let mut judging = Judging::begin(guess, tx)?;
    let proof = judging.prove(user.id);
    *was_free |= judging.was_free;
    proof
}
