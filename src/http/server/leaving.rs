//! The end of a connection whose peer still sends: a request was refused before its body was read. A socket that is closed with
//! bytes unread resets the connection, which can take the answer away from the peer before it has read it; a proxy makes a 502
//! of that. So what comes is read and thrown away for a moment, until the peer closes, too (RFC 9112 §9.6).

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::stream::{Fuse, Stream, StreamExt as _, poll_fn};
use hyper::body::Bytes;
use poem::Body;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::Sleep;

use crate::sync::lock;

/// How long the peer has to read its answer and to close.
const TIME: Duration = Duration::from_secs(2);

/// How much is thrown away at most, in bytes: what a proxy passes on by its defaults, many times over.
const MOST: usize = 16 * 1024 * 1024;

/// Reading and throwing away what a peer still sends.
pub(super) struct Leaving {
    until: Pin<Box<Sleep>>,
    left: usize,
}

impl Leaving {
    /// From now on.
    pub(super) fn begin() -> Self {
        Self { until: Box::pin(tokio::time::sleep(TIME)), left: MOST }
    }

    /// Ready when the peer has closed, or has had its time or its bytes.
    pub(super) fn poll_rest<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let mut bytes = [0; 8 * 1024];
        while self.left > 0 && self.until.as_mut().poll(cx).is_pending() {
            let mut buffer = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut *stream).poll_read(cx, &mut buffer))?;
            match buffer.filled().len() {
                0 => break,
                read => self.left = self.left.saturating_sub(read),
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// The body, which calls `ended` when it was read to its end.
pub(super) fn watched(body: Body, ended: impl Fn() + Send + 'static) -> Body {
    let mut stream = Box::pin(body.into_bytes_stream());
    let watched = poll_fn(move |cx| {
        let next: Option<Result<Bytes, io::Error>> = ready!(stream.as_mut().poll_next(cx));
        if next.is_none() {
            ended();
        }
        Poll::Ready(next)
    });
    Body::from_bytes_stream(watched)
}

/// The body of a request of HTTP/2. What nobody has read of it is read and thrown away before the answer, for there are clients that
/// take an answer which overtakes their body for a failure, though RFC 9113 §8.1 tells them not to.
pub(super) struct Rest(Arc<Mutex<Unread>>);

type Unread = Fuse<Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>>;

/// How much of it at most, in bytes: more than any body that is not refused.
const MOST_OF_ONE: usize = 1024 * 1024;

impl Rest {
    /// The body as the endpoint reads it, and what it leaves.
    pub(super) fn of(body: Body) -> (Body, Self) {
        let stream: Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>> =
            Box::pin(body.into_bytes_stream());
        let shared = Arc::new(Mutex::new(stream.fuse()));
        let read = shared.clone();
        let body = Body::from_bytes_stream(poll_fn(move |cx| lock(&read).poll_next_unpin(cx)));
        (body, Self(shared))
    }

    /// Reads it to its end, for a moment at most.
    pub(super) async fn read(self) {
        let mut left = MOST_OF_ONE;
        let reading = std::future::poll_fn(|cx| {
            loop {
                match ready!(lock(&self.0).poll_next_unpin(cx)) {
                    Some(Ok(bytes)) if bytes.len() < left => left -= bytes.len(),
                    _ => return Poll::Ready(()),
                }
            }
        });
        drop(tokio::time::timeout(TIME, reading).await);
    }
}
