//! `/.well-known/jwks.json`: the public keys of tokens (RFC 7517), for APIs that check tokens themselves.

use poem::endpoint::{BoxEndpoint, make_sync};
use poem::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use poem::{EndpointExt as _, Response};

/// Serves a key set. Caches may keep it for five minutes: a client that meets an unknown `kid` asks again anyway.
pub(super) fn endpoint(keys: String) -> BoxEndpoint<'static> {
    make_sync(move |_| {
        Response::builder()
            .header(CONTENT_TYPE, "application/jwk-set+json")
            .header(CACHE_CONTROL, "public, max-age=300")
            .body(keys.clone())
    })
    .boxed()
}
