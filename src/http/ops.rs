//! The operations listener: metrics and health, for the operator's machines alone.

use std::sync::Arc;

use poem::endpoint::BoxEndpoint;
use poem::http::header::{CONTENT_TYPE, USER_AGENT};
use poem::http::{HeaderMap, HeaderValue, Method};
use poem::{Endpoint, EndpointExt as _, Request, Response, Result};

use crate::http::accept;
use crate::http::caller::RequestId;
use crate::http::error::{ApiError, ErrorCode, Form};
use crate::http::health::{self, Readiness};
use crate::metrics::Format;
use crate::random::Random;

/// Renders the metrics; wiring first updates those that are measured on demand.
pub type Page = Arc<dyn Fn(Reader, Format) -> String + Send + Sync>;

/// The `User-Agent` of `freshk check`, whose reading does not count as a scrape.
pub const CHECKER: &str = "freshk-check";

/// Who reads the page of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// A monitoring system, or anything else that is not `freshk check`.
    Monitoring,
    /// `freshk check`, which only looks whether a monitoring system reads.
    Checker,
}

/// The header of every answer here that says which database is served: a file by its device and inode, `PostgreSQL` by its
/// place and the schema. By it `freshk check` knows its own server from another one on the port.
pub const DATABASE: &str = "x-freshk-database";

/// Puts together what the operations listener serves: `/metrics`, `/health/live`, `/health/ready`.
pub fn endpoint(
    page: Page,
    readiness: Readiness,
    random: Arc<dyn Random>,
    database: &str,
) -> BoxEndpoint<'static, Response> {
    let database = HeaderValue::from_str(database).unwrap_or(HeaderValue::from_static(""));
    Operations { page, live: health::live(), ready: health::ready(readiness), random, database }.boxed()
}

struct Operations {
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
        if !["/metrics", "/health/live", "/health/ready"].contains(&path) {
            return Err(ErrorCode::NotFound.into());
        }
        if ![Method::GET, Method::HEAD].contains(request.method()) {
            return Err(ApiError::method_not_allowed("GET, HEAD"));
        }
        let asked = match path {
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
