//! Access tokens, byte-compatible with djangorestframework-simplejwt, so that an existing Django API with the same
//! `SECRET_KEY`, or with the public key, accepts them; and refresh tokens of the same form, which nobody else reads. Knows
//! nothing of storage: whether a session still stands is the flows' to ask.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::domain::keys::KeyRing;
use crate::domain::{NameClaim, Secret, Session, SessionId, Timestamp, User, UserId};

mod device;
mod foreign;
pub mod keys;
#[cfg(any(test, fuzzing))]
pub(crate) mod sample;
mod signer;

pub use device::{DeviceClaims, DeviceTokens};
pub use foreign::ForeignClaims;
use foreign::ForeignKeys;
use keys::KeySet;
use signer::Signer;

/// What a token is for; one kind is never taken for the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenKind {
    /// Opens endpoints for a quarter of an hour.
    Access,
    /// Gets the next pair.
    Refresh,
}

/// Why a token is no good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is garbled, of the wrong kind, or signed by nobody we know.
    #[error("the token is not valid")]
    Invalid,
    /// It was good once.
    #[error("the token has expired")]
    Expired,
}

/// What a good token of ours says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// Access or refresh.
    pub kind: TokenKind,
    /// The token's own name.
    pub jti: String,
    /// Whose it is.
    pub user: UserId,
    /// Which session it stands for.
    pub session: SessionId,
    /// The session's refresh generation at its issue.
    pub generation: u32,
    /// A refresh token under the key of access tokens, as they were before they had one of their own: whoever shares
    /// that key can make such tokens, so only some sessions take them ([`Session::takes_shared_key`]).
    pub under_access_key: bool,
}

/// A token whose signature and times are good; whether its session has ended, the database says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verified {
    /// We issued it.
    Own(Claims),
    /// The system before this one issued it.
    Foreign(ForeignClaims),
}

/// What a login or a refresh answers with.
pub struct TokenPair {
    /// The access token.
    pub access: String,
    /// The refresh token.
    pub refresh: String,
}

/// Signs with the current keys, verifies with them and their predecessors.
pub struct Tokens {
    access: Signer,
    /// Derived from the secret, so that nobody who shares the secret renews sessions that ended here.
    refresh: Signer,
    access_ttl: Duration,
    /// Names of the users' attributes that access tokens carry.
    attributes: Vec<String>,
    names: Names,
    required: Required,
    jwks: Option<String>,
    foreign: Option<ForeignKeys>,
}

/// Whom tokens name beside the user; what is not set is not written.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// `iss`: who issued them.
    pub issuer: Option<String>,
    /// `aud`: whom they are for.
    pub audience: Option<String>,
}

/// Which names a token of ours must have by now.
#[derive(Default)]
struct Required {
    issuer: AtomicBool,
    audience: AtomicBool,
}

/// The payload as it travels. Field order is simplejwt's, ours after it.
#[derive(Serialize, Deserialize)]
struct Payload {
    token_type: TokenKind,
    exp: i64,
    iat: i64,
    jti: String,
    user_id: UserIdClaim,
    sid: String,
    r#gen: u32,
    role: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nbf: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    iss: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    aud: Option<String>,
}

/// What an access token says: attributes have names that the payload does not.
#[derive(Serialize)]
struct AccessPayload {
    #[serde(flatten)]
    payload: Payload,
    #[serde(flatten)]
    attributes: Map<String, Value>,
}

/// What is asked of every token alike, whoever issued it.
struct Frame {
    token_type: TokenKind,
    exp: i64,
    user_id: UserIdClaim,
    nbf: Option<i64>,
    iss: Option<String>,
    aud: Option<String>,
}

/// simplejwt 5.5 writes a string, earlier ones an integer.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum UserIdClaim {
    Text(String),
    Number(i64),
}

impl Tokens {
    /// Access tokens by HS256 under the UTF-8 bytes of `secret`; tokens of `fallbacks` are still good.
    pub fn new(secret: &Secret, fallbacks: &[Secret], access_ttl: Duration) -> Self {
        let secrets = std::iter::once(secret).chain(fallbacks);
        let access = Signer::hs256(secrets.map(|secret| secret.expose().as_bytes()));
        Self::signing(access, &KeyRing::new(secret, fallbacks), access_ttl, None)
    }

    /// Access tokens under `keys`: the first of them signs, and each verifies the tokens that name it in `kid`. Refresh
    /// tokens by HS256 under the keys of `ring`, whatever signs access tokens.
    pub fn with_keys(keys: KeySet, ring: &KeyRing, access_ttl: Duration) -> Self {
        let jwks = keys.jwks();
        Self::signing(Signer::with_keys(keys), ring, access_ttl, Some(jwks))
    }

    fn signing(access: Signer, ring: &KeyRing, access_ttl: Duration, jwks: Option<String>) -> Self {
        let refresh = Signer::hs256(ring.all().map(|keys| keys.refresh_token_key().as_slice()));
        let (names, required) = (Names::default(), Required::default());
        Self { access, refresh, access_ttl, attributes: Vec::new(), names, required, jwks, foreign: None }
    }

    /// Writes `iss` and `aud`. A token that names others is refused; one without them is not until [`Self::require`], so
    /// that setting these logs nobody out.
    #[must_use]
    pub fn naming(self, names: Names) -> Self {
        Self { names, ..self }
    }

    /// Has access tokens carry the user's attributes of these names, as claims of their own.
    #[must_use]
    pub fn carrying(self, attributes: Vec<String>) -> Self {
        Self { attributes, ..self }
    }

    /// What tokens say in `claim`, if anything.
    pub fn name(&self, claim: NameClaim) -> Option<&str> {
        match claim {
            NameClaim::Issuer => self.names.issuer.as_deref(),
            NameClaim::Audience => self.names.audience.as_deref(),
        }
    }

    /// Refuses tokens of ours without `claim` from now on, or not. Foreign ones are good without it for as long as they
    /// are accepted at all.
    pub fn require(&self, claim: NameClaim, is_required: bool) {
        self.required.claim(claim).store(is_required, Ordering::Relaxed);
    }

    /// Accepts the tokens that simplejwt issued under these secrets, too. Ours stay under the configured algorithm alone.
    #[must_use]
    pub fn accepting_foreign(self, secret: &Secret, fallbacks: &[Secret]) -> Self {
        Self { foreign: Some(ForeignKeys::new(secret, fallbacks)), ..self }
    }

    /// The public keys as a JSON Web Key Set (RFC 7517 §5); `None` where a secret signs.
    pub fn jwks(&self) -> Option<&str> {
        self.jwks.as_deref()
    }

    /// Signs a pair for a session as it stands: a fresh access token named `access_jti`, and the refresh token of the
    /// session's current generation (the same one however often it is asked for), which the access token never outlives. `None` if signing fails, which no
    /// input can bring about.
    pub fn pair(
        &self,
        session: &Session,
        user: &User,
        access_jti: String,
        now: Timestamp,
    ) -> Option<TokenPair> {
        let payload = |token_type, issued: Timestamp, expires: Timestamp, jti| Payload {
            token_type,
            exp: expires.as_secs(),
            iat: issued.as_secs(),
            jti,
            user_id: UserIdClaim::Text(user.id.to_string()),
            sid: session.id.to_string(),
            r#gen: session.generation,
            role: user.role.clone(),
            nbf: None,
            iss: self.names.issuer.clone(),
            aud: self.names.audience.clone(),
        };
        let access_expires = (now + self.access_ttl).min(session.refresh_expires_at);
        let access = self.access.sign(&AccessPayload {
            payload: payload(TokenKind::Access, now, access_expires, access_jti),
            attributes: user.attributes.named(&self.attributes),
        })?;
        let refresh = self.refresh.sign(&payload(
            TokenKind::Refresh,
            session.issued_at,
            session.refresh_expires_at,
            session.jti.clone(),
        ))?;
        Some(TokenPair { access, refresh })
    }

    /// Reads a token of the given kind at `now`.
    ///
    /// # Errors
    /// [`TokenError::Expired`] only for one that is good in every other respect.
    pub fn verify(&self, token: &str, kind: TokenKind, now: Timestamp) -> Result<Verified, TokenError> {
        match (self.verify_own(token, kind, now), &self.foreign) {
            (Err(TokenError::Invalid), Some(foreign)) => {
                foreign.verify(token, kind, &self.names, now).map(Verified::Foreign)
            }
            (own, _) => own.map(Verified::Own),
        }
    }

    fn verify_own(&self, token: &str, kind: TokenKind, now: Timestamp) -> Result<Claims, TokenError> {
        let (payload, under_access_key) = match kind {
            TokenKind::Access => (self.access.read(token), false),
            TokenKind::Refresh => match self.refresh.read(token) {
                None => (self.access.read(token), true),
                payload => (payload, false),
            },
        };
        let Payload { token_type, exp, jti, user_id, sid, r#gen: generation, nbf, iss, aud, .. } =
            payload.ok_or(TokenError::Invalid)?;
        let session = SessionId::parse(&sid).ok_or(TokenError::Invalid)?;
        if iss.is_none() && self.required.is(NameClaim::Issuer)
            || aud.is_none() && self.required.is(NameClaim::Audience)
        {
            return Err(TokenError::Invalid);
        }
        let user = Frame { token_type, exp, user_id, nbf, iss, aud }.check(kind, &self.names, now)?;
        Ok(Claims { kind, jti, user, session, generation, under_access_key })
    }
}

impl Required {
    const fn claim(&self, claim: NameClaim) -> &AtomicBool {
        match claim {
            NameClaim::Issuer => &self.issuer,
            NameClaim::Audience => &self.audience,
        }
    }

    fn is(&self, claim: NameClaim) -> bool {
        self.claim(claim).load(Ordering::Relaxed)
    }
}

impl Frame {
    /// Whose token it is, if it is one of the given kind that is good at `now`.
    fn check(self, kind: TokenKind, names: &Names, now: Timestamp) -> Result<UserId, TokenError> {
        if self.token_type != kind || self.nbf.is_some_and(|nbf| now.as_secs() < nbf) {
            return Err(TokenError::Invalid);
        }
        if names_another(self.iss.as_ref(), names.issuer.as_ref())
            || names_another(self.aud.as_ref(), names.audience.as_ref())
        {
            return Err(TokenError::Invalid);
        }
        let user = match self.user_id {
            UserIdClaim::Text(text) => text.parse().map_err(|_| TokenError::Invalid)?,
            UserIdClaim::Number(number) => number,
        };
        if now.as_secs() >= self.exp { Err(TokenError::Expired) } else { Ok(UserId(user)) }
    }
}

fn names_another(named: Option<&String>, ours: Option<&String>) -> bool {
    named.is_some() && named != ours
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tokens({:?})", self.access)
    }
}

impl fmt::Debug for TokenPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenPair(…)")
    }
}

#[cfg(test)]
mod tests;
