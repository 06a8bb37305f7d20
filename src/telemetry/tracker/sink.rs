//! An error tracker for tests.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;

use super::Tracker;
use crate::domain::Timestamp;

/// What came, and what is answered.
pub(crate) struct Sink {
    port: u16,
    bodies: Arc<Mutex<Vec<Vec<u8>>>>,
    /// Written in front of the answer's empty line.
    answer: Arc<Mutex<String>>,
}

impl Sink {
    /// One that takes everything.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (bodies, answer) = (Arc::default(), Arc::new(Mutex::new("HTTP/1.1 200 OK".to_owned())));
        let (taken, answered) = (Arc::clone(&bodies), Arc::clone(&answer));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (taken, answered) = (Arc::clone(&taken), Arc::clone(&answered));
                thread::spawn(move || serve(&stream.unwrap(), &taken, &answered));
            }
        });
        Self { port, bodies, answer }
    }

    /// Answers so from now on: a status line, and headers.
    pub(crate) fn answer(&self, head: &str) {
        head.clone_into(&mut self.answer.lock().unwrap());
    }

    /// The way there, with a clock that stands.
    pub(crate) fn tracker(&self) -> Tracker {
        Tracker {
            dsn: format!("http://thekey@127.0.0.1:{}/7", self.port).parse().unwrap(),
            environment: "test".to_owned(),
            now: Arc::new(|| Timestamp::from_millis(1_767_225_600_000)),
        }
    }

    /// All that came, as it came.
    pub(crate) fn bytes(&self) -> Vec<Vec<u8>> {
        self.bodies.lock().unwrap().clone()
    }

    /// The events in what came.
    pub(crate) fn reports(&self) -> Vec<Value> {
        let events = self.bytes().into_iter().map(|body| {
            let lines: Vec<&[u8]> = body.split(|b| *b == b'\n').collect();
            let kind: Value = serde_json::from_slice(lines[1]).unwrap();
            assert_eq!(kind["type"], "event");
            serde_json::from_slice(lines[2]).unwrap()
        });
        events.collect()
    }
}

fn serve(stream: &TcpStream, taken: &Mutex<Vec<Vec<u8>>>, answer: &Mutex<String>) {
    let mut reader = BufReader::new(stream);
    loop {
        let (mut head, mut length) = (String::new(), 0);
        while !head.ends_with("\r\n\r\n") {
            let before = head.len();
            if reader.read_line(&mut head).unwrap_or(0) == 0 {
                return;
            }
            let line = head[before..].to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        assert!(head.starts_with("POST /api/7/envelope/ ") && head.contains("sentry_key=thekey"), "{head}");
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        taken.lock().unwrap().push(body);
        let answer = format!("{}\r\ncontent-length: 0\r\n\r\n", answer.lock().unwrap());
        let mut stream = stream;
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}
