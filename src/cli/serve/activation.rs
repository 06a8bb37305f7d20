//! Socket activation (`sd_listen_fds(3)`): the service manager opens the port and passes it on, so that it stays open while the
//! server restarts, and nobody's connection is refused.

use std::io;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;

use listenfd::ListenFd;

use crate::cli::CliError;
use crate::cli::error::Advice;
use crate::domain::Listen;
use crate::http::server::Listener;

/// A socket that was opened before this process began.
pub(super) struct Passed {
    socket: Socket,
    /// Where it listens.
    pub(super) listen: Listen,
}

enum Socket {
    Port(TcpListener),
    Unix(UnixListener),
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
        if let Ok(Some(socket)) = passed.take_unix_listener(0) {
            socket.set_nonblocking(true).map_err(unusable)?;
            let address = socket.local_addr().map_err(unusable)?;
            let Some(path) = address.as_pathname() else {
                return Err(wrong("the socket of the service manager has no path".to_owned()));
            };
            return Ok(Some(Self { listen: Listen::Unix(path.to_owned()), socket: Socket::Unix(socket) }));
        }
        let Some(socket) = passed.take_tcp_listener(0).map_err(unusable)? else { return Ok(None) };
        socket.set_nonblocking(true).map_err(unusable)?;
        let listen = socket.local_addr().map_err(unusable)?.into();
        Ok(Some(Self { socket: Socket::Port(socket), listen }))
    }

    /// The socket, for the server; what the service manager has made is its to remove.
    ///
    /// # Errors
    /// [`CliError::Runtime`]
    pub(super) fn into_listener(self) -> Result<Listener, CliError> {
        let listener = match self.socket {
            Socket::Port(socket) => tokio::net::TcpListener::from_std(socket).map(Listener::from),
            Socket::Unix(socket) => tokio::net::UnixListener::from_std(socket).map(Listener::from),
        };
        listener.map_err(CliError::Runtime)
    }
}

fn wrong(problem: String) -> CliError {
    CliError::Passed(Advice::new(
        problem,
        "give freshk.socket one ListenStream= with an address and a port, such as 127.0.0.1:8000, or a path",
    ))
}
