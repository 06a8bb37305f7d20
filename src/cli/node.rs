//! The servers of one database, and what all of them must have alike.

use std::collections::BTreeMap;
use std::fs;

use sha2::{Digest as _, Sha256};

use super::CliError;
use crate::config::{Config, Setting};
use crate::domain::keys::{DerivedKeys, KeyRing};
use crate::domain::node::Node;
use crate::domain::{RunId, Secret, Timestamp};

/// What all nodes must have alike, or the same call is answered in two ways.
const ALIKE: [&str; 7] = ["otp.", "limits.", "tokens.", "users.", "privacy.", "phone.", "sms."];

/// Each machine has it where it likes.
const OWN: [&str; 1] = ["tokens.key_file"];

/// This server.
pub(super) fn of(
    (config, settings): (&Config, &[Setting]),
    secret: &Secret,
    run: RunId,
    started_at: Timestamp,
) -> Node {
    Node {
        run,
        host: host(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at,
        keys: KeyRing::new(secret, &config.secret_key_fallbacks).all().map(DerivedKeys::number).collect(),
        settings: hashes(settings),
    }
}

/// A hash of each of those settings.
pub(super) fn hashes(settings: &[Setting]) -> BTreeMap<String, String> {
    let is_alike = |name: &str| ALIKE.iter().any(|section| name.starts_with(section)) && !OWN.contains(&name);
    let alike = settings.iter().filter(|setting| is_alike(setting.key.name));
    alike.map(|setting| (setting.key.name.to_owned(), hash(&setting.meaning()))).collect()
}

fn hash(value: &str) -> String {
    let hash = Sha256::digest(value);
    data_encoding::HEXLOWER.encode(hash.first_chunk::<4>().unwrap_or(&[0; 4]))
}

/// Refuses to serve beside a server of which `phone.strict` is another: the two would make two accounts of one telephone.
///
/// # Errors
/// What is wrong, and what to do.
pub(super) fn refuse_other_spelling(own: &Node, others: &[Node]) -> Result<(), CliError> {
    let off = hash("false");
    // A version that does not know the setting goes by its default.
    let strict = |node: &Node| node.settings.get("phone.strict").unwrap_or(&off) != &off;
    let Some(other) = others.iter().find(|other| strict(other) != strict(own)) else { return Ok(()) };
    let word = |is_on: bool| if is_on { "on" } else { "off" };
    Err(CliError::refused(
        format!(
            "phone.strict is {} here and {} on the running server on {}: together they would make two accounts of one telephone",
            word(strict(own)),
            word(strict(other)),
            other.host
        ),
        "stop all servers of this database, then start them with the same phone.strict",
    ))
}

/// Warns of each setting that another node has otherwise.
pub(super) fn compare(own: &Node, others: &[Node]) {
    for other in others {
        let keys = own.differs_in(other);
        if !keys.is_empty() {
            tracing::warn!(
                host = other.host,
                keys = keys.join(", "),
                "another server of this database has other settings: the same call is answered in two ways"
            );
        }
    }
}

fn host() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "unknown".to_owned() } else { name.trim().to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(strict: Option<&str>) -> Node {
        let settings = strict.map(|value| ("phone.strict".to_owned(), hash(value)));
        Node {
            run: RunId::new([1; 8]),
            host: "other".to_owned(),
            version: "0.1.0".to_owned(),
            started_at: Timestamp::from_millis(0),
            keys: vec![1],
            settings: settings.into_iter().collect(),
        }
    }

    #[test]
    fn beside_a_server_of_another_phone_strict_none_starts_and_an_old_version_has_it_off() {
        let refused = |own, other| refuse_other_spelling(&node(own), &[node(own), node(other)]).err();
        let (on, off) = (Some("true"), Some("false"));
        for (own, other) in [(on, on), (off, off), (off, None)] {
            assert!(refused(own, other).is_none(), "{own:?} beside {other:?}");
        }
        for (own, other) in [(on, off), (off, on), (on, None)] {
            assert!(refused(own, other).is_some(), "{own:?} beside {other:?}");
        }
        let problem = refused(on, off).unwrap().to_string();
        assert!(problem.contains("is on here and off on the running server on other"), "{problem}");
    }
}
