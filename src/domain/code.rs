//! One-time codes, plain and hashed: two types, and neither prints itself.

use std::fmt;

use hmac::{Hmac, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::domain::digits::{ascii_digit, is_invisible};
use crate::domain::keys::{DerivedKeys, KeyRing};
use crate::domain::{ChallengeId, PhoneNumber, Timestamp, UserId};

/// A code as the person sees it: ASCII digits, leading zeros kept (NIST SP 800-63B §3.1.3.2). Never stored, never logged.
#[derive(Clone, PartialEq, Eq)]
pub struct Code(String);

/// HMAC-SHA-256 over a code and what it is bound to, with the number of its key: worthless without the secret.
#[derive(Clone, PartialEq, Eq)]
pub struct CodeHash {
    /// Which of the key ring's keys made it.
    pub key: u32,
    /// The 32 bytes of the tag.
    pub tag: Vec<u8>,
}

/// What a code is bound to: it is right there and nowhere else.
#[derive(Clone, Copy, Debug)]
pub enum Binding<'p> {
    /// One challenge of a number, to log in.
    Login(ChallengeId, &'p PhoneNumber),
    /// One challenge of a number, to give the number to this user.
    PhoneChange(ChallengeId, &'p PhoneNumber, UserId),
    /// This user's change to a number, which is done at this instant: to take it back.
    CancelChange(UserId, &'p PhoneNumber, Timestamp),
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

    /// Hashes the code, bound to what it is good for, under one key.
    pub fn hash(&self, keys: &DerivedKeys, binding: Binding<'_>) -> CodeHash {
        CodeHash { key: keys.number(), tag: self.mac(keys, binding).finalize().into_bytes().to_vec() }
    }

    /// No two bindings hash the same bytes: after the first zero byte a login has digits, the others have their word.
    fn mac(&self, keys: &DerivedKeys, binding: Binding<'_>) -> Hmac<Sha256> {
        let mac = keys.code_mac();
        let bound = match binding {
            Binding::Login(challenge, phone) => {
                mac.chain_update(challenge.0.to_be_bytes()).chain_update(phone.as_str()).chain_update([0])
            }
            Binding::PhoneChange(challenge, phone, user) => mac
                .chain_update(challenge.0.to_be_bytes())
                .chain_update(phone.as_str())
                .chain_update([0])
                .chain_update("change")
                .chain_update(user.0.to_be_bytes()),
            Binding::CancelChange(user, phone, at) => mac
                .chain_update(user.0.to_be_bytes())
                .chain_update(phone.as_str())
                .chain_update([0])
                .chain_update("cancel")
                .chain_update(at.as_millis().to_be_bytes()),
        };
        bound.chain_update(&self.0)
    }
}

impl CodeHash {
    /// Whether `code` is the one behind this hash, in constant time; `false` if its key is no longer configured.
    pub fn matches(&self, code: &Code, keys: &KeyRing, binding: Binding<'_>) -> bool {
        keys.numbered(self.key).is_some_and(|keys| {
            let tag = code.mac(keys, binding).finalize().into_bytes();
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
        let (code, id, phone) = (Code::from_number(123_456, 6), ChallengeId(7), phone());
        let (login, other) = (Binding::Login(id, &phone), PhoneNumber::parse("+1234567891", 10).unwrap());
        let hash = code.hash(ring("a").current(), login);
        assert!(hash.matches(&code, &ring("a"), login));
        assert!(!hash.matches(&Code::from_number(123_457, 6), &ring("a"), login));
        assert!(!hash.matches(&code, &ring("a"), Binding::Login(ChallengeId(8), &phone)));
        assert!(!hash.matches(&code, &ring("a"), Binding::Login(id, &other)));
        assert!(!hash.matches(&code, &ring("b"), login));
    }

    #[test]
    fn s4_a_hash_belongs_to_one_purpose_and_one_user() {
        let (code, phone, keys) = (Code::from_number(123_456, 6), phone(), ring("a"));
        let at = Timestamp::from_millis;
        let bindings = [
            Binding::Login(ChallengeId(7), &phone),
            Binding::PhoneChange(ChallengeId(7), &phone, UserId(1)),
            Binding::PhoneChange(ChallengeId(7), &phone, UserId(2)),
            Binding::CancelChange(UserId(7), &phone, at(1)),
            Binding::CancelChange(UserId(7), &phone, at(2)),
        ];
        for (n, one) in bindings.iter().enumerate() {
            let hash = code.hash(keys.current(), *one);
            for (m, other) in bindings.iter().enumerate() {
                assert_eq!(hash.matches(&code, &keys, *other), n == m, "{one:?} {other:?}");
            }
        }
    }

    #[test]
    fn s34_neither_form_prints_itself() {
        let code = Code::from_number(123_456, 6);
        let hash = code.hash(ring("a").current(), Binding::Login(ChallengeId(1), &phone()));
        assert!(!format!("{code:?}{hash:?}").contains("123456"));
        assert_eq!(format!("{hash:?}"), "CodeHash(…)");
    }
}
