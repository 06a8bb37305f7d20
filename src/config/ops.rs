//! `[ops]`: how the operator and the operator's machines learn how it stands.

use std::net::SocketAddr;

use super::command_line::CommandLine;
use super::key::{Key, Kind, Section};
use super::reader::Reader;
use super::value::socket_address;
use crate::domain::webhook::{WebhookUrl, WebhookUrlError};

/// `[ops]`
#[derive(Clone, Debug)]
pub struct Ops {
    /// Where the page, metrics and health are served to the operator's machines; `None`: nowhere.
    pub listen: Option<SocketAddr>,
    /// What is run for each alarm.
    pub alert_command: Option<CommandLine>,
    /// Where alarms are posted.
    pub alert_url: Option<WebhookUrl>,
    /// What is asked while all is well.
    pub heartbeat_url: Option<WebhookUrl>,
}

static OPS_LISTEN: Key = Key::new(
    "ops.listen",
    Kind::Text("an address and a port, such as 127.0.0.1:8001, or off"),
    "127.0.0.1:8001",
    "Where the operator's page, /metrics and /health are served to the operator's machines; off: nowhere. Never on a public \
     address.",
);
static ALERT_COMMAND: Key = Key::new(
    "ops.alert_command",
    Kind::Text("a program and its arguments, such as: /usr/local/bin/page-me {severity} {text}"),
    "",
    "What is run when an alarm opens and when it closes, once each; {alert}, {state} (opened or closed), {severity} (page or \
     ticket), {summary} and {text} stand for what it says. No shell reads it; it has half a minute.",
);
static ALERT_URL: Key = Key::new(
    "ops.alert_url",
    Kind::Text("an https URL, or an http one of this machine"),
    "",
    "Where alarms are posted as JSON when they open and when they close, once each. Most chat programs show its text.",
)
.secret();
static HEARTBEAT_URL: Key = Key::new(
    "ops.heartbeat_url",
    Kind::Text("an https URL, or an http one of this machine"),
    "",
    "Asked each minute while the server is ready and no alarm is open for which somebody must act now: a service that misses it \
     calls you.",
)
.secret();

pub(super) const SECTION: Section = Section {
    name: "ops",
    doc: "How the operator and the operator's machines learn how it stands.",
    keys: &[&OPS_LISTEN, &ALERT_COMMAND, &ALERT_URL, &HEARTBEAT_URL],
};

pub(super) fn read(reader: &mut Reader<'_>) -> Ops {
    let listen = reader.one(&OPS_LISTEN, |text| {
        if text.eq_ignore_ascii_case("off") { Ok(None) } else { socket_address(text).map(Some) }
    });
    Ops {
        listen: listen.flatten(),
        alert_command: reader.one(&ALERT_COMMAND, CommandLine::parse),
        alert_url: reader.one(&ALERT_URL, url),
        heartbeat_url: reader.one(&HEARTBEAT_URL, url),
    }
}

/// The URL is not repeated: whoever knows it can post there.
fn url(text: &str) -> Result<WebhookUrl, String> {
    WebhookUrl::parse(text).map_err(|error| match error {
        WebhookUrlError::Plain => "it is http and does not lead to this machine".to_owned(),
        other => format!("it {other}"),
    })
}
