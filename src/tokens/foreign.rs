//! Tokens that the system before this one issued: djangorestframework-simplejwt's own, under the same secret.
//!
//! They name no session here, and are HS256 whatever signs ours: a public key never checks them.

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use super::signer::Signer;
use super::{Frame, Names, TokenError, TokenKind, UserIdClaim};
use crate::domain::{Secret, Timestamp, UserId};

/// The digits of a `jti`, as simplejwt and we write it.
const JTI_DIGITS: usize = 32;

/// What a good foreign token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignClaims {
    /// Access or refresh.
    pub kind: TokenKind,
    /// The token's own name, 32 hexadecimal digits.
    pub jti: String,
    /// Whose it is, if the id is still that person's.
    pub user: UserId,
    /// When it expires.
    pub expires_at: Timestamp,
}

/// The secrets under which foreign tokens are good; they sign nothing here.
pub(super) struct ForeignKeys(Signer);

/// The payload as simplejwt writes it; whatever else a project put into it is not ours to judge.
#[derive(Deserialize)]
struct Payload {
    token_type: TokenKind,
    exp: i64,
    #[expect(dead_code, reason = "read to demand it, as part of the form")]
    iat: i64,
    jti: String,
    user_id: UserIdClaim,
    #[expect(dead_code, reason = "read to refuse it")]
    #[serde(default, deserialize_with = "absent")]
    sid: (),
    #[serde(default)]
    nbf: Option<i64>,
    #[serde(default)]
    iss: Option<String>,
    #[serde(default)]
    aud: Option<String>,
}

impl ForeignKeys {
    pub(super) fn new(secret: &Secret, fallbacks: &[Secret]) -> Self {
        let secrets = std::iter::once(secret).chain(fallbacks);
        Self(Signer::hs256(secrets.map(|secret| secret.expose().as_bytes())))
    }

    /// Reads a token of the given kind at `now`; which names it may carry, `names` says, as of ours.
    ///
    /// # Errors
    /// As [`super::Tokens::verify`].
    pub(super) fn verify(
        &self,
        token: &str,
        kind: TokenKind,
        names: &Names,
        now: Timestamp,
    ) -> Result<ForeignClaims, TokenError> {
        let Payload { token_type, exp, jti, user_id, nbf, iss, aud, .. } =
            self.0.read(token).ok_or(TokenError::Invalid)?;
        if jti.len() != JTI_DIGITS || !jti.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(TokenError::Invalid);
        }
        let frame = Frame { token_type, exp, user_id, nbf, iss, aud };
        let user = frame.check(kind, names, now)?;
        let expires_at = Timestamp::from_millis(exp.saturating_mul(1000));
        Ok(ForeignClaims { kind, jti, user, expires_at })
    }
}

/// A token with a session is one of ours, garbled or not, even if the session is null.
fn absent<'de, D: Deserializer<'de>>(_: D) -> Result<(), D::Error> {
    Err(D::Error::custom("it names a session"))
}
