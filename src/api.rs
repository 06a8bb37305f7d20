//! HTTP, for phones: what is known here of requests and answers, and of no flow's rules.

pub mod client_ip;
mod occasion;

pub use client_ip::ClientIp;
