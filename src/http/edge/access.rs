//! One line in the log for a request: successes at `debug`, refusals at `info`, faults of ours above.

use std::time::Duration;

use poem::http::{Method, StatusCode};

use crate::domain::ClientAddress;
use crate::http::error::{ApiError, ErrorCode};
use crate::metrics::{Metrics, RouteMeter};

use super::refusals::Refusals;

/// The route of a request that never reached one.
pub(super) const UNKNOWN: &str = "unknown";

/// What a line tells; the request's name comes from the span. Nothing here is text of the client's: a path is told as
/// the template that it matched, so that no input can begin a new record (S34).
pub(super) struct Line<'a> {
    method: &'static str,
    client: ClientAddress,
    pub(super) route: &'a str,
    pub(super) meter: &'a RouteMeter,
    code: Option<ErrorCode>,
    /// In the words of the OWASP logging vocabulary.
    event: Option<&'static str>,
}

impl<'a> Line<'a> {
    pub(super) fn new(method: &Method, client: ClientAddress, unmatched: &'a RouteMeter) -> Self {
        Self { method: known(method), client, route: UNKNOWN, meter: unmatched, code: None, event: None }
    }

    /// Notes why the request was refused.
    pub(super) fn refuse(&mut self, error: &ApiError) {
        self.code = Some(error.code());
        self.event = error.is_input().then_some("input_validation_fail");
    }

    pub(super) fn count(&self, metrics: &Metrics, status: StatusCode, latency: Duration) {
        self.meter.answered(status.as_u16(), latency);
        if let Some(code) = self.code {
            metrics.refused(code.as_str());
            if code == ErrorCode::RateLimited {
                self.meter.limited();
            }
        }
    }

    /// Writes the line, unless the client has had so many refusals that they are only counted.
    pub(super) fn write(&self, refusals: &Refusals, status: StatusCode, latency: Duration) {
        // A fault of ours is always told.
        let is_refused = self.code.is_some_and(|code| code != ErrorCode::InternalError);
        if is_refused && !refusals.has_line(self.client) {
            return;
        }
        let latency_ms = u64::try_from(latency.as_millis()).unwrap_or(u64::MAX);
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    event = self.event,
                    method = self.method,
                    route = self.route,
                    status = status.as_u16(),
                    code = self.code.map(ErrorCode::as_str),
                    client = %self.client,
                    latency_ms,
                    "request"
                )
            };
        }
        if self.code == Some(ErrorCode::InternalError) {
            line!(error);
        } else if status.is_server_error() {
            line!(warn);
        } else if status.is_client_error() && self.code != Some(ErrorCode::RateLimited) {
            line!(info);
        } else {
            line!(debug);
        }
    }
}

/// The methods that exist; others are a client's free text.
fn known(method: &Method) -> &'static str {
    const KNOWN: [Method; 9] = [
        Method::GET,
        Method::POST,
        Method::HEAD,
        Method::OPTIONS,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::TRACE,
        Method::CONNECT,
    ];
    const NAMES: [&str; 9] = ["GET", "POST", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT"];
    KNOWN.iter().zip(NAMES).find_map(|(each, name)| (each == method).then_some(name)).unwrap_or("other")
}
