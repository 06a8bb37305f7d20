//! The listener: accepts connections, bounds them in number and time, and drains them at the end.
//!
//! hyper is driven directly, for the framework's own server knows an idle time-out only, and a byte a second defeats
//! that. Here a head has `request_timeout` to arrive, however slowly it drips; the edge gives the body as long; and a
//! client that stops reading its answer has as long to begin again. An idle connection counts as a head that does not
//! come.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use poem::http::uri::Scheme;
use poem::web::{LocalAddr, RemoteAddr};
use poem::{Addr, Endpoint, IntoResponse as _, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::edge::Abandoned;
use crate::api::occasion::Occasion;
use crate::clock::Clock;

mod stalls;

/// The largest head of a request, and the most of anything that is read ahead, in bytes.
const HEAD_LIMIT: usize = 16 * 1024;

/// How long to wait after the system refused to accept: it will not find a free file descriptor at once.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// The least time between two lines in the log about the same trouble.
const QUIET: Duration = Duration::from_mins(1);

/// `[server]`, as far as the listener is concerned.
#[derive(Clone, Copy, Debug)]
pub struct ServerSettings {
    /// What a head, a body and a stalled answer each have.
    pub request_timeout: Duration,
    /// Connections at once; those beyond wait in the system's queue until one ends.
    pub max_connections: usize,
    /// What requests in flight have to finish.
    pub shutdown_timeout: Duration,
}

/// Why nothing listens.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody else does.
    #[error(
        "{0} is already in use: stop the program that listens there, or choose another address with server.listen"
    )]
    InUse(SocketAddr),
    /// Low ports belong to the system.
    #[error(
        "listening on {0} is not permitted: ports below 1024 need a privilege; choose another with server.listen"
    )]
    NotPermitted(SocketAddr),
    /// The address is another machine's.
    #[error("{0} is not an address of this machine: correct server.listen")]
    NotOurs(SocketAddr),
    /// Anything else.
    #[error("cannot listen on {0}: {1}")]
    Other(SocketAddr, #[source] io::Error),
}

/// Listens on `address`; connections queue from now on.
///
/// # Errors
/// [`BindError`], which says what to do.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse(address),
        io::ErrorKind::PermissionDenied => BindError::NotPermitted(address),
        io::ErrorKind::AddrNotAvailable => BindError::NotOurs(address),
        _ => BindError::Other(address, error),
    })
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
    let connection =
        Connection { endpoint: Arc::new(endpoint), settings, drain: drain.clone(), abort: abort.clone() };
    tokio::select! {
        never = accept_all(listener, &connections, connection, clock) => match never {},
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
    clock: Arc<dyn Clock>,
) -> Infallible {
    let places = Arc::new(Semaphore::new(connection.settings.max_connections.min(Semaphore::MAX_PERMITS)));
    let full = Occasion::every(QUIET, clock.clone());
    let refused = Occasion::every(QUIET, clock);
    loop {
        let place = place(&places, &full, connection.settings.max_connections).await;
        match listener.accept().await {
            Ok((stream, peer)) => {
                connections.spawn(connection.clone().run(stream, peer, place));
            }
            // The client gave up before we came to it.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                if refused.arises() {
                    tracing::error!(%error, "connections cannot be accepted; is the limit of open files too low?");
                }
                tokio::time::sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
}

/// A place for one more connection; while there is none, newcomers wait in the system's queue.
async fn place(places: &Arc<Semaphore>, full: &Occasion, most: usize) -> Option<OwnedSemaphorePermit> {
    if let Ok(place) = places.clone().try_acquire_owned() {
        return Some(place);
    }
    if full.arises() {
        tracing::warn!(max_connections = most, "every connection is taken; newcomers wait");
    }
    // The semaphore is never closed.
    places.clone().acquire_owned().await.ok()
}

/// What every connection is made with.
struct Connection<E> {
    endpoint: Arc<E>,
    settings: ServerSettings,
    drain: CancellationToken,
    abort: CancellationToken,
}

impl<E> Clone for Connection<E> {
    fn clone(&self) -> Self {
        Self {
            endpoint: self.endpoint.clone(),
            settings: self.settings,
            drain: self.drain.clone(),
            abort: self.abort.clone(),
        }
    }
}

impl<E: Endpoint + 'static> Connection<E> {
    async fn run(self, stream: TcpStream, peer: SocketAddr, _place: Option<OwnedSemaphorePermit>) {
        // A socket that is gone already says so when it is read.
        let local =
            stream.local_addr().map_or_else(|_| LocalAddr::default(), |local| LocalAddr(Addr::from(local)));
        drop(stream.set_nodelay(true));
        let endpoint = self.endpoint;
        let service = service_fn(move |request| {
            answer(endpoint.clone(), request, local.clone(), RemoteAddr(Addr::from(peer)))
        });
        let stream = stalls::Bounded::new(stream, self.settings.request_timeout);
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.settings.request_timeout)
            .max_buf_size(HEAD_LIMIT)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let outcome = tokio::select! {
            outcome = connection.as_mut() => outcome,
            () = self.abort.cancelled() => return,
            () = self.drain.cancelled() => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    outcome = connection.as_mut() => outcome,
                    () = self.abort.cancelled() => return,
                }
            }
        };
        if let Err(error) = outcome {
            // Peers hang up, stall and speak no HTTP all day; that is their trouble.
            tracing::debug!(%peer, %error, "connection ended");
        }
    }
}

/// One request; an error drops the connection without an answer.
async fn answer<E: Endpoint>(
    endpoint: Arc<E>,
    request: hyper::Request<Incoming>,
    local: LocalAddr,
    peer: RemoteAddr,
) -> Result<hyper::Response<impl hyper::body::Body<Data = hyper::body::Bytes, Error = io::Error>>, Abandoned>
{
    let response: Response = match endpoint.call((request, local, peer, Scheme::HTTP).into()).await {
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
