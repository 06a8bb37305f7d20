//! Whom tokens name beside the user.

/// A claim of tokens that the configuration may give a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameClaim {
    /// `iss`: who issued them (RFC 7519 §4.1.1).
    Issuer,
    /// `aud`: whom they are for (RFC 7519 §4.1.3).
    Audience,
}

impl NameClaim {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Issuer, Self::Audience];

    /// The claim, in tokens and rows.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Issuer => "iss",
            Self::Audience => "aud",
        }
    }
}
