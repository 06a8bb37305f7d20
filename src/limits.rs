//! Limits: how a sliding window judges, the cache of exhausted quotas, the flood guard, what servers share of both, and the bound
//! on lines of attempts.
//!
//! Memory may refuse; only the durable ledger (rows that `storage` keeps) grants.

pub mod flood;
pub mod lines;
pub mod redis;
pub mod refusals;
pub mod shared;
pub mod window;
