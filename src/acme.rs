//! Certificates from an authority, by ACME (RFC 8555): ordered, proven and renewed. What is learned is kept by a [`Cache`];
//! how the listener answers the authority's questions is not known here.

use std::path::PathBuf;

use crate::domain::HttpUrl;

pub mod cache;
mod http;
mod order;
mod renewal;
mod window;

pub use cache::{Cache, CacheError, Folder};
pub use order::{Kind, OrderError};
pub use renewal::{Renewal, Turn};
pub use window::{CertificateId, Window};

/// From whom a certificate is, and for whom.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The names in it.
    pub domains: Vec<String>,
    /// Where the authority writes to when something is wrong; addresses of mail.
    pub contact: Vec<String>,
    /// The authority: its directory.
    pub directory: HttpUrl,
    /// A file of authorities in PEM whom the directory's own certificate is checked with; without it those of the web.
    pub root: Option<PathBuf>,
}

#[cfg(test)]
mod tests;
