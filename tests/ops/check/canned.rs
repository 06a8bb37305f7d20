//! A server that gives everybody the same answer, and keeps what it was asked.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

#[derive(Clone)]
pub(super) struct Canned {
    pub(super) address: SocketAddr,
    answer: Arc<Mutex<String>>,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Canned {
    /// Serves until the process ends.
    pub(super) fn serving(answer: String) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let canned = Self {
            address: listener.local_addr().unwrap(),
            answer: Arc::new(Mutex::new(answer)),
            heads: Arc::default(),
        };
        let server = canned.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                // Whoever hangs up early gets nothing.
                drop(stream.and_then(|stream| server.converse(stream)));
            }
        });
        canned
    }

    /// Gives this answer from now on.
    pub(super) fn gives(&self, answer: String) {
        *self.answer.lock().unwrap() = answer;
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The heads of the requests so far, in lower case.
    pub(super) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    fn converse(&self, mut stream: TcpStream) -> io::Result<()> {
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        self.heads.lock().unwrap().push(String::from_utf8_lossy(&head).to_lowercase());
        let answer = self.answer.lock().unwrap().clone();
        stream.write_all(answer.as_bytes())
    }
}

/// An answer of HTTP, after which the connection ends.
pub(super) fn http(status: u16, headers: &[(&str, &str)], body: &str) -> String {
    let headers: Vec<_> =
        headers.iter().map(|(name, value)| [*name, ": ", *value, "\r\n"].concat()).collect();
    let length = body.len();
    format!(
        "HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {length}\r\n{}\r\n{body}",
        headers.concat()
    )
}
