//! Logs: one record, one line, on standard error and, if asked, in files of a day each, whatever a value holds; errors to an
//! error tracker as well.
//!
//! `pretty` is for people, `json` for programs. The fields of the spans around an event (`request_id`) stand beside its
//! own. Instants are ISO 8601 in UTC. Only the configuration decides what is logged; `RUST_LOG` is not consulted.

use std::io::{self, IsTerminal};
use std::panic::{self, PanicHookInfo};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use tracing::Subscriber;
use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::{Layered, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, Registry, reload};

use crate::domain::{Help, Timestamp};

#[cfg(test)]
pub(crate) mod caught;
mod fields;
mod file;
mod journal;
mod lines;
pub mod tracker;

use fields::KeepFields;
pub use file::{LogFile, day, of_day};
use lines::lines;
use tracker::{Pending, Reports, Tracker};

/// Tells the time.
pub type Now = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// How a record looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people, coloured on a terminal unless `NO_COLOR` is set.
    Pretty,
    /// One JSON object.
    Json,
}

/// Why there are no logs.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The filter is not of the form `info,freshk::sms=debug`.
    #[error("{0:?} is not a log filter")]
    Filter(String),
    /// The file cannot be written.
    #[error("log.file: {} cannot be written: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// What is there is somebody else's.
    #[error("log.file: {0} is a file that freshk did not make")]
    Foreign(PathBuf),
    /// The thread that reports errors cannot be started.
    #[error("sentry.dsn: its thread cannot be started: {0}")]
    Tracker(io::Error),
    /// Logs were set up before.
    #[error("logs are set up already")]
    Twice,
}

impl Help for InitError {
    fn help(&self) -> String {
        match self {
            Self::Filter(_) => "write one such as info,freshk::sms=debug",
            Self::File { .. } => {
                "name a file in a directory that exists, that this user can write and that has room"
            }
            Self::Foreign(_) => {
                "move it away, or choose another name: the log is kept in a file a day, and this name \
                                 leads to the latest"
            }
            Self::Tracker(_) => "check how many threads this user may have",
            Self::Twice => "report this as a bug of freshk",
        }
        .into()
    }
}

/// Holds the log in files and the reports to the error tracker open: when it is dropped, what waits is written and sent.
#[must_use = "dropped, it ends the log in files"]
#[derive(Debug)]
pub struct Logging {
    _file: Option<WorkerGuard>,
    _reports: Option<Pending>,
    /// What is logged, to be changed while the program runs.
    pub filter: Filter,
}

/// What is logged, to be changed while the program runs.
#[derive(Clone, Debug)]
pub struct Filter(reload::Handle<Targets, Registry>);

/// Another filter, known to be good and not yet in force.
pub struct NewFilter {
    filter: Filter,
    targets: Targets,
}

impl Filter {
    /// Reads another one, to put it in force.
    ///
    /// # Errors
    /// [`InitError::Filter`]
    pub fn read(&self, filter: &str) -> Result<NewFilter, InitError> {
        Ok(NewFilter { filter: self.clone(), targets: targets(filter)? })
    }
}

impl NewFilter {
    /// Logs by it from now on.
    pub fn set(self) {
        // It fails where there is no subscriber any more, and so no log.
        drop(self.filter.0.reload(self.targets));
    }
}

/// Sends the logs of the whole process to standard error, and to files where that is asked for; panics included, since what
/// a panic would write by itself is no record, and takes several lines. What is logged as an error goes to the error tracker
/// as well, if there is one.
///
/// # Errors
/// A bad filter, a file that cannot be written, a thread that cannot be started, or a second call.
pub fn init(
    filter: &str,
    format: Format,
    file: Option<LogFile<'_>>,
    tracker: Option<Tracker>,
) -> Result<Logging, InitError> {
    let stderr = if journal::is_standard_error() {
        BoxMakeWriter::new(journal::Prioritized)
    } else {
        BoxMakeWriter::new(io::stderr)
    };
    let (filter, targets) = reload::Layer::new(targets(filter)?);
    let subscriber = filtered(filter, lines(format, wants_colours(&io::stderr()), stderr));
    let (writer, guard) = file.map(file::open).transpose()?.unzip();
    let lines = writer.map(|writer| lines(format, false, writer));
    let reports = tracker.map(Reports::start).transpose().map_err(InitError::Tracker)?;
    let pending = reports.as_ref().map(Reports::pending);
    let subscriber = subscriber.with(lines).with(reports);
    subscriber.try_init().map_err(|_| InitError::Twice)?;
    panic::set_hook(Box::new(log_panic));
    Ok(Logging { _file: guard, _reports: pending, filter: Filter(targets) })
}

/// The message of the record of a panic.
const PANIC: &str = "a panic";

/// Whether what is written there may be coloured: on a terminal, unless `NO_COLOR` is set.
pub fn wants_colours(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty())
}

/// Says what panicked where, with the fields of the spans that it happened in: whoever catches it has no need to.
fn log_panic(info: &PanicHookInfo<'_>) {
    tracing::error!(
        place = info.location().map(tracing::field::display),
        thread = thread::current().name(),
        text = info.payload_as_str().unwrap_or("no text"),
        "{PANIC}"
    );
}

/// The same for another writer, not yet in force; for tests.
///
/// # Errors
/// A bad filter.
pub fn subscriber<W>(
    filter: &str,
    format: Format,
    colours: bool,
    writer: W,
) -> Result<impl Subscriber + for<'s> LookupSpan<'s> + Send + Sync + 'static, InitError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    Ok(filtered(targets(filter)?, lines(format, colours, writer)))
}

fn targets(filter: &str) -> Result<Targets, InitError> {
    let targets: Targets = filter.parse().map_err(|_| InitError::Filter(filter.to_owned()))?;
    // At trace the HTTP client dumps what it writes, credentials and code included.
    Ok(targets.with_target("ureq", LevelFilter::OFF))
}

fn filtered<F, L>(filter: F, lines: L) -> impl Subscriber + for<'s> LookupSpan<'s> + Send + Sync + 'static
where
    F: Layer<Registry> + Send + Sync + 'static,
    L: Layer<Layered<KeepFields, Layered<F, Registry>>> + Send + Sync + 'static,
{
    tracing_subscriber::registry().with(filter).with(KeepFields).with(lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Map, Value};
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(filter: &str, format: Format, log: impl FnOnce()) -> String {
        let sink = Sink::default();
        let writer = sink.clone();
        let subscriber = subscriber(filter, format, false, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, log);
        let bytes = sink.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn s33_one_json_object_per_line_with_the_fields_of_its_spans() {
        let text = logged("info", Format::Json, || {
            let outer = tracing::info_span!("request", request_id = "r1", route = tracing::field::Empty);
            let _outer = outer.enter();
            outer.record("route", "/production/request/");
            let _inner = tracing::info_span!("sms", attempt = 2).entered();
            tracing::warn!(target: "freshk::sms", status = 500_u64, ok = false, level = "x", "not {}", "sent");
        });
        assert_eq!(text.lines().count(), 1);
        let record: Map<String, Value> = serde_json::from_str(&text).unwrap();
        assert_eq!(record["level"], "WARN");
        assert_eq!(record["target"], "freshk::sms");
        assert_eq!(record["message"], "not sent");
        assert_eq!(record["request_id"], "r1");
        assert_eq!(record["route"], "/production/request/");
        assert_eq!(record["attempt"], 2);
        assert_eq!(record["status"], 500);
        assert_eq!(record["ok"], false);
        assert_eq!(record["field.level"], "x");
        let time = record["timestamp"].as_str().unwrap();
        assert!(time.ends_with('Z') && time.parse::<jiff::Timestamp>().is_ok(), "{time}");
        assert!(text.starts_with("{\"timestamp\":"), "{text}");
    }

    #[test]
    fn s34_nothing_in_a_value_begins_a_new_record() {
        let evil = "a\r\n{\"level\":\"ERROR\"}\u{1b}[2J\u{85}b\u{2028}c";
        for format in [Format::Json, Format::Pretty] {
            let text = logged("info", format, || {
                let _span = tracing::info_span!("request", agent = evil).entered();
                tracing::info!(quoted = ?evil, shown = %evil, plain = evil, "{evil}");
            });
            assert_eq!(text.matches('\n').count(), 1, "{text}");
            assert!(text.ends_with('\n'));
            assert!(!text.trim_end_matches('\n').contains(lines::ends_or_steers), "{text}");
            if format == Format::Json {
                let record: Map<String, Value> = serde_json::from_str(&text).unwrap();
                assert_eq!(record["plain"], evil);
            }
        }
    }

    #[test]
    fn targets_have_levels_of_their_own() {
        let text = logged("info,freshk::sms=debug", Format::Pretty, || {
            tracing::debug!(target: "freshk::sms", "seen");
            tracing::debug!(target: "freshk::http", "unseen");
        });
        assert!(text.contains("DEBUG freshk::sms: seen"), "{text}");
        assert!(!text.contains("unseen"));
    }

    #[test]
    fn a_bad_filter_is_refused() {
        assert!(subscriber("freshk=loud", Format::Json, false, io::sink).is_err());
    }
}
