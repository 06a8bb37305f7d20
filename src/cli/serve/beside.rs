//! A listener beside the one for phones: it serves until it is told to stop.

use std::sync::Arc;

use poem::Endpoint;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::cli::wiring;
use crate::clock::Clock;
use crate::config::Config;
use crate::http::server::{self, Listener, ServerSettings};

/// Connections at once.
pub(super) const CONNECTIONS: usize = 64;

/// How such a listener serves, with so many connections of one address.
pub(super) fn settings(config: &Config, of_an_address: usize) -> ServerSettings {
    ServerSettings {
        max_connections: CONNECTIONS,
        max_connections_per_address: of_an_address,
        ..wiring::server_settings(config)
    }
}

/// Such a listener.
pub(super) struct Beside {
    stop: CancellationToken,
    served: JoinHandle<()>,
}

impl Beside {
    /// Serves there, until `stop` or until it is told to stop.
    pub(super) fn start(
        settings: ServerSettings,
        listener: impl Into<Listener>,
        endpoint: impl Endpoint + 'static,
        clock: Arc<dyn Clock>,
        stop: CancellationToken,
    ) -> Self {
        let stopped = stop.clone().cancelled_owned();
        let served = tokio::spawn(server::serve(listener.into(), endpoint, settings, clock, stopped));
        Self { stop, served }
    }

    /// Lets the answers under way finish.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        if let Err(error) = self.served.await {
            tracing::error!(%error, "the task of a listener failed");
        }
    }
}
