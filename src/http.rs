//! HTTP, whatever is served: the server, what is true of every request and answer, and the parts that endpoints are made
//! of. Nothing here knows of logins, so never `auth`.
//!
//! A request comes in at [`server`] and passes [`edge`] (name, pace, host, path, size, type, panic net) on its way to an
//! endpoint. Every failure crosses [`error`] once.

mod accept;
pub mod bearer;
pub mod body;
pub mod caller;
pub mod client_ip;
pub mod delivery_id;
pub mod device;
pub mod device_token;
pub mod docs;
pub mod edge;
pub mod error;
mod header;
pub mod health;
pub mod idempotency;
pub mod json;
mod jwks;
pub mod log_throttle;
pub mod ops;
pub mod rates;
pub mod redirect;
pub mod server;
mod tally;
pub mod tls;

pub use bearer::BearerToken;
#[cfg(any(test, fuzzing))]
pub(crate) use body::read_fields;
pub use body::{Fields, JsonBody};
pub use caller::{Caller, Recipient, RequestId};
pub use client_ip::ClientIp;
pub use edge::{EdgeParts, EdgeSettings, assemble};
pub use error::{ApiError, DocumentedErrors, ErrorCode, OperationError};
pub use jwks::Jwks;
pub use rates::{Limited, Rate, RateHeaders};

#[cfg(test)]
mod tests;
