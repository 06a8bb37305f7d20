//! Liveness and readiness.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use poem::endpoint::{BoxEndpoint, make, make_sync};
use poem::http::header::CONTENT_TYPE;
use poem::{EndpointExt, Response};

use crate::http::error::ApiError;

/// Asks whether the process can serve now; wiring knows whom to ask.
pub type Readiness = Arc<dyn Fn() -> BoxFuture<'static, bool> + Send + Sync>;

/// How long the check may take, and the `Retry-After` of a refusal.
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);

/// `/health/live`: the process answers.
pub(super) fn live() -> BoxEndpoint<'static> {
    make_sync(|_| ok()).boxed()
}

/// `/health/ready`: 200, or 503 `unavailable` while requests should go elsewhere.
pub(super) fn ready(readiness: Readiness) -> BoxEndpoint<'static> {
    make(move |_| {
        let answer = tokio::time::timeout(CHECK_TIMEOUT, readiness());
        async move {
            if answer.await.unwrap_or(false) {
                Ok(ok())
            } else {
                Err(poem::Error::from(ApiError::unavailable(CHECK_TIMEOUT)))
            }
        }
    })
    .boxed()
}

fn ok() -> Response {
    Response::builder().header(CONTENT_TYPE, "application/json; charset=utf-8").body(r#"{"status":"ok"}"#)
}
