//! Which keys a command uses: the others may be faulty or missing.

/// Which keys a command uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// All of them: the server and the checklist.
    Everything,
    /// These sections and keys; `debug`, by which the defaults are chosen, always belongs to them.
    Only(&'static [&'static [&'static str]]),
}

impl Needs {
    /// Whether a key is used: `database.url` by whoever names it or its section.
    pub fn cover(self, key: &str) -> bool {
        let Self::Only(groups) = self else { return true };
        let names = |name: &&str| {
            key.strip_prefix(*name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        key == "debug" || groups.iter().flat_map(|group| group.iter()).any(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_covers_its_keys_and_no_other() {
        let needs = Needs::Only(&[&["database"], &["otp.ttl", "secret_key"]]);
        for key in ["database.url", "database", "otp.ttl", "secret_key", "debug"] {
            assert!(needs.cover(key), "{key}");
        }
        for key in ["otp.length", "secret_key_fallbacks", "databases.url", "twilio.auth_token"] {
            assert!(!needs.cover(key) && Needs::Everything.cover(key), "{key}");
        }
    }
}
