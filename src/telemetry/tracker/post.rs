//! Sends reports from a thread of its own, so that no call waits for the error tracker.

use std::io;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use sentry::types::Dsn;
use sentry::{Envelope, Transport};
use ureq::Agent;
use ureq::http::{HeaderMap, header};

use super::super::Now;
use crate::domain::Timestamp;
use crate::outgoing;
use crate::sync::lock;

/// So many reports wait at most; what comes then is in the log alone.
const WAITING: usize = 512;

/// So many reports are sent in a minute at most: a fault that every call meets fills no quota.
const PER_MINUTE: u32 = 300;

/// For the lookup of the name, and again for connecting with TLS.
const CONNECT: Duration = Duration::from_secs(3);

/// For a whole call.
const DEADLINE: Duration = Duration::from_secs(10);

/// How long nothing is sent where the error tracker asks for a pause and does not say for how long.
const PAUSE: Duration = Duration::from_mins(1);

/// The longest pause that it may ask for.
const LONGEST: Duration = Duration::from_hours(1);

enum Job {
    Send(Box<Envelope>),
    /// Tells when all that came before it is done.
    Flush(SyncSender<()>),
}

/// Takes reports, and sends them one after the other.
pub(super) struct Post {
    jobs: Mutex<Option<SyncSender<Job>>>,
}

impl Post {
    /// Starts the thread.
    pub(super) fn start(dsn: &Dsn, now: Now) -> io::Result<Self> {
        let (jobs, waiting) = sync_channel(WAITING);
        let courier = Courier {
            agent: outgoing::client(outgoing::settings(CONNECT, DEADLINE).build()),
            url: dsn.envelope_api_url().to_string(),
            auth: dsn.to_auth(Some(concat!("freshk/", env!("CARGO_PKG_VERSION")))).to_string(),
            now,
            quiet_until: None,
            minute: None,
            is_lost: false,
        };
        thread::Builder::new().name("error-reports".to_owned()).spawn(move || courier.run(&waiting))?;
        Ok(Self { jobs: Mutex::new(Some(jobs)) })
    }

    fn put(&self, job: Job) -> bool {
        let jobs = lock(&self.jobs).clone();
        jobs.is_some_and(|jobs| jobs.try_send(job).is_ok())
    }
}

impl Transport for Post {
    fn send_envelope(&self, envelope: Envelope) {
        self.put(Job::Send(Box::new(envelope)));
    }

    fn flush(&self, timeout: Duration) -> bool {
        let (done, is_done) = sync_channel(1);
        self.put(Job::Flush(done)) && !matches!(is_done.recv_timeout(timeout), Err(RecvTimeoutError::Timeout))
    }

    fn shutdown(&self, timeout: Duration) -> bool {
        let is_sent = self.flush(timeout);
        // The thread ends with its channel.
        lock(&self.jobs).take();
        is_sent
    }
}

struct Courier {
    agent: Agent,
    url: String,
    auth: String,
    now: Now,
    /// Until when the error tracker wants nothing.
    quiet_until: Option<Timestamp>,
    /// When the current minute began, and how many were sent in it.
    minute: Option<(Timestamp, u32)>,
    is_lost: bool,
}

impl Courier {
    fn run(mut self, jobs: &Receiver<Job>) {
        for job in jobs {
            match job {
                Job::Send(envelope) => self.send(&envelope),
                // Nobody waits any more, at worst.
                Job::Flush(done) => drop(done.send(())),
            }
        }
    }

    fn send(&mut self, envelope: &Envelope) {
        if !self.may_send() {
            return;
        }
        let mut body = Vec::new();
        if envelope.to_writer(&mut body).is_err() {
            return;
        }
        let request = self.agent.post(&self.url);
        let request = request.header(header::CONTENT_TYPE, "application/x-sentry-envelope");
        let lost = match request.header("x-sentry-auth", &self.auth).send(&body[..]) {
            Ok(response) => {
                if let Some(pause) = pause(response.status().as_u16(), response.headers()) {
                    self.quiet_until = Some((self.now)() + pause);
                }
                let status = response.status();
                (!status.is_success() && status.as_u16() != 429)
                    .then(|| format!("it answered {}", status.as_u16()))
            }
            Err(error) => Some(outgoing::words(&error)),
        };
        self.tell(lost.as_deref());
    }

    /// Whether the error tracker wants it, and this minute has room.
    fn may_send(&mut self) -> bool {
        let now = (self.now)();
        if self.quiet_until.is_some_and(|until| now < until) {
            return false;
        }
        let (began, sent) = self.minute.filter(|(began, _)| began.until(now) < PAUSE).unwrap_or((now, 0));
        self.minute = Some((began, sent + 1));
        sent < PER_MINUTE
    }

    /// Says once that reports are lost, and once that they are not any more; never as an error, which would be reported.
    fn tell(&mut self, lost: Option<&str>) {
        match lost {
            Some(error) if !self.is_lost => {
                tracing::warn!(error, "errors cannot be reported to sentry.dsn; they are in the log alone");
            }
            None if self.is_lost => tracing::info!("errors are reported to sentry.dsn again"),
            _ => {}
        }
        self.is_lost = lost.is_some();
    }
}

/// How long the error tracker wants nothing more.
fn pause(status: u16, headers: &HeaderMap) -> Option<Duration> {
    let number = |text: &str| text.trim().parse().ok().map(Duration::from_secs);
    let named = |name| headers.get(name).and_then(|value| value.to_str().ok());
    // Pauses, each with the kinds of reports that it is for; errors are all that is sent.
    let limits = named("x-sentry-rate-limits").into_iter().flat_map(|limits| limits.split(','));
    let limited = limits.filter_map(|limit| {
        let (seconds, kinds) = limit.trim().split_once(':')?;
        let kinds = kinds.split(':').next()?;
        kinds.split(';').any(|kind| kind.is_empty() || kind == "error").then(|| number(seconds)).flatten()
    });
    let asked = limited.max();
    let refused = (status == 429).then(|| named("retry-after").and_then(number).unwrap_or(PAUSE));
    asked.or(refused).map(|pause| pause.min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paused(status: u16, headers: &[(&'static str, &str)]) -> Option<u64> {
        let headers = headers.iter().map(|(name, value)| {
            (header::HeaderName::from_static(name), header::HeaderValue::from_str(value).unwrap())
        });
        pause(status, &headers.collect()).map(|pause| pause.as_secs())
    }

    #[test]
    fn a_pause_is_kept_as_it_is_asked_for_and_never_forever() {
        assert_eq!(paused(200, &[]), None);
        assert_eq!(paused(429, &[]), Some(60));
        assert_eq!(paused(429, &[("retry-after", "7")]), Some(7));
        assert_eq!(paused(429, &[("retry-after", "nonsense")]), Some(60));
        assert_eq!(paused(429, &[("retry-after", "99999999")]), Some(3600));
        assert_eq!(paused(500, &[("retry-after", "7")]), None);
        let limits = |value| paused(200, &[("x-sentry-rate-limits", value)]);
        assert_eq!(limits("30:error:project"), Some(30));
        assert_eq!(limits("30::organization"), Some(30));
        assert_eq!(limits("30:transaction;session:key"), None);
        assert_eq!(limits("30:transaction:key, 90:default;error:organization:quota"), Some(90));
        assert_eq!(limits("nonsense"), None);
    }
}
