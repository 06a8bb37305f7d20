//! The table of keys, shown: as it stands, as an example, as documentation.

use super::key::{Key, Kind};
use super::keys::{self, SECTIONS};
use super::values::Values;
use super::{cache, database, value};
use crate::domain::Secret;

/// What a key is set to and where that came from; a secret is masked.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The key.
    pub key: &'static Key,
    /// Its value in the form of an environment variable; `None` where it is not set.
    pub value: Option<String>,
    /// A file's name, `environment`, an env file's name, a flag or `default`; variables follow in parentheses.
    pub origin: String,
    /// The value as it stands, secrets included, to be compared.
    pub(super) exact: Secret,
}

impl Setting {
    /// What a server makes of it, as text: a switch has several words for the same.
    pub fn meaning(&self) -> String {
        let text = self.value.as_deref().unwrap_or(self.key.default);
        let switch = if matches!(self.key.kind, Kind::Switch) { value::switch(text).ok() } else { None };
        switch.map_or_else(|| text.to_owned(), |on| on.to_string())
    }
}

const MASK: &str = "********";

pub(super) fn settings(values: &Values) -> Vec<Setting> {
    keys::all()
        .map(|key| match values.get(key) {
            Some((raw, origin)) => {
                let text = raw.as_text();
                let shown = match text {
                    text if text.is_empty() => text,
                    _ if key.secret => MASK.to_owned(),
                    url if key.name == database::URL.name => database::masked(&url),
                    url if key.name == cache::URL.name => cache::masked(&url),
                    text => text,
                };
                Setting { key, value: Some(shown), origin, exact: Secret::new(raw.as_text()) }
            }
            None => {
                Setting { key, value: None, origin: "default".to_owned(), exact: Secret::new(String::new()) }
            }
        })
        .collect()
}

/// `freshk.toml.example`: every key at its default, commented out.
pub fn example() -> String {
    let mut lines: Vec<String> = HEAD.lines().map(str::to_owned).collect();
    for section in SECTIONS {
        lines.push(String::new());
        if !section.name.is_empty() {
            lines.extend(wrapped(section.doc));
            lines.push(format!("[{}]", section.name));
        }
        for (at, key) in section.keys.iter().enumerate() {
            if at > 0 {
                lines.push(String::new());
            }
            lines.extend(wrapped(key.doc));
            if let Some(default) = key.in_debug {
                lines.push(format!("# In debug the default is {}.", key.literal(default)));
            }
            let names = key.variables().collect::<Vec<_>>().join(", or ");
            let file = if key.secret { "; with _FILE behind the name, the file that holds it" } else { "" };
            lines.push(format!("# {names}{file}"));
            lines.push(format!("#{} = {}", key.leaf(), key.literal(key.default)));
        }
    }
    lines.join("\n") + "\n"
}

const HEAD: &str = "\
# The configuration of FreshK: every key, commented out, at its default.
# This file is what `freshk config example` prints. Copy it to freshk.toml and change what you need.
#
# FreshK finds it as ./freshk.toml, $CREDENTIALS_DIRECTORY/freshk.toml or /etc/freshk/freshk.toml, the first that
# exists, unless --config or FRESHK_CONFIG names another file. A flag wins over the environment, that over
# the env file (.env), that over this file. Above each key stands its name in the environment; where it has
# two, the first wins. Durations are written as 45s, 10m or 30d, sizes as 16KiB; an empty text counts as not
# set. `freshk config show` prints every value and where it came from.";

/// The table of keys in `docs/configuration.md`, in Markdown.
pub fn markdown() -> String {
    let code = |text: &str| if text.is_empty() { String::new() } else { format!("`{text}`") };
    let rows = keys::all().map(|key| {
        let variables: Vec<_> = key.variables().map(|name| code(&name)).collect();
        let file = if key.secret { "; `…_FILE`" } else { "" };
        let in_debug = key.in_debug.map(|default| format!("; in debug {}", code(default)));
        format!(
            "| {} | {}{file} | {}{} | {} |\n",
            code(key.name),
            variables.join(", "),
            code(key.default),
            in_debug.unwrap_or_default(),
            key.doc.replace('|', "\\|"),
        )
    });
    let head = "| key | environment | default | meaning |\n|---|---|---|---|\n".to_owned();
    std::iter::once(head).chain(rows).collect()
}

impl Key {
    /// A value in TOML.
    fn literal(&self, text: &str) -> String {
        let string = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
        match self.kind {
            Kind::Switch if text.is_empty() => string(""),
            Kind::Switch | Kind::Number { .. } => text.to_owned(),
            Kind::Duration { .. } | Kind::Size { .. } | Kind::Choice(_) | Kind::Text(_) => string(text),
            Kind::List(_) => {
                let items: Vec<_> = text.split(',').filter(|item| !item.is_empty()).map(string).collect();
                format!("[{}]", items.join(", "))
            }
            Kind::Networks | Kind::Languages | Kind::Senders | Kind::Prices => "{}".to_owned(),
            Kind::TestNumbers | Kind::Webhooks => "[]".to_owned(),
        }
    }
}

/// A comment, broken into lines that fit a screen.
fn wrapped(doc: &str) -> Vec<String> {
    const WIDTH: usize = 100;
    let mut lines = Vec::new();
    let mut line = String::from("#");
    for word in doc.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > WIDTH {
            lines.push(std::mem::replace(&mut line, String::from("#")));
        }
        line.push(' ');
        line.push_str(word);
    }
    lines.push(line);
    lines
}
