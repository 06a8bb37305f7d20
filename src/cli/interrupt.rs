//! Signals that stop a command whose work must not be left half done.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::CliError;
use super::admin::AdminContext;

/// From now on Ctrl-C, SIGTERM and a closed terminal no longer end the process: they are reported here.
pub struct Interrupt {
    signals: [Signal; 3],
}

impl Interrupt {
    /// Begins to listen.
    ///
    /// # Errors
    /// [`CliError::Runtime`]
    pub fn listen(admin: &AdminContext) -> Result<Self, CliError> {
        admin.block_on(async { Self::begin() }).map_err(CliError::Runtime)
    }

    /// Begins to listen, in a runtime.
    ///
    /// # Errors
    /// What the system says of its signals.
    pub fn begin() -> io::Result<Self> {
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let [interrupt, terminate, hangup] = kinds.map(signal);
        Ok(Self { signals: [interrupt?, terminate?, hangup?] })
    }

    /// Waits for a signal; at once if one came since it began to listen.
    pub async fn comes(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.signals;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }

    /// Waits for `pause`; true, and earlier, if a signal came since it began to listen.
    pub async fn within(&mut self, pause: Duration) -> bool {
        // A signal is heard when the runtime looks for events, which a pause of nothing would not have it do.
        tokio::task::yield_now().await;
        tokio::select! {
            biased;
            () = self.comes() => true,
            () = tokio::time::sleep(pause) => false,
        }
    }
}
