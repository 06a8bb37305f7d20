//! One-time codes, plain and hashed: two types, and neither prints itself.

use std::fmt;

use hmac::{Hmac, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::domain::digits::{ascii_digit, is_invisible};
use crate::domain::keys::{DerivedKeys, KeyRing};
use crate::domain::{ChallengeId, PhoneNumber};

/// A code as the person sees it: ASCII digits, leading zeros kept (NIST SP 800-63B §3.1.3.2). Never stored, never logged.
#[derive(Clone, PartialEq, Eq)]
pub struct Code(String);

/// HMAC-SHA-256 over challenge, phone and code, with the number of its key: worthless without the secret.
#[derive(Clone, PartialEq, Eq)]
pub struct CodeHash {
    /// Which of the key ring's keys made it.
    pub key: u32,
    /// The 32 bytes of the tag.
    pub tag: Vec<u8>,
}

impl Code {
    /// Writes `number` with `length` digits; the caller draws it uniformly below 10^`length`.
    pub fn from_number(number: u32, length: usize) -> Self {
        Self(format!("{number:0length$}"))
    }

    /// Reads a code that is written down; `None` unless it is exactly `length` ASCII digits.
    pub fn parse(text: &str, length: usize) -> Option<Self> {
        let good = text.len() == length && text.bytes().all(|b| b.is_ascii_digit());
        good.then(|| Self(text.to_owned()))
    }

    /// Reads what a person typed, pasted or let the phone fill in: digits of any script, between which white space and
    /// invisible characters count for nothing. `None` unless `length` digits are left and nothing else: that is not a
    /// code, and was none of the phone's guesses.
    pub fn typed(text: &str, length: usize) -> Option<Self> {
        let visible = text.chars().filter(|c| !is_invisible(*c));
        let digits: String = visible.map(ascii_digit).collect::<Option<_>>()?;
        Self::parse(&digits, length)
    }

    /// The digits, for the text message and nothing else.
    pub fn digits(&self) -> &str {
        &self.0
    }

    /// Hashes the code of one challenge under the current key.
    pub fn hash(&self, keys: &DerivedKeys, challenge: ChallengeId, phone: &PhoneNumber) -> CodeHash {
        CodeHash {
            key: keys.number(),
            tag: self.mac(keys, challenge, phone).finalize().into_bytes().to_vec(),
        }
    }

    fn mac(&self, keys: &DerivedKeys, challenge: ChallengeId, phone: &PhoneNumber) -> Hmac<Sha256> {
        keys.code_mac()
            .chain_update(challenge.0.to_be_bytes())
            .chain_update(phone.as_str())
            .chain_update([0])
            .chain_update(&self.0)
    }
}

impl CodeHash {
    /// Whether `code` is the one behind this hash, in constant time; `false` if its key is no longer configured.
    pub fn matches(&self, code: &Code, keys: &KeyRing, challenge: ChallengeId, phone: &PhoneNumber) -> bool {
        keys.numbered(self.key).is_some_and(|keys| {
            let tag = code.mac(keys, challenge, phone).finalize().into_bytes();
            tag.as_slice().ct_eq(&self.tag).into()
        })
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Code(…)")
    }
}

impl fmt::Debug for CodeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CodeHash(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Secret;

    fn ring(letter: &str) -> KeyRing {
        KeyRing::new(&Secret::new(letter.repeat(32)), &[])
    }

    fn phone() -> PhoneNumber {
        PhoneNumber::parse("+1234567890", 10).unwrap()
    }

    #[test]
    fn s1_leading_zeros_are_kept() {
        assert_eq!(Code::from_number(42, 6).digits(), "000042");
        assert_eq!(Code::from_number(999_999, 6).digits(), "999999");
    }

    #[test]
    fn only_exactly_the_right_digits_parse() {
        assert!(Code::parse("012345", 6).is_some());
        for bad in ["", "12345", "1234567", "12345a", " 12345", "12345\n", "１２３４５６", "+12345", "-12345"]
        {
            assert!(Code::parse(bad, 6).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn a_typed_code_is_read_in_any_script_and_without_what_cannot_be_seen() {
        let code = Code::from_number(12_345, 6);
        for typed in [
            "012345",
            "٠١٢٣٤٥",
            "۰۱۲۳۴۵",
            "०१२३४५",
            "０１２３４５",
            "012 345",
            " 012345\n",
            "0\u{a0}12345",
            "\u{200e}012345\u{200f}",
            "\u{feff}012\u{200b}345",
            "01٢٣45",
        ] {
            assert!(Code::typed(typed, 6).as_ref() == Some(&code), "{typed:?}");
        }
        for not_a_code in
            ["", "0", "01234", "0123456", "01234a", "012-345", "+12345", "1.2345", "²12345", "012345\0"]
        {
            assert!(Code::typed(not_a_code, 6).is_none(), "{not_a_code:?}");
        }
    }

    #[test]
    fn a_hash_belongs_to_one_code_one_challenge_one_phone_one_key() {
        let (code, id) = (Code::from_number(123_456, 6), ChallengeId(7));
        let hash = code.hash(ring("a").current(), id, &phone());
        assert!(hash.matches(&code, &ring("a"), id, &phone()));
        assert!(!hash.matches(&Code::from_number(123_457, 6), &ring("a"), id, &phone()));
        assert!(!hash.matches(&code, &ring("a"), ChallengeId(8), &phone()));
        assert!(!hash.matches(&code, &ring("a"), id, &PhoneNumber::parse("+1234567891", 10).unwrap()));
        assert!(!hash.matches(&code, &ring("b"), id, &phone()));
    }

    #[test]
    fn s34_neither_form_prints_itself() {
        let code = Code::from_number(123_456, 6);
        let hash = code.hash(ring("a").current(), ChallengeId(1), &phone());
        assert!(!format!("{code:?}{hash:?}").contains("123456"));
        assert_eq!(format!("{hash:?}"), "CodeHash(…)");
    }
}
