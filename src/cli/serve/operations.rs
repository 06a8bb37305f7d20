//! The operations listener beside the one for phones: metrics and health, for the machine's own network.

use std::sync::Arc;

use poem::Response;
use poem::endpoint::BoxEndpoint;
use tokio_util::sync::CancellationToken;

use super::beside::{self, Beside, CONNECTIONS};
use crate::cli::CliError;
use crate::clock::Clock;
use crate::config::Config;
use crate::http::server;

/// Listens, unless that is off. In debug, where several servers may run on one machine, an address in use does not end the
/// server.
pub(super) fn start(
    config: &Config,
    endpoint: BoxEndpoint<'static, Response>,
    clock: Arc<dyn Clock>,
) -> Result<Option<Beside>, CliError> {
    let Some(address) = config.ops.listen else { return Ok(None) };
    let listener = match server::listen(address) {
        Ok(listener) => listener,
        Err(error) if config.debug => {
            tracing::warn!(%address, %error, "metrics are not served: set ops.listen to a free address, or to off");
            return Ok(None);
        }
        Err(error) => return Err(CliError::Operations(address, error)),
    };
    let address = listener.local_addr().map_err(CliError::Runtime)?;
    tracing::info!(%address, "serving metrics and health to operators");
    Ok(Some(Beside::start(
        beside::settings(config, CONNECTIONS),
        listener,
        endpoint,
        clock,
        // Operators see how a stop goes on.
        CancellationToken::new(),
    )))
}
