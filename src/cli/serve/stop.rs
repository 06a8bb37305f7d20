//! The signals that stop a server.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// What stops the server: the first signal in good order, the second at once.
pub(super) struct Stop {
    /// Cancelled by the first signal.
    pub(super) asked: CancellationToken,
    /// Cancelled by the second.
    insisted: CancellationToken,
}

impl Stop {
    /// The first SIGTERM or SIGINT asks, the second ends at once. SIGUSR1 and SIGUSR2, which would end a program that says
    /// nothing of them, are ignored.
    pub(super) fn on_signals() -> io::Result<Self> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let ignored = [(SignalKind::user_defined1(), "SIGUSR1"), (SignalKind::user_defined2(), "SIGUSR2")];
        for (kind, name) in ignored {
            let mut ignored = signal(kind)?;
            tokio::spawn(async move {
                while ignored.recv().await.is_some() {
                    tracing::info!(signal = name, "a signal was ignored; SIGTERM stops the server");
                }
            });
        }
        let stop = Self { asked: CancellationToken::new(), insisted: CancellationToken::new() };
        let tokens = [stop.asked.clone(), stop.insisted.clone()];
        tokio::spawn(async move {
            for token in tokens {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                tracing::info!("shutting down: no new connections");
                token.cancel();
            }
        });
        Ok(stop)
    }

    /// Lets `drained` finish until `timeout` after the first signal, or until the second; true if nothing is left.
    pub(super) async fn in_time(&self, timeout: Duration, drained: impl Future<Output = bool>) -> bool {
        let deadline = async {
            self.asked.cancelled().await;
            tokio::time::sleep(timeout).await;
        };
        tokio::select! {
            done = drained => done,
            () = deadline => false,
            () = self.insisted.cancelled() => false,
        }
    }
}
