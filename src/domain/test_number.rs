//! Test numbers: for app-store review and CI, a number that logs in with a code of its own, without an SMS, until a day.

use std::time::Duration;

use crate::domain::keys::{DerivedKeys, KeyRing};
use crate::domain::{Binding, ChallengeId, Code, CodeHash, PhoneNumber, Timestamp, WeakCode, weak_code};

/// How many there may be at once: the code of each is written down somewhere.
pub const MAX_TEST_NUMBERS: usize = 10;

/// The furthest that the end of one may lie ahead.
pub const MAX_LIFETIME: Duration = Duration::from_hours(366 * 24);

/// Challenges are numbered from 1: what is hashed under this number is the code of none.
const NO_CHALLENGE: ChallengeId = ChallengeId(0);

/// Who named a test number, and so who can take it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// `[[sms.test_numbers]]`
    Configuration,
    /// `freshk sms test-number add`
    Command,
}

/// A test number as the operator gives it.
#[derive(Clone, Debug)]
pub struct NewTestNumber {
    /// The number.
    pub phone: PhoneNumber,
    /// Its code, the same each time.
    code: Code,
    /// From this instant on it is a number like any other.
    pub until: Timestamp,
    /// Whether it may be the number of somebody who is a user already, and whom the code then logs in.
    pub existing_user: bool,
}

/// A test number as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestNumber {
    /// The number.
    pub phone: PhoneNumber,
    /// Its code, hashed.
    pub hash: CodeHash,
    /// From this instant on it is a number like any other.
    pub until: Timestamp,
    /// Who named it.
    pub source: Source,
}

impl Source {
    /// The word in rows and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Command => "command",
        }
    }

    /// Reads the word back.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Configuration, Self::Command].into_iter().find(|source| source.as_str() == word)
    }
}

impl NewTestNumber {
    /// Puts one together.
    ///
    /// # Errors
    /// [`WeakCode`] for a code that somebody would try first: it opens the number for months, not for minutes.
    pub fn new(
        phone: PhoneNumber,
        code: Code,
        until: Timestamp,
        existing_user: bool,
    ) -> Result<Self, WeakCode> {
        match WeakCode::of(&code, &phone) {
            Some(weak) => Err(weak),
            None => Ok(Self { phone, code, until, existing_user }),
        }
    }

    /// The form in which it is kept.
    pub fn kept(&self, keys: &DerivedKeys, source: Source) -> TestNumber {
        TestNumber {
            phone: self.phone.clone(),
            hash: self.code.hash(keys, Binding::Login(NO_CHALLENGE, &self.phone)),
            until: self.until,
            source,
        }
    }
}

impl TestNumber {
    /// Whether it has not ended.
    pub fn is_good(&self, now: Timestamp) -> bool {
        now < self.until
    }

    /// Whether its code, of so many digits, is one that somebody would try first: an earlier version took those.
    pub fn is_guessable(&self, keys: &KeyRing, length: usize) -> bool {
        weak_code::first_guesses(length).any(|code| self.matches(&code, keys))
    }

    /// Whether `code` is its code, in constant time; never once its key is no longer configured.
    pub fn matches(&self, code: &Code, keys: &KeyRing) -> bool {
        self.hash.matches(code, keys, Binding::Login(NO_CHALLENGE, &self.phone))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Secret;

    const START: i64 = 1_767_225_600_000;

    fn ring(letter: &str) -> KeyRing {
        KeyRing::new(&Secret::new(letter.repeat(32)), &[])
    }

    fn new(digits: &str) -> NewTestNumber {
        let (phone, code) =
            (PhoneNumber::parse("+15005550006", 10).unwrap(), Code::parse(digits, 6).unwrap());
        NewTestNumber::new(phone, code, Timestamp::from_millis(START), false).unwrap()
    }

    #[test]
    fn its_code_is_kept_hashed_and_no_other_matches() {
        let kept = new("604927").kept(ring("a").current(), Source::Command);
        assert!(kept.matches(&Code::parse("604927", 6).unwrap(), &ring("a")));
        assert!(!kept.matches(&Code::parse("604928", 6).unwrap(), &ring("a")));
        assert!(!kept.matches(&Code::parse("604927", 6).unwrap(), &ring("b")));
        assert!(!format!("{kept:?}{:?}", new("604927")).contains("604927"));
    }

    #[test]
    fn a_code_that_would_be_guessed_is_refused_and_an_older_one_is_found_out() {
        let (phone, code) =
            (PhoneNumber::parse("+15005550006", 10).unwrap(), Code::parse("123456", 6).unwrap());
        let refused = NewTestNumber::new(phone.clone(), code.clone(), Timestamp::from_millis(START), false);
        assert_eq!(refused.err(), Some(WeakCode::EqualSteps));
        let hash = code.hash(ring("a").current(), Binding::Login(NO_CHALLENGE, &phone));
        let until = Timestamp::from_millis(START);
        let older = TestNumber { phone, hash, until, source: Source::Command };
        assert!(older.is_guessable(&ring("a"), 6));
        assert!(!new("604927").kept(ring("a").current(), Source::Command).is_guessable(&ring("a"), 6));
    }

    #[test]
    fn it_ends_at_its_instant() {
        let kept = new("604927").kept(ring("a").current(), Source::Command);
        assert!(kept.is_good(Timestamp::from_millis(START - 1)));
        assert!(!kept.is_good(Timestamp::from_millis(START)));
    }

    #[test]
    fn words_read_back_and_others_are_none() {
        for source in [Source::Configuration, Source::Command] {
            assert_eq!(Source::parse(source.as_str()), Some(source));
        }
        assert_eq!(Source::parse("rumour"), None);
    }
}
