//! Errors to an error tracker that speaks Sentry's protocol: each record of level ERROR, and so each panic, as an event, without
//! what tells of a person or opens a door. What is lost here is still in the log.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use sentry::integrations::backtrace::current_stacktrace;
use sentry::protocol::{Event as Report, Exception, Level as Severity, Stacktrace};
use sentry::types::Dsn;
use sentry::{Client, ClientOptions};
use serde_json::Value;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::fields::Fields;
use super::{Now, PANIC};

mod post;
mod scrub;
#[cfg(test)]
pub(crate) mod sink;
#[cfg(test)]
mod tests;

use post::Post;
use scrub::{scrub, scrub_value};

/// How long the end of the program waits for what is not sent yet.
const PATIENCE: Duration = Duration::from_secs(2);

/// Who writes a line for each request: of a request that failed, another record says why.
const ACCESS: &str = "freshk::http::edge::access";

/// Where errors are reported.
#[derive(Clone)]
pub struct Tracker {
    /// Where the error tracker takes reports, with its key.
    pub dsn: Dsn,
    /// What the error tracker groups them by, such as `production`.
    pub environment: String,
    /// Tells the time, for pauses.
    pub now: Now,
}

/// Reports what is logged as an error.
#[derive(Clone)]
pub(super) struct Reports(Arc<Client>);

/// When it is dropped, what is not sent yet is waited for, for a moment.
pub(super) struct Pending(Reports);

impl Reports {
    /// Starts the thread that sends.
    pub(super) fn start(tracker: Tracker) -> io::Result<Self> {
        let post = Arc::new(Post::start(&tracker.dsn, tracker.now)?);
        // Nothing is sent but what is put into a report here: no integration, no name of the machine, no breadcrumb.
        let mut options = ClientOptions::new()
            .release(concat!("freshk@", env!("CARGO_PKG_VERSION")))
            .environment(tracker.environment)
            .default_integrations(false)
            .max_breadcrumbs(0)
            .in_app_include(["freshk"])
            .shutdown_timeout(PATIENCE)
            .transport(post);
        options.dsn = Some(tracker.dsn);
        Ok(Self(Arc::new(Client::from_config(options))))
    }

    /// To be held until the end.
    pub(super) fn pending(&self) -> Pending {
        Pending(self.clone())
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.0.flush(Some(PATIENCE));
    }
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").finish_non_exhaustive()
    }
}

impl<S> Layer<S> for Reports
where
    S: Subscriber + for<'s> LookupSpan<'s>,
{
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let metadata = event.metadata();
        if *metadata.level() != Level::ERROR || metadata.target() == ACCESS {
            return;
        }
        let fields = Fields::of(event, context.event_scope(event));
        self.0.capture_event(report(metadata.target(), fields), None);
    }
}

/// The report of a record.
fn report(target: &str, mut fields: Fields) -> Report<'static> {
    let mut report = Report { level: Severity::Error, logger: Some(target.to_owned()), ..Report::default() };
    // Ours, and what a person finds the lines of the log by.
    for name in ["request_id", "place"] {
        if let Some(Value::String(text)) = fields.take(name) {
            report.tags.insert(name.to_owned(), text);
        }
    }
    if fields.message == PANIC {
        let text = fields.take("text");
        let text = text.as_ref().and_then(Value::as_str).map(scrub);
        report.level = Severity::Fatal;
        report.exception = vec![exception(text)].into();
        if let Some(place) = report.tags.get("place") {
            report.fingerprint = Cow::Owned(vec![PANIC.into(), place.clone().into()]);
        }
    } else {
        report.message = Some(scrub(&fields.message));
    }
    report.extra = fields
        .rest
        .into_iter()
        .map(|(name, value)| {
            let value = scrub_value(&name, value);
            (name.into_owned(), value)
        })
        .collect();
    report
}

/// A panic, where the thread stands.
fn exception(text: Option<String>) -> Exception {
    let stacktrace =
        current_stacktrace().map(|Stacktrace { frames, .. }| Stacktrace { frames, ..Stacktrace::default() });
    Exception { ty: "panic".to_owned(), value: text, stacktrace, ..Exception::default() }
}
