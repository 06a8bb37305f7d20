//! The table of keys: the one place that names them, for parsing, for the search for unknown keys, for `config show`,
//! for `freshk.toml.example` and for the README.

use super::fault::Fault;
use super::key::{Key, Section};
use super::{
    backup, cache, database, events, limits, log, ops, otp, sentry, server, sms, tls, tokens, top, twilio,
    users,
};

/// Every section, in the order of the example.
pub const SECTIONS: &[Section] = &[
    top::SECTION,
    server::SECTION,
    tls::SECTION,
    ops::SECTION,
    server::DOCS_SECTION,
    database::SECTION,
    cache::SECTION,
    otp::SECTION,
    limits::SECTION,
    tokens::SECTION,
    users::SECTION,
    users::PHONE_SECTION,
    users::PRIVACY_SECTION,
    events::SECTION,
    sms::SECTION,
    twilio::SECTION,
    log::SECTION,
    log::AUDIT_SECTION,
    backup::SECTION,
    sentry::SECTION,
];

/// Every key, in the order of the example.
pub fn all() -> impl Iterator<Item = &'static Key> {
    SECTIONS.iter().flat_map(|section| section.keys.iter().copied())
}

/// The known name that is most like `name`; `known` gives both the name to compare and the name to tell.
///
/// A key in the wrong section is most like the key of that name in the right one.
pub(super) fn nearest(name: &str, known: impl Iterator<Item = String>, separator: &str) -> Option<String> {
    const LEAST: f64 = 0.5;
    const SAME_LEAF: f64 = 0.9;
    let leaf = |text: &str| text.rsplit(separator).next().unwrap_or_default().to_owned();
    let likeness = |candidate: &str| {
        let whole = strsim::normalized_damerau_levenshtein(name, candidate);
        if leaf(name) == leaf(candidate) { whole.max(SAME_LEAF) } else { whole }
    };
    known
        .map(|candidate| (likeness(&candidate), candidate))
        .filter(|(likeness, _)| *likeness >= LEAST)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// A key that nobody knows.
pub(super) fn unknown(name: &str, nearest: Option<String>, origin: &str) -> Fault {
    let help = match &nearest {
        Some(known) => format!("did you mean {known}?"),
        None => "`freshk config example` shows every key".to_owned(),
    };
    let fault = Fault::new(name, "there is no such key", help).from(origin);
    let meant = nearest
        .map(|name| all().find(|key| key.environment() == name).map_or(name, |key| key.name.to_owned()));
    Fault { about: meant.or(fault.about), ..fault }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_unique_and_lie_in_their_section() {
        let mut seen = HashSet::new();
        for section in SECTIONS {
            for key in section.keys {
                let expected = if section.name.is_empty() {
                    key.leaf().to_owned()
                } else {
                    format!("{}.{}", section.name, key.leaf())
                };
                assert_eq!(key.name, expected);
                for variable in key.variables() {
                    assert!(seen.insert(variable), "{}", key.name);
                }
                assert!(key.doc.ends_with('.'), "{} has a sentence", key.name);
            }
        }
    }

    #[test]
    fn environment_names_follow_the_rule() {
        let names: Vec<_> = all().map(Key::environment).collect();
        assert!(names.contains(&"FRESHK_DEBUG".to_owned()));
        assert!(names.contains(&"FRESHK_OTP__MAX_FAILURES_PER_DAY".to_owned()));
    }

    #[test]
    fn the_nearest_key_is_found_by_spelling_or_by_name() {
        let near = |name: &str| nearest(name, all().map(|key| key.name.to_owned()), ".");
        assert_eq!(near("opt.ttl").as_deref(), Some("otp.ttl"));
        assert_eq!(near("otp.lenght").as_deref(), Some("otp.length"));
        assert_eq!(near("server.debug").as_deref(), Some("debug"));
        assert_eq!(near("zzzzzzzzzzzzzzzz"), None);
    }
}
