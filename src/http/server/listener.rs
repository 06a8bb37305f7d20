//! Where connections come in: a port, in plain or with TLS, or a socket in the file system.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use poem::Addr;
use poem::http::uri::Scheme;
use poem::web::{LocalAddr, RemoteAddr};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::domain::Listen;
use crate::http::tls::Tls;

/// Where connections come in.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    tls: Option<Tls>,
}

#[derive(Debug)]
enum Socket {
    Port(TcpListener),
    /// With its name, where that is ours to remove.
    Unix(UnixListener, Option<Name>),
}

/// A name in the file system; removed when this is dropped, unless somebody else has it by then.
#[derive(Debug)]
pub(super) struct Name {
    path: PathBuf,
    inode: u64,
}

impl Name {
    /// That of a socket which was just made.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), inode: path.symlink_metadata()?.ino() })
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        if self.path.symlink_metadata().is_ok_and(|found| found.ino() == self.inode) {
            drop(fs::remove_file(&self.path));
        }
    }
}

/// A connection that has just come in.
pub(super) struct Accepted {
    pub(super) stream: Stream,
    pub(super) ends: Ends,
}

/// Its bytes.
pub(super) enum Stream {
    Port(TcpStream),
    Unix(UnixStream),
}

/// The two ends of a connection, as requests know them.
#[derive(Clone, Debug)]
pub(super) struct Ends {
    pub(super) local: LocalAddr,
    pub(super) remote: RemoteAddr,
    pub(super) scheme: Scheme,
}

impl From<TcpListener> for Listener {
    fn from(socket: TcpListener) -> Self {
        Self { socket: Socket::Port(socket), tls: None }
    }
}

impl From<UnixListener> for Listener {
    fn from(socket: UnixListener) -> Self {
        Self { socket: Socket::Unix(socket, None), tls: None }
    }
}

impl Listener {
    /// At a name of our own.
    pub(super) fn at(socket: UnixListener, name: Name) -> Self {
        Self { socket: Socket::Unix(socket, Some(name)), tls: None }
    }

    /// The same, with TLS.
    #[must_use]
    pub fn with_tls(self, tls: Option<Tls>) -> Self {
        Self { tls, ..self }
    }

    /// Where it listens.
    ///
    /// # Errors
    /// What the system says.
    pub fn address(&self) -> io::Result<Listen> {
        match &self.socket {
            Socket::Port(socket) => socket.local_addr().map(Listen::Port),
            Socket::Unix(_, Some(name)) => Ok(Listen::Unix(name.path.clone())),
            Socket::Unix(socket, None) => {
                let path = socket.local_addr()?.as_pathname().map_or_else(PathBuf::new, PathBuf::from);
                Ok(Listen::Unix(path))
            }
        }
    }

    pub(super) fn tls(&self) -> Option<&Tls> {
        self.tls.as_ref()
    }

    pub(super) async fn accept(&self) -> io::Result<Accepted> {
        match &self.socket {
            Socket::Port(socket) => {
                let (stream, peer) = socket.accept().await?;
                // A socket that is gone already says so when it is read.
                let local = stream
                    .local_addr()
                    .map_or_else(|_| LocalAddr::default(), |local| LocalAddr(local.into()));
                drop(stream.set_nodelay(true));
                let scheme = if self.tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP };
                let ends = Ends { local, remote: RemoteAddr(Addr::from(peer)), scheme };
                Ok(Accepted { stream: Stream::Port(stream), ends })
            }
            Socket::Unix(socket, _) => {
                let (stream, _) = socket.accept().await?;
                let ends =
                    Ends { local: LocalAddr::default(), remote: RemoteAddr::default(), scheme: Scheme::HTTP };
                Ok(Accepted { stream: Stream::Unix(stream), ends })
            }
        }
    }
}

impl Ends {
    /// The peer's address; of a socket in the file system the one that means nobody in particular.
    pub(super) fn peer(&self) -> IpAddr {
        self.remote.as_socket_addr().map_or(Ipv4Addr::UNSPECIFIED.into(), SocketAddr::ip)
    }
}
