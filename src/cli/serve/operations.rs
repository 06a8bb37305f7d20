//! The operations listener beside the one for phones: metrics and health, for the machine's own network.

use std::sync::Arc;

use poem::Response;
use poem::endpoint::BoxEndpoint;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::cli::{CliError, wiring};
use crate::clock::Clock;
use crate::config::Config;
use crate::http::server::{self, ServerSettings};

/// Connections of operators at once.
pub(super) const OPERATORS: usize = 64;

/// The operations listener.
pub(super) struct Operations {
    stop: CancellationToken,
    served: Option<JoinHandle<()>>,
}

impl Operations {
    /// Listens, unless that is off. In debug, where several servers may run on one machine, an address in use does not end
    /// the server.
    pub(super) fn start(
        config: &Config,
        endpoint: BoxEndpoint<'static, Response>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, CliError> {
        let stop = CancellationToken::new();
        let Some(address) = config.ops.listen else { return Ok(Self { stop, served: None }) };
        let listener = match server::listen(address) {
            Ok(listener) => listener,
            Err(error) if config.debug => {
                tracing::warn!(%address, %error, "metrics are not served: set ops.listen to a free address, or to off");
                return Ok(Self { stop, served: None });
            }
            Err(error) => return Err(CliError::Operations(address, error)),
        };
        let address = listener.local_addr().map_err(CliError::Runtime)?;
        tracing::info!(%address, "serving metrics and health to operators");
        let stopped = stop.clone();
        let settings = ServerSettings {
            max_connections: OPERATORS,
            max_connections_per_address: OPERATORS,
            ..wiring::server_settings(config)
        };
        let serving = server::serve(listener, endpoint, settings, clock, async move {
            stopped.cancelled().await;
        });
        Ok(Self { stop, served: Some(tokio::spawn(serving)) })
    }

    /// Lets the answers under way finish.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        if let Some(served) = self.served
            && let Err(error) = served.await
        {
            tracing::error!(%error, "the task of the operations listener failed");
        }
    }
}
