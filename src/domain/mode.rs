//! Production and testing never mix.

use std::fmt;

/// Where a code was asked for: real SMS, or the console of a developer. Codes, users' limits and audit of one are
/// never seen by the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Codes travel by SMS.
    Production,
    /// Codes are printed on the console; exists only while `debug` is on.
    Testing,
}

impl Mode {
    /// The word in rows and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Production => "production",
            Self::Testing => "testing",
        }
    }

    /// Reads the word back.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Production, Self::Testing].into_iter().find(|c| c.as_str() == word)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_read_back_and_others_are_none() {
        for mode in [Mode::Production, Mode::Testing] {
            assert_eq!(Mode::parse(mode.as_str()), Some(mode));
        }
        assert_eq!(Mode::parse("debug"), None);
    }
}
