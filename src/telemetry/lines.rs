//! A record as one line, whatever a value holds.

use std::fmt;

use serde::ser::{SerializeMap as _, Serializer as _};
use serde_json::Value;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::registry::LookupSpan;

use super::Format;
use super::fields::{Fields, Unformatted};

/// Writes each event as one line with `writer`.
pub(super) fn lines<S, W>(format: Format, colours: bool, writer: W) -> impl Layer<S> + Send + Sync + 'static
where
    S: Subscriber + for<'s> LookupSpan<'s>,
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    tracing_subscriber::fmt::layer()
        .fmt_fields(Unformatted)
        .event_format(Lines { format })
        .with_ansi(colours && format == Format::Pretty)
        // A standard error that is closed must not become a panic.
        .log_internal_errors(false)
        .with_writer(writer)
}

/// Writes each event as one line.
struct Lines {
    format: Format,
}

/// An event with the fields of its spans.
struct Record<'e> {
    time: String,
    level: &'static str,
    target: &'e str,
    fields: Fields,
}

/// Room for an instant.
const INSTANT: usize = 32;

/// Room for most lines.
const LINE: usize = 512;

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'s> LookupSpan<'s>,
    N: for<'w> FormatFields<'w> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let fields = Fields::of(event, context.event_scope());
        let mut time = String::with_capacity(INSTANT);
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let level = event.metadata().level().as_str();
        let record = Record { time, level, target: event.metadata().target(), fields };
        match self.format {
            Format::Json => {
                let json = record.json().map_err(|_| fmt::Error)?;
                write_json(&mut writer, &String::from_utf8_lossy(&json))?;
            }
            Format::Pretty => record.pretty(&mut writer, *event.metadata().level())?,
        }
        writer.write_char('\n')
    }
}

impl Record<'_> {
    fn json(&self) -> serde_json::Result<Vec<u8>> {
        let mut line = Vec::with_capacity(LINE);
        let mut serializer = serde_json::Serializer::new(&mut line);
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("timestamp", &self.time)?;
        map.serialize_entry("level", self.level)?;
        map.serialize_entry("target", self.target)?;
        map.serialize_entry("message", &self.fields.message)?;
        for (name, value) in &self.fields.rest {
            map.serialize_entry(name, value)?;
        }
        map.end()?;
        Ok(line)
    }

    fn pretty(&self, writer: &mut Writer<'_>, level: Level) -> fmt::Result {
        let (colour, dim, plain) = match (writer.has_ansi_escapes(), level) {
            (false, _) => ("", "", ""),
            (true, Level::ERROR) => ("\x1b[31m", "\x1b[2m", "\x1b[0m"),
            (true, Level::WARN) => ("\x1b[33m", "\x1b[2m", "\x1b[0m"),
            (true, _) => ("\x1b[32m", "\x1b[2m", "\x1b[0m"),
        };
        let (time, level, target) = (&self.time, self.level, self.target);
        write!(writer, "{dim}{time}{plain} {colour}{level:>5}{plain} {dim}{target}:{plain} ")?;
        write_escaped(writer, &self.fields.message)?;
        for (name, value) in &self.fields.rest {
            write!(writer, " {dim}{name}={plain}")?;
            match value {
                Value::String(text) => write_escaped(writer, text)?,
                other => write_escaped(writer, &other.to_string())?,
            }
        }
        Ok(())
    }
}

/// Whether a character could end a line or steer a terminal, to any reader; all of them lie below U+10000.
pub(super) fn ends_or_steers(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

/// JSON escapes the control characters of ASCII; the others can end a line or steer a terminal just as well. Outside of
/// strings there are none, so that the JSON means what it meant.
fn write_json(writer: &mut impl fmt::Write, json: &str) -> fmt::Result {
    if json.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return writer.write_str(json);
    }
    json.chars().try_for_each(|c| {
        if ends_or_steers(c) { write!(writer, "\\u{:04x}", u32::from(c)) } else { writer.write_char(c) }
    })
}

/// Escapes whatever could end a line or steer a terminal, and nothing else.
fn write_escaped(writer: &mut impl fmt::Write, text: &str) -> fmt::Result {
    text.chars().try_for_each(|c| {
        if ends_or_steers(c) { write!(writer, "{}", c.escape_default()) } else { writer.write_char(c) }
    })
}
