//! One secret, one key per purpose.

use std::fmt;

use data_encoding::HEXLOWER;
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::domain::{PhoneNumber, Secret};

/// What the ledger calls the quotas of a phone by whose user was deleted, before the hash.
const ERASED: &str = "erased:";

/// The keys derived from one `SECRET_KEY` (HKDF-SHA-256, RFC 5869): the secret itself signs access tokens, as Django's
/// does, and nothing else.
#[derive(Clone)]
pub struct DerivedKeys {
    number: u32,
    code: [u8; 32],
    audit: [u8; 32],
    refresh_token: [u8; 32],
    device_token: [u8; 32],
    erased: [u8; 32],
    cache: [u8; 32],
}

/// Current keys first, then those of `SECRET_KEY_FALLBACKS`: what was hashed before a rollover is still recognised.
#[derive(Clone, Debug)]
pub struct KeyRing {
    current: DerivedKeys,
    fallbacks: Vec<DerivedKeys>,
}

impl DerivedKeys {
    /// Derives all keys of one secret.
    pub fn derive(secret: &Secret) -> Self {
        let hkdf = Hkdf::<Sha256>::new(None, secret.expose().as_bytes());
        Self {
            number: u32::from_be_bytes(expand(&hkdf, "freshk key number v1")),
            code: expand(&hkdf, "freshk code v1"),
            audit: expand(&hkdf, "freshk audit phone v1"),
            refresh_token: expand(&hkdf, "freshk refresh token v1"),
            device_token: expand(&hkdf, "freshk device token v1"),
            erased: expand(&hkdf, "freshk erased phone v1"),
            cache: expand(&hkdf, "freshk shared cache v1"),
        }
    }

    /// Which key this is; stored beside every hash, so that a rollover of the secret finds the right one.
    pub const fn number(&self) -> u32 {
        self.number
    }

    /// A MAC under the key for codes and idempotency keys.
    pub fn code_mac(&self) -> Hmac<Sha256> {
        keyed(&self.code)
    }

    /// The key that signs refresh tokens. Whoever shares the secret, as a Django project does, cannot read or renew them
    /// without deriving it.
    pub const fn refresh_token_key(&self) -> &[u8; 32] {
        &self.refresh_token
    }

    /// The key that signs the tokens of devices.
    pub const fn device_token_key(&self) -> &[u8; 32] {
        &self.device_token
    }

    /// The hash by which audit rows of one phone are found without naming it.
    pub fn audit_hash(&self, phone: &PhoneNumber) -> [u8; 16] {
        short_hash(&self.audit, phone.as_str())
    }

    /// The key in the ledger under which units count that a phone spent before its user was deleted. The audit trail has
    /// another hash: nothing there leads to it.
    pub fn erased_subject(&self, phone: &PhoneNumber) -> String {
        format!("{ERASED}{}", HEXLOWER.encode(&short_hash(&self.erased, phone.as_str())))
    }

    /// The hash by which a cache that servers share knows whom something is about, without naming anybody.
    pub fn cache_hash(&self, subject: &str) -> [u8; 16] {
        short_hash(&self.cache, subject)
    }
}

impl fmt::Debug for DerivedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DerivedKeys(#{:08x})", self.number)
    }
}

impl KeyRing {
    /// Keys of the current secret and of those before it.
    pub fn new(secret: &Secret, fallbacks: &[Secret]) -> Self {
        Self {
            current: DerivedKeys::derive(secret),
            fallbacks: fallbacks.iter().map(DerivedKeys::derive).collect(),
        }
    }

    /// The keys that hash anew.
    pub fn current(&self) -> &DerivedKeys {
        &self.current
    }

    /// The keys that a stored hash was made with, if they are still configured.
    pub fn numbered(&self, number: u32) -> Option<&DerivedKeys> {
        self.all().find(|keys| keys.number == number)
    }

    /// Every key, current first.
    pub fn all(&self) -> impl Iterator<Item = &DerivedKeys> {
        std::iter::once(&self.current).chain(&self.fallbacks)
    }
}

/// Whether a key of the ledger is that of a phone whose user was deleted.
pub fn is_erased(subject: &str) -> bool {
    subject.starts_with(ERASED)
}

fn short_hash(key: &[u8; 32], text: &str) -> [u8; 16] {
    let tag = keyed(key).chain_update(text).finalize().into_bytes();
    let mut short = [0; 16];
    short.copy_from_slice(&tag[..16]);
    short
}

#[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
fn keyed(key: &[u8; 32]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

#[expect(clippy::expect_used, reason = "HKDF-SHA-256 gives up to 8160 bytes; we ask for 32 at most")]
fn expand<const N: usize>(hkdf: &Hkdf<Sha256>, purpose: &str) -> [u8; N] {
    let mut key = [0; N];
    hkdf.expand(purpose.as_bytes(), &mut key).expect("N is far below HKDF's limit");
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rollover_finds_the_old_keys_and_a_stranger_does_not() {
        let old = Secret::new("o".repeat(32));
        let ring = KeyRing::new(&Secret::new("n".repeat(32)), std::slice::from_ref(&old));
        let old = DerivedKeys::derive(&old);
        assert!(ring.numbered(old.number()).is_some());
        assert_ne!(ring.current().number(), old.number());
        let stranger = DerivedKeys::derive(&Secret::new("s".repeat(32)));
        assert!(ring.numbered(stranger.number()).is_none());
    }

    #[test]
    fn each_purpose_has_a_key_of_its_own() {
        let secret = Secret::new("k".repeat(32));
        let DerivedKeys { code, audit, refresh_token, device_token, erased, cache, .. } =
            DerivedKeys::derive(&secret);
        let keys = [code, audit, refresh_token, device_token, erased, cache, [b'k'; 32]];
        for (n, key) in keys.iter().enumerate() {
            assert!(!keys[..n].contains(key), "{n}");
        }
    }

    #[test]
    fn debug_shows_no_key() {
        let ring = KeyRing::new(&Secret::new("k".repeat(32)), &[]);
        assert!(format!("{ring:?}").len() < 80);
    }

    #[test]
    fn each_purpose_hashes_by_a_key_of_its_own() {
        let (keys, others) = (
            KeyRing::new(&Secret::new("a".repeat(32)), &[]),
            KeyRing::new(&Secret::new("b".repeat(32)), &[]),
        );
        let [phone, other] =
            ["+15550000001", "+15550000002"].map(|text| PhoneNumber::parse(text, 10).unwrap());
        let (keys, others) = (keys.current(), others.current());
        let hex = |hash: [u8; 16]| HEXLOWER.encode(&hash);
        let erased = keys.erased_subject(&phone);
        let hashes = [
            hex(keys.audit_hash(&phone)),
            hex(keys.cache_hash(phone.as_str())),
            erased[erased.len() - 32..].to_owned(),
            hex(keys.audit_hash(&other)),
            hex(keys.cache_hash(other.as_str())),
            hex(others.audit_hash(&phone)),
            hex(others.cache_hash(phone.as_str())),
        ];
        for (place, hash) in hashes.iter().enumerate() {
            assert!(!hashes[..place].contains(hash), "{place}");
            assert_ne!(*hash, "0".repeat(32));
        }
        assert_eq!(keys.audit_hash(&phone), keys.audit_hash(&phone));
        assert!(is_erased(&erased) && !is_erased(phone.as_str()));
    }
}
