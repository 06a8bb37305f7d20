//! One purpose's keys: the current one signs, it and its predecessors verify.

use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::{Algorithm as JwtAlgorithm, DecodingKey, EncodingKey, Header, crypto};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::keys::KeySet;

/// The longest token worth reading; ours have some 400 bytes.
const MAX_BYTES: usize = 4096;

/// Signs and reads the tokens of one purpose.
pub(super) struct Signer {
    header: Header,
    /// The header as it stands in the tokens that are signed here: one that comes back needs no reading.
    written: String,
    signing: EncodingKey,
    verifying: Vec<VerifyingKey>,
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
        let signing = EncodingKey::from_secret(secrets.peek().copied().unwrap_or_default());
        let verifying =
            secrets.map(|secret| VerifyingKey { kid: None, key: DecodingKey::from_secret(secret) });
        Self::new(Header::new(JwtAlgorithm::HS256), signing, verifying.collect())
    }

    /// The first of `keys` signs, and each verifies the tokens that name it in `kid`.
    pub(super) fn with_keys(keys: KeySet) -> Self {
        let mut header = Header::new(keys.algorithm);
        header.kid = keys.public.first().map(|key| key.kid.clone());
        let verifying = keys.public.into_iter().map(|key| VerifyingKey { kid: Some(key.kid), key: key.key });
        Self::new(header, keys.signing, verifying.collect())
    }

    fn new(header: Header, signing: EncodingKey, verifying: Vec<VerifyingKey>) -> Self {
        let written = serde_json::to_vec(&header).map(|header| BASE64URL_NOPAD.encode(&header));
        Self { header, written: written.unwrap_or_default(), signing, verifying }
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
        if token.len() > MAX_BYTES {
            return None;
        }
        let (message, signature) = token.rsplit_once('.')?;
        let (header, payload) = message.split_once('.')?;
        let read;
        let kid = if header == self.written {
            &self.header.kid
        } else {
            read = self.strict_header(header)?;
            &read.kid
        };
        // A token that names its key is held against that key alone.
        let mut fitting = self.verifying.iter().filter(|each| each.kid.is_none() || each.kid == *kid);
        // The algorithm is always ours, whatever a token says.
        let (message, algorithm) = (message.as_bytes(), self.header.alg);
        let is_signed = fitting.any(|each| {
            crypto::verify(signature, message, &each.key, algorithm).is_ok_and(|is_good| is_good)
        });
        if !is_signed {
            return None;
        }
        serde_json::from_slice(&BASE64URL_NOPAD.decode(payload.as_bytes()).ok()?).ok()
    }

    /// The header, if it has nothing in it that is not understood here, and names our algorithm.
    fn strict_header(&self, header: &str) -> Option<StrictHeader> {
        let header = BASE64URL_NOPAD.decode(header.as_bytes()).ok()?;
        let header: StrictHeader = serde_json::from_slice(&header).ok()?;
        let is_jwt = header.typ.as_ref().is_none_or(|typ| typ.eq_ignore_ascii_case("JWT"));
        let is_ours = header.alg.parse() == Ok(self.header.alg);
        (is_jwt && is_ours).then_some(header)
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}, {} keys", self.header.alg, self.verifying.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Algorithm;
    use crate::tokens::keys::{generate, rotate};

    #[test]
    fn the_header_that_needs_no_reading_is_the_one_that_is_written() {
        let signer = Signer::hs256(std::iter::once(&b"a secret"[..]));
        let token = signer.sign(&"payload").unwrap();
        assert_eq!(token.split('.').next(), Some(&*signer.written));
        assert_eq!(signer.read::<String>(&token).as_deref(), Some("payload"));
    }

    #[test]
    fn another_header_of_the_same_meaning_is_read() {
        let signer = Signer::hs256(std::iter::once(&b"a secret"[..]));
        let header = BASE64URL_NOPAD.encode(br#"{"alg":"HS256"}"#);
        let message = format!("{header}.{}", BASE64URL_NOPAD.encode(br#""payload""#));
        let signature = crypto::sign(message.as_bytes(), &signer.signing, JwtAlgorithm::HS256).unwrap();
        assert_eq!(signer.read::<String>(&format!("{message}.{signature}")).as_deref(), Some("payload"));
        assert_eq!(signer.read::<String>(&format!(".{message}.{signature}")), None);
        assert_eq!(signer.read::<String>(&format!("{message}.")), None);
    }

    #[test]
    fn a_token_of_4096_bytes_is_read_and_a_longer_one_is_not() {
        let signer = Signer::hs256(std::iter::once(&b"a secret"[..]));
        let token = |letters: usize| signer.sign(&"x".repeat(letters)).unwrap();
        let letters = (2_900..3_100).find(|letters| token(*letters).len() == MAX_BYTES).unwrap();
        assert_eq!(signer.read::<String>(&token(letters)).map(|payload| payload.len()), Some(letters));
        assert_eq!(signer.read::<String>(&token(letters + 1)), None);
    }

    #[test]
    fn s14_a_token_is_held_against_the_key_that_it_names_and_secrets_have_no_names() {
        let older = generate(Algorithm::EdDsa).unwrap();
        let keys = |text: &str| KeySet::parse(Algorithm::EdDsa, text).unwrap();
        let both = rotate(Algorithm::EdDsa, &older).unwrap();
        let (mut forger, both) = (Signer::with_keys(keys(&older)), Signer::with_keys(keys(&both)));
        assert_eq!(both.read::<String>(&forger.sign(&"payload").unwrap()).as_deref(), Some("payload"));
        forger.header.kid.clone_from(&both.header.kid);
        assert_eq!(both.read::<String>(&forger.sign(&"payload").unwrap()), None);

        let mut named = Signer::hs256(std::iter::once(&b"a secret"[..]));
        named.header.kid = Some("mine".to_owned());
        let signer = Signer::hs256(std::iter::once(&b"a secret"[..]));
        assert_eq!(signer.read::<String>(&named.sign(&"payload").unwrap()).as_deref(), Some("payload"));
    }
}
