//! The API as a client meets it: the real program over a real socket, with a manual clock and a fake Twilio.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test stops at the first surprise"
)]
#![expect(
    clippy::redundant_closure_for_method_calls,
    reason = "the methods themselves are not general enough in the lifetimes of Operator"
)]

mod addresses;
mod asking;
mod audit;
mod budgets;
mod callback_order;
mod callbacks;
mod calls;
mod claims;
mod clock;
mod codes;
mod concealed;
mod cors;
mod countries;
mod database;
mod deactivated;
mod deletion;
mod delivery;
mod devices;
mod disconnect;
mod dormant;
mod errors;
mod events;
mod exchange;
mod export;
mod first_fault;
mod foreign;
mod guard;
mod guide;
mod hosts;
mod in_flight;
mod input;
mod kinds;
mod languages;
mod limits;
mod lines;
mod logs;
mod metrics;
mod names;
mod number;
mod options;
mod refresh;
mod repeated_verify;
mod secrecy;
mod senders;
mod sessions;
mod settling;
mod shared_key;
mod steps;
mod storage_faults;
mod support;
mod test_numbers;
mod tokens;
mod twilio_faults;

#[path = "../support/postgres.rs"]
#[expect(dead_code, reason = "shared with the tests of several servers, which use the rest")]
mod postgres;
#[path = "../support/sink.rs"]
mod sink;
#[path = "../support/twilio.rs"]
#[expect(dead_code, reason = "shared with the tests of the adapter, which use the rest")]
mod twilio;
