//! One purpose's keys: the current one signs, it and its predecessors verify.

use std::fmt;

use jsonwebtoken::{Algorithm as JwtAlgorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::keys::KeySet;

/// The longest token worth reading; ours have some 400 bytes.
const MAX_BYTES: usize = 4096;

/// Signs and reads the tokens of one purpose.
pub(super) struct Signer {
    header: Header,
    signing: EncodingKey,
    verifying: Vec<VerifyingKey>,
    validation: Validation,
}

struct VerifyingKey {
    /// The `kid` that a token must carry; secrets have none.
    kid: Option<String>,
    key: DecodingKey,
}

/// A header that names a key by value or by address (`jwk`, `jku`, `x5u`) has more members than these, and is refused.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StrictHeader {
    #[expect(dead_code, reason = "read to allow it; jsonwebtoken compares the algorithm")]
    alg: String,
    #[serde(default)]
    typ: Option<String>,
    #[serde(default)]
    kid: Option<String>,
}

impl Signer {
    /// HS256 under the first of `secrets`; the others only verify. Without any, nothing is good.
    pub(super) fn hs256<'a>(secrets: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut secrets = secrets.peekable();
        Self {
            header: Header::new(JwtAlgorithm::HS256),
            signing: EncodingKey::from_secret(secrets.peek().copied().unwrap_or_default()),
            verifying: secrets
                .map(|secret| VerifyingKey { kid: None, key: DecodingKey::from_secret(secret) })
                .collect(),
            validation: validation(JwtAlgorithm::HS256),
        }
    }

    /// The first of `keys` signs, and each verifies the tokens that name it in `kid`.
    pub(super) fn with_keys(keys: KeySet) -> Self {
        let mut header = Header::new(keys.algorithm);
        header.kid = keys.public.first().map(|key| key.kid.clone());
        let verifying = keys.public.into_iter().map(|key| VerifyingKey { kid: Some(key.kid), key: key.key });
        Self {
            header,
            signing: keys.signing,
            verifying: verifying.collect(),
            validation: validation(keys.algorithm),
        }
    }

    /// The signed token; `None` if signing fails, which no input can bring about.
    pub(super) fn sign(&self, payload: &impl Serialize) -> Option<String> {
        jsonwebtoken::encode(&self.header, payload, &self.signing)
            .inspect_err(|error| tracing::error!(%error, "a token could not be signed"))
            .ok()
    }

    /// The payload of a token that one of the keys signed and that has nothing in its header that is not understood
    /// here. Whether it has expired is not asked.
    pub(super) fn read<T: DeserializeOwned>(&self, token: &str) -> Option<T> {
        let header = strict_header(token)?;
        // A token that names its key is held against that key alone.
        let fitting = self.verifying.iter().filter(|each| each.kid.is_none() || each.kid == header.kid);
        fitting
            .filter_map(|each| jsonwebtoken::decode(token, &each.key, &self.validation).ok())
            .map(|token| token.claims)
            .next()
    }
}

/// The header, if it has nothing in it that is not understood here.
fn strict_header(token: &str) -> Option<StrictHeader> {
    if token.len() > MAX_BYTES {
        return None;
    }
    let header = data_encoding::BASE64URL_NOPAD.decode(token.split('.').next()?.as_bytes()).ok()?;
    let header: StrictHeader = serde_json::from_slice(&header).ok()?;
    let is_jwt = header.typ.as_ref().is_none_or(|typ| typ.eq_ignore_ascii_case("JWT"));
    is_jwt.then_some(header)
}

fn validation(algorithm: JwtAlgorithm) -> Validation {
    let mut validation = Validation::new(algorithm);
    // Time is compared with our own clock, and names with our own.
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    validation
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}, {} keys", self.header.alg, self.verifying.len())
    }
}
