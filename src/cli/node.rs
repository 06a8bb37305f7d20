//! The servers of one database, and what all of them must have alike.

use std::collections::BTreeMap;
use std::fs;

use sha2::{Digest as _, Sha256};

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
    let hashed = settings.iter().filter(|setting| is_alike(setting.key.name)).map(|setting| {
        let value = setting.value.as_deref().unwrap_or(setting.key.default);
        let hash = Sha256::digest(value);
        (
            setting.key.name.to_owned(),
            data_encoding::HEXLOWER.encode(hash.first_chunk::<4>().unwrap_or(&[0; 4])),
        )
    });
    hashed.collect()
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
