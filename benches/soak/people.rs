//! What people do, by their number: most log in and stay, some log out, delete their account, mistype, never come back, or are not
//! people at all.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use freshk::clock::Stopwatch;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_rustls::TlsConnector;

use crate::counts::Counts;
use crate::line::{Line, connector};
use crate::sink::Sink;

/// How many log in at the same moment where nothing holds them back.
const CROWD: usize = 64;

/// For each session of an earlier login that is kept, before the oldest is renewed, there are so many people.
const PEOPLE: u64 = 10;

/// For how many days a session is renewed; less than `tokens.session_ttl`.
const DAYS: u64 = 15;

/// A stride without a common divisor with most numbers: neighbours in time are none in number.
const STRIDE: u64 = 7_368_787;

/// How many there are until somebody says.
const MANY: u64 = 100_000;

const BASE: &str = "/api/mobile/auth";

/// How fast people come.
#[derive(Clone, Copy)]
pub(crate) enum Pace {
    Paused,
    Top,
    Every(Duration),
}

/// A session of an earlier login.
struct Kept {
    refresh: String,
    day: u64,
}

/// One call: its name in the report, whose address it comes from, and what it carries.
struct Call {
    name: &'static str,
    n: u64,
    bearer: Option<Value>,
    body: Option<Value>,
}

impl Call {
    const fn of(name: &'static str, n: u64) -> Self {
        Self { name, n, bearer: None, body: None }
    }

    fn by(self, bearer: &Value) -> Self {
        Self { bearer: Some(bearer.clone()), ..self }
    }

    fn with(self, body: Value) -> Self {
        Self { body: Some(body), ..self }
    }

    /// From the address of the `n`th login.
    fn rendered(&self) -> Vec<u8> {
        let Self { name, n, bearer, body } = self;
        let (method, path) = match *name {
            "request" => ("POST", "/production/request/"),
            "mistyped" | "verify" | "insists" => ("POST", "/production/verify/"),
            "refresh" => ("POST", "/token/refresh/"),
            "logout" => ("POST", "/logout/"),
            "resend" => ("POST", "/production/resend/"),
            "delete" => ("POST", "/account/delete/"),
            "refused" if body.is_some() => ("POST", "/production/request/"),
            "status" | "refused" => ("GET", "/production/status/"),
            other => panic!("no call: {other}"),
        };
        let bearer =
            bearer.as_ref().and_then(Value::as_str).map(|token| format!("Authorization: Bearer {token}\r\n"));
        let body = body.as_ref().map(Value::to_string).unwrap_or_default();
        let kind = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
        let length =
            if method == "GET" { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        let address = format!("10.{}.{}.{}", (n >> 16) & 255, (n >> 8) & 255, n & 255);
        format!(
            "{method} {BASE}{path} HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: {address}\r\n{}{kind}{length}\r\n{body}",
            bearer.unwrap_or_default()
        )
        .into_bytes()
    }
}

/// Why somebody does not go on: it was counted.
struct Stopped;

/// All people.
pub(crate) struct People {
    connector: TlsConnector,
    address: String,
    /// How many there are.
    pub(crate) count: AtomicU64,
    sink: Arc<Sink>,
    counts: Arc<Counts>,
    watch: Stopwatch,
    next: Mutex<Duration>,
    number: AtomicU64,
    day: AtomicU64,
    /// How many are under way.
    pub(crate) busy: AtomicI64,
    lines: Mutex<Vec<Line>>,
    kept: Mutex<VecDeque<Kept>>,
}

impl People {
    pub(crate) fn new(address: String, sink: Arc<Sink>, counts: Arc<Counts>) -> Self {
        Self {
            connector: connector(),
            address,
            count: AtomicU64::new(MANY),
            sink,
            counts,
            watch: Stopwatch::start(),
            next: Mutex::default(),
            number: AtomicU64::new(0),
            day: AtomicU64::new(0),
            busy: AtomicI64::new(0),
            lines: Mutex::default(),
            kept: Mutex::default(),
        }
    }

    /// The time between two logins at so many a second; the first is due now.
    pub(crate) fn interval(&self, rate: f64) -> Duration {
        *self.next.lock().unwrap() = self.watch.elapsed();
        Duration::from_secs_f64(1.0 / rate)
    }

    /// Another day: idle connections are over.
    pub(crate) fn sleep_over(&self) {
        self.lines.lock().unwrap().clear();
        self.day.fetch_add(1, Ordering::SeqCst);
    }

    /// Serves one after the other.
    pub(crate) async fn serve(self: Arc<Self>, hand: usize, mut pace: watch::Receiver<Pace>) {
        loop {
            let at = *pace.borrow_and_update();
            let late = match at {
                Pace::Top if hand < CROWD => Duration::ZERO,
                Pace::Every(interval) => self.wait_for_turn(interval).await,
                Pace::Top | Pace::Paused => {
                    if pace.changed().await.is_err() {
                        return;
                    }
                    continue;
                }
            };
            self.busy.fetch_add(1, Ordering::SeqCst);
            // A pause that began meanwhile waits for those alone that it finds.
            if !matches!(*pace.borrow(), Pace::Paused) {
                self.counts.began_late(late);
                let _ = self.live().await;
            }
            self.busy.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Waits until another login is due; gives how late it is.
    async fn wait_for_turn(&self, interval: Duration) -> Duration {
        let (at, now) = {
            let mut next = self.next.lock().unwrap();
            let (at, now) = (*next, self.watch.elapsed());
            *next = at + interval;
            (at, now)
        };
        tokio::time::sleep(at.saturating_sub(now)).await;
        now.saturating_sub(at)
    }

    async fn live(&self) -> Result<(), Stopped> {
        let n = self.number.fetch_add(1, Ordering::Relaxed);
        if n % 10 < 3 {
            self.renew_an_earlier_one(n).await?;
        }
        match n % 100 {
            8 => self.be_a_nuisance(n).await?,
            9 if n % 1000 == 9 => self.insist(n).await?,
            _ => {}
        }
        let who = n.wrapping_mul(STRIDE) % self.count.load(Ordering::SeqCst);
        let phone = format!("+1999{who:08}");
        self.call(Call::of("request", n).with(json!({ "phone_number": phone })), &[200]).await?;
        let code = self.sink.code(&phone).ok_or(Stopped)?;
        let kind = who % 100;
        if (2..12).contains(&kind) {
            // Never comes back with the code.
            return Ok(());
        }
        if who % 20 == 15 {
            let wrong = if code == "102938" { "102939" } else { "102938" };
            self.call(Call::of("mistyped", n).with(json!({ "phone_number": phone, "otp": wrong })), &[400])
                .await?;
        }
        let body = json!({ "phone_number": phone, "otp": code });
        let pair = self.call(Call::of("verify", n).with(body), &[200]).await?;
        self.counts.logins.fetch_add(1, Ordering::Relaxed);
        self.call(Call::of("status", n).by(&pair["access"]), &[200]).await?;
        let old = json!({ "refresh": pair["refresh"] });
        let pair = self.call(Call::of("refresh", n).with(old.clone()), &[200]).await?;
        if kind == 50 {
            // The answer was lost.
            self.call(Call::of("refresh", n).with(old), &[200]).await?;
        }
        match kind {
            0 | 1 => {
                self.call(Call::of("resend", n).by(&pair["access"]), &[200]).await?;
                let code = self.sink.code(&phone).ok_or(Stopped)?;
                self.call(Call::of("delete", n).by(&pair["access"]).with(json!({ "otp": code })), &[200])
                    .await?;
            }
            12..32 => {
                let body = json!({ "refresh": pair["refresh"] });
                self.call(Call::of("logout", n).with(body), &[200]).await?;
            }
            _ => self.keep(&pair, self.day.load(Ordering::SeqCst)),
        }
        Ok(())
    }

    /// Not of all: those at the end of the queue are to be renewed while they are good.
    fn keep(&self, pair: &Value, day: u64) {
        let refresh = pair["refresh"].as_str().unwrap_or_default().to_owned();
        let (mut kept, most) = (self.kept.lock().unwrap(), self.kept_at_least() * 2);
        if kept.len() < most {
            kept.push_back(Kept { refresh, day });
        }
    }

    async fn renew_an_earlier_one(&self, n: u64) -> Result<(), Stopped> {
        let kept = {
            let mut kept = self.kept.lock().unwrap();
            if kept.len() > self.kept_at_least() { kept.pop_front() } else { None }
        };
        let Some(Kept { refresh, day }) = kept else { return Ok(()) };
        let pair = self.call(Call::of("refresh", n).with(json!({ "refresh": refresh })), &[200]).await?;
        self.call(Call::of("status", n).by(&pair["access"]), &[200]).await?;
        if day + DAYS > self.day.load(Ordering::SeqCst) {
            self.keep(&pair, day);
        }
        Ok(())
    }

    fn kept_at_least(&self) -> usize {
        usize::try_from(self.count.load(Ordering::SeqCst) / PEOPLE).expect("a count")
    }

    /// Calls that are refused.
    async fn be_a_nuisance(&self, n: u64) -> Result<(), Stopped> {
        self.call(Call::of("refused", n).by(&json!("nobody.knows.it")), &[401]).await?;
        self.call(Call::of("refused", n).with(json!({ "phone_number": "nobody" })), &[400]).await?;
        Ok(())
    }

    /// One address that guesses until it may no longer; nobody else's.
    async fn insist(&self, n: u64) -> Result<(), Stopped> {
        let n = u64::from(u32::MAX) - n;
        let body = json!({ "phone_number": format!("+1888{:08}", n % 100_000_000), "otp": "102938" });
        for _ in 0..7 {
            self.call(Call::of("insists", n).with(body.clone()), &[400, 404, 429]).await?;
        }
        Ok(())
    }

    /// Makes a call; counts what is not answered as wanted.
    async fn call(&self, call: Call, wanted: &[u16]) -> Result<Value, Stopped> {
        let (name, bytes) = (call.name, call.rendered());
        let kept = self.lines.lock().unwrap().pop();
        let opened = match kept {
            Some(line) => Ok(line),
            None => Line::open(&self.connector, &self.address).await,
        };
        let watch = Stopwatch::start();
        let answered = match opened {
            Ok(mut line) => line.exchange(&bytes).await.map(|answer| (answer, line)),
            Err(error) => Err(error),
        };
        match answered {
            Ok(((status, body), line)) => {
                self.counts.took(name, watch.elapsed());
                if line.is_good() {
                    self.lines.lock().unwrap().push(line);
                }
                if wanted.contains(&status) {
                    return Ok(serde_json::from_slice(&body).unwrap_or_default());
                }
                let said: Value = serde_json::from_slice(&body).unwrap_or_default();
                self.counts.fault(format!("{name} {status} {}", said["code"].as_str().unwrap_or_default()));
            }
            Err(error) => self.counts.fault(format!("{name}: {error}")),
        }
        Err(Stopped)
    }
}
