//! The bytes between here and the server: a socket, encrypted or not, and the messages on it.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use bytes::BytesMut;
use postgres_protocol::message::backend::Message;
use postgres_protocol::message::frontend;
use socket2::{SockRef, TcpKeepalive};

use super::fault::Failure;
use super::settings::{Host, PostgresSettings, TlsMode};
use super::tls::{Encrypted, Tls};

/// How long the server's system may leave unconfirmed what was sent.
#[cfg(target_os = "linux")]
const UNHEARD: Duration = Duration::from_secs(6);

/// A socket to the server.
enum Stream {
    Plain(TcpStream),
    Encrypted(Box<Encrypted>),
    Local(UnixStream),
}

/// A connection as a sequence of messages.
pub(super) struct Wire {
    stream: Stream,
    input: BytesMut,
    /// What is sent next.
    pub(super) output: BytesMut,
    patience: Duration,
    /// What was heard on channels, and nobody has taken yet.
    notices: Vec<Notice>,
}

/// A word on a channel that the connection listens to.
#[derive(Debug)]
pub(super) struct Notice {
    /// The process of the server that sent it.
    pub(super) sender: i32,
    /// The word.
    pub(super) word: String,
}

/// Why there is no way to the server.
#[derive(Debug)]
pub(super) enum NoWay {
    /// Nobody answers, or the connection broke.
    Unreachable(Failure),
    /// TLS did not come about.
    Tls(String),
}

impl Wire {
    /// Opens a socket, encrypted where the settings ask for it; nothing of it waits longer than `patience`.
    pub(super) fn open(settings: &PostgresSettings, tls: &Tls, patience: Duration) -> Result<Self, NoWay> {
        let lost = |error| NoWay::Unreachable(Failure::of_connection(error, patience));
        let stream = match &settings.host {
            Host::Socket(directory) => {
                let path = directory.join(format!(".s.PGSQL.{}", settings.port));
                Stream::Local(UnixStream::connect(path).map_err(lost)?)
            }
            Host::Tcp(host) => {
                let stream = connect(host, settings.port, patience).map_err(lost)?;
                match settings.tls {
                    TlsMode::Disable => Stream::Plain(stream),
                    mode => encrypt(stream, host, tls, mode, patience)?,
                }
            }
        };
        let mut wire =
            Self { stream, input: BytesMut::new(), output: BytesMut::new(), patience, notices: Vec::new() };
        wire.wait_at_most(patience).map_err(lost)?;
        Ok(wire)
    }

    /// Whether nobody on the way can read along.
    pub(super) fn is_private(&self) -> bool {
        !matches!(self.stream, Stream::Plain(_))
    }

    /// How long the server may be silent from now on.
    pub(super) fn wait_at_most(&mut self, patience: Duration) -> io::Result<()> {
        self.patience = patience;
        match &self.stream {
            Stream::Plain(stream) => set_patience(stream, patience),
            Stream::Encrypted(stream) => set_patience(stream.get_ref(), patience),
            Stream::Local(stream) => {
                stream.set_read_timeout(Some(patience))?;
                stream.set_write_timeout(Some(patience))
            }
        }
    }

    /// Sends what stands in the output.
    pub(super) fn send(&mut self) -> Result<(), Failure> {
        let output = self.output.split();
        let sent = match &mut self.stream {
            Stream::Plain(stream) => stream.write_all(&output),
            Stream::Encrypted(stream) => stream.write_all(&output).and_then(|()| stream.flush()),
            Stream::Local(stream) => stream.write_all(&output),
        };
        sent.map_err(|error| Failure::of_connection(error, self.patience))
    }

    /// The next message that answers something.
    pub(super) fn receive(&mut self) -> Result<Message, Failure> {
        loop {
            match self.parse()? {
                Some(message) => return Ok(message),
                None => self.read()?,
            }
        }
    }

    /// What was heard on channels since this was asked last; waits for it, though no longer than the patience.
    pub(super) fn notices(&mut self) -> Result<Vec<Notice>, Failure> {
        loop {
            if let Some(Message::ErrorResponse(body)) = self.parse()? {
                // Nothing was asked: the server says that it goes.
                return Err(Failure::of_answer(&body));
            }
            if !self.notices.is_empty() {
                return Ok(std::mem::take(&mut self.notices));
            }
            match self.read() {
                Err(Failure::Silent(_)) => return Ok(Vec::new()),
                other => other?,
            }
        }
    }

    /// The next message of what was read. What answers nothing is passed over, and notices are kept.
    fn parse(&mut self) -> Result<Option<Message>, Failure> {
        loop {
            match Message::parse(&mut self.input).map_err(Failure::Lost)? {
                Some(Message::NoticeResponse(_) | Message::ParameterStatus(_)) => {}
                Some(Message::NotificationResponse(body)) => {
                    let word = body.message().map_err(Failure::Lost)?.to_owned();
                    self.notices.push(Notice { sender: body.process_id(), word });
                }
                message => return Ok(message),
            }
        }
    }

    /// Reads what the server sends next.
    fn read(&mut self) -> Result<(), Failure> {
        const CHUNK: usize = 16 * 1024;
        let mut chunk = [0; CHUNK];
        let read = match &mut self.stream {
            Stream::Plain(stream) => stream.read(&mut chunk),
            Stream::Encrypted(stream) => stream.read(&mut chunk),
            Stream::Local(stream) => stream.read(&mut chunk),
        };
        match read {
            Ok(0) => Err(Failure::Lost(ErrorKind::UnexpectedEof.into())),
            Ok(read) => {
                self.input.extend_from_slice(chunk.get(..read).unwrap_or_default());
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(Failure::of_connection(error, self.patience)),
        }
    }
}

/// Says goodbye, so that the server's log tells of no lost connection.
impl Drop for Wire {
    fn drop(&mut self) {
        self.output.clear();
        frontend::terminate(&mut self.output);
        drop(self.send());
    }
}

fn connect(host: &str, port: u16, patience: Duration) -> io::Result<TcpStream> {
    let mut last = ErrorKind::NotFound.into();
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, patience) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                notice_silence(&stream)?;
                set_patience(&stream, patience)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Has the system end a connection whose packets are lost on the way, waited on or not: without a word from there it would last
/// for many minutes, and each statement would wait for its whole patience to learn of it.
fn notice_silence(stream: &TcpStream) -> io::Result<()> {
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(
        &TcpKeepalive::new()
            .with_time(Duration::from_secs(3))
            .with_interval(Duration::from_secs(1))
            .with_retries(3),
    )?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(UNHEARD))?;
    Ok(())
}

fn set_patience(stream: &TcpStream, patience: Duration) -> io::Result<()> {
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))
}

/// Asks whether the server encrypts. Of its answer one byte is read and no more: what else came before the handshake is
/// somebody else's.
fn encrypt(
    mut stream: TcpStream,
    host: &str,
    tls: &Tls,
    mode: TlsMode,
    patience: Duration,
) -> Result<Stream, NoWay> {
    let lost = |error| NoWay::Unreachable(Failure::of_connection(error, patience));
    let mut asked = BytesMut::new();
    frontend::ssl_request(&mut asked);
    stream.write_all(&asked).map_err(lost)?;
    let mut answer = [0];
    stream.read_exact(&mut answer).map_err(lost)?;
    match answer {
        [b'S'] => {
            let encrypted = tls.encrypt(host, stream).map_err(|error| NoWay::Tls(error.to_string()))?;
            Ok(Stream::Encrypted(Box::new(encrypted)))
        }
        [b'N'] if mode == TlsMode::Prefer => Ok(Stream::Plain(stream)),
        [b'N'] => Err(NoWay::Tls("the server does not encrypt".to_owned())),
        _ => Err(NoWay::Tls("what answers is not PostgreSQL".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn a_connection_of_which_nothing_is_heard_ends_before_a_statement_is_out_of_patience() {
        let server = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = server.local_addr().unwrap().port();
        let stream = connect("127.0.0.1", port, Duration::from_secs(4)).unwrap();
        let socket = SockRef::from(&stream);
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(UNHEARD));
        assert!(socket.keepalive().unwrap() && socket.tcp_keepalive_time().unwrap() < UNHEARD);
    }
}
