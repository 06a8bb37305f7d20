//! `freshk.toml`.

use super::fault::{Fault, Findings};
use super::keys::{self, SECTIONS, nearest};
use super::value::Raw;
use super::values::Layer;

/// Reads a TOML file, whose name becomes the origin.
pub(super) fn layer(name: &str, text: &str, findings: &mut Findings) -> Layer {
    let mut layer = Layer::default();
    let text = text.trim_start_matches('\u{feff}');
    match text.parse::<toml::Table>() {
        Ok(table) => walk(&table, "", name, &mut layer, &mut findings.faults),
        Err(error) => {
            let help = "correct the file at that place";
            findings.faults.push(Fault::of_file(name, problem(&error, text), help));
            findings.unread = true;
        }
    }
    layer
}

fn walk(table: &toml::Table, section: &str, file: &str, layer: &mut Layer, faults: &mut Vec<Fault>) {
    for (name, value) in table {
        let path = if section.is_empty() { name.clone() } else { format!("{section}.{name}") };
        let is_section = SECTIONS.iter().any(|known| known.name == path);
        if let Some(key) = keys::all().find(|key| key.name == path) {
            layer.set(key, Raw::new(value), file);
        } else if let (toml::Value::Table(inner), true) = (value, section.is_empty() || is_section)
            && (is_section || !inner.is_empty())
        {
            walk(inner, &path, file, layer, faults);
        } else if is_section {
            let help = format!("write [{path}] on a line of its own and its keys below");
            faults.push(Fault::new(path, "it is a section, and stands here as a value", help).from(file));
        } else {
            let known = keys::all().map(|key| key.name.to_owned());
            faults.push(keys::unknown(&path, nearest(&path, known, "."), file));
        }
    }
}

/// Line, column and reason of a TOML error, without the line itself, which may hold a secret.
fn problem(error: &toml::de::Error, text: &str) -> String {
    let Some(before) = error.span().and_then(|span| text.get(..span.start)) else {
        return format!("it is not TOML: {}", error.message());
    };
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!("it is not TOML at line {line}, column {column}: {}", error.message())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s34_invalid_toml_names_line_and_column_and_shows_nothing() {
        let mut findings = Findings::default();
        layer("freshk.toml", "debug = true\nsecret_key = \"hush\n", &mut findings);
        let told = findings.faults[0].to_string();
        assert!(told.contains("line 2, column"), "{told}");
        assert!(!told.contains("hush"), "{told}");
    }

    #[test]
    fn unknown_keys_are_named_wherever_they_stand() {
        let mut findings = Findings::default();
        let text =
            "debg = true\notp = 5\n[opt]\nttl = \"5m\"\n[limits]\nips = 4\n[sms.temlates]\nde = \"x\"\n";
        layer("freshk.toml", text, &mut findings);
        let told: Vec<_> =
            findings.faults.iter().map(|fault| (fault.key.as_str(), fault.help.as_str())).collect();
        assert_eq!(told[0], ("debg", "did you mean debug?"));
        assert_eq!(told[1], ("limits.ips", "did you mean limits.ip?"));
        assert_eq!(told[2], ("opt.ttl", "did you mean otp.ttl?"));
        assert!(told[3].1.starts_with("write [otp]"));
        assert_eq!(told[4], ("sms.temlates", "did you mean sms.templates?"));
    }
}
