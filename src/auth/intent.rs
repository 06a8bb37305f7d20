//! write#1 of a request for a code: spends the quotas and writes the challenge, before anything is sent.

use std::sync::Arc;

use super::AuthError;
use super::error::{Stop, commit_refusal};
use super::quota::{self, AddressQuota, QuotaState, Spent};
use super::settle::{accept, ensure_user};
use super::single_flight::Overlap;
use super::trail::Trail;
use crate::domain::audit::{Actor, AuditEvent};
use crate::domain::keys::DerivedKeys;
use crate::domain::message::Unsent;
use crate::domain::policy::Policy;
use crate::domain::quota::Quota;
use crate::domain::{
    Challenge, ChallengeId, ChallengeState, Code, CodeHash, MessageId, Mode, NewChallenge, PhoneNumber,
    SpendId, TestNumber, Timestamp, User, UserId,
};
use crate::sms::Unavailable;
use crate::storage::{StoreResult, Tx};

/// What the audit trail says of an act that a test number made possible.
pub(super) const TEST_NUMBER: &str = "test number";

/// Everything that the write needs, drawn and derived beforehand.
pub(super) struct IntentWrite {
    pub(super) mode: Mode,
    pub(super) phone: PhoneNumber,
    /// The user who has proven the number already.
    pub(super) proven: Option<UserId>,
    /// Whether the caller must learn nothing of the number's account.
    pub(super) conceal: bool,
    pub(super) actor: Actor,
    pub(super) address: Option<AddressQuota>,
    pub(super) code: Code,
    pub(super) keys: DerivedKeys,
    /// What the message costs in segments, or why there is no place at the sender.
    pub(super) place: Result<u32, Unavailable>,
    pub(super) overlap: Overlap,
    /// A challenge that is *sending* since before this has lost its flow.
    pub(super) sending_since: Timestamp,
    /// Challenges that still say *sending* although this process knows what became of them.
    pub(super) unsettled: Vec<ChallengeId>,
    pub(super) policy: Arc<Policy>,
}

/// What the write decided.
pub(super) struct Decided {
    pub(super) address: Option<QuotaState>,
    pub(super) user: Option<QuotaState>,
    pub(super) intent: Result<Intent, AuthError>,
    /// Whether there was no place at the sender.
    pub(super) unsent: bool,
    pub(super) trail: Trail,
}

/// What is to be done now.
pub(super) enum Intent {
    /// Another request for this phone is in flight.
    Follow(ChallengeId),
    /// A test number: its code is known, nothing is sent, all is done.
    Test { challenge: ChallengeId, is_new_user: bool, expires_at: Timestamp },
    Lead {
        challenge: ChallengeId,
        /// `None` where nothing is sent and nobody is to notice: for a deactivated user or a test number, where accounts
        /// are concealed.
        message: Option<MessageId>,
        is_new_user: bool,
        expires_at: Timestamp,
    },
}

/// Why nothing is sent although all goes on as if something were.
enum Withheld {
    Deactivated,
    TestNumber(TestNumber),
}

impl IntentWrite {
    /// Spends, writes the challenge as *sending* and the intent of its message, or says why not.
    pub(super) fn write(self, tx: &mut dyn Tx) -> StoreResult<Decided> {
        let mut decided = Decided {
            address: None,
            user: None,
            intent: Err(AuthError::Internal),
            unsent: false,
            trail: Trail::default(),
        };
        decided.intent = commit_refusal(self.decide(tx, &mut decided))?;
        Ok(decided)
    }

    /// First fault wins, in the order of the contract.
    fn decide(&self, tx: &mut dyn Tx, decided: &mut Decided) -> Result<Intent, Stop> {
        let now = self.actor.at;
        let (mode, phone, policy) = (self.mode, &self.phone, &self.policy);
        let user = tx.user_by_phone(phone)?;
        // The token was read with what memory knew: its user may be gone or have another number by now.
        if let Some(bearer) = self.proven
            && user.as_ref().is_none_or(|user| user.id != bearer)
        {
            return Err(AuthError::TokenInvalid.into());
        }
        quota::spend_address(
            tx,
            &mut decided.trail,
            &self.actor,
            self.address.as_ref(),
            &mut decided.address,
        )?;
        let is_disabled = user.as_ref().is_some_and(|user| !user.is_active);
        if is_disabled && !self.conceal {
            return Err(AuthError::AccountDisabled.into());
        }
        let failures = policy.otp.failures();
        quota::failures_left(tx, &mut decided.trail, &self.actor, mode, phone.as_str(), &failures)?;
        let withheld = match self.test_number(tx)? {
            _ if is_disabled => Some(Withheld::Deactivated),
            Some(number) if self.conceal => Some(Withheld::TestNumber(number)),
            Some(number) => return Ok(self.open_for_test(tx, decided, user.as_ref(), &number)?),
            None => None,
        };
        let newest = tx.challenges(mode, phone, 1)?.into_iter().next();
        decided.user = quota::peek(tx, Quota::User(mode), &policy.limits.for_phone(), phone.as_str(), now)?;
        if let Some(newest) = newest.as_ref().filter(|newest| self.is_in_flight(newest)) {
            return Ok(Intent::Follow(newest.id));
        }
        let (spend, segments) = self.spend_users_unit(tx, decided, newest.as_ref())?;
        let hash = |id| self.hash(id, withheld.as_ref());
        let challenge = tx.insert_challenge(self.challenge(spend), &hash)?;
        let message = if withheld.is_some() {
            None
        } else {
            Some(tx.insert_message(challenge.id, phone, segments, now)?)
        };
        let mut line = self.actor.did(AuditEvent::CodeRequested);
        line.user = user.as_ref().map(|user| user.id);
        if matches!(withheld, Some(Withheld::TestNumber(_))) {
            line = line.detail(TEST_NUMBER);
        }
        decided.trail.add(tx, line)?;
        Ok(Intent::Lead {
            challenge: challenge.id,
            message,
            is_new_user: self.says_new(user.as_ref()),
            expires_at: challenge.expires_at,
        })
    }

    /// The test number with this phone, while it has not ended; the testing mode knows none.
    fn test_number(&self, tx: &dyn Tx) -> StoreResult<Option<TestNumber>> {
        if self.mode != Mode::Production {
            return Ok(None);
        }
        Ok(tx.test_number(&self.phone)?.filter(|number| number.is_good(self.actor.at)))
    }

    /// Whether the phone's newest challenge is of a request that is under way, or was when this one came.
    fn is_in_flight(&self, newest: &Challenge) -> bool {
        let is_sending = newest.state == ChallengeState::Sending
            && newest.created_at > self.sending_since
            && !self.unsettled.contains(&newest.id);
        is_sending || self.overlap.holds(newest.id)
    }

    /// Opens the challenge of a test number: it buys no SMS, so it costs no unit and needs no place at the sender.
    fn open_for_test(
        &self,
        tx: &mut dyn Tx,
        decided: &mut Decided,
        user: Option<&User>,
        number: &TestNumber,
    ) -> StoreResult<Intent> {
        let challenge = tx.insert_challenge(self.challenge(None), &|_| number.hash.clone())?;
        let (id, expires_at) = (challenge.id, challenge.expires_at);
        accept(tx, challenge, self.policy.otp.live_codes)?;
        let is_new_user = self.says_new(user);
        let role = &self.policy.default_role;
        let user = ensure_user(tx, &mut decided.trail, &self.actor, &self.phone, role)?;
        let line = self.actor.did(AuditEvent::CodeRequested).user(user.id).detail(TEST_NUMBER);
        decided.trail.add(tx, line)?;
        Ok(Intent::Test { challenge: id, is_new_user, expires_at })
    }

    /// The challenge of a test number holds that number's hash, which is that of no challenge's code: verify asks the
    /// number itself while the challenge is alive. A deactivated user's holds that of a code which nobody has.
    fn hash(&self, id: ChallengeId, withheld: Option<&Withheld>) -> CodeHash {
        match withheld {
            Some(Withheld::TestNumber(number)) => number.hash.clone(),
            Some(Withheld::Deactivated) | None => self.code.hash(&self.keys, id, &self.phone),
        }
    }

    fn challenge(&self, spend: Option<SpendId>) -> NewChallenge {
        NewChallenge {
            mode: self.mode,
            phone: self.phone.clone(),
            created_at: self.actor.at,
            expires_at: self.actor.at + self.policy.otp.ttl,
            spend,
        }
    }

    fn says_new(&self, user: Option<&User>) -> bool {
        !self.policy.conceal_accounts && user.is_none_or(|user| !user.phone_verified)
    }

    /// The user's quota, the pause between two codes, and whether there is a place at the sender: nothing is spent
    /// unless all three agree. Gives the unit, and what the message costs in segments.
    fn spend_users_unit(
        &self,
        tx: &mut dyn Tx,
        decided: &mut Decided,
        newest: Option<&Challenge>,
    ) -> Result<(Option<SpendId>, u32), Stop> {
        let now = self.actor.at;
        let (quota, subject) = (Quota::User(self.mode), self.phone.as_str());
        if let Some(QuotaState { remaining: 0, reset, .. }) = decided.user {
            return Err(quota::refuse(tx, &mut decided.trail, &self.actor, quota, subject, reset)?.into());
        }
        if let Some(newest) = newest.filter(|newest| newest.state != ChallengeState::Void) {
            let wait = now.until(newest.created_at + self.policy.otp.resend_cooldown);
            if !wait.is_zero() {
                return Err(AuthError::RateLimited(wait).into());
            }
        }
        let segments = match self.place {
            Ok(segments) => segments,
            Err(unavailable) => return Err(self.note_unsent(tx, decided, unavailable)?.into()),
        };
        match quota::spend(tx, quota, &self.policy.limits.for_phone(), subject, now)? {
            Spent::Off => Ok((None, segments)),
            Spent::Unit(spend, state) => {
                decided.user = Some(state);
                Ok((Some(spend), segments))
            }
            Spent::Refused(state) => {
                Err(quota::refuse(tx, &mut decided.trail, &self.actor, quota, subject, state.reset)?.into())
            }
        }
    }

    /// Counts a code that found no sender: no message tells of it.
    fn note_unsent(
        &self,
        tx: &mut dyn Tx,
        decided: &mut Decided,
        unavailable: Unavailable,
    ) -> StoreResult<AuthError> {
        let (why, detail) = match unavailable {
            Unavailable::BreakerOpen(_) => {
                (Unsent::BreakerOpen, "not sent: the provider is left alone after failures")
            }
            Unavailable::Overloaded(_) => (Unsent::Overloaded, "not sent: no place was free at the provider"),
        };
        decided.unsent = true;
        if tx.count_unsent(why, self.actor.at)? {
            decided.trail.add(tx, self.actor.did(AuditEvent::SmsFailed).detail(detail))?;
        }
        Ok(unavailable.into())
    }
}
