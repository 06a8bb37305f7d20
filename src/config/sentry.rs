//! `[sentry]`: where errors are reported.

use sentry::types::Dsn;

use super::key::{Key, Kind, Section};
use super::reader::Reader;
use crate::domain::webhook::{WebhookUrl, WebhookUrlError};

/// `[sentry]`
#[derive(Clone, Debug)]
pub struct Sentry {
    /// Where the error tracker takes reports; `None`: nowhere.
    pub dsn: Option<Dsn>,
    /// What the error tracker groups them by.
    pub environment: String,
}

static DSN: Key = Key::new(
    "sentry.dsn",
    Kind::Text("what the error tracker shows as its DSN, such as https://KEY@o1.ingest.sentry.io/2"),
    "",
    "Where errors and panics are reported, to Sentry or what speaks its protocol: message, place and stack, without telephone \
     numbers, codes, addresses and tokens. At most 300 a minute.",
)
.secret();
static ENVIRONMENT: Key = Key::new(
    "sentry.environment",
    Kind::Text("a word, such as staging"),
    "production",
    "What the error tracker groups reports by.",
)
.in_debug("development");

pub(super) const SECTION: Section =
    Section { name: "sentry", doc: "Where errors are reported.", keys: &[&DSN, &ENVIRONMENT] };

pub(super) fn read(reader: &mut Reader<'_>) -> Sentry {
    Sentry {
        dsn: reader.one(&DSN, dsn),
        environment: reader.one(&ENVIRONMENT, environment).unwrap_or_default(),
    }
}

/// It is not repeated: whoever knows it can report.
fn dsn(text: &str) -> Result<Dsn, String> {
    let dsn: Dsn = text.parse().map_err(|_| "it is no DSN".to_owned())?;
    match WebhookUrl::parse(dsn.envelope_api_url().as_str()) {
        Ok(_) => Ok(dsn),
        Err(WebhookUrlError::Plain) => Err("it is http and does not lead to this machine".to_owned()),
        Err(error) => Err(format!("its URL {error}")),
    }
}

fn environment(text: &str) -> Result<String, String> {
    let is_word = text.len() <= 64 && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    if is_word {
        Ok(text.to_owned())
    } else {
        Err("it is not one word of letters, digits, - _ and .".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s34_a_bad_dsn_is_told_and_not_repeated() {
        assert!(dsn("https://0123456789abcdef@o1.ingest.sentry.io/2").is_ok());
        assert!(dsn("http://thekey@127.0.0.1:9000/2").is_ok());
        for (text, problem) in [
            ("https://o1.ingest.sentry.io/2", "no DSN"),
            ("https://thekey@o1.ingest.sentry.io/", "no DSN"),
            ("thekey", "no DSN"),
            ("ftp://thekey@example.com/2", "no DSN"),
            ("http://thekey@sentry.example.com/2", "does not lead to this machine"),
        ] {
            let told = dsn(text).unwrap_err();
            assert!(told.contains(problem) && !told.contains("thekey"), "{text}: {told}");
        }
        assert!(environment("staging-2.eu").is_ok() && environment("my machine").is_err());
    }
}
