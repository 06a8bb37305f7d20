//! S40: addresses that open as many connections as they can, against the real process and its limit of open files.

use std::net::Ipv4Addr;
use std::process::Command;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::process::{Place, Server};
use crate::twilio::FakeTwilio;
use crate::{PHONE, REQUEST, answer};

/// No answer takes so long unless it never comes.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server that trusts no proxy: each address of this machine's is a client. `ulimit` has changed its limits first.
fn start(twilio: &FakeTwilio, ulimit: &str, max_connections: &str) -> (Place, Server) {
    let place = Place::production(twilio)
        .with("FRESHK_SERVER__TRUSTED_PROXIES", "")
        .with("FRESHK_SERVER__REQUEST_TIMEOUT", "10m")
        .with("FRESHK_LIMITS__FLOOD_PER_SECOND", "0")
        .with("FRESHK_SERVER__MAX_CONNECTIONS", max_connections)
        .with("FRESHK_OPS__LISTEN", "127.0.0.1:0");
    let program = place.command();
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit {ulimit} && exec \"$0\" \"$@\"")]);
    command.arg(program.get_program()).args(program.get_args()).env_clear().current_dir(place.path());
    command.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let server = Server::start(command);
    (place, server)
}

/// A connection from `client` with a body that never ends; `None` where it was closed at once.
async fn unfinished(server: &Server, client: u8) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::new(127, 0, 0, client), 0).into()).unwrap();
    let mut stream = socket.connect(server.address()).await.unwrap();
    let head = format!(
        "POST {REQUEST} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\
         expect: 100-continue\r\n\r\n"
    );
    let mut told = [0; 25];
    let exchange = async {
        stream.write_all(head.as_bytes()).await.ok()?;
        stream.read_exact(&mut told).await.ok()
    };
    timeout(PATIENCE, exchange).await.unwrap_or_else(|_| panic!("neither taken nor closed"))?;
    assert!(told.starts_with(b"HTTP/1.1 100 Continue"), "{}", String::from_utf8_lossy(&told));
    Some(stream)
}

/// As many of `count` connections as `client` is given.
async fn hold(server: &Server, client: u8, count: usize) -> Vec<TcpStream> {
    let mut held = Vec::new();
    for _ in 0..count {
        held.extend(unfinished(server, client).await);
    }
    held
}

async fn asks_for_a_code(server: &Server, client: u8) -> u16 {
    let address = Ipv4Addr::new(127, 0, 0, client);
    let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).local_address(Some(address.into()));
    let call = http.build().unwrap().post(server.url(REQUEST)).json(&json!({ "phone_number": PHONE }));
    answer(call).await.0
}

async fn is_ready(server: &Server) -> bool {
    let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
    let url = format!("http://{}/health/ready", server.operations());
    http.get(url).send().await.is_ok_and(|answer| answer.status() == 200)
}

#[tokio::test]
async fn s40_one_address_silences_neither_the_phones_nor_the_operator() {
    let twilio = FakeTwilio::start();
    let (_place, server) = start(&twilio, "-n 512", "10000");
    // 512 less those kept for database, operator and Twilio; half of that for one address.
    let first = hold(&server, 11, 130).await;
    assert_eq!(first.len(), 102);
    assert!(is_ready(&server).await);
    assert_eq!(asks_for_a_code(&server, 12).await, 200);
    // Even with every connection taken the operator is served, and the database writes.
    let second = hold(&server, 13, 102).await;
    assert_eq!(second.len(), 102);
    assert!(is_ready(&server).await);
    let log = server.stderr.text();
    let lines = |words: &str| log.lines().filter(|line| line.contains(words)).count();
    assert_eq!(lines("LimitNOFILE=10308"), 1, "{log}");
    assert_eq!(lines("max_connections_per_address allows"), 1, "{log}");
    assert_eq!(lines("connections cannot be accepted"), 0, "{log}");
    drop(first);
    assert_eq!(asks_for_a_code(&server, 12).await, 200);
}

#[tokio::test]
async fn s40_a_low_soft_limit_is_raised() {
    let twilio = FakeTwilio::start();
    let (_place, server) = start(&twilio, "-S -n 128", "500");
    let held = [hold(&server, 21, 100).await, hold(&server, 22, 100).await];
    assert_eq!(held.map(|held| held.len()), [100, 100]);
    assert!(is_ready(&server).await);
    assert!(!server.stderr.text().contains("LimitNOFILE"), "{}", server.stderr.text());
}
