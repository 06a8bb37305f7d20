//! The sender of debug mode: a person reads the message where the program runs, and nothing is sent.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use crate::clock::Clock;
use crate::domain::message::MessageState;
use crate::sms::{Accepted, Failure, SendOutcome, Slot, SmsSender, TextMessage, Unavailable};
use crate::sync::lock;

/// Writes messages, phone and code in the open, to standard output. For debug mode only; production refuses to start
/// with it.
#[derive(Clone)]
pub struct ConsoleSender(Arc<Console>);

struct Console {
    clock: Arc<dyn Clock>,
    output: Mutex<Box<dyn Write + Send>>,
}

struct ConsoleSlot(Arc<Console>);

impl ConsoleSender {
    /// Writes to standard output.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self::to(Box::new(io::stdout()), clock)
    }

    /// Writes to `output`.
    pub fn to(output: Box<dyn Write + Send>, clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Console { clock, output: Mutex::new(output) }))
    }
}

impl SmsSender for ConsoleSender {
    fn reserve(&self, _: u32) -> Result<Box<dyn Slot>, Unavailable> {
        Ok(Box::new(ConsoleSlot(Arc::clone(&self.0))))
    }

    fn deadline(&self) -> Duration {
        Duration::from_secs(1)
    }
}

impl Slot for ConsoleSlot {
    fn send(self: Box<Self>, message: TextMessage) -> BoxFuture<'static, SendOutcome> {
        async move { self.0.print(&message) }.boxed()
    }
}

impl Console {
    fn print(&self, message: &TextMessage) -> SendOutcome {
        let text = message.body(self.clock.now());
        let mut output = lock(&self.output);
        // One write, so that lines of the log never fall in between.
        let block = format!("\n--- SMS to {} (debug: not sent) ---\n{text}\n---\n\n", message.to.as_str());
        match output.write_all(block.as_bytes()).and_then(|()| output.flush()) {
            Ok(()) => SendOutcome::Accepted(Accepted {
                sid: None,
                state: MessageState::Delivered,
                segments: Some(1),
            }),
            Err(error) => SendOutcome::Refused(Failure::delivery(format!(
                "standard output cannot be written to: {error}"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use crate::domain::{Code, MessageId, PhoneNumber};
    use crate::sms::TextKind;
    use crate::sms::template::Template;

    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    async fn send(output: impl Write + Send + 'static) -> SendOutcome {
        let clock = Arc::new(ManualClock::new());
        let message = TextMessage {
            id: MessageId(1),
            to: PhoneNumber::parse("+1234567890", 10).unwrap(),
            code: Code::from_number(42, 6),
            text: Template::default(),
            kind: TextKind::Code,
            expires_at: clock.now() + Duration::from_mins(10),
            patience: None,
        };
        let sender = ConsoleSender::to(Box::new(output), clock);
        sender.reserve(1).ok().unwrap().send(message).await
    }

    #[tokio::test]
    async fn a_person_sees_phone_and_code() {
        let paper = Paper::default();
        assert!(matches!(send(paper.clone()).await, SendOutcome::Accepted(_)));
        let seen = String::from_utf8(paper.0.lock().unwrap().clone()).unwrap();
        assert!(seen.contains("SMS to +1234567890"), "{seen}");
        assert!(seen.contains("Your FreshK code is 000042. It expires in 10 minutes."), "{seen}");
    }

    #[tokio::test]
    async fn a_closed_output_is_a_failure_not_a_panic() {
        assert!(matches!(send(Closed).await, SendOutcome::Refused(_)));
    }
}
