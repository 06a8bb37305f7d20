//! The five layers: where values come from, which wins, and what is there that nobody knows.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use config::{Config as Layered, ConfigError, File, FileFormat, Map, Source, Value, ValueKind};

use super::fault::Fault;
use super::keys::{self, Key, PREFIX, SECTIONS, nearest};
use super::value::Raw;
use super::{Sources, value};

/// The values of one source, by key; each knows its origin.
#[derive(Clone, Debug, Default)]
pub(super) struct Layer(BTreeMap<&'static str, Value>);

impl Layer {
    /// An empty value counts as not set, in every layer.
    fn set(&mut self, key: &'static Key, kind: ValueKind, origin: &str) {
        let empty = matches!(&kind, ValueKind::String(text) if text.trim().is_empty());
        if !empty {
            self.0.insert(key.name, Value::new(Some(&origin.to_owned()), kind));
        }
    }

    /// The secrets that the source sets.
    pub(super) fn holds_secrets(&self) -> bool {
        keys::all().any(|key| key.secret && self.0.contains_key(key.name))
    }
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        Ok(self.0.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect())
    }
}

/// The layers on top of each other.
#[derive(Debug)]
pub(super) struct Values(Layered);

impl Values {
    /// Lays them; a later layer wins.
    pub(super) fn lay(layers: impl IntoIterator<Item = Layer>) -> Result<Self, Fault> {
        let mut builder = Layered::builder();
        for layer in layers {
            builder = builder.add_source(layer);
        }
        builder.build().map(Self).map_err(|error| {
            Fault::new(
                "configuration",
                format!("the layers do not fit together: {error}"),
                "please report this",
            )
        })
    }

    /// What a key is set to, and where that came from.
    pub(super) fn get(&self, key: &Key) -> Option<(Raw, String)> {
        let mut value = &self.0.cache;
        for step in key.name.split('.') {
            let ValueKind::Table(table) = &value.kind else { return None };
            value = table.get(step)?;
        }
        // A table takes no origin of its own when layers are merged; its values do.
        let origin = value.origin().or_else(|| match &value.kind {
            ValueKind::Table(table) => table.values().find_map(Value::origin),
            _ => None,
        });
        Some((Raw::new(value), origin.unwrap_or("default").to_owned()))
    }
}

/// The flags.
pub(super) fn flags(sources: &Sources) -> Layer {
    let mut layer = Layer::default();
    if let Some(url) = &sources.database {
        layer.set(&super::database::URL, url.as_str().into(), "--database");
    }
    if let Some(address) = &sources.listen {
        layer.set(&super::server::LISTEN, address.as_str().into(), "--listen");
    }
    if sources.dev {
        layer.set(&super::top::DEBUG, true.into(), "--dev");
    }
    layer
}

/// The defaults; those of debug where `debug` is on.
pub(super) fn defaults(debug: bool) -> Layer {
    let mut layer = Layer::default();
    for key in keys::all() {
        match key.in_debug {
            Some(default) if debug => layer.set(key, default.into(), "default (debug)"),
            _ => layer.set(key, key.default.into(), "default"),
        }
    }
    layer
}

/// Variables, of the environment or of an env file, which `place` names.
///
/// Where a key has two names and both are set, `FRESHK_…` wins over the guide's: it cannot be meant for another
/// program. If they differ, that is a warning.
pub(super) fn variables(
    place: &str,
    variables: &BTreeMap<String, String>,
    faults: &mut Vec<Fault>,
    warnings: &mut Vec<String>,
) -> Layer {
    let mut layer = Layer::default();
    let set = |name: &String| variables.get(name).filter(|text| !text.trim().is_empty());
    for key in keys::all() {
        let found: Vec<_> = key.variables().filter_map(|name| Some((set(&name)?, name))).collect();
        let Some((text, name)) = found.first() else { continue };
        let origin = format!("{place} ({name})");
        if text.contains(char::REPLACEMENT_CHARACTER) {
            faults.push(Fault::new(key.name, "it is not UTF-8", "write it in UTF-8").from(&origin));
            continue;
        }
        if let Some((_, other)) = found.iter().find(|(other, _)| other != text) {
            warnings.push(format!(
                "{place} sets both {name} and {other}, to different values, and {name} wins: take one away"
            ));
        }
        layer.set(key, text.as_str().into(), &origin);
    }

    let known: Vec<String> = keys::all().map(Key::environment).collect();
    for name in variables.keys().filter(|name| name.starts_with(PREFIX) && set(name).is_some()) {
        if !known.contains(name) {
            faults.push(unknown(name, nearest(name, known.iter().cloned(), "__"), place));
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

/// Reads a TOML file, whose name becomes the origin.
pub(super) fn file(name: &str, text: &str, faults: &mut Vec<Fault>) -> Layer {
    let mut layer = Layer::default();
    let text = text.trim_start_matches('\u{feff}');
    match File::from_str(text, FileFormat::Toml).collect() {
        Ok(top) => walk(&top, "", name, &mut layer, faults),
        Err(error) => faults.push(Fault::new(name, toml_problem(&error), "mend the file at that place")),
    }
    layer
}

fn walk(table: &Map<String, Value>, section: &str, file: &str, layer: &mut Layer, faults: &mut Vec<Fault>) {
    let mut rows: Vec<_> = table.iter().collect();
    rows.sort_by_key(|(name, _)| *name);
    for (name, value) in rows {
        let path = if section.is_empty() { name.clone() } else { format!("{section}.{name}") };
        let is_section = section.is_empty() && SECTIONS.iter().any(|known| known.name == path);
        if let Some(key) = keys::all().find(|key| key.name == path) {
            layer.set(key, with_origin(value, file).kind, file);
        } else if let (ValueKind::Table(inner), true) = (&value.kind, section.is_empty())
            && (is_section || !inner.is_empty())
        {
            walk(inner, &path, file, layer, faults);
        } else if is_section {
            let mend = format!("write [{path}] on a line of its own and its keys below");
            faults.push(Fault::new(path, "it is a section, and stands here as a value", mend).from(file));
        } else {
            faults.push(unknown(
                &path,
                nearest(&path, keys::all().map(|key| key.name.to_owned()), "."),
                file,
            ));
        }
    }
}

/// The parser knows no file names, so values get theirs here, those inside a table too.
fn with_origin(value: &Value, file: &str) -> Value {
    let kind = match &value.kind {
        ValueKind::Table(table) => ValueKind::Table(
            table.iter().map(|(name, value)| (name.clone(), with_origin(value, file))).collect(),
        ),
        other => other.clone(),
    };
    Value::new(Some(&file.to_owned()), kind)
}

fn unknown(name: &str, nearest: Option<String>, origin: &str) -> Fault {
    let mend = match nearest {
        Some(known) => format!("did you mean {known}?"),
        None => "`freshk config example` shows every key".to_owned(),
    };
    Fault::new(name, "there is no such key", mend).from(origin)
}

/// Line, column and reason of a TOML error, without the line itself, which may hold a secret.
fn toml_problem(error: &ConfigError) -> String {
    let ConfigError::FileParse { cause, .. } = error else { return "it is not TOML".to_owned() };
    let cause = cause.to_string();
    let place = cause.lines().next().and_then(|line| line.strip_prefix("TOML parse error at "));
    // The last line is the parser's reason, in words of its own.
    let reason = cause.lines().last().unwrap_or_default();
    place.map_or_else(
        || "a value is out of range".to_owned(),
        |place| format!("it is not TOML at {place}: {reason}"),
    )
}

/// Reads `path` as text; `None` if it was not named by the operator and is not there.
pub(super) fn read(path: &Path, name: &str, flag: &str, named: bool) -> Result<Option<String>, Fault> {
    if !named && path.is_dir() {
        return Ok(None);
    }
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !named => Ok(None),
        Err(error) => {
            let mend = if error.kind() == io::ErrorKind::NotFound {
                format!("name a file that exists, or leave {flag} out")
            } else {
                "see to it that the file can be read, as UTF-8 text".to_owned()
            };
            let fault = Fault::new(name, format!("it cannot be read: {error}"), mend);
            Err(if named { fault.from(flag) } else { fault })
        }
    }
}

/// Whether debug is on, as far as it can be told before the defaults are chosen.
pub(super) fn debug(values: &Values) -> bool {
    values
        .get(&super::top::DEBUG)
        .and_then(|(raw, _)| value::switch(raw.one().ok()?.trim()).ok())
        .unwrap_or(false)
}

#[cfg(test)]
mod tests {
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
    fn s34_invalid_toml_names_line_and_column_and_shows_nothing() {
        let mut faults = Vec::new();
        file("freshk.toml", "debug = true\nsecret_key = \"hush\n", &mut faults);
        let told = faults[0].to_string();
        assert!(told.contains("line 2, column"), "{told}");
        assert!(!told.contains("hush"), "{told}");
    }

    #[test]
    fn unknown_keys_are_named_wherever_they_stand() {
        let mut faults = Vec::new();
        let text =
            "debg = true\notp = 5\n[opt]\nttl = \"5m\"\n[limits]\nips = 4\n[sms.templates]\nde = \"x\"\n";
        file("freshk.toml", text, &mut faults);
        let told: Vec<_> = faults.iter().map(|fault| (fault.key.as_str(), fault.mend.as_str())).collect();
        assert_eq!(told[0], ("debg", "did you mean debug?"));
        assert_eq!(told[1], ("limits.ips", "did you mean limits.ip?"));
        assert_eq!(told[2], ("opt.ttl", "did you mean otp.ttl?"));
        assert!(told[3].1.starts_with("write [otp]"));
        assert_eq!(told[4], ("sms.templates", "did you mean sms.template?"));
    }

    #[test]
    fn two_names_of_one_key_the_longer_wins_and_a_difference_is_told() {
        let (mut faults, mut warnings) = (Vec::new(), Vec::new());
        let both = [("FRESHK_DEBUG", "0"), ("DEBUG", "1")].map(|(n, v)| (n.to_owned(), v.to_owned()));
        let layer = variables("environment", &both.into(), &mut faults, &mut warnings);
        assert_eq!(layer.0["debug"].kind, ValueKind::from("0"));
        assert_eq!(warnings.len(), 1);
        assert!(faults.is_empty());
    }
}
