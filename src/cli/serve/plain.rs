//! The plain port beside TLS, which sends browsers on to https.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::beside::{self, Beside, CONNECTIONS};
use super::certificate::Certificate;
use crate::cli::CliError;
use crate::clock::Clock;
use crate::config::Config;
use crate::config::tls::Source;
use crate::domain::HttpUrl;
use crate::http::redirect::{self, Redirect};
use crate::http::server;

/// Connections of one address: browsers need a few, and nobody may take the places of the authority that looks for its answers.
const OF_AN_ADDRESS: usize = CONNECTIONS / 4;

/// Listens, where the configuration asks for it; `port` is where TLS is served.
pub(super) fn start(
    config: &Config,
    certificate: Option<&Certificate>,
    port: u16,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) -> Result<Option<Beside>, CliError> {
    let (Some(address), Some(certificate)) = (config.server.tls.redirect_listen, certificate) else {
        return Ok(None);
    };
    let listener = server::listen(address).map_err(|error| CliError::Redirect(address, error))?;
    let address = listener.local_addr().map_err(CliError::Runtime)?;
    let public = config.server.public_url.as_ref();
    let names = match &config.server.tls.source {
        Some(Source::Acme(acme)) => acme.settings.domains.clone(),
        Some(Source::Files(files)) => files.pair.names().to_vec(),
        None => Vec::new(),
    };
    let hosts = redirect::hosts(&config.server.allowed_hosts, public.map(HttpUrl::host), &names);
    // Before the server there may be something that passes its port on.
    let port = public.and_then(HttpUrl::port).unwrap_or(if public.is_some() { 443 } else { port });
    tracing::info!(%address, "redirecting to https");
    let redirect = Redirect::new(&hosts, port, certificate.challenges());
    Ok(Some(Beside::start(beside::settings(config, OF_AN_ADDRESS), listener, redirect, clock, stop)))
}
