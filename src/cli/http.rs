//! Calls that a command makes to a server.

use std::time::Duration;

use ureq::Agent;

use crate::outgoing;

/// No answer that a command waits for is longer.
pub const ANSWER_CAP: u64 = 1024 * 1024;

/// A client with these time-outs.
pub fn agent(connect: Duration, whole: Duration) -> Agent {
    outgoing::client(outgoing::settings(connect, whole).build())
}

/// The same for a server on this machine: its certificate is for the name by which others know it.
pub fn local_agent(connect: Duration, whole: Duration) -> Agent {
    outgoing::client(outgoing::local_settings(connect, whole).build())
}
