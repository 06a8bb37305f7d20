//! Reading values from text: one form for files, environment and flags.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use toml::Value;

use super::fault::quoted;
use crate::domain::HttpUrl;
use crate::domain::http_url::HttpUrlError;

/// A value as it was found, before its key says what it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Raw {
    /// Text, a number or a boolean.
    Text(String),
    /// A TOML array.
    Items(Vec<String>),
    /// A TOML table.
    Table(Vec<(String, String)>),
    /// A TOML array of tables.
    Tables(Vec<Vec<(String, String)>>),
}

impl Raw {
    /// Takes a value of a TOML file; nested arrays and tables become text that no key takes, but for arrays of texts, which
    /// stand between brackets.
    pub(super) fn new(value: &Value) -> Self {
        match value {
            Value::Array(items) => items
                .iter()
                .map(rows)
                .collect::<Option<Vec<_>>>()
                .filter(|tables| !tables.is_empty())
                .map_or_else(|| Self::Items(items.iter().map(text).collect()), Self::Tables),
            Value::Table(table) if !table.is_empty() && table.values().all(Value::is_table) => {
                Self::Tables(table.iter().map(|(name, inner)| named(name, inner)).collect())
            }
            _ => rows(value).map_or_else(|| Self::Text(text(value)), Self::Table),
        }
    }

    /// The form of an environment variable.
    pub(super) fn as_text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Items(items) => items.join(","),
            Self::Table(rows) => pairs(rows),
            Self::Tables(tables) => tables.iter().map(|rows| pairs(rows)).collect::<Vec<_>>().join(";"),
        }
    }

    /// The one value; an error for a list or table.
    pub(super) fn one(&self) -> Result<&str, String> {
        match self {
            Self::Text(text) if is_quoted(text) => Err(QUOTED.to_owned()),
            Self::Text(text) => Ok(text),
            Self::Items(_) => Err("expected one value, found a list".to_owned()),
            Self::Table(_) | Self::Tables(_) => Err("expected one value, found a table".to_owned()),
        }
    }

    /// The items of a list; text is split at its commas. Blank items are dropped.
    pub(super) fn items(&self) -> Result<Vec<String>, String> {
        let items: Vec<String> = match self {
            Self::Text(text) if is_quoted(text) => return Err(QUOTED.to_owned()),
            Self::Text(text) => text.split(',').map(|item| item.trim().to_owned()).collect(),
            Self::Items(items) => items.clone(),
            Self::Table(_) | Self::Tables(_) => return Err("expected a list, found a table".to_owned()),
        };
        if items.iter().any(|item| is_quoted(item)) {
            return Err(QUOTED.to_owned());
        }
        Ok(items.into_iter().filter(|item| !item.trim().is_empty()).collect())
    }

    /// A table, or the text of an inline one as TOML has it: `{ name = "…" }`.
    pub(super) fn table(&self) -> Result<Vec<(String, String)>, String> {
        const NONE: &str = "it is no table";
        match self {
            Self::Table(rows) => Ok(rows.clone()),
            Self::Text(inline) => {
                let table: toml::Table = format!("it = {inline}").parse().map_err(|_| NONE)?;
                table.get("it").and_then(rows).ok_or_else(|| NONE.to_owned())
            }
            Self::Items(_) | Self::Tables(_) => Err(NONE.to_owned()),
        }
    }

    /// Names with a number each, from a table or from `name=number,…`.
    pub(super) fn pairs(&self) -> Result<Vec<(String, String)>, String> {
        match self {
            Self::Table(rows) => Ok(rows.clone()),
            Self::Text(_) | Self::Items(_) | Self::Tables(_) => self
                .items()?
                .into_iter()
                .map(|item| {
                    item.split_once('=')
                        .map(|(name, number)| (name.trim().to_owned(), number.trim().to_owned()))
                        .ok_or_else(|| format!("{} has no =number", quoted(&item)))
                })
                .collect(),
        }
    }

    /// Networks with their numbers.
    pub(super) fn networks(&self) -> Result<Vec<(IpNet, u32)>, String> {
        self.pairs()?
            .iter()
            .map(|(name, units)| {
                let units = units
                    .trim()
                    .parse()
                    .map_err(|_| format!("{} is not a number for {}", quoted(units), quoted(name)))?;
                Ok((network(name.trim())?, units))
            })
            .collect()
    }
}

/// What is wrong with a value for which [`is_quoted`] is true.
const QUOTED: &str = "it stands between quotation marks, and they would count as a part of it";

/// Whether quotation marks stand around a value: docker's env files keep them, and TOML takes only one pair away.
pub(super) fn is_quoted(text: &str) -> bool {
    const PAIRS: [(char, char); 5] = [('"', '"'), ('\'', '\''), ('`', '`'), ('“', '”'), ('‘', '’')];
    let text = text.trim();
    PAIRS.iter().any(|(open, close)| text.strip_prefix(*open).is_some_and(|rest| rest.ends_with(*close)))
}

/// The rows of a table, sorted; `None` for what is none.
fn rows(value: &Value) -> Option<Vec<(String, String)>> {
    Some(value.as_table()?.iter().map(|(name, value)| (name.clone(), text(value))).collect())
}

/// The rows of a table that stands under a name, which becomes the first of them.
fn named(name: &str, inner: &Value) -> Vec<(String, String)> {
    let name = ("name".to_owned(), name.to_owned());
    std::iter::once(name).chain(rows(inner).unwrap_or_default()).collect()
}

fn pairs(rows: &[(String, String)]) -> String {
    rows.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Boolean(switch) => switch.to_string(),
        Value::Datetime(instant) => instant.to_string(),
        Value::Array(items) => {
            let texts: Option<Vec<_>> = items.iter().map(Value::as_str).collect();
            texts.map_or_else(|| "[…]".to_owned(), |texts| format!("[{}]", texts.join(",")))
        }
        Value::Table(_) => "{…}".to_owned(),
    }
}

/// A boolean as Django's settings are commonly written; case does not matter.
pub(super) fn switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" | "y" | "t" => Ok(true),
        "false" | "0" | "no" | "off" | "n" | "f" => Ok(false),
        _ => Err(format!("{} is neither true nor false", quoted(text))),
    }
}

/// A whole number within bounds.
pub(super) fn number(text: &str, min: u64, max: u64) -> Result<u64, String> {
    let number = text.parse().map_err(|_| format!("{} is not a whole number in range", quoted(text)))?;
    within(number, &min, &max, text)
}

/// A duration within bounds, all in humantime's form.
pub(super) fn duration(text: &str, min: &str, max: &str) -> Result<Duration, String> {
    let parse = |text: &str| {
        humantime::parse_duration(text).map_err(|_| format!("{} is not a duration", quoted(text)))
    };
    within(parse(text)?, &parse(min)?, &parse(max)?, text)
}

/// A size in bytes within bounds.
pub(super) fn size(text: &str, min: &str, max: &str) -> Result<u64, String> {
    let parse = |text: &str| {
        text.parse::<bytesize::ByteSize>()
            .map(|size| size.as_u64())
            .map_err(|_| format!("{} is not a size", quoted(text)))
    };
    within(parse(text)?, &parse(min)?, &parse(max)?, text)
}

/// An address and a port.
pub(super) fn socket_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("{} is no address and port", quoted(text)))
}

/// A network in CIDR form, or one address as the network of itself alone.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    text.parse::<IpNet>()
        .map(|network| network.trunc())
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| format!("{} is not a network or an address", quoted(text)))
}

/// An absolute `http` or `https` URL.
pub(super) fn http_url(text: &str) -> Result<HttpUrl, String> {
    HttpUrl::parse(text).map_err(|error| match error {
        HttpUrlError::User => "a URL with a user in it (not shown) is refused".to_owned(),
        error => format!("{} {error}", quoted(text)),
    })
}

fn within<T: PartialOrd>(value: T, min: &T, max: &T, text: &str) -> Result<T, String> {
    if value < *min {
        Err(format!("{} is too little", quoted(text)))
    } else if value > *max {
        Err(format!("{} is too much", quoted(text)))
    } else {
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_as_django_writes_them() {
        for yes in ["True", "true", "1", "YES", "on"] {
            assert_eq!(switch(yes), Ok(true));
        }
        for no in ["False", "0", "no", "OFF"] {
            assert_eq!(switch(no), Ok(false));
        }
        assert!(switch("maybe").is_err());
    }

    #[test]
    fn bounds_are_inclusive() {
        assert_eq!(duration("10h", "1s", "10h"), Ok(Duration::from_hours(10)));
        assert!(duration("10h 1s", "1s", "10h").is_err());
        assert!(duration("0s", "1s", "10h").is_err());
        assert!(duration("600", "1s", "10h").is_err(), "a unit is needed");
        assert_eq!(size("16KiB", "1KiB", "1MiB"), Ok(16_384));
        assert!(number("-1", 0, 9).is_err());
    }

    #[test]
    fn networks_in_both_forms() {
        let table = Raw::Table(vec![("100.64.0.0/10".to_owned(), "50".to_owned())]);
        let text = Raw::Text("100.64.0.0/10=50".to_owned());
        assert_eq!(table.networks(), text.networks());
        assert_eq!(text.networks().unwrap().len(), 1);
        assert!(Raw::Text("100.64.0.0/10".to_owned()).networks().is_err());
        assert_eq!(network("127.0.0.1"), network("127.0.0.1/32"));
        assert_eq!(network("10.1.2.3/8"), network("10.0.0.0/8"));
    }

    #[test]
    fn lists_in_both_forms() {
        let text = Raw::Text("a.example, b.example,,".to_owned());
        let array = Raw::Items(vec!["a.example".to_owned(), "b.example".to_owned()]);
        assert_eq!(text.items(), array.items());
    }
}
