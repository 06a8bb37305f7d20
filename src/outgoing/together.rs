//! Connections that send what is written on them once its answer is waited for: ureq writes the head of a request and its body one
//! after the other, and each would be a packet, for which the other side wakes up.

use std::fmt;
use std::sync::Arc;

use ureq::Error;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, DefaultConnector, NextTimeout, Transport,
};

/// As much as this is sent without waiting for more.
const ENOUGH: usize = 8 * 1024;

/// Connects as ureq does; copies share what is prepared for TLS.
#[derive(Clone, Debug, Default)]
pub(super) struct Together(Arc<DefaultConnector>);

/// A connection that sends late.
struct Late<T> {
    connection: T,
    /// What is written, and not sent yet.
    held: Vec<u8>,
    /// Whether some of the present request has been sent.
    begun: bool,
}

/// Nothing of a request has left: the connection took none of its first bytes.
#[derive(Debug)]
pub(super) struct NotSent(pub(super) Error);

impl Connector<()> for Together {
    type Out = Box<dyn Transport>;

    fn connect(&self, details: &ConnectionDetails, chained: Option<()>) -> Result<Option<Self::Out>, Error> {
        let connection = self.0.connect(details, chained)?;
        Ok(connection.map(|connection| Late::new(connection).boxed()))
    }
}

impl<T: Transport> Late<T> {
    const fn new(connection: T) -> Self {
        Self { connection, held: Vec::new(), begun: false }
    }

    fn send(&mut self, timeout: NextTimeout) -> Result<(), Error> {
        let Self { connection, held, begun } = self;
        while !held.is_empty() {
            let output = connection.buffers().output();
            let amount = held.len().min(output.len());
            if let (Some(place), Some(next)) = (output.get_mut(..amount), held.get(..amount)) {
                place.copy_from_slice(next);
            }
            held.drain(..amount);
            // A write that fails leaves its message unfinished, whatever the system has taken of it.
            match connection.transmit_output(amount, timeout) {
                Ok(()) => *begun = true,
                Err(error) if *begun => return Err(error),
                Err(error) => return Err(Error::Other(Box::new(NotSent(error)))),
            }
        }
        Ok(())
    }
}

impl<T: Transport> Transport for Late<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.connection.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let written = self.connection.buffers().output().get(..amount).unwrap_or_default();
        self.held.extend_from_slice(written);
        if self.held.len() < ENOUGH { Ok(()) } else { self.send(timeout) }
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.send(timeout)?;
        self.begun = false;
        self.connection.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.connection.is_open()
    }

    fn is_tls(&self) -> bool {
        self.connection.is_tls()
    }
}

impl<T: Transport> fmt::Debug for Late<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not what is held: it is somebody's message.
        self.connection.fmt(f)
    }
}

impl fmt::Display for NotSent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for NotSent {}

impl NotSent {
    /// Whether this is why a request failed.
    pub(super) fn is(error: &Error) -> bool {
        matches!(error, Error::Other(error) if error.is::<Self>())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, ErrorKind};
    use std::sync::Mutex;
    use std::time::Duration;

    use ureq::Agent;
    use ureq::http::HeaderMap;
    use ureq::unversioned::transport::LazyBuffers;

    use super::super::names::Names;
    use super::super::post::{Posted, post};
    use super::*;
    use crate::sync::lock;

    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

    /// What was sent over all connections of an agent, write by write; so many writes and answers succeed.
    #[derive(Clone, Debug, Default)]
    struct Sent(Arc<Mutex<(Vec<Vec<u8>>, usize)>>);

    /// A connection to nobody, with an answer to every request.
    #[derive(Debug)]
    struct Nobody {
        buffers: LazyBuffers,
        sent: Sent,
    }

    impl Sent {
        fn until(good: usize) -> Self {
            Self(Arc::new(Mutex::new((Vec::new(), good))))
        }

        fn succeed(&self) -> Result<(), Error> {
            let left = &mut lock(&self.0).1;
            *left = left.checked_sub(1).ok_or_else(|| io::Error::from(ErrorKind::BrokenPipe))?;
            Ok(())
        }

        fn writes(&self) -> Vec<Vec<u8>> {
            lock(&self.0).0.clone()
        }

        fn post(&self, body: &str) -> Posted {
            let settings = Agent::config_builder().timeout_global(Some(Duration::from_mins(1))).build();
            let agent = Agent::with_parts(settings, self.clone(), Names::new());
            post(&agent, "http://127.0.0.1/", HeaderMap::new(), body, (None, 100))
        }
    }

    impl Connector<()> for Sent {
        type Out = Late<Nobody>;

        fn connect(&self, _: &ConnectionDetails, _: Option<()>) -> Result<Option<Self::Out>, Error> {
            let buffers = LazyBuffers::new(16 * 1024, 16 * 1024);
            Ok(Some(Late::new(Nobody { buffers, sent: self.clone() })))
        }
    }

    impl Transport for Nobody {
        fn buffers(&mut self) -> &mut dyn Buffers {
            &mut self.buffers
        }

        fn transmit_output(&mut self, amount: usize, _: NextTimeout) -> Result<(), Error> {
            lock(&self.sent.0).0.push(self.buffers.output()[..amount].to_vec());
            self.sent.succeed()
        }

        fn await_input(&mut self, _: NextTimeout) -> Result<bool, Error> {
            self.sent.succeed()?;
            self.buffers.input_append_buf()[..ANSWER.len()].copy_from_slice(ANSWER);
            self.buffers.input_appended(ANSWER.len());
            Ok(true)
        }

        fn is_open(&mut self) -> bool {
            true
        }
    }

    #[test]
    fn head_and_body_leave_in_one_write() {
        let sent = Sent::until(usize::MAX);
        for request in 1..=2 {
            let posted = sent.post("a=1&b=2");
            assert!(matches!(posted, Posted::Answered { status: 200, body, .. } if body == b"ok"));
            let writes = sent.writes();
            let last = str::from_utf8(writes.last().unwrap()).unwrap();
            assert!(last.starts_with("POST / HTTP/1.1\r\n") && last.ends_with("\r\n\r\na=1&b=2"), "{last}");
            assert_eq!(writes.len(), request);
        }
    }

    #[test]
    fn a_long_body_arrives_whole_and_in_order() {
        let body = (0..10_000).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
        let sent = Sent::until(usize::MAX);
        assert!(matches!(sent.post(&body), Posted::Answered { status: 200, .. }));
        let writes = sent.writes();
        assert!(writes.len() > 2, "{}", writes.len());
        assert!(writes.concat().ends_with(format!("\r\n\r\n{body}").as_bytes()));
    }

    #[test]
    fn a_request_of_which_the_connection_took_nothing_was_not_sent() {
        let posted = Sent::until(0).post("a=1");
        assert!(
            matches!(&posted, Posted::Unsent(words) if words == "connection failed (broken pipe)"),
            "{posted:?}"
        );
    }

    #[test]
    fn a_request_without_a_body_that_left_may_have_been_processed() {
        let posted = Sent::until(1).post("");
        assert!(matches!(posted, Posted::Lost(_)), "{posted:?}");
        assert!(matches!(Sent::until(0).post(""), Posted::Unsent(_)));
    }

    #[test]
    fn a_request_of_which_it_took_some_may_have_been() {
        let sent = Sent::until(1);
        let posted = sent.post(&"a".repeat(100_000));
        assert!(
            matches!(&posted, Posted::Lost(words) if words == "connection failed (broken pipe)"),
            "{posted:?}"
        );
        assert_eq!(sent.writes().len(), 2);
    }
}
