//! Socket activation (`sd_listen_fds(3)`): the service manager opens the port and passes it on, so that it stays open while the
//! server restarts, and nobody's connection is refused.

use std::io;
use std::net::{SocketAddr, TcpListener};

use listenfd::ListenFd;

use crate::cli::CliError;
use crate::cli::error::Advice;

/// A port that was opened before this process began.
pub(super) struct Passed {
    listener: TcpListener,
    /// Where it listens.
    pub(super) address: SocketAddr,
}

impl Passed {
    /// The one that the environment tells of, if it is meant for this process. Called before there are threads, since it takes
    /// the variables out of the environment: what this process starts must not take them for its own.
    ///
    /// # Errors
    /// [`CliError::Passed`] where what was passed on is not one port.
    pub(super) fn take() -> Result<Option<Self>, CliError> {
        let variable = |name: &str| std::env::var(name).ok()?.parse::<u32>().ok();
        if variable("LISTEN_PID") != Some(std::process::id()) {
            return Ok(None);
        }
        let mut passed = ListenFd::from_env();
        match passed.len() {
            0 => return Ok(None),
            1 => {}
            count => {
                return Err(wrong(format!(
                    "the service manager passed on {count} sockets, and one is needed"
                )));
            }
        }
        let unusable =
            |error: io::Error| wrong(format!("the socket of the service manager cannot be used: {error}"));
        let Some(listener) = passed.take_tcp_listener(0).map_err(unusable)? else { return Ok(None) };
        listener.set_nonblocking(true).map_err(unusable)?;
        let address = listener.local_addr().map_err(unusable)?;
        Ok(Some(Self { listener, address }))
    }

    /// The port, for the server.
    ///
    /// # Errors
    /// [`CliError::Runtime`]
    pub(super) fn listen(self) -> Result<tokio::net::TcpListener, CliError> {
        tokio::net::TcpListener::from_std(self.listener).map_err(CliError::Runtime)
    }
}

fn wrong(problem: String) -> CliError {
    CliError::Passed(Advice::new(
        problem,
        "give freshk.socket one ListenStream= with an address and a port, such as 127.0.0.1:8000",
    ))
}
