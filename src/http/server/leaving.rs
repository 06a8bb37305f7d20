//! The end of a connection whose peer still sends: a request was refused before its body was read. A socket that is closed with
//! bytes unread resets the connection, which can take the answer away from the peer before it has read it; a proxy makes a 502
//! of that. So what comes is read and thrown away for a moment, until the peer closes, too (RFC 9112 §9.6).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::stream::{Stream, poll_fn};
use hyper::body::Bytes;
use poem::Body;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::Sleep;

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
