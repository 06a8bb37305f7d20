//! The listener: accepts connections, bounds them in number and time, and drains them at the end.
//!
//! hyper is driven directly, for the framework's own server knows an idle time-out only, and a byte a second defeats
//! that. Here a head has `request_timeout` to arrive, however slowly it drips; the edge gives the body as long; and a
//! client that stops reading its answer has as long to begin again. Between two requests a connection may rest for
//! `keepalive_timeout`. One address has so many connections and no more (S40). With TLS a handshake has as long as a head, and
//! client and server may agree on HTTP/2.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use poem::Endpoint;
use tokio::net::{TcpListener, TcpSocket};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::domain::{Help, Listen};
use crate::http::log_throttle::LogThrottle;

mod connection;
mod exchange;
mod leaving;
mod listener;
mod places;
mod socket;
mod stalls;
mod tasks;

pub use listener::Listener;

use connection::Connection;
use places::Places;
use stalls::Patience;

/// How long to wait after the system refused to accept: it will not find a free file descriptor at once.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// Connections that may wait in the system's queue. The usual 1,024 are full in a moment when every phone comes back at
/// once, after a restart; the system takes the lower of this and `net.core.somaxconn`, which is 4,096 unless changed.
const BACKLOG: u32 = 65_535;

/// Minimum time between two log lines about the same problem.
const QUIET: Duration = Duration::from_mins(1);

/// `[server]`, as far as the listener is concerned.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// What a head, a body and a stalled answer each have.
    pub request_timeout: Duration,
    /// How long a connection may rest between two requests.
    pub keepalive_timeout: Duration,
    /// Connections at once; those beyond wait in the system's queue until one ends.
    pub max_connections: usize,
    /// Connections at once of one address; those beyond are closed.
    pub max_connections_per_address: usize,
    /// Who may have any number of connections: one proxy speaks for many clients.
    pub trusted_proxies: Vec<IpNet>,
    /// What requests in flight have to finish.
    pub shutdown_timeout: Duration,
}

/// Why nothing listens.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another program listens there.
    #[error("server.listen: {0} is already in use")]
    InUse(SocketAddr),
    /// Ports below 1024 need a privilege.
    #[error("server.listen: listening on {0} is not permitted")]
    NotPermitted(SocketAddr),
    /// The address is not one of this machine.
    #[error("server.listen: {0} is not an address of this machine")]
    NotOurs(SocketAddr),
    /// Anything else.
    #[error("server.listen: cannot listen on {0}: {1}")]
    Other(SocketAddr, #[source] io::Error),
    /// A server answers at that path.
    #[error("server.listen: another program answers at unix:{}", .0.display())]
    Answers(PathBuf),
    /// Something else has the name.
    #[error("server.listen: {} is there, and is no socket", .0.display())]
    NoSocket(PathBuf),
    /// No socket can be made there.
    #[error("server.listen: no socket can be made at {}: {error}", path.display())]
    Path {
        /// Where.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

impl Help for BindError {
    fn help(&self) -> String {
        match self {
            Self::InUse(_) => {
                "stop the program that listens there (`ss -ltnp` names it), or choose another address"
            }
            Self::NotPermitted(_) => {
                "ports below 1024 need a privilege: choose another, or give the unit \
                                      AmbientCapabilities=CAP_NET_BIND_SERVICE"
            }
            Self::NotOurs(_) => "choose one that `ip address` shows, or 127.0.0.1",
            Self::Other(..) => "choose another address and port, such as 127.0.0.1:8000",
            Self::Answers(_) => "stop that program (`ss -lxp` names it), or choose another path",
            Self::NoSocket(_) => "move it away, or choose another path",
            Self::Path { .. } => {
                "choose a path of less than 100 bytes in a folder that the user that runs freshk can write; under systemd \
                 RuntimeDirectory=freshk makes /run/freshk"
            }
        }
        .into()
    }
}

/// Listens there; connections queue from now on.
///
/// # Errors
/// [`BindError`], which says what to do.
pub fn bind(place: &Listen) -> Result<Listener, BindError> {
    match place {
        Listen::Unix(path) => socket::bind(path),
        Listen::Port(address) => listen(*address).map(Listener::from).map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => BindError::InUse(*address),
            io::ErrorKind::PermissionDenied => BindError::NotPermitted(*address),
            io::ErrorKind::AddrNotAvailable => BindError::NotOurs(*address),
            _ => BindError::Other(*address, error),
        }),
    }
}

/// Listens on `address`, for a caller that words the failure itself.
///
/// # Errors
/// What the system says.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A restart must not wait for the connections of the run before to be forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves until `shutdown` resolves, then lets requests in flight finish within `shutdown_timeout`; returns when the
/// last connection is closed.
pub async fn serve<E>(
    listener: impl Into<Listener>,
    endpoint: E,
    settings: ServerSettings,
    clock: Arc<dyn Clock>,
    shutdown: impl Future<Output = ()> + Send,
) where
    E: Endpoint + 'static,
{
    let listener = listener.into();
    let connections = TaskTracker::new();
    let (drain, abort) = (CancellationToken::new(), CancellationToken::new());
    let connection = Connection {
        endpoint: Arc::new(endpoint),
        tls: listener.tls().cloned(),
        patience: Patience { request: settings.request_timeout, keepalive: settings.keepalive_timeout },
        tracker: connections.clone(),
        drain: drain.clone(),
        abort: abort.clone(),
    };
    let places = Places::new(&settings, &clock);
    tokio::select! {
        never = accept_all(listener, &connections, connection, places, clock) => match never {},
        () = shutdown => {}
    }
    // The listener is closed by now: newcomers are refused rather than left waiting.
    drain.cancel();
    connections.close();
    if tokio::time::timeout(settings.shutdown_timeout, connections.wait()).await.is_err() {
        tracing::warn!(
            connections = connections.len(),
            "the time to finish is over; connections are cut off"
        );
        abort.cancel();
        connections.wait().await;
    }
}

async fn accept_all<E: Endpoint + 'static>(
    listener: Listener,
    connections: &TaskTracker,
    connection: Connection<E>,
    places: Places,
    clock: Arc<dyn Clock>,
) -> Infallible {
    let refused = LogThrottle::every(QUIET, clock);
    loop {
        let free = places.free().await;
        match listener.accept().await {
            Ok(accepted) => {
                // Dropped, the connection of an address that has too many is closed.
                if let Some(place) = places.give(free, accepted.ends.peer()) {
                    connections.spawn(connection.clone().run(accepted, place));
                }
            }
            // The client gave up before we came to it.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                if refused.should_log() {
                    tracing::error!(%error, "connections cannot be accepted; check whether the limit of open files is too low");
                }
                tokio::time::sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
}

#[cfg(test)]
mod tests;
