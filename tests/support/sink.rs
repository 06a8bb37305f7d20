//! A receiver of webhooks for tests, on a real socket: keeps what it was sent, and answers as it is told.
//!
//! Use it with `#[path = "support/sink.rs"] mod sink;`.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use serde_json::Value;

/// The secret of all webhooks in tests.
pub(crate) const WEBHOOK_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// The server; it ends when dropped.
pub(crate) struct Sink {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    released: Condvar,
    stopping: AtomicBool,
}

#[derive(Default)]
struct State {
    requests: Vec<Received>,
    reply: Reply,
    /// Bodies with this text in them get no answer until it is released.
    held: Option<String>,
    /// Bodies with this text in them are refused with 500.
    refused: Option<String>,
}

/// What it answers.
#[derive(Clone, Debug, Default)]
pub(crate) enum Reply {
    /// 204.
    #[default]
    Taken,
    /// This status, and no body.
    Status(u16),
    /// A redirect to this place.
    Redirect(String),
    /// 200, and a body of ten megabytes.
    Endless,
    /// This status, and this body.
    Says(u16, &'static str),
    /// The connection is closed without an answer.
    Nothing,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) path: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(own, _)| own == name).map_or("", |(_, value)| value)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub(crate) fn kind(&self) -> String {
        self.json()["type"].as_str().unwrap().to_owned()
    }
}

impl Sink {
    /// Starts; it takes everything until told otherwise.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let sink = Self { address: listener.local_addr().unwrap(), shared: Arc::default() };
        let shared = sink.shared.clone();
        thread::spawn(move || accept(&listener, &shared));
        sink
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/freshk/webhook/", self.address)
    }

    /// The form of a webhook in the environment; of all events, or of those that are named.
    pub(crate) fn webhook(&self, name: &str, events: &str) -> String {
        format!("{name}|{}|{WEBHOOK_SECRET}|{events}", self.url())
    }

    /// Answers so from now on.
    pub(crate) fn reply(&self, reply: Reply) {
        self.shared.state().reply = reply;
    }

    /// Keeps the answers to bodies with this text back, until [`Self::release`].
    pub(crate) fn hold(&self, text: &str) {
        self.shared.state().held = Some(text.to_owned());
    }

    pub(crate) fn release(&self) {
        self.shared.state().held = None;
        self.shared.released.notify_all();
    }

    /// Refuses bodies with this text from now on.
    pub(crate) fn refuse(&self, text: Option<&str>) {
        self.shared.state().refused = text.map(str::to_owned);
    }

    /// All requests so far.
    pub(crate) fn requests(&self) -> Vec<Received> {
        self.shared.state().requests.clone()
    }

    /// Of all requests since the last call, what they tell of.
    pub(crate) fn take_kinds(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.state().requests).iter().map(Received::kind).collect()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        self.release();
        // Wakes the accepting thread.
        drop(TcpStream::connect_timeout(&self.address, Duration::from_millis(100)));
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.stopping.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let shared = Arc::clone(shared);
        // A client that goes away in the middle is part of many a test.
        thread::spawn(move || drop(converse(stream, &shared)));
    }
}

fn converse(mut stream: TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    while let Some(mut received) = read_head(&mut stream)? {
        let length: usize = received.header("content-length").parse().unwrap_or(0);
        let mut body = vec![0; length];
        stream.read_exact(&mut body)?;
        received.body = String::from_utf8_lossy(&body).into_owned();
        let is_of = |text: &Option<String>| text.as_ref().is_some_and(|text| received.body.contains(text));
        let mut state = shared.state();
        state.requests.push(received.clone());
        while is_of(&state.held) {
            state = shared.released.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let reply = if is_of(&state.refused) { Reply::Status(500) } else { state.reply.clone() };
        drop(state);
        let head =
            |status: u16, rest: &str| format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\n{rest}\r\n");
        match reply {
            Reply::Taken => stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n")?,
            Reply::Status(status) => stream.write_all(head(status, "").as_bytes())?,
            Reply::Redirect(place) => {
                stream.write_all(head(307, &format!("location: {place}\r\n")).as_bytes())?;
            }
            Reply::Endless => {
                const LENGTH: usize = 10 * 1024 * 1024;
                stream
                    .write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: {LENGTH}\r\n\r\n").as_bytes())?;
                stream.write_all(&vec![b'x'; LENGTH])?;
            }
            Reply::Says(status, body) => {
                let length = body.len();
                let whole = format!("HTTP/1.1 {status} x\r\ncontent-length: {length}\r\n\r\n{body}");
                stream.write_all(whole.as_bytes())?;
            }
            Reply::Nothing => return Ok(()),
        }
    }
    Ok(())
}

/// Reads up to the empty line; `None` at the end of the stream.
fn read_head(stream: &mut TcpStream) -> io::Result<Option<Received>> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte)? == 0 {
            return Ok(None);
        }
        head.push(byte[0]);
        // A TLS handshake.
        if head[0] == 0x16 {
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")?;
            return Ok(None);
        }
    }
    let head = String::from_utf8_lossy(&head);
    let mut lines = head.lines();
    let path = lines.next().unwrap_or_default().split(' ').nth(1).unwrap_or_default().to_owned();
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    Ok(Some(Received { path, headers, body: String::new() }))
}
