//! Calls to other programs over HTTP: how ureq is set up here, and its errors in words of ours.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ureq::Agent;
use ureq::config::{Config, ConfigBuilder};
use ureq::tls::{PemItem, RootCerts, TlsConfig, TlsConfigBuilder, TlsProvider};
use ureq::typestate::AgentScope;

pub(crate) mod clients;
pub(crate) mod get;
mod names;
pub(crate) mod post;
mod together;

use names::Names;
use together::{NotSent, Together};

/// A client with these settings.
pub(crate) fn client(settings: Config) -> Agent {
    Agent::with_parts(settings, Together::default(), Names::new())
}

/// The settings of a client that goes where it is told: no redirect, no proxy of the environment, and every status an answer.
pub(crate) fn settings(connect: Duration, whole: Duration) -> ConfigBuilder<AgentScope> {
    with(tls().build(), connect, whole)
}

/// The same for a server whose certificate is checked with the authorities in a file.
///
/// # Errors
/// A file that cannot be read, or has no certificate in it.
pub(crate) fn settings_with_root(
    root: &Path,
    connect: Duration,
    whole: Duration,
) -> io::Result<ConfigBuilder<AgentScope>> {
    let text = std::fs::read(root)?;
    let roots: Vec<_> = ureq::tls::parse_pem(&text)
        .filter_map(Result::ok)
        .filter_map(|item| if let PemItem::Certificate(root) = item { Some(root) } else { None })
        .collect();
    if roots.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "there is no certificate in PEM in it"));
    }
    Ok(with(tls().root_certs(RootCerts::from(roots)).build(), connect, whole))
}

/// The same for a program on this machine: whatever certificate it shows is good.
pub(crate) fn local_settings(connect: Duration, whole: Duration) -> ConfigBuilder<AgentScope> {
    with(tls().disable_verification(true).build(), connect, whole)
}

fn tls() -> TlsConfigBuilder {
    TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
}

fn with(tls: TlsConfig, connect: Duration, whole: Duration) -> ConfigBuilder<AgentScope> {
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
        ureq::Error::Other(error) if let Some(NotSent(error)) = error.downcast_ref() => words(error),
        ureq::Error::Timeout(phase) => format!("timed out ({phase})"),
        ureq::Error::Tls(_) | ureq::Error::Rustls(_) => "TLS failed".to_owned(),
        // rustls reports what it finds wrong with a peer in this dress.
        ureq::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => "TLS failed".to_owned(),
        ureq::Error::Io(error) => format!("connection failed ({})", error.kind()),
        ureq::Error::HostNotFound => "host not found".to_owned(),
        _ => "the answer was no HTTP".to_owned(),
    }
}
