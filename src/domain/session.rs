//! A session: what a login opens, what its tokens stand for.

use std::cmp::Ordering;
use std::time::Duration;

use crate::domain::clock::{AHEAD, Times};
use crate::domain::{ClientAddress, DeviceId, SessionId, Timestamp, UserId};

/// After what time the audit trail gets another line about a session whose old tokens are repeated.
const LINE_AGAIN: Duration = Duration::from_hours(1);

/// One login on one device. The row holds no token: its generation and that generation's `jti` are worthless without
/// the signing key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The `sid` of its tokens.
    pub id: SessionId,
    /// Whose it is.
    pub user: UserId,
    /// The refresh generation: 0 at login, one more with each rotation.
    pub generation: u32,
    /// The `jti` of the current refresh token, 32 hexadecimal digits.
    pub jti: String,
    /// Whether the current generation was seen in use; until then the one before it is still good.
    pub generation_used: bool,
    /// When the current refresh token was issued (its `iat`).
    pub issued_at: Timestamp,
    /// When the current refresh token expires (its `exp`).
    pub refresh_expires_at: Timestamp,
    /// When the login was.
    pub created_at: Timestamp,
    /// The latest instant to which rotation can carry it.
    pub expires_at: Timestamp,
    /// When a token of it was last seen; at most a minute coarse.
    pub last_used_at: Timestamp,
    /// When and why it ended, once it has.
    pub ended: Option<(Timestamp, EndReason)>,
    /// The device's name as the client gave it.
    pub device: String,
    /// The address of the login or of the last rotation.
    pub ip: String,
    /// The last generation whose refresh token may be under the key of access tokens: the one at which the session stood
    /// when refresh tokens got a key of their own. None for a session opened since.
    pub shared_key_until: Option<u32>,
    /// The latest generation at which the one before was repeated after the grace from another network than the one that
    /// rotated it away (S42).
    pub repeated_elsewhere: Option<u32>,
    /// When the audit trail last got a line about a repetition.
    pub replays_told_at: Option<Timestamp>,
    /// How many repetitions were counted since, without a line.
    pub replays_untold: u32,
    /// The device on which it was opened; none where it has not been given one yet.
    pub device_id: Option<DeviceId>,
    /// How often the row was replaced since it was written; a replacement of an older version is refused.
    pub version: u32,
}

/// What every request with an access token must know of its session, and no more: these are held in memory by the
/// ten thousand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionStatus {
    /// Whose it is.
    pub user: UserId,
    /// The refresh generation.
    pub generation: u32,
    /// Whether that generation was seen in use.
    pub generation_used: bool,
    /// When its current refresh token expires.
    pub refresh_expires_at: Timestamp,
    /// When a token of it was last seen.
    pub last_used_at: Timestamp,
    /// Why it ended, once it has.
    pub ended: Option<EndReason>,
}

impl SessionStatus {
    /// The same once a token of `generation` was seen at `at`; as it was where the session has ended.
    #[must_use]
    pub fn seen(&self, generation: u32, at: Timestamp) -> Self {
        if self.ended.is_some() {
            return *self;
        }
        let generation_used = self.generation_used || generation == self.generation;
        Self { generation_used, last_used_at: self.last_used_at.max(at), ..*self }
    }

    /// Whether the session's tokens are good at `now`.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.ended.is_none() && now < self.refresh_expires_at
    }

    /// Whether the session ended with its user's deactivation, and would not have expired at `now`: while the user is
    /// deactivated, its tokens are refused for that reason.
    pub fn is_deactivated(&self, now: Timestamp) -> bool {
        self.ended == Some(EndReason::Deactivated) && now < self.refresh_expires_at
    }
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// Its holder logged out.
    Logout,
    /// A refresh token was presented outside the rules.
    Reuse,
    /// The user's newest session pushed the oldest out.
    Displaced,
    /// The operator ended it.
    Revoked,
    /// Its user was deactivated; activation does not bring it back.
    Deactivated,
    /// Its user was only verified in the testing mode, and is now verified in production.
    VerifiedInProduction,
    /// Its user has another number since.
    PhoneChanged,
    /// Its user asked for the deletion of the account; a login that restores it does not bring it back.
    Deletion,
}

impl EndReason {
    /// The word in rows.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Logout => "logout",
            Self::Reuse => "reuse",
            Self::Displaced => "displaced",
            Self::Revoked => "revoked",
            Self::Deactivated => "deactivated",
            Self::VerifiedInProduction => "verified in production",
            Self::PhoneChanged => "number changed",
            Self::Deletion => "deletion",
        }
    }

    /// Reads the word back.
    pub fn parse(word: &str) -> Option<Self> {
        let all = [
            Self::Logout,
            Self::Reuse,
            Self::Displaced,
            Self::Revoked,
            Self::Deactivated,
            Self::VerifiedInProduction,
            Self::PhoneChanged,
            Self::Deletion,
        ];
        all.into_iter().find(|reason| reason.as_str() == word)
    }
}

/// How long tokens and sessions live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// Of an access token.
    pub access: Duration,
    /// Of a refresh token, from its issue.
    pub refresh: Duration,
    /// Of a session, from the login.
    pub session: Duration,
}

/// When and from where a refresh token is presented.
#[derive(Clone, Copy, Debug)]
pub struct Presentation {
    /// Now.
    pub now: Timestamp,
    /// How long after its rotation a token may come again.
    pub grace: Duration,
    /// Whether it comes from another network than the latest rotation, or the login, did ([`Session::is_elsewhere`]).
    pub from_elsewhere: bool,
}

/// What is to be done with a refresh token whose signature and `exp` are good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefreshDecision {
    /// It is the current one: the next generation follows.
    Rotate,
    /// It is an older one that may honestly be asked with again, because the answer was lost, two requests crossed, or
    /// one lay in a queue: the session's current one, the same again.
    Repeat(Repetition),
    /// Anything else: somebody has a token that is not theirs, and the session ends (RFC 9700 §4.14.2).
    Reuse(Evidence),
}

/// How a token that was rotated away comes again, where that may be honest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repetition {
    /// Within the grace, from the network that rotated it away.
    Prompt,
    /// Within the grace, from another network.
    PromptElsewhere,
    /// After the grace, while the current generation has not been used.
    Late,
    /// The same from another network. A second generation in a row would be reuse.
    LateElsewhere,
}

/// Why a token is taken for a stolen one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// It is neither the current one nor one that may come again.
    OutsideTheRules,
    /// Two generations in a row were rotated from one network and repeated after the grace from another (S42): whoever
    /// repeats is always one generation behind whoever rotates, as a phone that loses answers is not for long.
    TwiceElsewhere,
}

impl RefreshDecision {
    /// Whether the token gets an answer.
    pub const fn is_good(self) -> bool {
        !matches!(self, Self::Reuse(_))
    }
}

impl Repetition {
    /// The word in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Prompt => "prompt",
            Self::PromptElsewhere => "prompt_elsewhere",
            Self::Late => "late",
            Self::LateElsewhere => "late_elsewhere",
        }
    }
}

impl Evidence {
    /// The words in the audit trail.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OutsideTheRules => "outside the rules",
            Self::TwiceElsewhere => "repeated from another network, two generations in a row",
        }
    }
}

/// Who opens a session, and from where.
#[derive(Clone, Debug)]
pub struct Login {
    /// Whose login it is.
    pub user: UserId,
    /// The name of the device.
    pub device: String,
    /// Its address.
    pub ip: String,
}

impl Session {
    /// Opens a session; `id` and `jti` are drawn beforehand. What its tokens say of time is the wall clock's.
    pub fn open(id: SessionId, jti: String, login: Login, times: &Times, lifetimes: &Lifetimes) -> Self {
        let expires_at = times.wall + lifetimes.session;
        Self {
            id,
            user: login.user,
            generation: 0,
            jti,
            generation_used: false,
            issued_at: times.wall,
            refresh_expires_at: (times.wall + lifetimes.refresh).min(expires_at),
            created_at: times.wall,
            expires_at,
            last_used_at: times.now,
            ended: None,
            device: login.device,
            ip: login.ip,
            shared_key_until: None,
            repeated_elsewhere: None,
            replays_told_at: None,
            replays_untold: 0,
            device_id: None,
            version: 0,
        }
    }

    /// Ends at `until` at the latest, however often it is refreshed.
    #[must_use]
    pub fn bounded(self, until: Timestamp) -> Self {
        Self {
            refresh_expires_at: self.refresh_expires_at.min(until),
            expires_at: self.expires_at.min(until),
            ..self
        }
    }

    /// What requests must know of it.
    pub fn status(&self) -> SessionStatus {
        SessionStatus {
            user: self.user,
            generation: self.generation,
            generation_used: self.generation_used,
            refresh_expires_at: self.refresh_expires_at,
            last_used_at: self.last_used_at,
            ended: self.ended.map(|(_, reason)| reason),
        }
    }

    /// Whether it can still be used at `now`: once its refresh token has expired, nothing brings it back.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.status().is_live(now)
    }

    /// As [`SessionStatus::is_deactivated`].
    pub fn is_deactivated(&self, now: Timestamp) -> bool {
        self.status().is_deactivated(now)
    }

    /// Whether a refresh token of `generation` under the key of access tokens, which a Django project may hold too, can be
    /// one that was issued here. It rotates once at most: what that gives has a key that only we have.
    pub fn takes_shared_key(&self, generation: u32) -> bool {
        self.shared_key_until.is_some_and(|last| generation <= last)
    }

    /// Whether `address` is in another network than the latest rotation, or the login, came from.
    pub fn is_elsewhere(&self, address: ClientAddress) -> bool {
        let before = self.ip.parse().map(ClientAddress::new);
        before.is_ok_and(|before| before.network() != address.network())
    }

    /// Judges a refresh token of `generation` named `jti`. `rotated_away` is when that generation was, while that is still
    /// known.
    pub fn present(
        &self,
        generation: u32,
        jti: &str,
        rotated_away: Option<Timestamp>,
        presentation: &Presentation,
    ) -> RefreshDecision {
        match generation.cmp(&self.generation) {
            Ordering::Equal if jti == self.jti => RefreshDecision::Rotate,
            Ordering::Less => {
                self.present_older(generation + 1 == self.generation, rotated_away, presentation)
            }
            Ordering::Equal | Ordering::Greater => RefreshDecision::Reuse(Evidence::OutsideTheRules),
        }
    }

    /// Judges a token that is not the current one any more; `is_previous` where the current one took its place.
    pub fn present_older(
        &self,
        is_previous: bool,
        rotated_away: Option<Timestamp>,
        presentation: &Presentation,
    ) -> RefreshDecision {
        let Presentation { now, grace, from_elsewhere } = *presentation;
        if rotated_away.is_some_and(|at| now < at + grace && at <= now + AHEAD) {
            let prompt = if from_elsewhere { Repetition::PromptElsewhere } else { Repetition::Prompt };
            return RefreshDecision::Repeat(prompt);
        }
        if !is_previous || self.generation_used {
            return RefreshDecision::Reuse(Evidence::OutsideTheRules);
        }
        if !from_elsewhere {
            return RefreshDecision::Repeat(Repetition::Late);
        }
        if self.repeated_elsewhere.is_some_and(|before| before + 1 == self.generation) {
            return RefreshDecision::Reuse(Evidence::TwiceElsewhere);
        }
        RefreshDecision::Repeat(Repetition::LateElsewhere)
    }

    /// Notes a repetition that is no matter of course. It is to be told where that gives a number, which is how many were
    /// counted since the last that was told: the first of an hour is told, and of each generation the first after the
    /// grace from another network.
    #[must_use]
    pub fn repeated(self, repetition: Repetition, now: Timestamp) -> (Self, Option<u32>) {
        let moved =
            repetition == Repetition::LateElsewhere && self.repeated_elsewhere != Some(self.generation);
        let repeated_elsewhere = if moved { Some(self.generation) } else { self.repeated_elsewhere };
        // One that lies in the future was written before the clock was set back.
        let is_told = |at: Timestamp| at <= now && now < at + LINE_AGAIN;
        if self.replays_told_at.is_some_and(is_told) && !moved {
            return (Self { replays_untold: self.replays_untold.saturating_add(1), ..self }, None);
        }
        let untold = self.replays_untold;
        (Self { repeated_elsewhere, replays_told_at: Some(now), replays_untold: 0, ..self }, Some(untold))
    }

    /// The next generation, whose refresh token is named `jti`.
    #[must_use]
    pub fn rotated(self, jti: String, times: &Times, lifetimes: &Lifetimes) -> Self {
        Self {
            generation: self.generation + 1,
            jti,
            generation_used: false,
            issued_at: times.wall,
            refresh_expires_at: (times.wall + lifetimes.refresh).min(self.expires_at),
            last_used_at: times.now,
            ..self
        }
    }

    /// Ends it; a session that has ended keeps its first reason.
    #[must_use]
    pub fn ended(self, at: Timestamp, reason: EndReason) -> Self {
        Self { ended: self.ended.or(Some((at, reason))), ..self }
    }
}

#[cfg(test)]
mod tests;
