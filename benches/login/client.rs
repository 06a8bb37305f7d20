//! A closed loop: so many connections, each with one call under way, every answer checked.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::postgres::Postgres;
use crate::usage::Usage;

/// One call, ready to be written.
pub(crate) struct Call(Vec<u8>);

impl Call {
    /// The `n`th caller has an address of its own, given by a trusted proxy.
    pub(crate) fn post(path: &str, n: usize, body: &str) -> Self {
        let length = body.len();
        Self::new(
            "POST",
            path,
            n,
            None,
            &format!("Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"),
        )
    }

    pub(crate) fn get(path: &str, n: usize, bearer: String) -> Self {
        Self::new("GET", path, n, Some(bearer), "\r\n")
    }

    fn new(method: &str, path: &str, n: usize, bearer: Option<String>, rest: &str) -> Self {
        let bearer = bearer.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
        let address = format!("10.{}.{}.{}", (n >> 16) & 255, (n >> 8) & 255, n & 255);
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: {address}\r\n{bearer}{rest}"
        );
        Self(head.into_bytes())
    }

    /// Makes it: status and body.
    pub(crate) async fn made_on(&self, connection: &mut Connection) -> (u16, Vec<u8>) {
        connection.exchange(&self.0).await
    }
}

/// What one round of calls took.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    latencies: Vec<Duration>,
    took: Duration,
    usage: Usage,
    /// Statements that the database has run, and milliseconds that they took there.
    statements: Option<(f64, f64)>,
}

/// A process that answers calls.
pub(crate) struct Target {
    pub(crate) address: String,
    pub(crate) pid: u32,
    pub(crate) connections: usize,
    /// Its database, where that counts statements.
    pub(crate) server: Option<Postgres>,
}

impl Row {
    pub(crate) fn calls(&self) -> usize {
        self.latencies.len()
    }

    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    pub(crate) fn rate(&self) -> f64 {
        self.calls() as f64 / self.took.as_secs_f64()
    }

    /// Processor time of the target for a call, in microseconds.
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    pub(crate) fn processor_micros(&self) -> f64 {
        self.usage.processor.as_secs_f64() * 1e6 / self.calls() as f64
    }

    /// How often threads of the target waited for something, a call.
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    pub(crate) fn waits(&self) -> f64 {
        self.usage.waits as f64 / self.calls() as f64
    }

    /// Statements of the database a call, and the microseconds that they took there.
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    pub(crate) fn statements(&self) -> Option<(f64, f64)> {
        let calls = self.calls() as f64;
        self.statements.map(|(count, millis)| (count / calls, millis * 1000.0 / calls))
    }

    pub(crate) fn p50(&self) -> Duration {
        self.latencies[self.calls() / 2]
    }

    pub(crate) fn p99(&self) -> Duration {
        self.latencies[self.calls() * 99 / 100]
    }
}

/// Makes all calls; every answer must be a 200. Gives the bodies in the order of calls.
pub(crate) async fn drive(
    name: &'static str,
    Target { address, pid, connections, server }: &Target,
    calls: Vec<Call>,
) -> (Row, Vec<Vec<u8>>) {
    let (calls, next) = (Arc::new(calls), Arc::new(AtomicUsize::new(0)));
    if let Some(server) = server {
        server.count_anew();
    }
    let (before, watch) = (Usage::of(*pid), crate::watch());
    let workers: Vec<_> = (0..*connections)
        .map(|_| {
            let (calls, next, address) = (calls.clone(), next.clone(), address.clone());
            tokio::spawn(async move {
                let mut connection = Connection::open(&address).await;
                let mut done = Vec::new();
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    let Some(call) = calls.get(n) else { return done };
                    let watch = crate::watch();
                    let (status, body) = connection.exchange(&call.0).await;
                    assert_eq!(status, 200, "{name}: {}", String::from_utf8_lossy(&body));
                    done.push((n, watch.elapsed(), body));
                }
            })
        })
        .collect();
    let mut done = Vec::with_capacity(calls.len());
    for worker in workers {
        done.extend(worker.await.expect("no worker panics"));
    }
    let (took, usage) = (watch.elapsed(), Usage::of(*pid) - before);
    let statements = server.as_ref().and_then(Postgres::counted);
    done.sort_unstable_by_key(|(n, ..)| *n);
    let mut latencies: Vec<_> = done.iter().map(|(_, latency, _)| *latency).collect();
    latencies.sort_unstable();
    (Row { name, latencies, took, usage, statements }, done.into_iter().map(|(.., body)| body).collect())
}

/// A connection that is kept alive.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(address: &str) -> Self {
        let stream = TcpStream::connect(address).await.expect("the server listens");
        stream.set_nodelay(true).expect("a TCP stream takes the option");
        Self { stream, buffer: Vec::with_capacity(4096) }
    }

    /// Writes one call and reads its answer: status and body.
    pub(crate) async fn exchange(&mut self, call: &[u8]) -> (u16, Vec<u8>) {
        self.stream.write_all(call).await.expect("the call is written");
        let head = loop {
            if let Some(at) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            self.fill().await;
        };
        let text = String::from_utf8_lossy(&self.buffer[..head]).to_ascii_lowercase();
        let status = text[9..12].parse().expect("a status");
        let length: usize = text
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |length| length.trim().parse().expect("a length"));
        while self.buffer.len() < head + length {
            self.fill().await;
        }
        let body = self.buffer[head..head + length].to_vec();
        self.buffer.drain(..head + length);
        (status, body)
    }

    async fn fill(&mut self) {
        let read = self.stream.read_buf(&mut self.buffer).await.expect("the answer is read");
        assert!(read > 0, "the server closed the connection");
    }
}
