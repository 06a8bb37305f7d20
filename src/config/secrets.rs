//! Secrets: read untouched, since their very bytes sign tokens, and refused where they are weak or where something stands
//! around them that was not meant. No fault shows one.

use super::fault::Fault;
use super::key::Key;
use super::reader::Reader;
use super::value::{Raw, is_quoted};
use crate::domain::Secret;

/// What a secret is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Signs tokens: chosen here, and so judged.
    Signing,
    /// Signed tokens before that one, and still verifies them.
    Fallback,
    /// Made by Twilio.
    Credential,
}

/// Fewer bytes than HMAC-SHA-256 gives would make the key the weakest part (RFC 7518 §3.2).
pub(super) const MIN_BYTES: usize = 32;

/// Random text of [`MIN_BYTES`] has more different bytes than this even where it is made of decimal digits.
const MIN_DIFFERENT: usize = 8;

/// What Django writes into the settings of a new project.
const DJANGO_DEFAULT: &str = "django-insecure-";

/// What documents and templates have in place of a secret.
const PLACEHOLDERS: [&str; 12] = [
    "changeme",
    "change-me",
    "change_me",
    "changethis",
    "change-this",
    "change_this",
    "replaceme",
    "replace-me",
    "replace_me",
    "your-production-secret-key",
    "your-secret-key",
    "your_secret_key",
];

const HOW_TO_MAKE_ONE: &str =
    "make one with `freshk key generate`; a Django project that shares it gets the same SECRET_KEY";

/// Why a secret that signs can be guessed, or may be known to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Weakness {
    /// One byte, repeated.
    #[error("it is one character, repeated")]
    OneCharacter,
    /// Fewer than [`MIN_DIFFERENT`] different bytes.
    #[error("it has fewer than {MIN_DIFFERENT} different characters")]
    FewCharacters,
    /// A shorter text, repeated.
    #[error("it is a shorter text, repeated")]
    Repeated,
    /// Letters or digits in their order.
    #[error("its characters stand in their order")]
    Sequence,
    /// Django's own prefix for a secret that is in the project's repository.
    #[error("it begins with django-insecure-, so Django wrote it into a settings file, for development")]
    DjangoDefault,
    /// One of [`PLACEHOLDERS`].
    #[error("it is the placeholder of a template")]
    Placeholder,
}

impl Weakness {
    /// What is weak about a secret; `None` where nothing can be told.
    pub fn of(secret: &str) -> Option<Self> {
        let bytes = secret.as_bytes();
        let different = (0..=u8::MAX).filter(|byte| bytes.contains(byte)).count();
        let lower = secret.to_ascii_lowercase();
        if different == 1 {
            Some(Self::OneCharacter)
        } else if different < MIN_DIFFERENT {
            Some(Self::FewCharacters)
        } else if (1..=bytes.len() / 2).any(|period| bytes[period..] == bytes[..bytes.len() - period]) {
            Some(Self::Repeated)
        } else if is_a_sequence(bytes) {
            Some(Self::Sequence)
        } else if lower.starts_with(DJANGO_DEFAULT) {
            Some(Self::DjangoDefault)
        } else if PLACEHOLDERS.iter().any(|placeholder| lower.contains(placeholder)) {
            Some(Self::Placeholder)
        } else {
            None
        }
    }
}

/// Whether most steps from byte to byte are the same.
fn is_a_sequence(bytes: &[u8]) -> bool {
    let steps: Vec<u8> = bytes.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect();
    (0..=u8::MAX).any(|step| steps.iter().filter(|other| **other != step).count() * 2 < steps.len())
}

const BARE: &str = "give the bare value: in docker's env files quotation marks and comments count as a part of it, and so \
                    do line breaks and spaces at the end of a file";

/// What stands around or in a secret that hardly belongs to it: with it, it would silently be another one than Django's
/// or Twilio's.
fn blemish(text: &str) -> Option<&'static str> {
    let is_invisible = |c: char| matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}');
    let comment = text.char_indices().find(|(at, c)| *c == '#' && text[..*at].ends_with(char::is_whitespace));
    if text.ends_with("\r\n") || text.ends_with('\r') {
        Some("ends with a carriage return, as in a file with Windows' line ends")
    } else if text.ends_with('\n') {
        Some("ends with a line break")
    } else if text.ends_with(char::is_whitespace) {
        Some("ends with white space")
    } else if text.starts_with(char::is_whitespace) {
        Some("begins with white space")
    } else if is_quoted(text) {
        Some("stands between quotation marks")
    } else if comment.is_some() {
        Some("has a comment behind it: white space and #")
    } else if text.contains(char::is_control) {
        Some("has a line break or another control character in it")
    } else if text.contains(is_invisible) {
        Some("has an invisible character in it, such as a byte order mark")
    } else {
        None
    }
}

impl Reader<'_> {
    /// A secret.
    pub(super) fn secret(&mut self, key: &'static Key, purpose: Purpose) -> Option<Secret> {
        let (raw, origin) = self.raw(key)?;
        if let Raw::Text(text) = &raw
            && self.is_blemished(key, &origin, text)
        {
            return None;
        }
        match raw.one().and_then(|text| self.not_a_placeholder(key, text)) {
            Ok(Some(text)) => self.judged(key, &origin, text, purpose),
            Ok(None) => None,
            Err(problem) => {
                self.bad(key, &origin, problem);
                None
            }
        }
    }

    /// A list of secrets that sign.
    pub(super) fn secrets(&mut self, key: &'static Key) -> Vec<Secret> {
        let Some((raw, origin)) = self.raw(key) else { return Vec::new() };
        if let Raw::Text(text) = &raw
            && self.is_blemished(key, &origin, text)
        {
            return Vec::new();
        }
        match raw.items() {
            Ok(items) => items
                .iter()
                .filter_map(|item| {
                    let is_bare = !self.is_blemished(key, &origin, item);
                    is_bare.then(|| self.judged(key, &origin, item, Purpose::Fallback))?
                })
                .collect(),
            Err(problem) => {
                self.bad(key, &origin, problem);
                Vec::new()
            }
        }
    }

    /// Notes what stands around a secret that does not belong to it.
    fn is_blemished(&mut self, key: &Key, origin: &str, text: &str) -> bool {
        let Some(seen) = blemish(text) else { return false };
        let fault = Fault::new(key.name, format!("the secret (not shown) {seen}"), BARE);
        self.findings.faults.push(fault.from(origin));
        true
    }

    fn judged(&mut self, key: &'static Key, origin: &str, text: &str, purpose: Purpose) -> Option<Secret> {
        if purpose == Purpose::Credential {
            return Some(Secret::new(text));
        }
        let length = text.len();
        if length < MIN_BYTES {
            self.bad(key, origin, format!("a secret of {length} bytes (not shown) is too short"));
            return None;
        }
        match Weakness::of(text) {
            None => {}
            // Refusing it would log everybody out who holds a token from before: it is told until it is taken away.
            Some(weak @ Weakness::DjangoDefault) if purpose == Purpose::Fallback => self.findings.warn(
                Some(key.name),
                format!("{}: a secret (not shown) is weak: {weak}", key.name),
                "remove it once tokens.refresh_ttl has passed",
            ),
            Some(weak) if self.debug => self.findings.warn(
                Some(key.name),
                format!(
                    "{}: the secret (not shown) is weak, and outside debug it is refused: {weak}",
                    key.name
                ),
                HOW_TO_MAKE_ONE,
            ),
            Some(weak) => {
                let fault =
                    Fault::new(key.name, format!("the secret (not shown) is weak: {weak}"), HOW_TO_MAKE_ONE);
                self.findings.faults.push(fault.from(origin));
                return None;
            }
        }
        Some(Secret::new(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn s15_secrets_that_are_guessed_or_known_are_weak() {
        use Weakness::{DjangoDefault, FewCharacters, OneCharacter, Placeholder, Repeated, Sequence};
        for (secret, weak) in [
            ("a".repeat(64), OneCharacter),
            ("ab".repeat(32), FewCharacters),
            ("passwordpasswordpasswordpassword".to_owned(), FewCharacters),
            ("0123456789abcdef".repeat(2), Repeated),
            ("correct horse battery staple,".repeat(2), Repeated),
            ("abcdefghijklmnopqrstuvwxyz0123456789".to_owned(), Sequence),
            ("django-insecure-n1!b%q^w7z@s(2k_x+4d8m-0v=f6h$j3".to_owned(), DjangoDefault),
            ("changeme-please-and-soon-or-be-sorry".to_owned(), Placeholder),
            ("ChangeMe! and never tell anybody else".to_owned(), Placeholder),
            ("your-production-secret-key-for-freshk".to_owned(), Placeholder),
        ] {
            assert_eq!(Weakness::of(&secret), Some(weak), "{secret}");
        }
        for good in [
            "an-honest-secret-of-more-than-32-bytes",
            "n1!b%q^w7z@s(2k_x+4d8m-0v=f6h$j3#t9&r5e*g)y!u",
            "9f86d081884c7d659a2feaa0c55ad015",
            "31415926535897932384626433832795",
        ] {
            assert_eq!(Weakness::of(good), None, "{good}");
        }
    }

    #[test]
    fn what_does_not_belong_to_a_secret_is_seen() {
        for (text, seen) in [
            ("\"secret\"", "quotation marks"),
            ("'secret'", "quotation marks"),
            ("“secret”", "quotation marks"),
            ("secret\n", "line break"),
            ("secret\r", "carriage return"),
            ("secret\r\n", "carriage return"),
            ("secret ", "ends with white space"),
            ("secret\u{a0}", "ends with white space"),
            (" secret", "begins with white space"),
            ("secret # ours", "a comment"),
            ("\"secret\"\t# ours", "a comment"),
            ("sec\nret", "control character"),
            ("\u{feff}secret", "invisible"),
            ("sec\u{200b}ret", "invisible"),
        ] {
            let told = blemish(text).unwrap_or_default();
            assert!(told.contains(seen), "{text:?}: {told}");
        }
        for good in [
            "secret",
            "#secret",
            "se#cret",
            "a secret of several words",
            "it's",
            "\"",
            "n1!b%q^w7z@s(2k_x+4d8m",
        ] {
            assert_eq!(blemish(good), None, "{good}");
        }
    }

    proptest! {
        #[test]
        fn a_random_secret_is_never_weak(bytes: [u8; 32]) {
            prop_assert_eq!(Weakness::of(&data_encoding::BASE64URL_NOPAD.encode(&bytes)), None);
            prop_assert_eq!(Weakness::of(&data_encoding::HEXLOWER.encode(&bytes)), None);
        }
    }
}
