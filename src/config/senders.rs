//! `sms.senders` and `[senders.<name>]`: who sends the codes, in which order.

use std::time::Duration;

use super::fault::quoted;
use super::key::{Key, Kind};
use super::reader::Reader;
use super::twilio;
use super::value;
use crate::domain::webhook::{WebhookSecret, WebhookUrl};
use crate::domain::{Channel, Country};
use crate::sms::http::{self, HttpSenderSettings};
use crate::sms::twilio::{Medium, Sender, Sid, TwilioSettings};

/// One sender in its place.
#[derive(Clone, Debug)]
pub struct ConfiguredSender {
    /// How the operator calls it.
    pub name: String,
    /// What it is.
    pub kind: SenderKind,
    /// Which countries it sends to; `None`: all.
    pub countries: Option<Vec<Country>>,
    /// How long a delivery report is waited for before it is used; `None`: it is used only where no message went out.
    pub after: Option<Duration>,
}

/// What a sender is.
#[derive(Clone, Debug)]
pub enum SenderKind {
    /// Twilio: text messages, `WhatsApp` or calls.
    Twilio(Box<TwilioSettings>),
    /// A program of the operator's.
    Http(HttpSenderSettings),
    /// The console; in debug alone.
    Console,
}

impl SenderKind {
    /// How many messages may be on their way at once, each with a thread.
    pub const fn max_in_flight(&self) -> usize {
        match self {
            Self::Twilio(settings) => settings.max_in_flight,
            Self::Http(_) => http::IN_FLIGHT,
            Self::Console => 0,
        }
    }

    /// Whether its provider is asked what becomes of messages, since it cannot report it.
    pub const fn is_asked(&self) -> bool {
        matches!(self, Self::Twilio(settings) if settings.status_callback.is_none())
    }

    /// What its codes come by.
    pub const fn channel(&self) -> Channel {
        match self {
            Self::Twilio(settings) => settings.medium.channel(),
            Self::Http(_) | Self::Console => Channel::Sms,
        }
    }
}

pub(super) static ORDER: Key = Key::new(
    "sms.senders",
    Kind::List("names of senders, each once: twilio, or one that has a [senders.<name>]"),
    TWILIO,
    "The senders in order: where one surely could not send, the next does at once, with the same code. twilio is there without \
     a section of its own.",
);

pub(super) static SENDERS: Key = Key::new(
    "senders",
    Kind::Senders,
    "",
    "A [senders.<name>] for each sender beside twilio, with kind (twilio, whatsapp, voice, http or console), from or \
     messaging_service_sid (for Twilio's kinds; default those of [twilio]), content_sid (whatsapp: the template, whose first \
     variable is the code), url and secret (http; the secret as whsec_ and 24 to 64 bytes in base64), countries (a list such as \
     [\"US\", \"CA\"]; all without) and after (how long a delivery report is waited for before this sender sends the same code; \
     without it this sender is used only where no message went out).",
)
.secret();

/// The sender that is there without a section.
const TWILIO: &str = "twilio";

/// The longest that a delivery report is waited for.
const LONGEST_AFTER: &str = "1h";

/// One sender before it is judged. No fault shows the secret, or the query of the URL.
#[derive(Clone, Default)]
struct Row {
    name: String,
    kind: String,
    from: String,
    service: String,
    content: String,
    url: String,
    secret: String,
    countries: String,
    after: String,
}

/// The sections and the order, before Twilio is known.
pub(super) struct Found {
    rows: Vec<Row>,
    order: Vec<String>,
}

/// Reads both keys; what is wrong with single sections is told.
pub(super) fn find(reader: &mut Reader<'_>) -> Found {
    let (found, origin) = reader.rows(&SENDERS, Row::from_table, Row::from_text);
    let mut rows: Vec<Row> = Vec::new();
    for row in found {
        match row.and_then(Row::named) {
            Ok(row) if rows.iter().any(|other| other.name == row.name) => {
                reader.bad(&SENDERS, &origin, format!("two are named {}", quoted(&row.name)));
            }
            Ok(row) => rows.push(row),
            Err(problem) => reader.bad(&SENDERS, &origin, problem),
        }
    }
    let order = reader.list(&ORDER, |name| Ok(name.to_owned()));
    if !rows.iter().any(|row| row.name == TWILIO) {
        rows.push(Row { name: TWILIO.to_owned(), kind: TWILIO.to_owned(), ..Row::default() });
    }
    Found { rows, order }
}

impl Found {
    /// Whether one of the senders in use is Twilio's.
    pub(super) fn want_twilio(&self) -> bool {
        let is_twilios = |row: &&Row| [TWILIO, "whatsapp", "voice"].contains(&row.kind.as_str());
        let wanted = |row: &&Row| self.order.contains(&row.name);
        self.rows.iter().filter(wanted).any(|row| is_twilios(&row))
    }

    /// The senders in order; each that is wrong, unknown or named twice is told. Without Twilio's settings, whose faults are told
    /// already, those of its kinds are left out. `ttl` is how long codes live; programs report nothing unless the server `is_public`.
    pub(super) fn in_order(
        self,
        reader: &mut Reader<'_>,
        twilio: Option<&TwilioSettings>,
        (ttl, is_public): (Duration, bool),
    ) -> Vec<ConfiguredSender> {
        let mut senders: Vec<ConfiguredSender> = Vec::new();
        for at in 0..self.order.len() {
            let sender = self.at(at, twilio, reader.debug).and_then(|sender| {
                let Some(sender) = sender else { return Ok(None) };
                sender.judge_after((at, &senders), ttl, is_public).map_err(|problem| (&SENDERS, problem))?;
                Ok(Some(sender))
            });
            match sender {
                Ok(sender) => senders.extend(sender),
                Err((key, problem)) => {
                    let origin = reader.origin(key).unwrap_or_default();
                    reader.bad(key, &origin, problem);
                }
            }
        }
        if self.order.is_empty() && !reader.is_faulty(&ORDER) {
            reader.fault(&ORDER, "there is no sender", "name one, such as twilio");
        }
        senders
    }

    /// The one at a place of the order; `None` for one of Twilio's where Twilio's settings are faulty.
    fn at(
        &self,
        at: usize,
        twilio: Option<&TwilioSettings>,
        debug: bool,
    ) -> Result<Option<ConfiguredSender>, (&'static Key, String)> {
        let name = &self.order[at];
        if self.order[..at].contains(name) {
            return Err((&ORDER, format!("{} stands there twice", quoted(name))));
        }
        let row = self.rows.iter().find(|row| row.name == *name).ok_or_else(|| {
            let help = "there is no section [senders.";
            (&ORDER, format!("{} is no sender: {help}{name}]", quoted(name)))
        })?;
        row.clone().judge(twilio, debug).map_err(|problem| (&SENDERS, problem))
    }
}

impl ConfiguredSender {
    /// Whether the time after which it is used ever comes, and whether something is known of the messages of those `before` it by
    /// then. Twilio is asked where it cannot report.
    fn judge_after(
        &self,
        (at, before): (usize, &[Self]),
        ttl: Duration,
        is_public: bool,
    ) -> Result<(), String> {
        let (Some(after), name) = (self.after, quoted(&self.name)) else { return Ok(()) };
        if at == 0 {
            return Err(format!("{name} is the first in sms.senders, so its after never comes"));
        }
        if after >= ttl {
            return Err(format!("the after of {name} never comes: the code has expired by then (otp.ttl)"));
        }
        match before.iter().find(|other| matches!(other.kind, SenderKind::Http(_))) {
            Some(silent) if !is_public => Err(format!(
                "the after of {name} needs server.public_url: without it {} reports nothing, and each of its codes would be sent twice",
                quoted(&silent.name)
            )),
            _ => Ok(()),
        }
    }
}

impl Row {
    fn from_table(fields: &[(String, String)]) -> Result<Self, String> {
        let mut row = Self::default();
        for (name, value) in fields {
            let field =
                row.field(name).ok_or_else(|| format!("{} is nothing that a sender has", quoted(name)))?;
            value.trim().clone_into(field);
        }
        Ok(row)
    }

    /// `name|kind=http|url=https://…|secret=whsec_…`, lists with `+` between the items.
    fn from_text(item: &str) -> Result<Self, String> {
        let mut parts = item.split('|').map(str::trim);
        let mut row = Self { name: parts.next().unwrap_or_default().to_owned(), ..Self::default() };
        for part in parts {
            let (name, value) = part.split_once('=').ok_or("one is not of the form name|key=value|…")?;
            let field = row
                .field(name.trim())
                .ok_or_else(|| format!("{} is nothing that a sender has", quoted(name)))?;
            value.trim().clone_into(field);
        }
        Ok(row)
    }

    fn field(&mut self, name: &str) -> Option<&mut String> {
        Some(match name {
            "name" => &mut self.name,
            "kind" => &mut self.kind,
            "from" => &mut self.from,
            "messaging_service_sid" => &mut self.service,
            "content_sid" => &mut self.content,
            "url" => &mut self.url,
            "secret" => &mut self.secret,
            "countries" => &mut self.countries,
            "after" => &mut self.after,
            _ => return None,
        })
    }

    fn named(self) -> Result<Self, String> {
        let is_name = (1..=32).contains(&self.name.len())
            && self.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b));
        if is_name {
            Ok(self)
        } else {
            Err(format!(
                "{} is no name of a sender: it has at most 32 small letters, digits, - and _",
                quoted(&self.name)
            ))
        }
    }

    /// `None` for one of Twilio's kinds where Twilio's settings are faulty.
    fn judge(self, twilio: Option<&TwilioSettings>, debug: bool) -> Result<Option<ConfiguredSender>, String> {
        let told = |what: &str| format!("the {what} of {}", quoted(&self.name));
        let unfit = [
            ("from", &self.from, "twilio whatsapp voice"),
            ("messaging_service_sid", &self.service, "twilio whatsapp"),
            ("content_sid", &self.content, "whatsapp"),
            ("url", &self.url, "http"),
            ("secret", &self.secret, "http"),
        ];
        for (what, value, kinds) in unfit {
            if !value.is_empty() && !kinds.split(' ').any(|kind| kind == self.kind) {
                return Err(format!("{} is not for a sender of kind {}", told(what), quoted(&self.kind)));
            }
        }
        if self.name == TWILIO && self.kind != TWILIO {
            return Err("the sender twilio is of kind twilio: give another one a name of its own".to_owned());
        }
        let countries = self.countries.trim_matches(['[', ']']).split([',', '+']).map(str::trim);
        let countries = countries
            .filter(|word| !word.is_empty())
            .map(|word| {
                word.parse().map_err(|error| format!("{} of {} is {error}", quoted(word), told("countries")))
            })
            .collect::<Result<Vec<Country>, _>>()?;
        let after = match self.after.as_str() {
            "" | "off" => None,
            text => Some(
                value::duration(text, "1s", LONGEST_AFTER)
                    .map_err(|wrong| format!("{}: {wrong}", told("after")))?,
            ),
        };
        let kind = match self.kind.as_str() {
            TWILIO => self.twilios(twilio, Medium::Sms)?,
            "whatsapp" => {
                let content = Sid::parse("HX", &self.content)
                    .ok_or_else(|| format!("{} is not HX and 32 hexadecimal digits", told("content_sid")))?;
                self.twilios(twilio, Medium::WhatsApp { content })?
            }
            "voice" => self.twilios(twilio, Medium::Voice)?,
            "http" => {
                let url = WebhookUrl::parse(&self.url).map_err(|error| format!("{} {error}", told("url")))?;
                let secret = WebhookSecret::parse(&self.secret)
                    .map_err(|wrong| format!("{} (not shown) {wrong}", told("secret")))?;
                Some(SenderKind::Http(HttpSenderSettings { name: self.name.clone(), url, secret }))
            }
            "console" if debug => Some(SenderKind::Console),
            "console" => {
                return Err(format!(
                    "{} prints codes instead of sending them, and is for debug alone",
                    quoted(&self.name)
                ));
            }
            other => {
                return Err(format!(
                    "{} of {} is none of twilio, whatsapp, voice, http, console",
                    quoted(other),
                    told("kind")
                ));
            }
        };
        let countries = (!countries.is_empty()).then_some(countries);
        Ok(kind.map(|kind| ConfiguredSender { name: self.name, kind, countries, after }))
    }

    fn twilios(&self, twilio: Option<&TwilioSettings>, medium: Medium) -> Result<Option<SenderKind>, String> {
        let told = |what: &str| format!("the {what} of {}", quoted(&self.name));
        let own = match (self.from.as_str(), self.service.as_str()) {
            ("", "") => None,
            (from, "") => Some(Sender::From(
                twilio::sender(from).map_err(|wrong| format!("{}: {wrong}", told("from")))?,
            )),
            ("", sid) => Some(Sender::MessagingService(Sid::parse("MG", sid).ok_or_else(|| {
                format!("{} is not MG and 32 hexadecimal digits", told("messaging_service_sid"))
            })?)),
            _ => {
                return Err(format!(
                    "{} has both from and messaging_service_sid: a message has one sender",
                    quoted(&self.name)
                ));
            }
        };
        let Some(twilio) = twilio else { return Ok(None) };
        let sender = own.unwrap_or_else(|| twilio.sender.clone());
        let is_number = matches!(&sender, Sender::From(number) if number.starts_with('+'));
        if medium != Medium::Sms
            && !is_number
            && !(medium.channel() == Channel::WhatsApp && matches!(sender, Sender::MessagingService(_)))
        {
            return Err(format!("{} needs a from with a number such as +15005550006", quoted(&self.name)));
        }
        Ok(Some(SenderKind::Twilio(Box::new(TwilioSettings {
            name: self.name.clone(),
            medium,
            sender,
            ..twilio.clone()
        }))))
    }
}
