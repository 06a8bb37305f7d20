//! The load: phones that log in, refresh and log out, on several connections at once, until the server is killed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use freshk::random::{Random, SeededRandom};
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::BASE;
use crate::ledger::{Gone, Ledger, Phone, Session, State};
use crate::process::Server;
use crate::twilio::{FakeTwilio, sms_code};

/// Connections at once.
const CLIENTS: u64 = 6;

/// A number below `bound`.
pub(crate) fn below(random: &dyn Random, bound: u64) -> u64 {
    let mut bytes = [0; 8];
    random.fill(&mut bytes);
    u64::from_le_bytes(bytes) % bound
}

/// An address that nobody has used yet.
pub(crate) fn fresh_address(random: &dyn Random) -> String {
    format!("2001:db8:{:x}:{:x}::1", below(random, 0x1_0000), below(random, 0x1_0000))
}

/// Counts answers, and tells when it is time to kill.
struct Fuse {
    answers: AtomicU64,
    end: u64,
    reached: Notify,
}

/// One connection, calling for one address.
pub(crate) struct Client {
    http: reqwest::Client,
    url: String,
    fuse: Option<Arc<Fuse>>,
}

impl Client {
    pub(crate) fn new(server: &Server) -> Self {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { http, url: server.url(BASE), fuse: None }
    }

    /// Status and body; or nothing, for the server was killed before it had answered.
    pub(crate) async fn post(&self, address: &str, path: &str, body: &Value) -> Result<(u16, Value), Gone> {
        let call = self.http.post(format!("{}{path}", self.url)).header("x-forwarded-for", address);
        self.answer(call.json(body)).await
    }

    pub(crate) async fn status(&self, address: &str, access: &str) -> Result<u16, Gone> {
        let call = self.http.get(format!("{}/production/status/", self.url));
        Ok(self.answer(call.header("x-forwarded-for", address).bearer_auth(access)).await?.0)
    }

    async fn answer(&self, call: reqwest::RequestBuilder) -> Result<(u16, Value), Gone> {
        let response = call.send().await.map_err(|_| Gone)?;
        let status = response.status().as_u16();
        let body = response.json().await.map_err(|_| Gone)?;
        if let Some(fuse) = &self.fuse
            && fuse.answers.fetch_add(1, Ordering::SeqCst) + 1 == fuse.end
        {
            fuse.reached.notify_one();
        }
        Ok((status, body))
    }
}

/// Loads the server and kills it after so many answers.
pub(crate) async fn run(
    ledger: &mut Ledger,
    server: Server,
    twilio: &Arc<FakeTwilio>,
    random: &SeededRandom,
    answers: u64,
) {
    let fuse = Arc::new(Fuse { answers: AtomicU64::new(0), end: answers, reached: Notify::new() });
    let first = ledger.phones.len() as u64;
    let (sent, mut phones) = tokio::sync::mpsc::unbounded_channel();
    for client in 0..CLIENTS {
        let (fuse, sent, twilio) = (fuse.clone(), sent.clone(), Arc::clone(twilio));
        let calls = Client { fuse: Some(fuse), ..Client::new(&server) };
        let random = SeededRandom::new(below(random, u64::MAX));
        tokio::spawn(async move {
            for turn in 0.. {
                let number = first + client * 1_000_000 + turn;
                let mut phone = Phone {
                    number: format!("+1{:010}", 2_000_000_000 + number),
                    address: format!("10.{}.{}.{}", number >> 16, number >> 8 & 0xff, number & 0xff),
                    ..Phone::default()
                };
                let code = |number: &str| {
                    let all = twilio.requests();
                    sms_code(
                        all.iter()
                            .rev()
                            .find(|sms| sms.field("To") == Some(number))
                            .expect("an SMS went out"),
                    )
                };
                let over = live(&mut phone, &calls, &code, &random).await.is_err();
                sent.send((phone, over)).unwrap();
                if over {
                    return;
                }
            }
        });
    }
    drop(sent);
    fuse.reached.notified().await;
    server.kill();
    while let Some((phone, cut)) = phones.recv().await {
        ledger.in_doubt += u64::from(cut);
        ledger.codes += phone.codes.unsigned_abs();
        ledger.logins += phone.used.len() as u64;
        ledger.refreshes +=
            phone.sessions.iter().map(|session| session.refresh.len() as u64 - 1).sum::<u64>();
        ledger.logouts +=
            phone.sessions.iter().filter(|session| session.state == State::Ended).count() as u64;
        ledger.phones.push(phone);
    }
}

/// A phone's life: up to three codes, a login with some, refreshes, and perhaps a logout. What is acknowledged is noted
/// at once; what is asked for is noted as doubtful before.
async fn live(
    phone: &mut Phone,
    client: &Client,
    code: &(dyn Fn(&str) -> String + Send + Sync),
    random: &SeededRandom,
) -> Result<(), Gone> {
    for _ in 0..=below(random, 3) {
        let body = json!({ "phone_number": phone.number });
        let (status, answer) = client.post(&phone.address, "/production/request/", &body).await?;
        assert_eq!(status, 200, "{answer}");
        phone.codes += 1;
        let code = code(&phone.number);
        if below(random, 4) == 0 {
            let wrong = format!("{:06}", (code.parse::<u32>().unwrap() + 1) % 1_000_000);
            let body = json!({ "phone_number": phone.number, "otp": wrong });
            let (status, answer) = client.post(&phone.address, "/production/verify/", &body).await?;
            assert_eq!((status, &answer["code"]), (400, &json!("invalid_otp")));
            phone.guesses += 1;
            phone.failures += 1;
        }
        if below(random, 5) > 0 && phone.guesses < 4 {
            log_in(phone, client, code, random).await?;
        }
    }
    Ok(())
}

async fn log_in(phone: &mut Phone, client: &Client, code: String, random: &SeededRandom) -> Result<(), Gone> {
    phone.doubtful = Some(code.clone());
    let body = json!({ "phone_number": phone.number, "otp": code });
    let (status, answer) = client.post(&phone.address, "/production/verify/", &body).await?;
    assert_eq!(status, 200, "{answer}");
    phone.guesses += 1;
    phone.doubtful = None;
    phone.used.push(code);
    let text = |name: &str| answer[name].as_str().unwrap().to_owned();
    phone.sessions.push(Session {
        access: text("access"),
        refresh: vec![text("refresh")],
        state: State::Live,
    });
    let Phone { address, sessions, .. } = phone;
    let session = sessions.last_mut().unwrap();
    for _ in 0..below(random, 4) {
        refresh(session, address, client).await?;
        assert_eq!(client.status(address, &session.access).await?, 200);
    }
    if below(random, 3) == 0 {
        session.state = State::Doubtful;
        let body = json!({ "refresh": session.refresh.last() });
        let (status, answer) = client.post(address, "/logout/", &body).await?;
        assert_eq!(status, 200, "{answer}");
        session.state = State::Ended;
    }
    Ok(())
}

/// Gets the next pair with the latest token.
pub(crate) async fn refresh(session: &mut Session, address: &str, client: &Client) -> Result<(), Gone> {
    let body = json!({ "refresh": session.refresh.last() });
    let (status, answer) = client.post(address, "/token/refresh/", &body).await?;
    assert_eq!(status, 200, "an honest client was logged out: {answer}");
    answer["access"].as_str().unwrap().clone_into(&mut session.access);
    session.refresh.push(answer["refresh"].as_str().unwrap().to_owned());
    Ok(())
}
