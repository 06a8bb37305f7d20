//! HTTP, for phones: what is known here of requests and answers, and of no flow's rules.
//!
//! A request comes in at [`server`], passes [`edge`] (name, pace, host, path, size, type, panic net), and reaches a
//! handler, which turns fields into domain types, calls a flow, and turns the outcome into an answer. Every failure
//! crosses [`error`] once. Never storage, SMS or the ledger.

mod accept;
pub mod bearer;
pub mod body;
pub mod caller;
pub mod client_ip;
pub mod docs;
pub mod edge;
pub mod error;
mod flows;
pub mod health;
pub mod idempotency;
mod jwks;
mod log_throttle;
pub mod ops;
pub mod otp;
pub mod rates;
pub mod server;
pub mod sessions;
mod tally;
pub mod testing;
pub mod webhook;

pub use bearer::BearerToken;
pub use body::{Fields, JsonBody};
pub use caller::{Caller, RequestId};
pub use client_ip::ClientIp;
pub use edge::{EdgeParts, EdgeSettings, assemble};
pub use error::{ApiError, DocumentedErrors, ErrorCode, OperationError};
pub use rates::{Limited, Rate, RateHeaders};

/// What is served in production, and described by `openapi.yaml`.
pub type ProductionApi = (otp::OtpApi, sessions::SessionsApi, webhook::WebhookApi);

/// What is served in debug: the testing mode besides.
pub type DebugApi = (otp::OtpApi, sessions::SessionsApi, webhook::WebhookApi, testing::TestingApi);
