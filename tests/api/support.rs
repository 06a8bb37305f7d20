//! The real program on a real socket, with a manual clock, seeded chance and a fake Twilio.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use freshk::cli::database::DatabaseFile;
use freshk::cli::engine::Engine;
use freshk::cli::wiring::{self, Service};
use freshk::clock::{Clock, ManualClock};
use freshk::config::{Config, Sources};
use freshk::domain::Timestamp;
use freshk::events::Dispatcher;
use freshk::http::server;
use freshk::random::SeededRandom;
use freshk::storage::sqlite::{PageLimit, SqliteStore};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::database::is_postgres;
use crate::postgres;
use crate::twilio::{ACCOUNT_SID, AUTH_TOKEN, FakeTwilio, NUMBER};

pub(crate) const SECRET: &str = "a secret for tests, of more than thirty-two bytes";
pub(crate) const PHONE: &str = "+1234567890";
/// The id of the first user, by default.
pub(crate) const FIRST_ID: i64 = 1_000_000_001;
pub(crate) const REQUEST: &str = "/api/mobile/auth/production/request/";
pub(crate) const VERIFY: &str = "/api/mobile/auth/production/verify/";
pub(crate) const RESEND: &str = "/api/mobile/auth/production/resend/";
pub(crate) const STATUS: &str = "/api/mobile/auth/production/status/";

/// A running program, its surroundings, and a client.
pub(crate) struct App {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) twilio: FakeTwilio,
    pub(crate) client: reqwest::Client,
    /// How large the database may grow.
    pub(crate) disk: PageLimit,
    environment: BTreeMap<String, String>,
    pub(crate) dir: tempfile::TempDir,
    pub(crate) schema: Option<postgres::Schema>,
    seed: u64,
    running: Option<Running>,
}

struct Running {
    address: SocketAddr,
    service: Parts,
    operations: poem::endpoint::BoxEndpoint<'static, poem::Response>,
    dispatcher: Option<Dispatcher>,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
}

/// What tests reach of a running service.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) auth: Arc<freshk::auth::Auth>,
    pub(crate) store: freshk::storage::Store,
    pub(crate) outbox: freshk::auth::Outbox,
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) text: String,
}

impl App {
    /// Starts with the defaults of production, a fake Twilio and a trusted loopback proxy.
    pub(crate) async fn start() -> Self {
        Self::with(&[]).await
    }

    /// Starts with environment variables of its own.
    pub(crate) async fn with(variables: &[(&str, &str)]) -> Self {
        Self::on(FakeTwilio::start(), variables).await
    }

    /// Starts before a given Twilio.
    pub(crate) async fn on(twilio: FakeTwilio, variables: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let schema = is_postgres().then(|| postgres::server().expect("PostgreSQL is installed").schema());
        let database = match &schema {
            Some(_) => postgres::server().unwrap().url(),
            None => format!("sqlite://{}", dir.path().join("test.db").display()),
        };
        let in_schema = schema.as_ref().map_or("freshk", postgres::Schema::name).to_owned();
        let url = twilio.url();
        let base = [
            ("DATABASE_URL", database.as_str()),
            ("FRESHK_DATABASE__SCHEMA", in_schema.as_str()),
            ("FRESHK_DATABASE__MAX_CONNECTIONS", "4"),
            ("SECRET_KEY", SECRET),
            ("TWILIO_ACCOUNT_SID", ACCOUNT_SID),
            ("TWILIO_AUTH_TOKEN", AUTH_TOKEN),
            ("TWILIO_PHONE_NUMBER", NUMBER),
            ("FRESHK_TWILIO__BASE_URL", url.as_str()),
            ("FRESHK_SERVER__TRUSTED_PROXIES", "127.0.0.1/32"),
            // Most tests send codes to many new numbers from few addresses; those of the guard turn it on.
            ("FRESHK_SMS__GUARD", "off"),
        ];
        let all = base.iter().chain(variables);
        let environment = all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let mut app = Self {
            clock: Arc::new(ManualClock::new()),
            twilio,
            client: reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build().unwrap(),
            disk: PageLimit::default(),
            environment,
            dir,
            schema,
            seed: 1,
            running: None,
        };
        app.boot().await;
        app
    }

    /// Stops in good order and starts again on the same database.
    pub(crate) async fn restart(&mut self) {
        self.stop().await;
        self.boot().await;
    }

    /// Sets a variable for the next start.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.environment.insert(name.to_owned(), value.to_owned());
    }

    /// Stops in good order.
    pub(crate) async fn stop(&mut self) {
        let Running { service, stop, server, .. } = self.running.take().unwrap();
        stop.send(()).unwrap();
        server.await.unwrap();
        assert!(service.auth.finish(Duration::from_secs(20)).await);
        service.auth.store_clock().await.unwrap();
        service.store.close().await;
    }

    /// Starts on the database as it is.
    pub(crate) async fn boot(&mut self) {
        let sources = Sources {
            environment: self.environment.clone(),
            directory: self.dir.path().to_owned(),
            ..Sources::default()
        };
        let config = Config::load(&sources).unwrap_or_else(|faults| panic!("{faults}")).config;
        let clock: Arc<dyn Clock> = self.clock.clone();
        let engine = if self.schema().is_some() {
            Engine::open(&config, &*clock).unwrap()
        } else {
            let file = DatabaseFile::new(&self.database(), &config);
            let mut options = file.options(&config, &*clock);
            options.page_limit = Some(self.disk.clone());
            SqliteStore::open(options).unwrap().into()
        };
        let secret = config.secret_key.clone().unwrap_or_else(|| freshk::domain::Secret::new(SECRET));
        self.seed += 1;
        let random = Arc::new(SeededRandom::new(self.seed));
        let Service { auth, store, endpoint, operations, outbox, dispatcher, .. } =
            wiring::build(&config, &secret, engine, clock.clone(), random).unwrap();
        auth.settle_after_restart().await.unwrap();
        let listener = server::listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let settings = wiring::server_settings(&config);
        let server = tokio::spawn(server::serve(listener, endpoint, settings, clock, async move {
            let _ = stopped.await;
        }));
        let service = Parts { auth, store, outbox };
        self.running =
            Some(Running { address, service, operations, dispatcher: Some(dispatcher), stop, server });
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.running.as_ref().unwrap().address
    }

    pub(crate) fn service(&self) -> Parts {
        self.running.as_ref().unwrap().service.clone()
    }

    /// Takes events to the webhooks, as long as one is due.
    pub(crate) async fn deliver(&mut self) {
        self.dispatcher().drain().await.unwrap();
    }

    pub(crate) fn dispatcher(&mut self) -> &mut Dispatcher {
        self.running.as_mut().unwrap().dispatcher.as_mut().unwrap()
    }

    /// For a test that has it run beside the server.
    pub(crate) fn take_dispatcher(&mut self) -> Dispatcher {
        self.running.as_mut().unwrap().dispatcher.take().unwrap()
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// What the operations listener answers to a GET.
    pub(crate) async fn operations(&self, path: &str) -> (u16, String) {
        self.operations_to("Prometheus/2.42.0", path).await
    }

    /// The same to one who says who asks.
    pub(crate) async fn operations_to(&self, agent: &str, path: &str) -> (u16, String) {
        let (status, _, text) = self.operations_with("user-agent", agent, path).await;
        (status, text)
    }

    /// The same with a header of the caller's choice: status, media type and body.
    pub(crate) async fn operations_with(&self, name: &str, value: &str, path: &str) -> (u16, String, String) {
        use poem::Endpoint as _;
        let request = poem::Request::builder().uri(path.parse().unwrap()).header(name, value).finish();
        let mut response = self.running.as_ref().unwrap().operations.call(request).await.unwrap();
        let media_type = response.content_type().unwrap_or_default().to_owned();
        (response.status().as_u16(), media_type, response.take_body().into_string().await.unwrap())
    }

    /// Waits until the fake Twilio was sent so many messages.
    pub(crate) async fn sending(&self, count: usize) {
        until(|| async { self.twilio.requests().len() >= count }).await;
    }

    /// What comes back for bytes that no well-behaved client sends, until the connection ends.
    pub(crate) async fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address()).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8(answer).unwrap()
    }

    pub(crate) fn build(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.address()))
    }

    /// A JSON call from an address of its own, as a trusted proxy would pass it on.
    pub(crate) async fn post_from(&self, ip: &str, path: &str, body: &Value) -> Answer {
        Answer::of(self.build(Method::POST, path).header("x-forwarded-for", ip).json(body)).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        Answer::of(self.build(Method::POST, path).json(body)).await
    }

    pub(crate) async fn request(&self, phone: &str) -> Answer {
        self.post(REQUEST, &json!({ "phone_number": phone })).await
    }

    pub(crate) async fn request_from(&self, ip: &str, phone: &str) -> Answer {
        self.post_from(ip, REQUEST, &json!({ "phone_number": phone })).await
    }

    pub(crate) async fn verify(&self, phone: &str, otp: &str) -> Answer {
        self.post(VERIFY, &json!({ "phone_number": phone, "otp": otp })).await
    }

    pub(crate) async fn verify_from(&self, ip: &str, phone: &str, otp: &str) -> Answer {
        self.post_from(ip, VERIFY, &json!({ "phone_number": phone, "otp": otp })).await
    }

    pub(crate) async fn bearer(&self, method: Method, path: &str, token: &str) -> Answer {
        Answer::of(self.build(method, path).bearer_auth(token)).await
    }

    pub(crate) async fn status(&self, token: &str) -> Answer {
        self.bearer(Method::GET, STATUS, token).await
    }

    pub(crate) async fn resend(&self, token: &str) -> Answer {
        self.bearer(Method::POST, RESEND, token).await
    }

    /// The code of the last SMS to a phone.
    pub(crate) fn code(&self, phone: &str) -> String {
        let requests = self.twilio.requests();
        let to = |recorded: &&crate::twilio::Recorded| {
            recorded.form.iter().any(|(name, value)| name == "To" && value == phone)
        };
        crate::twilio::sms_code(requests.iter().rev().find(to).expect("an SMS went out"))
    }

    /// A whole login; gives the answer of verify.
    pub(crate) async fn log_in(&self, phone: &str) -> Value {
        assert_eq!(self.request_from("198.51.100.1", phone).await.status, 200);
        let answer = self.verify_from("198.51.100.1", phone, &self.code(phone)).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()
    }

    /// Any code but the right one.
    pub(crate) fn wrong_code(&self, phone: &str) -> String {
        let right: u32 = self.code(phone).parse().unwrap();
        format!("{:06}", (right + 1) % 1_000_000)
    }
}

impl Answer {
    pub(crate) async fn of(request: RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Self { status, headers, text: response.text().await.unwrap() }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {:?}", self.text))
    }

    /// The stable word of an error.
    pub(crate) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_else(|| panic!("no error: {}", self.text)).to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Status and stable word in one, for tables.
    pub(crate) fn verdict(&self) -> (u16, String) {
        (self.status, if self.status < 400 { String::new() } else { self.code() })
    }

    /// The body without what differs from answer to answer.
    pub(crate) fn body_without_request_id(&self) -> Value {
        let mut body = self.json();
        body.as_object_mut().unwrap().remove("request_id");
        body
    }
}

/// Asks again until it is so, and gives up long after it should have been, also on a machine that does much else.
pub(crate) async fn until<F: Future<Output = bool>>(mut is_so: impl FnMut() -> F) {
    let patience = Duration::from_secs(20);
    let wait = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(patience, wait).await.expect("it never came about");
}
