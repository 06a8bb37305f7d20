//! A provider that accepts every SMS at once, and remembers the code.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

static SENT: AtomicU64 = AtomicU64::new(1);

type Codes = Arc<Mutex<HashMap<String, String>>>;

pub(crate) struct Sink {
    port: u16,
    codes: Codes,
}

impl Sink {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
        let port = listener.local_addr().expect("a bound address").port();
        let codes = Codes::default();
        let shared = codes.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, shared.clone()));
            }
        });
        Self { port, codes }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The code last sent to a phone.
    pub(crate) fn code(&self, phone: &str) -> Option<String> {
        self.codes.lock().expect("no holder panics").get(phone).cloned()
    }
}

async fn serve(mut stream: TcpStream, codes: Codes) {
    let mut buffer = Vec::with_capacity(2048);
    stream.set_nodelay(true).expect("a TCP stream takes the option");
    loop {
        let Some(head) = buffer.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4) else {
            if stream.read_buf(&mut buffer).await.unwrap_or(0) == 0 {
                return;
            }
            continue;
        };
        let text = String::from_utf8_lossy(&buffer[..head]).to_ascii_lowercase();
        let length: usize = text
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |length| length.trim().parse().expect("a length"));
        while buffer.len() < head + length {
            if stream.read_buf(&mut buffer).await.unwrap_or(0) == 0 {
                return;
            }
        }
        let form = String::from_utf8_lossy(&buffer[head..head + length]).into_owned();
        buffer.drain(..head + length);
        let field = |name: &str| form.split('&').find_map(|pair| pair.strip_prefix(name)).unwrap_or_default();
        let phone = field("To=").replace("%2B", "+");
        let code = field("Body=").split(|c: char| !c.is_ascii_digit()).find(|digits| digits.len() == 6);
        codes.lock().expect("no holder panics").insert(phone, code.unwrap_or_default().to_owned());
        // No two messages of one run have the same name.
        let count = SENT.fetch_add(1, Ordering::Relaxed);
        let body =
            format!(r#"{{"sid":"SM{count:032x}","status":"queued","num_segments":"1","error_code":null}}"#);
        let answer = format!(
            "HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}
