//! Errors for the operator: what is wrong and what to do are two texts.

use std::error::Error;

/// An error for the operator. `Display` says what is wrong, in one sentence without a full stop.
pub trait Help: Error {
    /// What to do next, in the imperative; empty where the error is a list that says it line by line.
    fn help(&self) -> String;
}
