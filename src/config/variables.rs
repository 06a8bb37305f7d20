//! Variables, of the environment and of env files.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use super::fault::{Fault, Findings};
use super::key::{Key, Kind, PREFIX};
use super::keys::{self, nearest};
use super::mode;
use super::value::Raw;
use super::values::Layer;

/// What the environment is called as an origin.
pub(super) const ENVIRONMENT: &str = "environment";

/// The variable that names the configuration file, as `--config` does.
pub(super) const CONFIG_VARIABLE: &str = "FRESHK_CONFIG";

/// Variables, of the environment or of an env file, which `place` names; files that they name lie relative to
/// `directory`.
///
/// Where a key has two names and both are set, `FRESHK_…` wins over the guide's: it cannot be meant for another
/// program. If they differ, that is a warning. Where a secret is set both by itself and by a file, neither wins.
pub(super) fn layer(
    place: &str,
    variables: &BTreeMap<String, String>,
    directory: &Path,
    findings: &mut Findings,
) -> Layer {
    let mut layer = Layer::default();
    let set = |name: &String| variables.get(name).filter(|text| !text.trim().is_empty());
    let named = |names: &mut dyn Iterator<Item = String>| -> Vec<(String, String)> {
        names.filter_map(|name| Some((set(&name)?.clone(), name))).collect()
    };
    for key in keys::all() {
        let (texts, files) = (named(&mut key.variables()), named(&mut key.file_variables()));
        let found = if texts.is_empty() { &files } else { &texts };
        let Some((text, name)) = found.first() else { continue };
        let origin = format!("{place} ({name})");
        if let (Some((_, text)), Some((_, file))) = (texts.first(), files.first()) {
            let problem = format!("both {text} and {file} are set");
            findings.faults.push(Fault::new(key.name, problem, "remove one of the two").from(place));
            continue;
        }
        if text.contains(char::REPLACEMENT_CHARACTER) {
            findings.faults.push(Fault::new(key.name, "it is not UTF-8", "write it in UTF-8").from(&origin));
            continue;
        }
        if let Some((_, other)) = found.iter().find(|(other, _)| other != text) {
            findings.warn(
                Some(key.name),
                format!("{place} sets both {name} and {other}, to different values, and {name} wins"),
                "remove one",
            );
        }
        if texts.is_empty() {
            match secret_file(&directory.join(text), text, key, findings) {
                Ok(secret) => layer.set(key, Raw::Text(secret), &origin),
                Err(problem) => {
                    let help = format!(
                        "name a file that this user can read and that holds nothing but the secret in {name}"
                    );
                    findings.faults.push(Fault::new(key.name, problem, help).from(&origin));
                }
            }
        } else {
            layer.set(key, Raw::Text(text.clone()), &origin);
        }
    }

    for key in keys::all().filter(|key| matches!(key.kind, Kind::Languages)) {
        let rows: Vec<_> = variables
            .iter()
            .filter(|(name, _)| set(name).is_some())
            .filter_map(|(name, text)| Some((language_in(key, name)?, text.clone())))
            .collect();
        if rows.is_empty() {
            continue;
        }
        let (whole, one) =
            (key.environment(), format!("{}{}", each_of(key), rows[0].0.to_uppercase().replace('-', "_")));
        if layer.sets(key) {
            let problem = format!("both {whole} and {one} are set");
            findings.faults.push(Fault::new(key.name, problem, "remove one of the two").from(place));
            continue;
        }
        layer.set(key, Raw::Table(rows), &format!("{place} ({one} and so on)"));
    }

    let known: Vec<String> = keys::all()
        .flat_map(|key| std::iter::once(key.environment()).chain(key.file_variables()))
        .filter(|name| name.starts_with(PREFIX))
        .collect();
    for name in variables.keys().filter(|name| name.starts_with(PREFIX) && set(name).is_some()) {
        // Names the file itself, and so stands in the environment alone.
        let names_file = place == ENVIRONMENT && name == CONFIG_VARIABLE;
        let is_language = keys::all().any(|key| language_in(key, name).is_some());
        if !names_file && !is_language && !known.contains(name) {
            findings.faults.push(keys::unknown(name, nearest(name, known.iter().cloned(), "__"), place));
        }
    }
    layer
}

/// What the names of the variables begin with that hold a text of a language each.
fn each_of(key: &Key) -> String {
    format!("{}__", key.environment())
}

/// The language of which a variable holds the text: `FRESHK_SMS__TEMPLATES__PT_BR` has that in `pt-br`.
fn language_in(key: &Key, name: &str) -> Option<String> {
    let is_table = matches!(key.kind, Kind::Languages);
    let language = name.strip_prefix(&each_of(key)).filter(|_| is_table)?;
    Some(language.to_lowercase().replace('_', "-"))
}

/// What a secret's file holds, without the one line break that editors and `echo` put at its end.
fn secret_file(
    path: &Path,
    name: &str,
    key: &'static Key,
    findings: &mut Findings,
) -> Result<String, String> {
    const LONGEST: u64 = 64 * 1024;
    let mut text = String::new();
    let length = File::open(path)
        .and_then(|file| file.take(LONGEST).read_to_string(&mut text))
        .map_err(|error| format!("{name} cannot be read: {error}"))?;
    if length as u64 == LONGEST {
        return Err(format!("{name} is too long for a secret"));
    }
    let secret = text.strip_suffix('\n').unwrap_or(&text);
    if secret.trim().is_empty() {
        return Err(format!("{name} is empty"));
    }
    // What a container's runtime or systemd mounts is for this one program, whatever its mode says.
    if mode::gives(path, mode::OTHERS_READ) && !path.starts_with("/run") && !path.starts_with("/var/run") {
        findings.warn(
            Some(key.name),
            format!("{name} holds a secret and everybody can read it"),
            format!("if it is yours, chmod 600 {name}"),
        );
    }
    Ok(secret.to_owned())
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
                    Fault::of_file(
                        format!("line {}", at + 1),
                        "it is not of the form NAME=value",
                        "put a value with spaces, quotes, # or \\ between single quotes",
                    )
                    .from(name),
                );
            }
            Err(error) => faults.push(Fault::of_file(name, error.to_string(), "write it in UTF-8")),
        }
    }
    faults.extend(commented_out(name, &text, &found));
    found
}

/// Keys whose value begins with `#`. Django's own tools take it for a value, here it begins a comment, and nobody would
/// see that the key counts as not set.
fn commented_out(name: &str, text: &str, found: &BTreeMap<String, String>) -> Vec<Fault> {
    let is_empty = |variable: &str| found.get(variable).is_some_and(String::is_empty);
    let mut faults = Vec::new();
    for line in text.lines() {
        let Some((variable, value)) = line.trim().trim_start_matches("export ").split_once('=') else {
            continue;
        };
        let (variable, rest) = (variable.trim(), value.trim_start());
        // `KEY= # what belongs here` is a comment to everybody.
        let is_meant = value.starts_with('#')
            || rest.strip_prefix('#').is_some_and(|rest| rest.starts_with(|c: char| !c.is_whitespace()));
        if !is_meant || !is_empty(variable) {
            continue;
        }
        if let Some(key) = keys::all().find(|key| key.variables().any(|known| known == variable)) {
            let problem =
                "its value begins with #, which begins a comment in an env file, so it counts as not set";
            let help = format!("put the value between single quotes: {variable}='#…'");
            faults.push(Fault::new(key.name, problem, help).from(format!("{name} ({variable})")));
        }
    }
    faults
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
    fn a_value_that_begins_with_a_number_sign_is_told_and_a_comment_is_not() {
        for line in ["SECRET_KEY=#a%b!c", "export SECRET_KEY= #a%b!c", "FRESHK_SECRET_KEY=# and so on"] {
            let (found, faults) = from_env_file(&format!("DEBUG=1\n{line}\n"));
            assert_eq!(found.values().filter(|value| value.is_empty()).count(), 1, "{found:?}");
            assert_eq!(faults.len(), 1, "{line}");
            assert_eq!(faults[0].key, "secret_key");
            let told = faults[0].to_string();
            assert!(told.contains("begins with #") && told.contains("='#…'"), "{told}");
            assert!(told.contains(".env (") && !told.contains("%b"), "{told}");
        }
        for line in ["SECRET_KEY= # make one", "SECRET_KEY=", "SECRET_KEY='#a'", "#SECRET_KEY=#a", "OTHER=#a"]
        {
            assert!(from_env_file(line).1.is_empty(), "{line}");
        }
        assert_eq!(from_env_file("SECRET_KEY='#a%b!c' # ours\n").0["SECRET_KEY"], "#a%b!c");
        assert_eq!(from_env_file("SECRET_KEY=\"a b\"\r\nDEBUG=1\r\n").0["SECRET_KEY"], "a b");
    }

    #[test]
    fn two_names_of_one_key_the_longer_wins_and_a_difference_is_told() {
        let mut findings = Findings::default();
        let both = [("FRESHK_DEBUG", "0"), ("DEBUG", "1")].map(|(n, v)| (n.to_owned(), v.to_owned()));
        let layer = layer("environment", &both.into(), Path::new(""), &mut findings);
        let (raw, origin) = Values::lay([layer]).get(&top::DEBUG).unwrap();
        assert_eq!((raw.one(), origin.as_str()), (Ok("0"), "environment (FRESHK_DEBUG)"));
        assert_eq!(findings.warnings.len(), 1);
        assert!(findings.faults.is_empty());
    }
}
