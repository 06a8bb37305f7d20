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

/// Such a listener.
pub(super) struct Beside {
    stop: CancellationToken,
    served: JoinHandle<()>,
}

impl Beside {
    /// Serves there.
    pub(super) fn start(
        config: &Config,
        listener: impl Into<Listener>,
        endpoint: impl Endpoint + 'static,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let stop = CancellationToken::new();
        let settings = ServerSettings {
            max_connections: CONNECTIONS,
            max_connections_per_address: CONNECTIONS,
            ..wiring::server_settings(config)
        };
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
