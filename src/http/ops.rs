//! The operations listener: the operator's page, metrics and health, for the operator's machines alone.

use std::net::IpAddr;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use poem::endpoint::BoxEndpoint;
use poem::http::header::{CONTENT_TYPE, HOST, USER_AGENT};
use poem::http::{HeaderMap, HeaderValue, Method};
use poem::{Endpoint, EndpointExt as _, Request, Response, Result};

use crate::http::accept;
use crate::http::caller::RequestId;
use crate::http::edge::hosts::Hosts;
use crate::http::error::{ApiError, ErrorCode, Form};
use crate::http::health::{self, Readiness};
use crate::metrics::Format;
use crate::random::Random;

/// Renders the metrics; wiring first updates those that are measured on demand.
pub type Page = Arc<dyn Fn(Reader, Format) -> String + Send + Sync>;

/// Writes the operator's page.
pub type Overview = Arc<dyn Fn() -> BoxFuture<'static, String> + Send + Sync>;

/// The `User-Agent` of `freshk check`, whose reading does not count as a scrape.
pub const CHECKER: &str = "freshk-check";

/// What the page may do: show its own styles, and nothing else.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Who reads the page of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// A monitoring system, or anything else that is not `freshk check`.
    Monitoring,
    /// `freshk check`, which only looks whether a monitoring system reads.
    Checker,
    /// The server itself, for its alarms and for the operator's page.
    Server,
}

/// The header of every answer here that says which database is served: a file by its device and inode, `PostgreSQL` by its
/// place and the schema. By it `freshk check` knows its own server from another one on the port.
pub const DATABASE: &str = "x-freshk-database";

/// What the listener serves.
pub struct Parts {
    /// `/`
    pub overview: Overview,
    /// `/metrics`
    pub metrics: Page,
    /// `/health/ready`
    pub readiness: Readiness,
    /// Draws ids of requests.
    pub random: Arc<dyn Random>,
    /// Which database is served.
    pub database: String,
    /// The names under which the page is served, beside addresses and `localhost`, as `server.allowed_hosts` has them; that all
    /// are allowed there names none.
    pub hosts: Vec<String>,
}

/// Puts together what the operations listener serves: `/`, `/metrics`, `/health/live`, `/health/ready`.
pub fn endpoint(parts: Parts) -> BoxEndpoint<'static, Response> {
    let Parts { overview, metrics, readiness, random, database, hosts } = parts;
    let database = HeaderValue::from_str(&database).unwrap_or(HeaderValue::from_static(""));
    let (live, ready) = (health::live(), health::ready(readiness));
    Operations { overview, page: metrics, live, ready, random, database, hosts: Hosts::only(&hosts) }.boxed()
}

struct Operations {
    overview: Overview,
    hosts: Hosts,
    page: Page,
    live: BoxEndpoint<'static>,
    ready: BoxEndpoint<'static>,
    random: Arc<dyn Random>,
    database: HeaderValue,
}

impl Endpoint for Operations {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        let form = Form::preferred(request.headers());
        let mut response = match self.answer(request).await {
            Ok(response) => response,
            Err(error) => error.render(&RequestId::draw(&*self.random), form),
        };
        response.headers_mut().insert("cache-control", HeaderValue::from_static("no-store"));
        response.headers_mut().insert(DATABASE, self.database.clone());
        Ok(response)
    }
}

impl Operations {
    async fn answer(&self, request: Request) -> Result<Response, ApiError> {
        let path = request.uri().path().to_owned();
        let path = path.strip_suffix('/').unwrap_or(&path);
        if !["", "/metrics", "/health/live", "/health/ready"].contains(&path) {
            return Err(ErrorCode::NotFound.into());
        }
        if ![Method::GET, Method::HEAD].contains(request.method()) {
            return Err(ApiError::method_not_allowed("GET, HEAD"));
        }
        let asked = match path {
            "" => return self.overview(request.headers()).await,
            "/metrics" => {
                let is_checker = request.headers().get(USER_AGENT).is_some_and(|agent| agent == CHECKER);
                let reader = if is_checker { Reader::Checker } else { Reader::Monitoring };
                return Ok(self.metrics(reader, format(request.headers())));
            }
            "/health/live" => &self.live,
            _ => &self.ready,
        };
        asked.call(request).await.map_err(|error| {
            error.downcast_ref::<ApiError>().cloned().unwrap_or_else(|| ErrorCode::InternalError.into())
        })
    }

    /// The page, under a name of the operator's own: a page of somebody else's that a browser took for this machine reads nothing.
    async fn overview(&self, headers: &HeaderMap) -> Result<Response, ApiError> {
        let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        if !self.is_own(host) {
            return Err(ErrorCode::HostNotAllowed.into());
        }
        let page = (self.overview)().await;
        let response = Response::builder().header(CONTENT_TYPE, "text/html; charset=utf-8");
        let response =
            response.header("content-security-policy", POLICY).header("x-content-type-options", "nosniff");
        Ok(response.header("referrer-policy", "no-referrer").body(page))
    }

    fn is_own(&self, host: &str) -> bool {
        let name = match host.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or_default(),
            None => host.split(':').next().unwrap_or_default(),
        };
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        name.parse::<IpAddr>().is_ok() || name == "localhost" || self.hosts.names(host)
    }

    fn metrics(&self, reader: Reader, format: Format) -> Response {
        Response::builder().header(CONTENT_TYPE, format.media_type()).body((self.page)(reader, format))
    }
}

/// The format that `Accept` prefers: the older one unless the other is asked for, since not everybody reads that.
fn format(headers: &HeaderMap) -> Format {
    let format = accept::preferred(headers, |range| {
        if range.is("application/openmetrics-text") {
            range.parameter("version").is_none_or(|version| version == "1.0.0").then_some(Format::OpenMetrics)
        } else {
            range.is("text/plain").then_some(Format::Text)
        }
    });
    format.unwrap_or(Format::Text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use poem::http::header::ACCEPT;

    #[test]
    fn a_scraper_gets_the_format_that_it_asks_for_and_the_older_one_otherwise() {
        for (accept, expected) in [
            ("", Format::Text),
            ("*/*", Format::Text),
            ("text/plain;version=0.0.4", Format::Text),
            ("application/openmetrics-text; version=1.0.0", Format::OpenMetrics),
            ("application/openmetrics-text", Format::OpenMetrics),
            ("application/openmetrics-text;version=\"0.0.1\"", Format::Text),
            ("application/openmetrics-text;q=0.1, text/plain;q=0.5", Format::Text),
            // As Prometheus asks, in its second and third version.
            (
                "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,\
                 text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                Format::OpenMetrics,
            ),
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
                 application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,\
                 text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
                Format::OpenMetrics,
            ),
            ("text/plain;version=0.0.4;q=0.5,*/*;q=0.1", Format::Text),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_static(accept));
            assert_eq!(format(&headers), expected, "{accept}");
        }
    }
}
