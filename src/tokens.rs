//! Access and refresh tokens, byte-compatible with djangorestframework-simplejwt, so that an existing Django API with
//! the same `SECRET_KEY` accepts them. Knows nothing of storage: whether a session still stands is the flows' to ask.

use std::fmt;
use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

use crate::domain::{Secret, Session, SessionId, Timestamp, User, UserId};

/// The longest token worth reading; ours have some 400 bytes.
const MAX_BYTES: usize = 4096;

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
    /// It is garbled, foreign, of the wrong kind, or signed by nobody we know.
    #[error("the token is not valid")]
    Invalid,
    /// It was good once.
    #[error("the token has expired")]
    Expired,
}

/// What a good token says.
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
}

/// What a login or a refresh answers with.
pub struct TokenPair {
    /// The access token.
    pub access: String,
    /// The refresh token.
    pub refresh: String,
}

/// Signs with the current secret, verifies with it and its predecessors.
pub struct Tokens {
    header: Header,
    signing: EncodingKey,
    verifying: Vec<DecodingKey>,
    validation: Validation,
    access_ttl: Duration,
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
}

/// simplejwt 5.5 writes a string, earlier ones an integer.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum UserIdClaim {
    Text(String),
    Number(i64),
}

/// A header that names a key by value or by address (`jwk`, `jku`, `x5u`) has more members than these, and is refused.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StrictHeader {
    #[expect(dead_code, reason = "read to allow it; jsonwebtoken compares the algorithm")]
    alg: String,
    #[serde(default)]
    typ: Option<String>,
    #[expect(dead_code, reason = "read to allow it")]
    #[serde(default)]
    kid: Option<String>,
}

impl Tokens {
    /// HS256 under the UTF-8 bytes of `secret`; tokens of `fallbacks` are still good.
    pub fn new(secret: &Secret, fallbacks: &[Secret], access_ttl: Duration) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        // Time is compared with our own clock, below.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        Self {
            header: Header::new(Algorithm::HS256),
            signing: EncodingKey::from_secret(secret.expose().as_bytes()),
            verifying: std::iter::once(secret)
                .chain(fallbacks)
                .map(|secret| DecodingKey::from_secret(secret.expose().as_bytes()))
                .collect(),
            validation,
            access_ttl,
        }
    }

    /// Signs a pair for a session as it stands: a fresh access token named `access_jti`, and the refresh token of the
    /// session's current generation (the same one however often it is asked for). `None` if signing fails, which no
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
        };
        let access_expires = (now + self.access_ttl).min(session.expires_at);
        let access = self.sign(&payload(TokenKind::Access, now, access_expires, access_jti))?;
        let refresh = self.sign(&payload(
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
    pub fn verify(&self, token: &str, kind: TokenKind, now: Timestamp) -> Result<Claims, TokenError> {
        let payload = self.payload(token).ok_or(TokenError::Invalid)?;
        if payload.token_type != kind || payload.nbf.is_some_and(|nbf| now.as_secs() < nbf) {
            return Err(TokenError::Invalid);
        }
        let user = match payload.user_id {
            UserIdClaim::Text(text) => text.parse().map_err(|_| TokenError::Invalid)?,
            UserIdClaim::Number(number) => number,
        };
        let session = SessionId::parse(&payload.sid).ok_or(TokenError::Invalid)?;
        if now.as_secs() >= payload.exp {
            return Err(TokenError::Expired);
        }
        Ok(Claims { kind, jti: payload.jti, user: UserId(user), session, generation: payload.r#gen })
    }

    fn sign(&self, payload: &Payload) -> Option<String> {
        jsonwebtoken::encode(&self.header, payload, &self.signing)
            .inspect_err(|error| tracing::error!(%error, "a token could not be signed"))
            .ok()
    }

    fn payload(&self, token: &str) -> Option<Payload> {
        if token.len() > MAX_BYTES {
            return None;
        }
        let header = data_encoding::BASE64URL_NOPAD.decode(token.split('.').next()?.as_bytes()).ok()?;
        let header: StrictHeader = serde_json::from_slice(&header).ok()?;
        if header.typ.is_some_and(|typ| !typ.eq_ignore_ascii_case("JWT")) {
            return None;
        }
        self.verifying.iter().find_map(|key| {
            jsonwebtoken::decode::<Payload>(token, key, &self.validation).ok().map(|token| token.claims)
        })
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tokens(HS256, {} keys)", self.verifying.len())
    }
}

impl fmt::Debug for TokenPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenPair(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::PhoneNumber;
    use crate::domain::session::{Lifetimes, Login};
    use data_encoding::BASE64URL_NOPAD;
    use hmac::{Hmac, KeyInit, Mac};
    use serde_json::{Value, json};
    use sha2::{Sha256, Sha384};

    const SECRET: &str = "a secret of at least thirty-two bytes";

    fn now() -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000)
    }

    fn tokens() -> Tokens {
        Tokens::new(&Secret::new(SECRET), &[], Duration::from_mins(15))
    }

    fn user() -> User {
        User {
            id: UserId(7),
            username: "user_1234567890".into(),
            phone: PhoneNumber::parse("+1234567890", 10).unwrap(),
            role: "retailer".into(),
            is_active: true,
            phone_verified: true,
            joined_at: now(),
        }
    }

    fn session() -> Session {
        let lifetimes = Lifetimes {
            access: Duration::from_mins(15),
            refresh: Duration::from_hours(30 * 24),
            session: Duration::from_hours(365 * 24),
        };
        let login = Login { user: UserId(7), device: String::new(), ip: String::new() };
        Session::open(SessionId::new(now(), [1; 10]), "f".repeat(32), login, now(), &lifetimes)
    }

    fn pair() -> TokenPair {
        tokens().pair(&session(), &user(), "a".repeat(32), now()).unwrap()
    }

    fn claims() -> Value {
        json!({
            "token_type": "access", "exp": now().as_secs() + 60, "iat": now().as_secs(), "jti": "a".repeat(32),
            "user_id": "7", "sid": session().id.as_str(), "gen": 0, "role": "retailer",
        })
    }

    fn signed_raw(header: &str, claims: &str, secret: &str) -> String {
        let body = format!(
            "{}.{}",
            BASE64URL_NOPAD.encode(header.as_bytes()),
            BASE64URL_NOPAD.encode(claims.as_bytes())
        );
        let tag = Hmac::<Sha256>::new_from_slice(secret.as_bytes())
            .unwrap()
            .chain_update(&body)
            .finalize()
            .into_bytes();
        format!("{body}.{}", BASE64URL_NOPAD.encode(&tag))
    }

    fn signed(claims: &Value) -> String {
        signed_raw(r#"{"typ":"JWT","alg":"HS256"}"#, &claims.to_string(), SECRET)
    }

    fn verify(token: &str) -> Result<Claims, TokenError> {
        tokens().verify(token, TokenKind::Access, now())
    }

    #[test]
    fn the_header_is_simplejwts_to_the_byte() {
        assert!(pair().access.starts_with("eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9."));
        let payload = BASE64URL_NOPAD.decode(pair().access.split('.').nth(1).unwrap().as_bytes()).unwrap();
        let payload: Value = serde_json::from_slice(&payload).unwrap();
        assert_eq!(payload["user_id"], "7");
        assert_eq!(payload["token_type"], "access");
        assert_eq!(payload["exp"], now().as_secs() + 900);
    }

    #[test]
    fn what_we_sign_we_accept_and_kinds_never_interchange() {
        let pair = pair();
        assert_eq!(verify(&pair.access).unwrap().user, UserId(7));
        assert!(tokens().verify(&pair.refresh, TokenKind::Refresh, now()).is_ok());
        assert_eq!(verify(&pair.refresh), Err(TokenError::Invalid));
        assert_eq!(tokens().verify(&pair.access, TokenKind::Refresh, now()), Err(TokenError::Invalid));
    }

    #[test]
    fn one_second_past_exp_is_expired() {
        let token = pair().access;
        let at = |seconds| tokens().verify(&token, TokenKind::Access, now() + Duration::from_secs(seconds));
        assert!(at(899).is_ok());
        assert_eq!(at(900), Err(TokenError::Expired));
        assert_eq!(at(901), Err(TokenError::Expired));
    }

    #[test]
    fn s14_an_integer_user_id_is_good_and_nbf_is_honoured() {
        let mut claims = claims();
        assert!(verify(&signed(&claims)).is_ok());
        claims["user_id"] = json!(7);
        assert_eq!(verify(&signed(&claims)).unwrap().user, UserId(7));
        claims["nbf"] = json!(now().as_secs() + 1);
        assert_eq!(verify(&signed(&claims)), Err(TokenError::Invalid));
    }

    #[test]
    fn s14_other_algorithms_and_header_members_fail() {
        let claims = claims().to_string();
        for header in [
            r#"{"typ":"JWT","alg":"none"}"#,
            r#"{"typ":"JWT","alg":"HS384"}"#,
            r#"{"typ":"JWT","alg":"RS256"}"#,
            r#"{"typ":"JWT","alg":"hs256"}"#,
            r#"{"typ":"JWT"}"#,
            r#"{"typ":"JWE","alg":"HS256"}"#,
            r#"{"typ":"JWT","alg":"HS256","jku":"https://thief.example/keys"}"#,
            r#"{"typ":"JWT","alg":"HS256","jwk":{"kty":"oct","k":"AAAA"}}"#,
            r#"{"typ":"JWT","alg":"HS256","x5u":"https://thief.example/cert"}"#,
            r#"{"typ":"JWT","alg":"HS256","crit":["exp"]}"#,
            r#"{"typ":"JWT","alg":"HS256","alg":"HS256"}"#,
        ] {
            assert_eq!(verify(&signed_raw(header, &claims, SECRET)), Err(TokenError::Invalid), "{header}");
        }
        let unsigned = signed_raw(r#"{"typ":"JWT","alg":"none"}"#, &claims, SECRET);
        let unsigned = format!("{}.", unsigned.rsplit_once('.').unwrap().0);
        assert_eq!(verify(&unsigned), Err(TokenError::Invalid));
    }

    #[test]
    fn s14_a_true_hs384_signature_fails() {
        let body = format!(
            "{}.{}",
            BASE64URL_NOPAD.encode(br#"{"typ":"JWT","alg":"HS384"}"#),
            BASE64URL_NOPAD.encode(claims().to_string().as_bytes())
        );
        let tag = Hmac::<Sha384>::new_from_slice(SECRET.as_bytes())
            .unwrap()
            .chain_update(&body)
            .finalize()
            .into_bytes();
        assert_eq!(verify(&format!("{body}.{}", BASE64URL_NOPAD.encode(&tag))), Err(TokenError::Invalid));
    }

    #[test]
    fn s14_duplicate_claims_bad_base64_and_rubbish_fail() {
        let header = r#"{"typ":"JWT","alg":"HS256"}"#;
        let doubled = claims().to_string().replacen('{', r#"{"user_id":"8","#, 1);
        assert_eq!(verify(&signed_raw(header, &doubled, SECRET)), Err(TokenError::Invalid));
        let good = signed(&claims());
        for bad in [
            String::new(),
            "..".into(),
            "a.b.c".into(),
            format!("{good}="),
            format!(" {good}"),
            good[..good.len() - 1].to_owned(),
            good.replace('.', ""),
            format!("{good}.{good}"),
            "x".repeat(100_000),
        ] {
            assert_eq!(verify(&bad), Err(TokenError::Invalid));
        }
    }

    #[test]
    fn s15_fallbacks_verify_and_strangers_do_not() {
        let token = signed(&claims());
        let new = Secret::new("another secret of thirty-two bytes and more");
        let rolled = Tokens::new(&new, &[Secret::new(SECRET)], Duration::from_mins(15));
        assert!(rolled.verify(&token, TokenKind::Access, now()).is_ok());
        let stranger = Tokens::new(&new, &[], Duration::from_mins(15));
        assert_eq!(stranger.verify(&token, TokenKind::Access, now()), Err(TokenError::Invalid));
        let anew = rolled.pair(&session(), &user(), "a".repeat(32), now()).unwrap();
        assert!(stranger.verify(&anew.access, TokenKind::Access, now()).is_ok());
    }

    #[test]
    fn s34_debug_shows_neither_key_nor_token() {
        assert_eq!(format!("{:?}", pair()), "TokenPair(…)");
        assert!(!format!("{:?}", tokens()).contains(SECRET));
    }
}
