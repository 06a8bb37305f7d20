//! What stands between a node and `PostgreSQL`: passes everything on, and cuts a connection in a commit when it is told to, or
//! lets nothing through to connections that listen. It knows in how many exchanges each transaction was done.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// Where a commit is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// It does not arrive.
    Commit,
    /// It arrives, and its answer does not.
    Answer,
}

/// A transaction that has ended.
struct Ended {
    ran: Vec<String>,
    /// How often its client waited for an answer.
    exchanges: usize,
}

/// What all connections share.
#[derive(Clone, Default)]
struct Shared {
    /// The next transaction with a statement that contains this, and where its commit is cut.
    trap: Arc<Mutex<Option<(&'static str, Cut)>>>,
    /// Whether connections that listen hear nothing, and are not heard.
    is_deaf: Arc<AtomicBool>,
    ended: Arc<Mutex<Vec<Ended>>>,
}

pub(crate) struct Proxy {
    port: u16,
    shared: Shared,
}

impl Proxy {
    /// Before the server that listens on this socket.
    pub(crate) fn before(socket: PathBuf) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Shared::default();
        let for_connections = shared.clone();
        thread::spawn(move || {
            for client in listener.incoming() {
                pass(&client.unwrap(), &socket, for_connections.clone());
            }
        });
        Self { port, shared }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Cuts the commit of the next transaction with a statement that contains this.
    pub(crate) fn arm(&self, statement: &'static str, cut: Cut) {
        *self.shared.trap.lock().unwrap() = Some((statement, cut));
    }

    /// From now on nothing passes to and from connections that listen, which stay open; or all does again.
    pub(crate) fn deafen(&self, is_deaf: bool) {
        self.shared.is_deaf.store(is_deaf, Ordering::SeqCst);
    }

    /// Whether that has happened.
    pub(crate) fn has_cut(&self) -> bool {
        self.shared.trap.lock().unwrap().is_none()
    }

    /// Forgets the transactions that have ended.
    pub(crate) fn forget(&self) {
        self.shared.ended.lock().unwrap().clear();
    }

    /// In how many exchanges transactions with a statement that contains this were done: each ended one's, the fewest first.
    /// Connections ask once for each statement what it is.
    pub(crate) fn exchanges(&self, statement: &str) -> Vec<usize> {
        let ended = self.shared.ended.lock().unwrap();
        let of_it = ended.iter().filter(|ended| ended.ran.iter().any(|sql| sql.contains(statement)));
        let mut exchanges: Vec<_> = of_it.map(|ended| ended.exchanges).collect();
        exchanges.sort_unstable();
        exchanges
    }
}

fn pass(client: &TcpStream, socket: &Path, shared: Shared) {
    let server = UnixStream::connect(socket).unwrap();
    let is_mute = Arc::new(AtomicBool::new(false));
    let listens = Arc::new(AtomicBool::new(false));
    let is_cut_off = {
        let (listens, is_deaf) = (Arc::clone(&listens), Arc::clone(&shared.is_deaf));
        move || listens.load(Ordering::SeqCst) && is_deaf.load(Ordering::SeqCst)
    };
    let (mut from, mut to, mute) =
        (server.try_clone().unwrap(), client.try_clone().unwrap(), Arc::clone(&is_mute));
    let is_cut = is_cut_off.clone();
    thread::spawn(move || {
        let mut chunk = [0; 16 * 1024];
        while let Ok(count @ 1..) = from.read(&mut chunk) {
            if is_cut() {
                continue;
            }
            // What comes now is the answer to the commit.
            if mute.load(Ordering::SeqCst) || to.write_all(&chunk[..count]).is_err() {
                break;
            }
        }
        drop((from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both)));
    });
    let (mut from, mut to) = (client.try_clone().unwrap(), server);
    thread::spawn(move || {
        let mut session = Session::default();
        let mut chunk = [0; 16 * 1024];
        while let Ok(count @ 1..) = from.read(&mut chunk) {
            let cut = session.hear(&chunk[..count], &shared);
            is_mute.fetch_or(cut == Some(Cut::Answer), Ordering::SeqCst);
            listens.fetch_or(session.listens, Ordering::SeqCst);
            if is_cut_off() {
                continue;
            }
            if cut == Some(Cut::Commit) || to.write_all(&chunk[..count]).is_err() {
                break;
            }
        }
        // Where the answer is to be cut, the other thread does that once it has come.
        if !is_mute.load(Ordering::SeqCst) {
            drop((from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both)));
        }
    });
}

/// What a client has said (protocol 3.0).
#[derive(Default)]
struct Session {
    unread: Vec<u8>,
    has_begun: bool,
    prepared: HashMap<String, String>,
    /// The statements of the transaction so far.
    ran: Vec<String>,
    exchanges: usize,
    /// Whether it has asked for what is told on a channel.
    listens: bool,
}

impl Session {
    /// Hears what the client sends; whether it is a commit that is cut.
    fn hear(&mut self, bytes: &[u8], shared: &Shared) -> Option<Cut> {
        self.unread.extend_from_slice(bytes);
        let mut cut = None;
        loop {
            // The first message has no type.
            let head = usize::from(self.has_begun);
            let Some(length) = self.unread.get(head..head + 4) else { return cut };
            let length = u32::from_be_bytes(length.try_into().unwrap()) as usize;
            if self.unread.len() < head + length {
                return cut;
            }
            let message: Vec<u8> = self.unread.drain(..head + length).collect();
            if std::mem::replace(&mut self.has_begun, true) {
                cut = cut.or(self.judge(message[0], &message[5..], shared));
            }
        }
    }

    fn judge(&mut self, kind: u8, body: &[u8], shared: &Shared) -> Option<Cut> {
        let mut words = body.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned());
        let mut word = || words.next().unwrap_or_default();
        match kind {
            b'P' => drop(self.prepared.insert(word(), word())),
            b'B' => {
                let sql = self.prepared.get(&(word(), word()).1).cloned().unwrap_or_default();
                if sql == "BEGIN" {
                    (self.ran, self.exchanges) = (Vec::new(), 0);
                }
                self.ran.push(sql);
                if self.ran.last().is_some_and(|sql| sql == "COMMIT") {
                    let mut trap = shared.trap.lock().unwrap();
                    let (statement, cut) = (*trap)?;
                    if self.ran.iter().any(|sql| sql.contains(statement)) {
                        *trap = None;
                        return Some(cut);
                    }
                }
            }
            b'S' => {
                self.exchanges += 1;
                if self.ran.last().is_some_and(|sql| sql == "COMMIT") {
                    let ended = Ended { ran: std::mem::take(&mut self.ran), exchanges: self.exchanges };
                    shared.ended.lock().unwrap().push(ended);
                }
            }
            b'Q' => self.listens |= word().starts_with("LISTEN"),
            _ => {}
        }
        None
    }
}
