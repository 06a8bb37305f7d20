//! Typed access to the layered values; what is wrong is collected, never the end.

use std::time::Duration;

use ipnet::IpNet;

use super::fault::{Fault, Findings};
use super::key::{Key, Kind};
use super::value::{self, Raw};
use super::values::Values;

/// The fields of a table, by their names.
type Fields = [(String, String)];

/// Reads keys one by one. A faulty key gives its default, so that reading goes on and every fault is found.
pub(super) struct Reader<'a> {
    values: &'a Values,
    /// Whether debug is on.
    pub(super) debug: bool,
    /// What was found so far.
    pub(super) findings: Findings,
}

impl<'a> Reader<'a> {
    pub(super) fn new(values: &'a Values, debug: bool, findings: Findings) -> Self {
        Self { values, debug, findings }
    }

    /// A boolean.
    pub(super) fn switch(&mut self, key: &'static Key) -> bool {
        self.one(key, value::switch).unwrap_or_default()
    }

    /// A boolean that may be unset.
    pub(super) fn optional_switch(&mut self, key: &'static Key) -> Option<bool> {
        self.one(key, value::switch)
    }

    /// A whole number; the bounds of its key must fit the type.
    pub(super) fn number<N: TryFrom<u64> + Default>(&mut self, key: &'static Key) -> N {
        let Kind::Number { min, max } = key.kind else { return N::default() };
        self.one(key, |text| {
            let number = value::number(text, min, max)?;
            N::try_from(number).map_err(|_| format!("{number} is too much"))
        })
        .unwrap_or_default()
    }

    /// A duration.
    pub(super) fn duration(&mut self, key: &'static Key) -> Duration {
        let Kind::Duration { min, max } = key.kind else { return Duration::ZERO };
        self.one(key, |text| value::duration(text, min, max)).unwrap_or_default()
    }

    /// A size in bytes.
    pub(super) fn size(&mut self, key: &'static Key) -> usize {
        let Kind::Size { min, max } = key.kind else { return 0 };
        let size = self.one(key, |text| value::size(text, min, max)).unwrap_or_default();
        usize::try_from(size).unwrap_or(usize::MAX)
    }

    /// One of the key's words, in lower case.
    pub(super) fn choice(&mut self, key: &'static Key) -> &'static str {
        let Kind::Choice(words) = key.kind else { return "" };
        self.one(key, |text| {
            let found = words.iter().find(|word| word.eq_ignore_ascii_case(text));
            found.copied().ok_or_else(|| format!("{} is none of them", super::fault::quoted(text)))
        })
        .unwrap_or_default()
    }

    /// One value that `parse` reads, if the key is set at all.
    pub(super) fn one<T>(
        &mut self,
        key: &'static Key,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let (raw, origin) = self.values.get(key)?;
        match raw.one().and_then(|text| self.not_a_placeholder(key, text)).map(|text| text.map(&parse)) {
            Ok(Some(Ok(value))) => Some(value),
            Ok(None) => None,
            Ok(Some(Err(problem))) | Err(problem) => {
                self.bad(key, &origin, problem);
                parse(key.default).ok()
            }
        }
    }

    /// A list whose items `parse` reads; every bad item is told.
    pub(super) fn list<T>(&mut self, key: &'static Key, parse: impl Fn(&str) -> Result<T, String>) -> Vec<T> {
        let Some((raw, origin)) = self.values.get(key) else { return Vec::new() };
        let items = raw.items().unwrap_or_else(|problem| {
            self.bad(key, &origin, problem);
            Vec::new()
        });
        let mut good = Vec::new();
        for item in items {
            match parse(item.trim()) {
                Ok(value) => good.push(value),
                Err(problem) => self.bad(key, &origin, problem),
            }
        }
        good
    }

    /// Networks with a number each.
    pub(super) fn networks(&mut self, key: &Key) -> Vec<(IpNet, u32)> {
        let Some((raw, origin)) = self.values.get(key) else { return Vec::new() };
        raw.networks().unwrap_or_else(|problem| {
            self.bad(key, &origin, problem);
            Vec::new()
        })
    }

    /// Names with a number each, both of which `parse` reads; every bad one is told.
    pub(super) fn pairs<T>(&mut self, key: &Key, parse: impl Fn(&str, &str) -> Result<T, String>) -> Vec<T> {
        let Some((raw, origin)) = self.values.get(key) else { return Vec::new() };
        let pairs = raw.pairs().unwrap_or_else(|problem| {
            self.bad(key, &origin, problem);
            Vec::new()
        });
        let mut good = Vec::new();
        for (name, number) in pairs {
            match parse(&name, &number) {
                Ok(pair) => good.push(pair),
                Err(problem) => self.bad(key, &origin, problem),
            }
        }
        good
    }

    /// What a key is set to, as it stands, and where that came from.
    pub(super) fn raw(&self, key: &Key) -> Option<(Raw, String)> {
        self.values.get(key)
    }

    /// The rows of a key that is a list of tables in the file and of texts in the environment, each read or with what is wrong
    /// with it, and where they came from.
    pub(super) fn rows<R>(
        &mut self,
        key: &Key,
        from_table: fn(&Fields) -> Result<R, String>,
        from_text: fn(&str) -> Result<R, String>,
    ) -> (Vec<Result<R, String>>, String) {
        let Some((raw, origin)) = self.raw(key) else { return Default::default() };
        let rows = match &raw {
            Raw::Tables(tables) => Ok(tables.iter().map(|fields| from_table(fields)).collect()),
            Raw::Table(fields) if fields.is_empty() => Ok(Vec::new()),
            Raw::Table(fields) => Ok(vec![from_table(fields)]),
            Raw::Text(_) | Raw::Items(_) => {
                raw.items().map(|items| items.iter().map(|item| from_text(item)).collect())
            }
        };
        let rows = rows.unwrap_or_else(|problem| {
            self.bad(key, &origin, problem);
            Vec::new()
        });
        (rows, origin)
    }

    /// Where the value of a key came from.
    pub(super) fn origin(&self, key: &Key) -> Option<String> {
        self.values.get(key).map(|(_, origin)| origin)
    }

    /// Whether a key has a value of its own.
    pub(super) fn is_set(&self, key: &Key) -> bool {
        self.origin(key).is_some_and(|origin| !origin.starts_with("default"))
    }

    /// Whether something is wrong with a key already; a rule between keys is judged only while each is good alone.
    pub(super) fn is_faulty(&self, key: &Key) -> bool {
        self.findings.faults.iter().any(|fault| fault.key == key.name)
    }

    /// Notes that a key is wrong.
    pub(super) fn fault(&mut self, key: &Key, problem: impl Into<String>, help: impl Into<String>) {
        let fault = Fault::new(key.name, problem, help);
        // That a default does not do is no fault of a place.
        self.findings.faults.push(match self.origin(key).filter(|origin| !origin.starts_with("default")) {
            Some(origin) => fault.from(origin),
            None => fault,
        });
    }

    pub(super) fn bad(&mut self, key: &Key, origin: &str, problem: String) {
        self.findings
            .faults
            .push(Fault::new(key.name, problem, format!("write {}", key.kind.right())).from(origin));
    }

    /// The guide's placeholders are as good as nothing: in debug they are passed over, with a warning.
    pub(super) fn not_a_placeholder<'t>(
        &mut self,
        key: &'static Key,
        text: &'t str,
    ) -> Result<Option<&'t str>, String> {
        let placeholder = text == "your-production-secret-key" || text.starts_with("your_twilio_");
        if !placeholder {
            return Ok(Some(if key.secret { text } else { text.trim() }));
        }
        if !self.debug {
            return Err("it is still the guide's placeholder".to_owned());
        }
        let found = format!("{} is still the guide's placeholder, and debug goes on without it", key.name);
        self.findings.warn(Some(key.name), found, "set it before production");
        Ok(None)
    }
}
