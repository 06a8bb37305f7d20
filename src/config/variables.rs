//! Variables, of the environment and of env files.

use std::collections::BTreeMap;

use super::fault::{Fault, Findings};
use super::key::{Key, PREFIX};
use super::keys::{self, nearest};
use super::value::Raw;
use super::values::Layer;

/// Variables, of the environment or of an env file, which `place` names.
///
/// Where a key has two names and both are set, `FRESHK_…` wins over the guide's: it cannot be meant for another
/// program. If they differ, that is a warning.
pub(super) fn layer(place: &str, variables: &BTreeMap<String, String>, findings: &mut Findings) -> Layer {
    let mut layer = Layer::default();
    let set = |name: &String| variables.get(name).filter(|text| !text.trim().is_empty());
    for key in keys::all() {
        let found: Vec<_> = key.variables().filter_map(|name| Some((set(&name)?, name))).collect();
        let Some((text, name)) = found.first() else { continue };
        let origin = format!("{place} ({name})");
        if text.contains(char::REPLACEMENT_CHARACTER) {
            findings.faults.push(Fault::new(key.name, "it is not UTF-8", "write it in UTF-8").from(&origin));
            continue;
        }
        if let Some((_, other)) = found.iter().find(|(other, _)| other != text) {
            findings.warn(
                format!("{place} sets both {name} and {other}, to different values, and {name} wins"),
                "take one of the two away",
            );
        }
        layer.set(key, Raw::Text((*text).clone()), &origin);
    }

    let known: Vec<String> = keys::all().map(Key::environment).collect();
    for name in variables.keys().filter(|name| name.starts_with(PREFIX) && set(name).is_some()) {
        if !known.contains(name) {
            findings.faults.push(keys::unknown(name, nearest(name, known.iter().cloned(), "__"), place));
        }
    }
    layer
}

/// Reads an env file without touching the environment of the process, and without expanding anything: a `SECRET_KEY`
/// that Django made may well hold a `$`. The last of equal names wins.
pub(super) fn env_file(name: &str, text: &str, faults: &mut Vec<Fault>) -> BTreeMap<String, String> {
    const DOLLAR: &str = "\u{e000}";
    let text = text.trim_start_matches('\u{feff}').replace('$', DOLLAR);
    let mut found = BTreeMap::new();
    for entry in dotenvy::from_read_iter(text.as_bytes()) {
        match entry {
            Ok((name, value)) => drop(found.insert(name, value.replace(DOLLAR, "$"))),
            // The error's own text would show the line, and with it a secret.
            Err(dotenvy::Error::LineParse(line, _)) => {
                let at = text.find(line.as_str()).map_or(0, |at| text[..at].matches('\n').count());
                faults.push(
                    Fault::new(
                        format!("line {}", at + 1),
                        "it is not of the form NAME=value",
                        "put a value with spaces, quotes, # or \\ between single quotes",
                    )
                    .from(name),
                );
            }
            Err(error) => faults.push(Fault::new(name, error.to_string(), "write it in UTF-8")),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::top;
    use super::super::values::Values;
    use super::*;

    fn from_env_file(text: &str) -> (BTreeMap<String, String>, Vec<Fault>) {
        let mut faults = Vec::new();
        (env_file(".env", text, &mut faults), faults)
    }

    #[test]
    fn a_dollar_in_a_django_secret_is_kept() {
        let (found, faults) = from_env_file("SECRET_KEY=a$HOME#b${PATH}\nQUOTED=\"x$y\"\nSINGLE='$z'\n");
        assert!(faults.is_empty());
        assert_eq!(found["SECRET_KEY"], "a$HOME#b${PATH}");
        assert_eq!((found["QUOTED"].as_str(), found["SINGLE"].as_str()), ("x$y", "$z"));
    }

    #[test]
    fn s34_a_bad_line_is_numbered_and_not_shown() {
        let (found, faults) = from_env_file("# one\nSECRET_KEY=hush hush\nDEBUG=1\n");
        assert_eq!(found.len(), 1);
        assert_eq!(faults.len(), 1);
        assert!(faults[0].to_string().starts_with("line 2, from .env"), "{}", faults[0]);
        assert!(!faults[0].to_string().contains("hush"));
    }

    #[test]
    fn two_names_of_one_key_the_longer_wins_and_a_difference_is_told() {
        let mut findings = Findings::default();
        let both = [("FRESHK_DEBUG", "0"), ("DEBUG", "1")].map(|(n, v)| (n.to_owned(), v.to_owned()));
        let layer = layer("environment", &both.into(), &mut findings);
        let (raw, origin) = Values::lay([layer]).get(&top::DEBUG).unwrap();
        assert_eq!((raw.one(), origin.as_str()), (Ok("0"), "environment (FRESHK_DEBUG)"));
        assert_eq!(findings.warnings.len(), 1);
        assert!(findings.faults.is_empty());
    }
}
