//! One POST, and whether it can have been processed.

use std::io::{self, Read};
use std::time::Duration;

use ureq::http::{HeaderMap, Response};
use ureq::{Agent, Body, SendBody};

use super::together::NotSent;
use super::words;

/// What came of one POST.
#[derive(Debug)]
pub(crate) enum Posted {
    /// The other side answered.
    Answered {
        /// The HTTP status.
        status: u16,
        /// The headers.
        headers: HeaderMap,
        /// The body; empty where it could not be read to its end, within time and size.
        body: Vec<u8>,
    },
    /// The request did not leave, so it surely was not processed.
    Unsent(String),
    /// It left, and no answer came back.
    Lost(String),
}

/// Sends `body`, of which `headers` tell everything but the length, and waits for the answer, in all for the agent's time-out or
/// for what is `left`. Of an answer at most `cap` bytes are read. Blocks its thread.
pub(crate) fn post(
    agent: &Agent,
    url: &str,
    headers: HeaderMap,
    body: &str,
    (left, cap): (Option<Duration>, u64),
) -> Posted {
    let mut watched = Watched { bytes: body.as_bytes(), begun: body.is_empty() };
    let mut request = agent.post(url);
    if let Some(own) = request.headers_mut() {
        own.extend(headers);
        own.insert(ureq::http::header::CONTENT_LENGTH, body.len().into());
    }
    let to_send = SendBody::from_reader(&mut watched);
    let sent = match left {
        // ureq makes a new TLS configuration for a request with settings of its own unless the agent's is there
        // already: first attempts go without.
        Some(left) => request.config().timeout_global(Some(left)).build().send(to_send),
        None => request.send(to_send),
    };
    match sent {
        Ok(response) => read(response, cap),
        Err(error) if watched.begun && !NotSent::is(&error) => Posted::Lost(words(&error)),
        Err(error) => Posted::Unsent(words(&error)),
    }
}

/// A body that knows whether anybody has begun to read it: ureq does so once it is connected, through TLS, and has
/// written the head. A request whose body was never read, or [`NotSent`], cannot have been processed; an empty one is never read.
struct Watched<'a> {
    bytes: &'a [u8],
    begun: bool,
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.begun = true;
        self.bytes.read(buffer)
    }
}

fn read(mut response: Response<Body>, cap: u64) -> Posted {
    Posted::Answered {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        body: response.body_mut().with_config().limit(cap).read_to_vec().unwrap_or_default(),
    }
}
