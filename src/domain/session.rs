//! A session: what a login opens, what its tokens stand for.

use std::time::Duration;

use crate::domain::{SessionId, Timestamp, UserId};

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
    /// The address of the login.
    pub ip: String,
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
}

impl EndReason {
    /// The word in rows.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Logout => "logout",
            Self::Reuse => "reuse",
            Self::Displaced => "displaced",
            Self::Revoked => "revoked",
        }
    }

    /// Reads the word back.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Logout, Self::Reuse, Self::Displaced, Self::Revoked].into_iter().find(|r| r.as_str() == word)
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
    /// Opens a session at `now`; `id` and `jti` are drawn beforehand.
    pub fn open(id: SessionId, jti: String, login: Login, now: Timestamp, lifetimes: &Lifetimes) -> Self {
        let expires_at = now + lifetimes.session;
        Self {
            id,
            user: login.user,
            generation: 0,
            jti,
            generation_used: false,
            issued_at: now,
            refresh_expires_at: (now + lifetimes.refresh).min(expires_at),
            created_at: now,
            expires_at,
            last_used_at: now,
            ended: None,
            device: login.device,
            ip: login.ip,
        }
    }

    /// Whether its tokens are good at `now`.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.ended.is_none() && now < self.expires_at
    }

    /// Ends it; a session that has ended keeps its first reason.
    #[must_use]
    pub fn ended(self, at: Timestamp, reason: EndReason) -> Self {
        Self { ended: self.ended.or(Some((at, reason))), ..self }
    }
}
