//! Posts to webhooks over ureq.

use std::time::Duration;

use ureq::Agent;
use ureq::http::header;

use super::{Answer, Posting, Transport};
use crate::domain::webhook::{DEADLINE, IN_FLIGHT};
use crate::outgoing;

/// For the lookup of the name, and again for connecting with TLS.
const CONNECT: Duration = Duration::from_secs(3);

/// So much of an answer is read, so that its connection can be used again; it says nothing that matters.
const ANSWER_CAP: u64 = 4 * 1024;
const HEAD_CAP: usize = 16 * 1024;

/// Bytes of each connection's two buffers: an event has some five hundred.
const BUFFER: usize = 8 * 1024;

/// Connections rest no longer than this.
const MAX_IDLE: Duration = Duration::from_secs(5);

/// Sends over HTTP.
pub struct HttpTransport(Agent);

impl Default for HttpTransport {
    /// Prepares the client; nothing is connected. Which URLs are good is settled where they are read.
    fn default() -> Self {
        let settings = outgoing::settings(CONNECT, DEADLINE)
            .max_response_header_size(HEAD_CAP)
            .input_buffer_size(BUFFER)
            .output_buffer_size(BUFFER)
            .max_idle_age(MAX_IDLE)
            .max_idle_connections(IN_FLIGHT)
            .max_idle_connections_per_host(IN_FLIGHT)
            .build();
        Self(outgoing::client(settings))
    }
}

impl Transport for HttpTransport {
    fn post(&self, posting: &Posting) -> Answer {
        let request = self
            .0
            .post(posting.url.as_str())
            .header(header::CONTENT_TYPE, "application/json")
            .header("webhook-id", &posting.id)
            .header("webhook-timestamp", posting.at.as_secs().to_string())
            .header("webhook-signature", &posting.signature);
        match request.send(posting.body.as_str()) {
            Ok(mut response) => {
                // The status alone decides, whatever becomes of the rest.
                drop(response.body_mut().with_config().limit(ANSWER_CAP).read_to_vec());
                Answer::Status(response.status().as_u16())
            }
            Err(error) => Answer::Silent(outgoing::words(&error)),
        }
    }
}
