//! A running server, as the others that serve the same database see it.

use std::collections::BTreeMap;

use crate::domain::{RunId, Timestamp};

/// A run of a server that lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its run.
    pub run: RunId,
    /// The machine that it runs on.
    pub host: String,
    /// The version of its program.
    pub version: String,
    /// When it began.
    pub started_at: Timestamp,
    /// The numbers of the keys that it signs and reads with.
    pub keys: Vec<u32>,
    /// A hash of each setting that all nodes must have alike, by its key.
    pub settings: BTreeMap<String, String>,
}

impl Node {
    /// Whether each reads what the other signs: during a rotation one key is enough.
    pub fn shares_a_key_with(&self, other: &Self) -> bool {
        self.keys.iter().any(|key| other.keys.contains(key))
    }

    /// The keys of settings that the other one has otherwise. One that only one of them knows is of another version, and none
    /// of these.
    pub fn differs_in(&self, other: &Self) -> Vec<&str> {
        let differs =
            |(key, hash): &(&String, &String)| other.settings.get(*key).is_some_and(|theirs| theirs != *hash);
        self.settings.iter().filter(differs).map(|(key, _)| key.as_str()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(keys: &[u32], settings: &[(&str, &str)]) -> Node {
        Node {
            run: RunId::new([1; 8]),
            host: "a".to_owned(),
            version: "0.1.0".to_owned(),
            started_at: Timestamp::from_millis(0),
            keys: keys.to_vec(),
            settings: settings.iter().map(|(key, hash)| ((*key).to_owned(), (*hash).to_owned())).collect(),
        }
    }

    #[test]
    fn one_key_in_common_is_enough() {
        let (old, both, new) = (node(&[1], &[]), node(&[2, 1], &[]), node(&[2], &[]));
        assert!(old.shares_a_key_with(&both) && both.shares_a_key_with(&new));
        assert!(!old.shares_a_key_with(&new));
    }

    #[test]
    fn settings_that_both_know_and_have_otherwise_differ() {
        let one = node(&[], &[("otp.ttl", "a"), ("limits.ip", "b"), ("otp.new", "c")]);
        let two = node(&[], &[("otp.ttl", "a"), ("limits.ip", "x"), ("otp.old", "d")]);
        assert_eq!(one.differs_in(&two), ["limits.ip"]);
        assert!(one.differs_in(&one).is_empty());
    }
}
