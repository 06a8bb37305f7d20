//! One connection from its handshake to its end.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use poem::Endpoint;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::exchange::Exchange;
use super::listener::{Accepted, Ends, Stream};
use super::places::Place;
use super::stalls::{Bounded, Patience, Sharing, Turns};
use super::tasks::Tasks;
use crate::http::tls::{ACME, HTTP2, Tls};

/// Maximum size of the head of a request, and of what is read ahead, in bytes.
pub(super) const HEAD_LIMIT: usize = 16 * 1024;

/// [`HEAD_LIMIT`] for HTTP/2, which counts 32 bytes more for each field (RFC 9113 §6.5.2).
const HEAD_LIMIT_2: u32 = 16 * 1024;

/// Requests at once on a connection of HTTP/2.
const STREAMS: u32 = 100;

/// What may come of a body before it is read, in bytes: of one request, and of all on a connection.
const WINDOWS: (u32, u32) = (64 * 1024, 256 * 1024);

/// What is written ahead of an answer, in bytes.
const WRITTEN_AHEAD: usize = 64 * 1024;

/// How many requests that the peer has withdrawn may wait to be seen; a peer that goes on is cut off (CVE-2023-44487).
const WITHDRAWN: usize = 20;

/// How long a connection of HTTP/2 lives before the peer is asked to make a new one, so that answers that it does not read
/// are not kept for ever.
const LIFETIME: Duration = Duration::from_mins(10);

/// How long a connection that has not asked for anything yet has to do so once the server stops, and one of HTTP/2 to
/// leave once it was told to.
const MOMENT: Duration = Duration::from_secs(1);

/// What every connection is made with.
pub(super) struct Connection<E> {
    pub(super) endpoint: Arc<E>,
    pub(super) tls: Option<Tls>,
    pub(super) patience: Patience,
    pub(super) tracker: TaskTracker,
    pub(super) drain: CancellationToken,
    pub(super) abort: CancellationToken,
}

impl<E> Clone for Connection<E> {
    fn clone(&self) -> Self {
        Self {
            endpoint: self.endpoint.clone(),
            tls: self.tls.clone(),
            patience: self.patience,
            tracker: self.tracker.clone(),
            drain: self.drain.clone(),
            abort: self.abort.clone(),
        }
    }
}

/// What came of a connection: an error of its own, or nothing in time.
type Outcome = Option<hyper::Result<()>>;

impl<E: Endpoint + 'static> Connection<E> {
    pub(super) async fn run(self, accepted: Accepted, _place: Place) {
        let Accepted { stream, ends } = accepted;
        let peer = ends.peer();
        let outcome = match stream {
            Stream::Port(stream) => self.speak(stream, ends).await,
            Stream::Unix(stream) => self.speak(stream, ends).await,
        };
        // Peers that hang up, stall or send something else than HTTP are common, and no fault of the server.
        match outcome {
            Some(Ok(())) => {}
            Some(Err(error)) => tracing::debug!(%peer, %error, "connection ended"),
            None => tracing::debug!(%peer, "connection ended: nothing came in time"),
        }
    }

    /// What is spoken, client and server agree on in the handshake of TLS.
    async fn speak<S>(&self, stream: S, ends: Ends) -> Outcome
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Some(tls) = &self.tls else { return self.http1(stream, ends).await };
        let Some(stream) = self.in_time(tls.accept(stream), &ends).await else { return Some(Ok(())) };
        match stream.get_ref().1.alpn_protocol() {
            // An authority has seen what it came for.
            Some(ACME) => Some(Ok(())),
            Some(HTTP2) => self.http2(stream, ends).await,
            _ => self.http1(stream, ends).await,
        }
    }

    /// A handshake, which has as long as a head; once the server stops, a moment.
    async fn in_time<S>(
        &self,
        handshake: impl Future<Output = std::io::Result<S>>,
        ends: &Ends,
    ) -> Option<S> {
        let stopped = async {
            self.drain.cancelled().await;
            tokio::time::sleep(MOMENT).await;
        };
        let done = tokio::select! {
            done = tokio::time::timeout(self.patience.request, handshake) => done,
            () = stopped => return None,
        };
        let peer = ends.peer();
        match done {
            Ok(Ok(stream)) => Some(stream),
            Ok(Err(error)) => {
                tracing::debug!(%peer, %error, "connection ended: the TLS handshake failed");
                None
            }
            Err(_) => {
                tracing::debug!(%peer, "connection ended: the TLS handshake did not end in time");
                None
            }
        }
    }

    async fn http1<S>(&self, stream: S, ends: Ends) -> Outcome
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let turns = Turns::new(self.patience, Sharing::One);
        let exchange = self.exchange(ends, &turns);
        let service = service_fn(move |request| exchange.clone().answer(request));
        let connection = http1::Builder::new()
            // Turns have their own: hyper's would count the rest between two requests as a head that does not come.
            .header_read_timeout(None)
            .max_buf_size(HEAD_LIMIT)
            .serve_connection(TokioIo::new(Bounded::new(stream, turns.clone())), service);
        let mut connection = std::pin::pin!(connection);
        self.hold(connection.as_mut(), &turns, Duration::MAX, http1::Connection::graceful_shutdown).await
    }

    async fn http2<S>(&self, stream: S, ends: Ends) -> Outcome
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let turns = Turns::new(self.patience, Sharing::Many);
        let exchange = self.exchange(ends, &turns);
        let service = service_fn(move |request| exchange.clone().answer(request));
        // Requests end with their connection.
        let ends = self.abort.child_token();
        let _guard = ends.clone().drop_guard();
        let connection = http2::Builder::new(Tasks { tracker: self.tracker.clone(), ends })
            .max_concurrent_streams(STREAMS)
            .initial_stream_window_size(WINDOWS.0)
            .initial_connection_window_size(WINDOWS.1)
            .max_header_list_size(HEAD_LIMIT_2)
            .max_send_buf_size(WRITTEN_AHEAD)
            .max_pending_accept_reset_streams(WITHDRAWN)
            .serve_connection(TokioIo::new(Bounded::new(stream, turns.clone())), service);
        let mut connection = std::pin::pin!(connection);
        let outcome =
            self.hold(connection.as_mut(), &turns, LIFETIME, http2::Connection::graceful_shutdown).await;
        if outcome.is_none() {
            // A peer that rests learns that it is to come anew, and that nothing of what it sends meanwhile was done.
            connection.as_mut().graceful_shutdown();
            drop(tokio::time::timeout(MOMENT, connection).await);
        }
        outcome
    }

    fn exchange(&self, ends: Ends, turns: &Turns) -> Exchange<E> {
        let hsts = self.tls.as_ref().and_then(|tls| tls.hsts().cloned());
        Exchange { endpoint: self.endpoint.clone(), ends, turns: turns.clone(), hsts }
    }

    /// Drives a connection to its end; after its `lifetime`, and once the server stops, it takes no more requests.
    async fn hold<C: Future<Output = hyper::Result<()>>>(
        &self,
        mut connection: Pin<&mut C>,
        turns: &Turns,
        lifetime: Duration,
        last: impl Fn(Pin<&mut C>),
    ) -> Outcome {
        let drain = async {
            tokio::select! {
                () = self.drain.cancelled() => {}
                () = tokio::time::sleep(lifetime) => return,
            }
            // Who has just connected is about to ask, and would take a connection that is closed for a server that is gone.
            drop(tokio::time::timeout(MOMENT, turns.asked()).await);
        };
        tokio::select! {
            outcome = turns.hold(connection.as_mut()) => return outcome,
            () = self.abort.cancelled() => return Some(Ok(())),
            () = drain => {}
        }
        last(connection.as_mut());
        turns.leave(MOMENT);
        tokio::select! {
            outcome = turns.hold(connection) => outcome,
            () = self.abort.cancelled() => Some(Ok(())),
        }
    }
}
