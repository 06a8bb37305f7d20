//! Calls that a command makes to a server.

use std::sync::Arc;
use std::time::Duration;

use ureq::Agent;
use ureq::tls::{TlsConfig, TlsProvider};

/// No answer that a command waits for is longer.
pub const ANSWER_CAP: u64 = 1024 * 1024;

/// A client that goes where it is told: no redirect, no proxy of the environment, and every status an answer.
pub fn agent(connect: Duration, whole: Duration) -> Agent {
    let tls = TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .build();
    Agent::config_builder()
        .tls_config(tls)
        .proxy(None)
        .max_redirects(0)
        .http_status_as_error(false)
        .timeout_resolve(Some(connect))
        .timeout_connect(Some(connect))
        .timeout_global(Some(whole))
        .user_agent(concat!("freshk/", env!("CARGO_PKG_VERSION")))
        .build()
        .into()
}
