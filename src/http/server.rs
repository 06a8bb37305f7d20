//! The listener: accepts connections, bounds them in number and time, and drains them at the end.
//!
//! hyper is driven directly, for the framework's own server knows an idle time-out only, and a byte a second defeats
//! that. Here a head has `request_timeout` to arrive, however slowly it drips; the edge gives the body as long; and a
//! client that stops reading its answer has as long to begin again. Between two requests a connection may rest for
//! `keepalive_timeout`. One address has so many connections and no more (S40).

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use ipnet::IpNet;
use poem::http::uri::Scheme;
use poem::web::{LocalAddr, RemoteAddr};
use poem::{Addr, Endpoint, IntoResponse as _, Request, Response};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::domain::Help;
use crate::http::edge::Abandoned;
use crate::http::log_throttle::LogThrottle;

mod leaving;
mod places;
mod stalls;

use places::{Place, Places};
use stalls::{Patience, Turns};

/// Maximum size of the head of a request, and of what is read ahead, in bytes.
const HEAD_LIMIT: usize = 16 * 1024;

/// How long to wait after the system refused to accept: it will not find a free file descriptor at once.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// Connections that may wait in the system's queue. The usual 1,024 are full in a moment when every phone comes back at
/// once, after a restart; the system takes the lower of this and `net.core.somaxconn`, which is 4,096 unless changed.
const BACKLOG: u32 = 65_535;

/// How long a connection that has not asked for anything yet has to do so once the server stops.
const FIRST_REQUEST: Duration = Duration::from_secs(1);

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
        }
        .into()
    }
}

/// Listens on `address`; connections queue from now on.
///
/// # Errors
/// [`BindError`], which says what to do.
pub fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    listen(address).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse(address),
        io::ErrorKind::PermissionDenied => BindError::NotPermitted(address),
        io::ErrorKind::AddrNotAvailable => BindError::NotOurs(address),
        _ => BindError::Other(address, error),
    })
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
    listener: TcpListener,
    endpoint: E,
    settings: ServerSettings,
    clock: Arc<dyn Clock>,
    shutdown: impl Future<Output = ()> + Send,
) where
    E: Endpoint + 'static,
{
    let connections = TaskTracker::new();
    let (drain, abort) = (CancellationToken::new(), CancellationToken::new());
    let patience = Patience { request: settings.request_timeout, keepalive: settings.keepalive_timeout };
    let connection =
        Connection { endpoint: Arc::new(endpoint), patience, drain: drain.clone(), abort: abort.clone() };
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
    listener: TcpListener,
    connections: &TaskTracker,
    connection: Connection<E>,
    places: Places,
    clock: Arc<dyn Clock>,
) -> Infallible {
    let refused = LogThrottle::every(QUIET, clock);
    loop {
        let free = places.free().await;
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Dropped, the connection of an address that has too many is closed.
                if let Some(place) = places.give(free, peer.ip()) {
                    connections.spawn(connection.clone().run(stream, peer, place));
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

/// What every connection is made with.
struct Connection<E> {
    endpoint: Arc<E>,
    patience: Patience,
    drain: CancellationToken,
    abort: CancellationToken,
}

impl<E> Clone for Connection<E> {
    fn clone(&self) -> Self {
        Self {
            endpoint: self.endpoint.clone(),
            patience: self.patience,
            drain: self.drain.clone(),
            abort: self.abort.clone(),
        }
    }
}

impl<E: Endpoint + 'static> Connection<E> {
    async fn run(self, stream: TcpStream, peer: SocketAddr, _place: Place) {
        // A socket that is gone already says so when it is read.
        let local =
            stream.local_addr().map_or_else(|_| LocalAddr::default(), |local| LocalAddr(Addr::from(local)));
        drop(stream.set_nodelay(true));
        let (endpoint, turns) = (self.endpoint, Turns::new(self.patience));
        let stream = stalls::Bounded::new(stream, turns.clone());
        let watched = turns.clone();
        let service = service_fn(move |request| {
            let turn = turns.ours();
            let request = received(request, local.clone(), RemoteAddr(Addr::from(peer)), &turns);
            let answer = answer(endpoint.clone(), request);
            async move {
                let answer = answer.await;
                drop(turn);
                answer
            }
        });
        let connection = http1::Builder::new()
            // Turns have their own: hyper's would count the rest between two requests as a head that does not come.
            .header_read_timeout(None)
            .max_buf_size(HEAD_LIMIT)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let drain = async {
            self.drain.cancelled().await;
            // Who has just connected is about to ask, and would take a connection that is closed for a server that is gone.
            drop(tokio::time::timeout(FIRST_REQUEST, watched.asked()).await);
        };
        let outcome = tokio::select! {
            outcome = watched.hold(connection.as_mut()) => outcome,
            () = self.abort.cancelled() => return,
            () = drain => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    outcome = watched.hold(connection.as_mut()) => outcome,
                    () = self.abort.cancelled() => return,
                }
            }
        };
        // Peers that hang up, stall or send something else than HTTP are common, and no fault of the server.
        match outcome {
            Some(Ok(())) => {}
            Some(Err(error)) => tracing::debug!(%peer, %error, "connection ended"),
            None => tracing::debug!(%peer, "connection ended: nothing came in time"),
        }
    }
}

/// A request as the endpoint takes it; whether its body was read to the end is noted for the end of the connection.
fn received(request: hyper::Request<Incoming>, local: LocalAddr, peer: RemoteAddr, turns: &Turns) -> Request {
    let has_body = !request.body().is_end_stream();
    turns.set_body_owed(has_body);
    let mut request = Request::from((request, local, peer, Scheme::HTTP));
    if has_body {
        let (body, turns) = (request.take_body(), turns.clone());
        request.set_body(leaving::watched(body, move || turns.set_body_owed(false)));
    }
    request
}

/// One request; an error drops the connection without an answer.
async fn answer<E: Endpoint>(
    endpoint: Arc<E>,
    request: Request,
) -> Result<hyper::Response<impl hyper::body::Body<Data = hyper::body::Bytes, Error = io::Error>>, Abandoned>
{
    let response: Response = match endpoint.call(request).await {
        Ok(answer) => answer.into_response(),
        Err(error) => match error.downcast::<Abandoned>() {
            Ok(abandoned) => return Err(abandoned),
            Err(error) => error.into_response(),
        },
    };
    Ok(response.into())
}

#[cfg(test)]
mod tests;
