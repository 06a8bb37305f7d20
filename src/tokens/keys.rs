//! The file of an asymmetric key: PEM, the private key that signs first, after it those that only verify any more.

use std::fmt;

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{self, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm as JwtAlgorithm, DecodingKey, EncodingKey};
use pem::Pem;

use crate::domain::{Algorithm, Help};

const PRIVATE: &str = "PRIVATE KEY";
const PUBLIC: &str = "PUBLIC KEY";

/// 2048 bits in base64: shorter moduli are no longer safe (RFC 7518 §3.3).
const RSA_MODULUS: usize = 342;

/// Why a key file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The text is broken.
    #[error("it is not a PEM file")]
    NotPem(&'static str),
    /// There is none to sign with.
    #[error("it does not begin with a private key (-----BEGIN PRIVATE KEY-----, PKCS #8)")]
    NoPrivateKey,
    /// A key is of another kind, or broken.
    #[error("block {block} is no {algorithm} key, as tokens.algorithm names it")]
    WrongKind {
        /// Which block, from 1.
        block: usize,
        /// What it should be for.
        algorithm: &'static str,
    },
    /// HS256 signs with the secret, and has no key file.
    #[error("HS256 signs with SECRET_KEY and has no key file")]
    NoKeyFile,
    /// The generator failed.
    #[error("the system gave no key")]
    Generator,
}

impl Help for KeyError {
    fn help(&self) -> String {
        match self {
            Self::NotPem(algorithm) => format!("make one with `freshk key generate --algorithm {algorithm}`"),
            Self::NoPrivateKey => {
                "put the key that signs first, those that only verify after it; openssl pkcs8 -topk8 \
                                   converts older forms"
                    .into()
            }
            Self::WrongKind { algorithm, .. } => format!(
                "all keys of the file must be of one kind: make one with `freshk key generate --algorithm {algorithm}`"
            ),
            Self::NoKeyFile => "choose EdDSA, ES256 or RS256".into(),
            Self::Generator => "try again".into(),
        }
    }
}

/// Keys of one algorithm: one that signs, and all that verify, the signing one first.
pub struct KeySet {
    pub(super) algorithm: JwtAlgorithm,
    pub(super) signing: EncodingKey,
    pub(super) public: Vec<PublicKey>,
}

/// A key that verifies.
pub(super) struct PublicKey {
    /// Its thumbprint (RFC 7638): the same wherever the key goes.
    pub(super) kid: String,
    pub(super) key: DecodingKey,
    jwk: Jwk,
}

impl KeySet {
    /// Reads the text of a key file.
    ///
    /// # Errors
    /// [`KeyError`], for the operator.
    pub fn parse(algorithm: Algorithm, text: &str) -> Result<Self, KeyError> {
        let kind = Kind::of(algorithm)?;
        let blocks = blocks(kind, text)?;
        let signing = kind.signing(&blocks[0]).ok_or(kind.wrong(0))?;
        let public = blocks.iter().enumerate().map(|(n, block)| kind.public(block).ok_or(kind.wrong(n)));
        Ok(Self { algorithm: kind.jwt(), signing, public: public.collect::<Result<_, _>>()? })
    }

    /// The public keys as a JSON Web Key Set (RFC 7517 §5).
    pub(super) fn jwks(&self) -> String {
        let keys = self.public.iter().map(|key| key.jwk.clone()).collect();
        serde_json::json!(JwkSet { keys }).to_string()
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeySet({:?}, {} keys)", self.algorithm, self.public.len())
    }
}

/// Makes a private key, in PEM.
///
/// # Errors
/// [`KeyError::NoKeyFile`] for HS256; [`KeyError::Generator`].
pub fn generate(algorithm: Algorithm) -> Result<String, KeyError> {
    Ok(encode(&Kind::of(algorithm)?.generate().ok_or(KeyError::Generator)?))
}

/// Puts a fresh key before those of `text`; they become public ones, so that nothing can be signed with them again.
///
/// # Errors
/// [`KeyError`], for the operator.
pub fn rotate(algorithm: Algorithm, text: &str) -> Result<String, KeyError> {
    let kind = Kind::of(algorithm)?;
    let mut rotated = generate(algorithm)?;
    for (n, block) in blocks(kind, text)?.iter().enumerate() {
        kind.public(block).ok_or(kind.wrong(n))?;
        let public =
            if block.tag() == PUBLIC { Some(block.clone()) } else { kind.published(block.contents()) };
        rotated.push_str(&encode(&public.ok_or(kind.wrong(n))?));
    }
    Ok(rotated)
}

/// The blocks of a file, the first of them private.
fn blocks(kind: Kind, text: &str) -> Result<Vec<Pem>, KeyError> {
    let blocks = pem::parse_many(text).map_err(|_| KeyError::NotPem(kind.name()))?;
    match blocks.first() {
        None => Err(KeyError::NotPem(kind.name())),
        Some(first) if first.tag() != PRIVATE => Err(KeyError::NoPrivateKey),
        Some(_) => Ok(blocks),
    }
}

fn encode(block: &Pem) -> String {
    pem::encode_config(block, pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF))
}

/// The kinds that have a key file.
#[derive(Clone, Copy)]
enum Kind {
    Ed25519,
    P256,
    Rsa,
}

impl Kind {
    fn of(algorithm: Algorithm) -> Result<Self, KeyError> {
        match algorithm {
            Algorithm::Hs256 => Err(KeyError::NoKeyFile),
            Algorithm::EdDsa => Ok(Self::Ed25519),
            Algorithm::Es256 => Ok(Self::P256),
            Algorithm::Rs256 => Ok(Self::Rsa),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Ed25519 => Algorithm::EdDsa.as_str(),
            Self::P256 => Algorithm::Es256.as_str(),
            Self::Rsa => Algorithm::Rs256.as_str(),
        }
    }

    fn jwt(self) -> JwtAlgorithm {
        match self {
            Self::Ed25519 => JwtAlgorithm::EdDSA,
            Self::P256 => JwtAlgorithm::ES256,
            Self::Rsa => JwtAlgorithm::RS256,
        }
    }

    fn wrong(self, n: usize) -> KeyError {
        KeyError::WrongKind { block: n + 1, algorithm: self.name() }
    }

    fn generate(self) -> Option<Pem> {
        let der = match self {
            Self::Ed25519 => Ed25519KeyPair::generate().ok()?.to_pkcs8v1().ok()?.as_ref().to_vec(),
            Self::P256 => {
                let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).ok()?;
                pair.to_pkcs8v1().ok()?.as_ref().to_vec()
            }
            Self::Rsa => {
                let der: Pkcs8V1Der<'_> = rsa::KeyPair::generate(KeySize::Rsa3072).ok()?.as_der().ok()?;
                der.as_ref().to_vec()
            }
        };
        Some(Pem::new(PRIVATE, der))
    }

    /// The key to sign with, if the block is one of this kind.
    fn signing(self, block: &Pem) -> Option<EncodingKey> {
        self.published(block.contents())?;
        match self {
            Self::Ed25519 => Some(EncodingKey::from_ed_der(block.contents())),
            Self::P256 => Some(EncodingKey::from_ec_der(block.contents())),
            Self::Rsa => EncodingKey::from_rsa_pem(encode(block).as_bytes()).ok(),
        }
    }

    /// The key to verify with, if the block, private or public, is one of this kind.
    fn public(self, block: &Pem) -> Option<PublicKey> {
        let block = match block.tag() {
            PRIVATE => &self.published(block.contents())?,
            PUBLIC => block,
            _ => return None,
        };
        let text = encode(block);
        let key = match self {
            Self::Ed25519 => DecodingKey::from_ed_pem(text.as_bytes()),
            Self::P256 => DecodingKey::from_ec_pem(text.as_bytes()),
            Self::Rsa => DecodingKey::from_rsa_pem(text.as_bytes()),
        };
        let key = key.ok()?;
        let mut jwk = Jwk::from_decoding_key(&key, Some(self.jwt())).ok()?;
        if !self.has_the_parameters(&jwk.algorithm) {
            return None;
        }
        let kid = jwk.thumbprint(ThumbprintHash::SHA256).ok()?;
        jwk.common.key_id = Some(kid.clone());
        jwk.common.public_key_use = Some(PublicKeyUse::Signature);
        Some(PublicKey { kid, key, jwk })
    }

    fn has_the_parameters(self, parameters: &AlgorithmParameters) -> bool {
        match (self, parameters) {
            (Self::Ed25519, AlgorithmParameters::OctetKeyPair(key)) => key.curve == EllipticCurve::Ed25519,
            (Self::P256, AlgorithmParameters::EllipticCurve(key)) => key.curve == EllipticCurve::P256,
            (Self::Rsa, AlgorithmParameters::RSA(key)) => key.n.len() >= RSA_MODULUS,
            _ => false,
        }
    }

    /// The public half of a private key (PKCS #8), if it is one of this kind.
    fn published(self, private: &[u8]) -> Option<Pem> {
        let der: PublicKeyX509Der<'_> = match self {
            Self::Ed25519 => Ed25519KeyPair::from_pkcs8(private).ok()?.public_key().as_der().ok()?,
            Self::P256 => EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, private)
                .ok()?
                .public_key()
                .as_der()
                .ok()?,
            Self::Rsa => rsa::KeyPair::from_pkcs8(private).ok()?.public_key().as_der().ok()?,
        };
        Some(Pem::new(PUBLIC, der.as_ref().to_vec()))
    }
}

#[cfg(test)]
mod tests;
