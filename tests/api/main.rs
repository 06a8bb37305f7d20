//! The API as a client meets it: the real program over a real socket, with a manual clock and a fake Twilio.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test stops at the first surprise"
)]

mod callbacks;
mod codes;
mod concealed;
mod deactivated;
mod disconnect;
mod guide;
mod in_flight;
mod limits;
mod log;
mod options;
mod settling;
mod support;
mod twilio_faults;

#[path = "../support/twilio.rs"]
#[expect(dead_code, reason = "shared with the tests of the adapter, which use the rest")]
mod twilio;
