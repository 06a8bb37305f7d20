//! A stream whose peer has to get on: a head must arrive in time however slowly it drips, a connection may rest between
//! two requests only for so long, and an answer must be read.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use super::leaving::Leaving;
use crate::sync::lock;
use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;

/// How long a peer is waited for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// For a whole head, from its first byte (the first one of a connection: from its beginning), and for any progress of
    /// an answer.
    pub(super) request: Duration,
    /// For the first byte of the next request.
    pub(super) keepalive: Duration,
}

/// How many requests a connection may have at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sharing {
    /// One after the other: HTTP/1.1.
    One,
    /// Several: HTTP/2. There a byte need not belong to a head, so a head has as long as a connection may rest, and a body that
    /// nobody reads is the request's own affair.
    Many,
}

/// Whose turn it is on a connection: the peer's until a head is whole, ours until its answer is ready. Shared by the stream,
/// the service and whoever drives them.
#[derive(Clone, Debug)]
pub(super) struct Turns {
    patience: Patience,
    sharing: Sharing,
    now: Arc<Mutex<Turn>>,
    /// Whoever drives the connection, to be woken when the last request is answered or withdrawn.
    driver: Arc<AtomicWaker>,
    /// Whether the peer has said that a body comes, and nobody has read it to its end.
    body_owed: Arc<AtomicBool>,
    /// Cancelled by the first request.
    asked: CancellationToken,
}

#[derive(Debug)]
struct Turn {
    /// Requests without an answer: while there are some, it is our turn.
    open: usize,
    /// Until when the peer has time while there are none.
    until: Instant,
    /// Whether a byte of its head has come.
    has_begun: bool,
    /// How long it may rest after an answer.
    rest: Duration,
}

/// Our turn; the peer's again when it is dropped.
#[derive(Debug)]
pub(super) struct Ours(Turns);

impl Turns {
    /// A connection that has sent nothing yet counts as a head that does not come.
    pub(super) fn new(patience: Patience, sharing: Sharing) -> Self {
        let rest = patience.keepalive;
        let turn = Turn { open: 0, until: Instant::now() + patience.request, has_begun: true, rest };
        Self {
            patience,
            sharing,
            now: Arc::new(Mutex::new(turn)),
            driver: Arc::default(),
            body_owed: Arc::default(),
            asked: CancellationToken::new(),
        }
    }

    /// A request came, with a body or without; or its body was read to the end.
    pub(super) fn set_body_owed(&self, is_owed: bool) {
        self.body_owed.store(is_owed && self.sharing == Sharing::One, Ordering::Relaxed);
    }

    /// Whether the peer may still be sending the body of the last request.
    pub(super) fn is_body_owed(&self) -> bool {
        self.body_owed.load(Ordering::Relaxed)
    }

    /// A head is whole.
    pub(super) fn ours(&self) -> Ours {
        self.lock().open += 1;
        self.asked.cancel();
        Ours(self.clone())
    }

    /// Waits for the first request.
    pub(super) async fn asked(&self) {
        self.asked.cancelled().await;
    }

    /// A peer that shares its connection was told to leave, and has so long for it once all is answered: it may be asleep.
    pub(super) fn leave(&self, within: Duration) {
        if self.sharing == Sharing::Many {
            let mut turn = self.lock();
            turn.rest = turn.rest.min(within);
            if turn.open == 0 {
                turn.until = turn.until.min(Instant::now() + within);
            }
        }
    }

    /// Drives a connection; `None` where the peer has let its time pass.
    pub(super) async fn hold<C: Future + ?Sized>(&self, mut connection: Pin<&mut C>) -> Option<C::Output> {
        let mut sleep = pin!(tokio::time::sleep_until(Instant::now()));
        poll_fn(|cx| {
            if let Poll::Ready(outcome) = connection.as_mut().poll(cx) {
                return Poll::Ready(Some(outcome));
            }
            self.driver.register(cx.waker());
            let Some(until) = self.peers_until() else { return Poll::Pending };
            if sleep.deadline() != until {
                sleep.as_mut().reset(until);
            }
            sleep.as_mut().poll(cx).map(|()| None)
        })
        .await
    }

    /// Until when the peer has time; `None` while it is our turn.
    fn peers_until(&self) -> Option<Instant> {
        let turn = self.lock();
        (turn.open == 0).then_some(turn.until)
    }

    /// A request is answered or withdrawn. After the last one, the next may take as long as a connection may rest.
    fn answered(&self) {
        let mut turn = self.lock();
        turn.open = turn.open.saturating_sub(1);
        if turn.open == 0 {
            (turn.until, turn.has_begun) = (Instant::now() + turn.rest, false);
            drop(turn);
            self.driver.wake();
        }
    }

    /// Bytes came from the peer: from the first one on a head has its own time.
    fn received(&self) {
        let mut turn = self.lock();
        if turn.open == 0 && !turn.has_begun && self.sharing == Sharing::One {
            (turn.until, turn.has_begun) = (Instant::now() + self.patience.request, true);
        }
    }

    /// Bytes went to the peer: as long as it reads the answer, it does not rest.
    fn sent(&self) {
        let mut turn = self.lock();
        if turn.open == 0 && !turn.has_begun {
            turn.until = Instant::now() + turn.rest;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Turn> {
        lock(&self.now)
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        self.0.answered();
    }
}

/// A stream that notes when its peer sends and reads, bounds how long a write waits for it, and at its end reads what the peer
/// still sends.
pub(super) struct Bounded<S> {
    stream: S,
    turns: Turns,
    waiting: Option<Pin<Box<Sleep>>>,
    leaving: Option<Leaving>,
}

impl<S> Bounded<S> {
    pub(super) const fn new(stream: S, turns: Turns) -> Self {
        Self { stream, turns, waiting: None, leaving: None }
    }

    /// Starts, goes on with or ends the wait of a write.
    fn bound<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.turns.sent();
        }
        self.bound_rest(cx, written)
    }

    /// The same for what TLS keeps back until later: it may be nothing at all.
    fn bound_rest<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.waiting = None;
            return written;
        }
        let patience = self.turns.patience.request;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        waiting.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.turns.received();
        }
        read
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.bound(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.bound_rest(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.leaving.is_none() {
            let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
            ready!(self.bound_rest(cx, shut))?;
            if !self.turns.is_body_owed() {
                return Poll::Ready(Ok(()));
            }
        }
        let Self { stream, leaving, .. } = &mut *self;
        leaving.get_or_insert_with(Leaving::begin).poll_rest(stream, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.bound(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
