//! The endpoints. Each reads its input into the types of the domain, calls one flow of `auth`, and turns the outcome into
//! an answer. What every endpoint needs is in [`crate::http`]; the rules are the flows'. Never storage, SMS or the ledger.

pub mod account;
mod account_schemas;
pub mod callback;
mod date_time;
mod delivery_schemas;
mod flows;
pub mod number;
pub mod otp;
mod schemas;
mod sender_report;
pub mod sessions;
pub mod testing;
pub mod webhook;

/// What is served to apps in production, and described by `openapi.yaml`.
pub type ProductionApi = (otp::OtpApi, sessions::SessionsApi, number::NumberApi, account::AccountApi);

/// What is served to apps in debug: the testing mode besides.
pub type DebugApi =
    (otp::OtpApi, sessions::SessionsApi, number::NumberApi, account::AccountApi, testing::TestingApi);

/// What providers call, described by `/openapi-callbacks.json`.
pub type CallbacksApi = webhook::WebhookApi;

#[cfg(test)]
mod tests;
