//! The operations listener: metrics and health, for the operator's machines alone.

use std::sync::Arc;

use poem::endpoint::BoxEndpoint;
use poem::http::header::{CONTENT_TYPE, USER_AGENT};
use poem::http::{HeaderValue, Method};
use poem::{Endpoint, EndpointExt as _, Request, Response, Result};

use crate::api::caller::RequestId;
use crate::api::error::{ApiError, ErrorCode, Form};
use crate::api::health::{self, Readiness};
use crate::metrics;
use crate::random::Random;

/// Gives the page of metrics; wiring brings what is measured only when somebody looks up to date first.
pub type Page = Arc<dyn Fn(Reader) -> String + Send + Sync>;

/// The `User-Agent` by which `freshk check` gives itself away: its look is no scrape.
pub const CHECKER: &str = "freshk-check";

/// Who reads the page of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// Whoever keeps what it reads, as far as anybody can tell.
    Monitoring,
    /// `freshk check`, which only asks whether others read.
    Checker,
}

/// Puts together what the operations listener serves: `/metrics`, `/health/live`, `/health/ready`.
pub fn endpoint(page: Page, readiness: Readiness, random: Arc<dyn Random>) -> BoxEndpoint<'static, Response> {
    Operations { page, live: health::live(), ready: health::ready(readiness), random }.boxed()
}

struct Operations {
    page: Page,
    live: BoxEndpoint<'static>,
    ready: BoxEndpoint<'static>,
    random: Arc<dyn Random>,
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
                return Ok(self.metrics(reader));
            }
            "/health/live" => &self.live,
            _ => &self.ready,
        };
        asked.call(request).await.map_err(|error| {
            error.downcast_ref::<ApiError>().cloned().unwrap_or_else(|| ErrorCode::InternalError.into())
        })
    }

    fn metrics(&self, reader: Reader) -> Response {
        Response::builder().header(CONTENT_TYPE, metrics::MEDIA_TYPE).body((self.page)(reader))
    }
}
