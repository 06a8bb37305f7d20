//! The seam to limits: how a sliding window judges, who is out according to memory, and the flood guard.
//!
//! Memory may say no early; only the durable ledger (rows that `storage` keeps) says yes.

pub mod early;
pub mod flood;
pub mod lines;
pub mod window;
