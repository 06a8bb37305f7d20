//! `/.well-known/jwks.json`: the public keys of tokens (RFC 7517), for APIs that check tokens themselves.

use std::sync::Arc;

use poem::endpoint::{BoxEndpoint, make_sync};
use poem::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use poem::{EndpointExt as _, Response};

/// Gives the key set of now, which a reload of the configuration may replace.
pub type Jwks = Arc<dyn Fn() -> String + Send + Sync>;

/// Serves a key set. Caches may keep it for five minutes: a client that meets an unknown `kid` asks again anyway.
pub(super) fn endpoint(keys: Jwks) -> BoxEndpoint<'static> {
    make_sync(move |_| {
        Response::builder()
            .header(CONTENT_TYPE, "application/jwk-set+json")
            .header(CACHE_CONTROL, "public, max-age=300")
            .body(keys())
    })
    .boxed()
}
