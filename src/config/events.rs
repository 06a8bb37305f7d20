//! `[events]` and `[[webhooks]]`: what is told to other programs.

use std::time::Duration;

use super::fault::quoted;
use super::key::{Key, Kind, Section};
use super::reader::Reader;
use crate::domain::webhook::{MAX_WEBHOOKS, WebhookSecret, WebhookUrl};
use crate::domain::{EventKind, Webhook};

/// `[events]`
#[derive(Clone, Copy, Debug)]
pub struct Events {
    /// How long events are kept that every webhook has taken.
    pub retention: Duration,
    /// How many may wait for one webhook.
    pub max_waiting: u64,
}

static RETENTION: Key = Key::new(
    "events.retention",
    Kind::Duration { min: "1h", max: "3650d" },
    "7d",
    "How long an event is kept after its webhooks have taken it; until then `freshk event replay` sends it again.",
);
static MAX_WAITING: Key = Key::new(
    "events.max_waiting",
    Kind::Number { min: 1, max: 100_000_000 },
    "1000000",
    "How many events may wait for one webhook; beyond that the oldest is dropped.",
);
pub(super) static WEBHOOKS: Key = Key::new(
    "webhooks",
    Kind::Webhooks,
    "",
    "Up to ten programs that are told what happens to users, each a [[webhooks]] with name, url (https, or http to this \
     machine), secret (whsec_ and 24 to 64 random bytes in base64) and perhaps events, a list such as [\"user.created\", \
     \"user.deleted\"]; without it a webhook is told of all events.",
)
.secret();

pub(super) const SECTION: Section =
    Section { name: "events", doc: "Events for webhooks.", keys: &[&RETENTION, &MAX_WAITING] };

/// One webhook before it is judged. No fault shows the secret, or the query of the URL.
#[derive(Default)]
struct Row {
    name: String,
    url: String,
    secret: String,
    events: String,
}

pub(super) fn read(reader: &mut Reader<'_>) -> Events {
    Events { retention: reader.duration(&RETENTION), max_waiting: reader.number(&MAX_WAITING) }
}

/// All webhooks; each that is wrong is told.
pub(super) fn read_webhooks(reader: &mut Reader<'_>) -> Vec<Webhook> {
    let (rows, origin) = reader.rows(&WEBHOOKS, Row::from_table, Row::from_text);
    let mut webhooks: Vec<Webhook> = Vec::new();
    for row in rows {
        match row.and_then(Row::judge) {
            Ok(webhook) if webhooks.iter().any(|other| other.name == webhook.name) => {
                reader.bad(&WEBHOOKS, &origin, format!("two are named {}", quoted(&webhook.name)));
            }
            Ok(webhook) => webhooks.push(webhook),
            Err(problem) => reader.bad(&WEBHOOKS, &origin, problem),
        }
    }
    if webhooks.len() > MAX_WEBHOOKS {
        let problem = format!("{} are too many: {MAX_WEBHOOKS} is the most", webhooks.len());
        reader.bad(&WEBHOOKS, &origin, problem);
    }
    webhooks
}

impl Row {
    fn from_table(fields: &[(String, String)]) -> Result<Self, String> {
        let mut row = Self::default();
        for (name, value) in fields {
            let field = match name.as_str() {
                "name" => &mut row.name,
                "url" => &mut row.url,
                "secret" => &mut row.secret,
                "events" => &mut row.events,
                other => return Err(format!("{} is nothing that a webhook has", quoted(other))),
            };
            value.trim().clone_into(field);
        }
        Ok(row)
    }

    fn from_text(item: &str) -> Result<Self, String> {
        let mut parts = item.split('|').map(|part| part.trim().to_owned());
        let mut next = || parts.next().unwrap_or_default();
        let row = Self { name: next(), url: next(), secret: next(), events: next() };
        if parts.next().is_some() {
            return Err("one has more than the four parts name|url|secret|events".to_owned());
        }
        Ok(row)
    }

    fn judge(self) -> Result<Webhook, String> {
        let Self { name, url, secret, events } = self;
        let is_named = !name.is_empty()
            && !is_secret(&name)
            && name.len() <= 64
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if !is_named {
            let right = "at most 64 letters, digits, - and _";
            return Err(format!("{} is no name of a webhook: it has {right}", shown(&name)));
        }
        let told = |what: &str| format!("the {what} of {}", quoted(&name));
        let url = WebhookUrl::parse(&url).map_err(|error| format!("{} {error}", told("url")))?;
        let secret = WebhookSecret::parse(&secret)
            .map_err(|wrong| format!("{} (not shown) {wrong}", told("secret")))?;
        let kind = |word: &str| {
            EventKind::parse(word).ok_or_else(|| format!("{} of {} is no event", shown(word), told("events")))
        };
        let words: Vec<_> = events
            .trim_matches(['[', ']'])
            .split([',', '+'])
            .map(str::trim)
            .filter(|word| !word.is_empty())
            .collect();
        let kinds = words.iter().map(|word| kind(word)).collect::<Result<Vec<_>, _>>()?;
        Ok(Webhook { name, url, secret, kinds: (!kinds.is_empty()).then_some(kinds) })
    }
}

/// Whoever mixes up the parts has a secret stand where another one is expected.
fn is_secret(text: &str) -> bool {
    text.starts_with("whsec_")
}

fn shown(text: &str) -> String {
    if is_secret(text) { "(not shown)".to_owned() } else { quoted(text) }
}
