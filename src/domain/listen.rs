//! Where a server listens.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// On a port.
    Port(SocketAddr),
    /// On a socket in the file system, for a proxy on this machine: `unix:` and its path.
    Unix(PathBuf),
}

/// The text is neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("neither an address with a port nor unix: with a path")]
pub struct NoListen;

impl Listen {
    /// Reads one.
    ///
    /// # Errors
    /// [`NoListen`]
    pub fn parse(text: &str) -> Result<Self, NoListen> {
        match text.strip_prefix("unix:") {
            Some("" | "/") => Err(NoListen),
            Some(path) if path.contains('\0') => Err(NoListen),
            Some(path) => Ok(Self::Unix(path.into())),
            None => text.parse().map(Self::Port).map_err(|_| NoListen),
        }
    }

    /// The address, where it is a port.
    pub const fn port(&self) -> Option<SocketAddr> {
        match self {
            Self::Port(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }

    /// Whether only this machine reaches it.
    pub fn is_local(&self) -> bool {
        self.port().is_none_or(|address| address.ip().to_canonical().is_loopback())
    }
}

impl From<SocketAddr> for Listen {
    fn from(address: SocketAddr) -> Self {
        Self::Port(address)
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_or_a_path_and_nothing_else() {
        for good in ["127.0.0.1:8000", "[::]:80", "unix:/run/freshk/freshk.sock", "unix:freshk.sock"] {
            assert_eq!(Listen::parse(good).unwrap().to_string(), good);
        }
        for bad in
            ["", "localhost", "8000", "unix:", "unix:/", "/run/freshk.sock", "tcp:127.0.0.1:80", "unix:a\0b"]
        {
            assert_eq!(Listen::parse(bad), Err(NoListen), "{bad}");
        }
        for (text, is_local) in
            [("127.0.0.1:1", true), ("[::ffff:127.0.0.1]:1", true), ("unix:x", true), ("0.0.0.0:1", false)]
        {
            assert_eq!(Listen::parse(text).unwrap().is_local(), is_local, "{text}");
        }
    }
}
