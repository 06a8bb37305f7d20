//! `FreshK`: phone login for small teams. One binary, one `SQLite` file, one VPS.
//!
//! The map, from the network down; arrows point down only (held by `tests/layering.rs`):
//!
//! - [`api`]: the endpoints, for phones; [`cli`]: the command line, for the operator
//! - [`http`]: the server and what every endpoint needs; knows nothing of logins
//! - [`auth`]: the flows (request, verify, resend, status, maintenance)
//! - [`events`]: takes to the webhooks what the flows have written for them
//! - [`storage`], [`limits`], [`sms`]: seams, with their adapters beside them; [`tokens`]
//! - [`domain`]: the rules, pure
//! - [`clock`], [`random`]: the only callers of the system's clock and generator
//! - `fuzzing`: where input from outside is read, for `cargo fuzz`
//! - [`files`]: how files are written beside others; `sync`: locks that survive a panic;
//!   `threads`: threads for what waits
//! - [`certificate`]: a certificate with its key, as TLS shows it; [`acme`]: orders one from an authority
//! - `outgoing`: how calls to other programs are made
//! - [`metrics`]: what the operator's monitoring reads; [`watch`]: alarms and a page without one; [`telemetry`]: the log
//! - [`config`]: every key, validated before anything starts

pub mod acme;
pub mod api;
pub mod auth;
pub mod certificate;
pub mod cli;
pub mod clock;
pub mod config;
pub mod domain;
pub mod encryption;
pub mod events;
pub mod files;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod http;
pub mod limits;
pub mod metrics;
mod outgoing;
pub mod random;
pub mod sms;
pub mod storage;
mod sync;
pub mod telemetry;
mod threads;
pub mod tokens;
pub mod watch;
