//! The fields of events and spans. Those of a span are kept as they are when it is made, so that its events need not read
//! them from text.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::{LookupSpan, Scope};

/// The fields of a span.
struct SpanFields(Fields);

/// Keeps the fields of each span beside it.
pub(super) struct KeepFields;

impl<S> Layer<S> for KeepFields
where
    S: Subscriber + for<'s> LookupSpan<'s>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(SpanFields(fields));
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(SpanFields(fields)) = span.extensions_mut().get_mut()
        {
            values.record(fields);
        }
    }
}

/// Writes no text for the fields of a span: [`KeepFields`] has them.
pub(super) struct Unformatted;

impl<'w> FormatFields<'w> for Unformatted {
    fn format_fields<R: RecordFields>(&self, _: Writer<'w>, _: R) -> fmt::Result {
        Ok(())
    }
}

/// The fields of an event or a span, collected.
#[derive(Default)]
pub(super) struct Fields {
    pub(super) message: String,
    /// In the order in which they came, no name twice. They are few.
    pub(super) rest: Vec<(Cow<'static, str>, Value)>,
}

/// Room for a value that is formatted: most are shorter.
const TEXT: usize = 48;

/// Room for the fields of most events.
const FIELDS: usize = 12;

impl Fields {
    /// Those of an event, beside those of the spans around it.
    pub(super) fn of<S>(event: &Event<'_>, spans: Option<Scope<'_, S>>) -> Self
    where
        S: for<'s> LookupSpan<'s>,
    {
        let mut fields = Self { rest: Vec::with_capacity(FIELDS), ..Self::default() };
        for span in spans.into_iter().flat_map(Scope::from_root) {
            if let Some(kept) = span.extensions().get::<SpanFields>() {
                fields.put_all(kept);
            }
        }
        event.record(&mut fields);
        fields
    }

    /// A field with a name of ours steps aside: one object must not have two members of one name.
    fn put(&mut self, name: &'static str, value: Value) {
        self.set(
            match name {
                "timestamp" | "level" | "target" | "message" => format!("field.{name}").into(),
                _ => name.strip_prefix("r#").unwrap_or(name).into(),
            },
            value,
        );
    }

    /// The later of two values of one name stands, in the place of the earlier one.
    fn set(&mut self, name: Cow<'static, str>, value: Value) {
        match self.rest.iter_mut().find(|(other, _)| *other == name) {
            Some((_, earlier)) => *earlier = value,
            None => self.rest.push((name, value)),
        }
    }

    /// Takes a field away.
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        let place = self.rest.iter().position(|(other, _)| other == name)?;
        Some(self.rest.remove(place).1)
    }

    /// Adds the fields of a span around the event.
    fn put_all(&mut self, SpanFields(span): &SpanFields) {
        if !span.message.is_empty() {
            self.put("message", span.message.as_str().into());
        }
        for (name, value) in &span.rest {
            self.set(name.clone(), value.clone());
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = String::with_capacity(TEXT);
        if write!(text, "{value:?}").is_err() {
            // A string takes whatever is written: it is the value that failed.
            text.clear();
        }
        match field.name() {
            "message" => self.message = text,
            name => self.put(name, Value::String(text)),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => value.clone_into(&mut self.message),
            name => self.put(name, value.into()),
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field.name(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field.name(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field.name(), value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field.name(), value.into());
    }
}
