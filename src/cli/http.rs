//! Calls that a command makes to a server.

use std::time::Duration;

use ureq::Agent;

use crate::outgoing;

/// No answer that a command waits for is longer.
pub const ANSWER_CAP: u64 = 1024 * 1024;

/// A client with these time-outs.
pub fn agent(connect: Duration, whole: Duration) -> Agent {
    outgoing::settings(connect, whole).build().into()
}
