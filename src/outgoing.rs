//! Calls to other programs over HTTP: how ureq is set up here, and its errors in words of ours.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use ureq::Agent;
use ureq::config::ConfigBuilder;
use ureq::tls::{TlsConfig, TlsProvider};
use ureq::typestate::AgentScope;

pub(crate) mod post;

/// The settings of a client that goes where it is told: no redirect, no proxy of the environment, and every status an answer.
pub(crate) fn settings(connect: Duration, whole: Duration) -> ConfigBuilder<AgentScope> {
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
}

/// The error of a call in words of ours: nothing that the other side wrote gets into logs and rows this way.
pub(crate) fn words(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Timeout(phase) => format!("timed out ({phase})"),
        ureq::Error::Tls(_) | ureq::Error::Rustls(_) => "TLS failed".to_owned(),
        // rustls reports what it finds wrong with a peer in this dress.
        ureq::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => "TLS failed".to_owned(),
        ureq::Error::Io(error) => format!("connection failed ({})", error.kind()),
        ureq::Error::HostNotFound => "host not found".to_owned(),
        _ => "the answer was no HTTP".to_owned(),
    }
}
