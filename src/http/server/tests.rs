use super::connection::HEAD_LIMIT;
use super::*;
use crate::clock::ManualClock;
use crate::http::tests::demo::Demo;
use crate::http::tls::Tls;
use crate::http::{ClientIp, EdgeParts, EdgeSettings, assemble};
use crate::metrics::Metrics;
use crate::random::SeededRandom;
use hyper::header::HeaderName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;

mod bound;
mod encrypted;

/// No test waits so long unless it fails.
const DEADLINE: Duration = Duration::from_secs(20);

struct Running {
    address: SocketAddr,
    entered: Arc<Semaphore>,
    gate: Arc<Semaphore>,
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

const SETTINGS: ServerSettings = ServerSettings {
    request_timeout: Duration::from_secs(15),
    keepalive_timeout: Duration::from_secs(15),
    max_connections: 100,
    max_connections_per_address: 100,
    trusted_proxies: Vec::new(),
    shutdown_timeout: Duration::from_secs(15),
};

fn start(settings: ServerSettings) -> Running {
    start_with(settings, None)
}

fn start_with(settings: ServerSettings, tls: Option<Tls>) -> Running {
    let (entered, gate) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let clock = Arc::new(ManualClock::new());
    let (header, metrics) = (HeaderName::from_static("x-forwarded-for"), Metrics::new());
    let parts = EdgeParts {
        random: Arc::new(SeededRandom::new(1)),
        clock: clock.clone(),
        flood: Arc::new(|_| Box::pin(async { None })),
        client_ip: ClientIp::new(Vec::new(), header, clock.clone(), metrics.clone()),
        readiness: Arc::new(|| Box::pin(async { true })),
        jwks: None,
        metrics,
    };
    let edge = EdgeSettings {
        debug: false,
        allowed_hosts: vec!["a".to_owned()],
        cors_origins: Vec::new(),
        body_limit: 1024,
        request_timeout: settings.request_timeout,
        unfinished_bodies: 100,
        docs: true,
        callbacks: ("none", ""),
    };
    let endpoint = assemble(Demo { gates: Some((entered.clone(), gate.clone())) }, (), parts, edge);
    let listener = bind(&Listen::parse("127.0.0.1:0").unwrap()).unwrap().with_tls(tls);
    let address = listener.address().unwrap().port().unwrap();
    let (stop, stopped) = oneshot::channel();
    let served = tokio::spawn(serve(listener, endpoint, settings, clock, async {
        drop(stopped.await);
    }));
    Running { address, entered, gate, stop, served }
}

impl Running {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.expect("the deadline of the test passed")
}

/// Reads one answer: its head and its body.
async fn answer(stream: &mut (impl AsyncRead + Unpin)) -> (String, String) {
    within(async {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        stream.read_exact(&mut body).await.unwrap();
        (head, String::from_utf8(body).unwrap())
    })
    .await
}

/// Reads until the server closes, by whatever means.
async fn rest(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut bytes = Vec::new();
    drop(within(stream.read_to_end(&mut bytes)).await);
    bytes
}

const LIVE: &[u8] = b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n";
const SLOW: &[u8] = b"POST /api/mobile/auth/slow/ HTTP/1.1\r\nHost: a\r\n\r\n";
const ECHO: &str = "POST /api/mobile/auth/echo HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer t\r\n\
                    Content-Type: application/json\r\n";

#[tokio::test]
async fn connections_are_kept_and_requests_may_be_pipelined() {
    let server = start(SETTINGS);
    let mut stream = server.connect().await;
    for _ in 0..2 {
        stream.write_all(LIVE).await.unwrap();
        assert!(answer(&mut stream).await.0.starts_with("HTTP/1.1 200"));
    }
    stream.write_all(&[LIVE, LIVE, LIVE].concat()).await.unwrap();
    for _ in 0..3 {
        let (head, body) = answer(&mut stream).await;
        assert!(head.starts_with("HTTP/1.1 200") && !head.contains("\r\nserver:"), "{head}");
        assert_eq!(body, "{\"status\":\"ok\"}");
    }
}

#[tokio::test]
async fn s11_chunked_bodies_are_read_and_capped() {
    let server = start(SETTINGS);
    let mut stream = server.connect().await;
    let body = r#"{"phone_number":"+1"}"#;
    let sent = format!("{ECHO}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    stream.write_all(sent.as_bytes()).await.unwrap();
    assert_eq!(answer(&mut stream).await.1, r#"{"text":"+1"}"#);
    let chunk = format!("400\r\n{}\r\n", " ".repeat(0x400));
    let sent = format!("{ECHO}Transfer-Encoding: chunked\r\n\r\n{chunk}{chunk}");
    stream.write_all(sent.as_bytes()).await.unwrap();
    let (head, body) = answer(&mut stream).await;
    assert!(head.starts_with("HTTP/1.1 413") && body.contains("payload_too_large"), "{head}{body}");
}

#[tokio::test]
async fn an_announced_excess_is_refused_before_it_is_sent() {
    let server = start(SETTINGS);
    let mut stream = server.connect().await;
    let sent = format!("{ECHO}Expect: 100-continue\r\nContent-Length: 1025\r\n\r\n");
    stream.write_all(sent.as_bytes()).await.unwrap();
    assert!(answer(&mut stream).await.0.starts_with("HTTP/1.1 413"));
}

#[tokio::test]
async fn a_client_that_still_sends_what_was_refused_reads_its_answer() {
    const LENGTH: usize = 1 << 20;
    let server = start(SETTINGS);
    for (path, status) in [("echo", "413"), ("nowhere", "404")] {
        let mut stream = server.connect().await;
        let head = format!(
            "POST /api/mobile/auth/{path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
             Content-Length: {LENGTH}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        assert!(answer(&mut stream).await.0.starts_with(&format!("HTTP/1.1 {status}")));
        within(stream.write_all(&vec![b'x'; LENGTH])).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut bytes = Vec::new();
        assert_eq!(within(stream.read_to_end(&mut bytes)).await.unwrap(), 0, "{path}: closed, and not reset");
    }
}

#[tokio::test]
async fn a_client_that_sends_on_and_on_after_a_refusal_is_cut_off() {
    let server = start(SETTINGS);
    let mut stream = server.connect().await;
    let head = format!("{ECHO}Content-Length: {}\r\n\r\n", u64::MAX / 2);
    stream.write_all(head.as_bytes()).await.unwrap();
    assert!(answer(&mut stream).await.0.starts_with("HTTP/1.1 413"));
    let sent = within(async {
        let mut sent = 0;
        while stream.write_all(&vec![b'x'; 64 * 1024]).await.is_ok() {
            sent += 64 * 1024;
        }
        sent
    });
    assert!(sent.await < 64 << 20, "what is thrown away is bounded");
}

#[tokio::test]
async fn head_has_the_length_and_no_body() {
    let server = start(SETTINGS);
    let mut stream = server.connect().await;
    stream.write_all(b"HEAD /health/live HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    let answer = String::from_utf8(rest(&mut stream).await).unwrap();
    assert!(answer.contains("content-length: 15") && answer.ends_with("\r\n\r\n"), "{answer}");
}

/// Sends `first`, then a byte at a time, until the server has had enough; gives what it answered.
async fn drip(server: &Running, first: &str) -> Vec<u8> {
    let mut stream = server.connect().await;
    stream.write_all(first.as_bytes()).await.unwrap();
    within(async {
        loop {
            let (mut reader, mut writer) = stream.split();
            let mut buffer = [0; 1024];
            tokio::select! {
                read = reader.read(&mut buffer) => return buffer[..read.unwrap_or(0)].to_vec(),
                () = tokio::time::sleep(Duration::from_millis(5)) => {
                    if writer.write_all(b"x").await.is_err() {
                        return Vec::new();
                    }
                }
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_head_or_a_body_that_drips_is_dropped_without_an_answer() {
    let settings = ServerSettings { request_timeout: Duration::from_millis(100), ..SETTINGS };
    let server = start(settings);
    assert_eq!(drip(&server, "GET /health/live HTTP/1.1\r\nX-Slow: ").await, b"");
    assert_eq!(drip(&server, &format!("{ECHO}Content-Length: 1000\r\n\r\n")).await, b"");
    let mut silent = server.connect().await;
    assert_eq!(rest(&mut silent).await, b"", "a connection that never sends anything");
    let mut second = server.connect().await;
    second.write_all(LIVE).await.unwrap();
    answer(&mut second).await;
    second.write_all(b"GET /hea").await.unwrap();
    assert_eq!(rest(&mut second).await, b"", "the head of a second request");
}

/// Proxies keep connections for a minute and more: a server that closes one first makes them answer 502 now and then.
#[tokio::test]
async fn a_connection_rests_between_two_requests_for_longer_than_a_head_may_take() {
    let settings = ServerSettings {
        request_timeout: Duration::from_millis(100),
        keepalive_timeout: 3 * DEADLINE,
        ..SETTINGS
    };
    let server = start(settings);
    let mut resting = server.connect().await;
    for _ in 0..2 {
        resting.write_all(LIVE).await.unwrap();
        assert!(answer(&mut resting).await.0.starts_with("HTTP/1.1 200"));
        let mut silent = server.connect().await;
        assert_eq!(rest(&mut silent).await, b"", "its time for a head is over");
    }
    resting.write_all(LIVE).await.unwrap();
    assert!(answer(&mut resting).await.0.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_connection_that_rests_too_long_is_closed() {
    let settings = ServerSettings {
        request_timeout: 3 * DEADLINE,
        keepalive_timeout: Duration::from_millis(100),
        ..SETTINGS
    };
    let server = start(settings);
    let mut resting = server.connect().await;
    resting.write_all(LIVE).await.unwrap();
    answer(&mut resting).await;
    assert_eq!(rest(&mut resting).await, b"");
}

#[tokio::test]
async fn s40_one_address_has_so_many_connections_and_a_trusted_proxy_any_number() {
    let server = start(ServerSettings { max_connections_per_address: 2, ..SETTINGS });
    let mut kept = [server.connect().await, server.connect().await];
    for stream in &mut kept {
        stream.write_all(LIVE).await.unwrap();
        answer(stream).await;
    }
    let mut beyond = server.connect().await;
    assert_eq!(rest(&mut beyond).await, b"", "closed without an answer");
    kept[0].write_all(LIVE).await.unwrap();
    answer(&mut kept[0]).await;
    drop(kept);

    let trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    let server = start(ServerSettings { max_connections_per_address: 1, trusted_proxies, ..SETTINGS });
    let mut all = Vec::new();
    for _ in 0..3 {
        let mut stream = server.connect().await;
        stream.write_all(LIVE).await.unwrap();
        answer(&mut stream).await;
        all.push(stream);
    }
}

#[tokio::test]
async fn a_peer_that_does_not_read_its_answer_is_dropped() {
    let settings =
        ServerSettings { request_timeout: Duration::from_millis(200), max_connections: 1, ..SETTINGS };
    let server = start(settings);
    let mut deaf = server.connect().await;
    let docs = b"GET /docs HTTP/1.1\r\nHost: a\r\n\r\n".repeat(20);
    deaf.write_all(&docs).await.unwrap();
    // The one place is free again only once the deaf peer is given up.
    let mut next = server.connect().await;
    next.write_all(LIVE).await.unwrap();
    assert!(answer(&mut next).await.0.starts_with("HTTP/1.1 200"));
    drop(deaf);
}

#[tokio::test]
async fn beyond_the_most_connections_newcomers_wait_their_turn() {
    let server = start(ServerSettings { max_connections: 1, ..SETTINGS });
    let mut first = server.connect().await;
    first.write_all(LIVE).await.unwrap();
    answer(&mut first).await;
    let mut second = server.connect().await;
    second.write_all(LIVE).await.unwrap();
    let mut byte = [0];
    tokio::select! {
        biased;
        _ = second.read(&mut byte) => panic!("served beside the first"),
        () = async { first.write_all(LIVE).await.unwrap(); answer(&mut first).await; } => {}
    }
    drop(first);
    assert!(answer(&mut second).await.0.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn s36_a_peer_that_hangs_up_half_way_disturbs_nobody() {
    let server = start(ServerSettings { max_connections: 1, ..SETTINGS });
    for first in [format!("{ECHO}Content-Length: 1000\r\n\r\n{{"), "GET /hea".to_owned(), String::new()] {
        let mut stream = server.connect().await;
        stream.write_all(first.as_bytes()).await.unwrap();
        drop(stream);
    }
    let mut stream = server.connect().await;
    stream.write_all(LIVE).await.unwrap();
    assert!(answer(&mut stream).await.0.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn what_is_not_http_gets_a_bare_refusal() {
    let server = start(SETTINGS);
    let long = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(2 * HEAD_LIMIT));
    for (sent, status) in [("\x16\x03\x01 TLS\r\n\r\n", "HTTP/1.1 400"), (&long, "HTTP/1.1 431")] {
        let mut stream = server.connect().await;
        drop(stream.write_all(sent.as_bytes()).await);
        let head = answer(&mut stream).await.0;
        assert!(head.starts_with(status), "{head}");
    }
}

#[tokio::test]
async fn s32_shutdown_lets_requests_finish_and_closes_the_idle() {
    let server = start(SETTINGS);
    let mut idle = server.connect().await;
    idle.write_all(LIVE).await.unwrap();
    answer(&mut idle).await;
    let mut busy = server.connect().await;
    busy.write_all(SLOW).await.unwrap();
    within(server.entered.acquire()).await.unwrap().forget();

    server.stop.send(()).unwrap();
    assert_eq!(rest(&mut idle).await, b"");
    assert!(TcpStream::connect(server.address).await.is_err());
    server.gate.add_permits(1);
    let (head, body) = answer(&mut busy).await;
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("connection: close"), "{head}");
    assert_eq!(body, r#"{"text":"done"}"#);
    within(server.served).await.unwrap();
}

#[tokio::test]
async fn s32_shutdown_answers_the_first_request_of_a_connection_that_was_just_made() {
    let server = start(SETTINGS);
    let (mut asks, mut rests) = (server.connect().await, server.connect().await);
    // Both are accepted once a later one is served.
    let mut later = server.connect().await;
    later.write_all(LIVE).await.unwrap();
    answer(&mut later).await;
    server.stop.send(()).unwrap();
    assert_eq!(rest(&mut later).await, b"", "it has begun to stop");
    asks.write_all(LIVE).await.unwrap();
    assert!(answer(&mut asks).await.0.starts_with("HTTP/1.1 200"));
    assert_eq!(rest(&mut asks).await, b"");
    assert_eq!(rest(&mut rests).await, b"");
    within(server.served).await.unwrap();
}

#[tokio::test]
async fn s32_shutdown_cuts_off_what_does_not_finish() {
    let server = start(ServerSettings { shutdown_timeout: Duration::from_millis(50), ..SETTINGS });
    let mut busy = server.connect().await;
    busy.write_all(SLOW).await.unwrap();
    within(server.entered.acquire()).await.unwrap().forget();
    server.stop.send(()).unwrap();
    within(server.served).await.unwrap();
    assert_eq!(rest(&mut busy).await, b"");
}
