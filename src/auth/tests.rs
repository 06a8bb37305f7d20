//! The flows over a database in a temporary file and a sender in memory; time and chance are the test's.
#![expect(
    clippy::redundant_closure_for_method_calls,
    reason = "the methods themselves are not general enough in the lifetimes of Operator"
)]

use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use self::intercepted::Intercepted;
use super::operator::{self, Means, Operator};
use super::{
    Auth, Authenticated, CodeRequest, LoggedIn, Origin, Outbox, Parts, Sent, Settings, VerifyRequest,
    WithQuotas,
};
use crate::clock::{Clock as _, ManualClock};
use crate::domain::audit::AuditEvent;
use crate::domain::budget::BudgetPolicy;
use crate::domain::guard::{Allowed, GuardMode, GuardPolicy};
use crate::domain::keys::KeyRing;
use crate::domain::message::Message;
use crate::domain::policy::{LimitPolicy, OtpPolicy, Policy, Retention};
use crate::domain::quota::Endpoint;
use crate::domain::session::Lifetimes;
use crate::domain::webhook::{WebhookSecret, WebhookUrl};
use crate::domain::{
    Attributes, Channel, ClientAddress, Code, Languages, MessageId, Mode, NewTestNumber, PhoneNumber,
    PhonePolicy, Purpose, RunId, Secret, User, UserId, Via, Webhook,
};
use crate::metrics::{Format, Metrics};
use crate::random::SeededRandom;
use crate::sms::memory::MemorySender;
use crate::sms::route::Route;
use crate::sms::texts::Texts;
use crate::sms::{Failure, FailureReason, SendOutcome};
use crate::storage::audit::AuditOf;
use crate::storage::sqlite::{OpenOptions, SqliteStore};
use crate::storage::users::ImportedUser;
use crate::storage::{Locks, Store, StoreResult, View};
use crate::tokens::{DeviceTokens, Tokens};

mod again;
mod ahead;
mod asking;
mod calls;
mod changes;
mod concealed;
mod console;
mod counting;
mod devices;
mod died;
mod exchange;
mod faults;
mod first;
mod guard;
mod hidden;
mod intercepted;
mod judging;
mod lines;
mod logins;
mod maintenance;
mod meanwhile;
mod model;
mod operating;
mod parting;
mod passing;
mod proof;
mod refresh;
mod refusals;
mod reports;
mod request;
mod schedules;
mod senders;
mod servers;
mod sessions;
mod settling;
mod sparing;
mod spelling;
mod status;
mod told;
mod verify;

const SECRET: &str = "a secret for tests, of more than thirty-two bytes";
const ADDRESS: &str = "203.0.113.7";
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_hours(1);

/// The flows, and what is around them.
struct Bed {
    auth: Arc<Auth>,
    store: Store,
    clock: Arc<ManualClock>,
    sms: MemorySender,
    means: Means,
    faults: faults::Faults,
    dir: TempDir,
}

fn phone(number: u32) -> PhoneNumber {
    PhoneNumber::parse(&format!("+1555{number:07}"), 10).unwrap()
}

fn origin(address: &str) -> Origin {
    Origin { address: ClientAddress::new(address.parse().unwrap()), request_id: "r".to_owned() }
}

fn refused(reason: FailureReason) -> SendOutcome {
    SendOutcome::Refused(Failure { reason, code: Some(21_610), ..Failure::delivery("refused") })
}

fn lost() -> SendOutcome {
    SendOutcome::Unknown(Failure::delivery("no answer"))
}

fn settings(secret: &Secret, keys: &Arc<KeyRing>, policy: Policy) -> Settings {
    Settings {
        tokens: Tokens::new(secret, &[], policy.lifetimes.access).accepting_foreign(secret, &[]),
        devices: DeviceTokens::new(keys),
        keys: keys.clone(),
        texts: Texts::default(),
        policy: Arc::new(policy),
    }
}

/// One that is told of everything.
fn webhooks() -> [Webhook; 1] {
    let url = WebhookUrl::parse("https://api.example.com/freshk/").unwrap();
    let secret = WebhookSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    [Webhook { name: "shop".to_owned(), url, secret, kinds: None }]
}

fn policy() -> Policy {
    let day = Duration::from_hours(24);
    Policy {
        otp: OtpPolicy {
            length: 6,
            ttl: Duration::from_mins(10),
            max_attempts: 5,
            max_failures_per_day: 15,
            resend_cooldown: Duration::ZERO,
            live_codes: 1,
        },
        limits: LimitPolicy {
            ip: 5,
            user: 3,
            user_per_day: 10,
            window: HOUR,
            ip_shared: false,
            networks: Vec::new(),
        },
        lifetimes: Lifetimes { access: Duration::from_mins(15), refresh: 30 * day, session: 365 * day },
        reuse_grace: Duration::from_mins(1),
        max_sessions: 3,
        max_devices: 3,
        reads_every_bearer: false,
        default_role: "retailer".to_owned(),
        phones: PhonePolicy::lenient(10),
        conceal_accounts: false,
        phone_change_delay: day,
        budgets: BudgetPolicy::default(),
        guard: GuardPolicy { mode: GuardMode::Off, allowed: Allowed::default() },
        retention: Retention {
            events: 7 * day,
            audit: 90 * day,
            unverified: 7 * day,
            deletion_grace: Duration::ZERO,
            dormant_after: Duration::ZERO,
            takes_foreign_tokens: false,
        },
    }
}

/// The flows over a store; `seed` is that of their chance.
fn build(
    store: &Store,
    clock: &Arc<ManualClock>,
    sms: &MemorySender,
    (seed, run): (u64, RunId),
    policy: Policy,
) -> (Arc<Auth>, Means) {
    start(parts(store, clock, sms, (seed, run)), policy)
}

fn parts(store: &Store, clock: &Arc<ManualClock>, sms: &MemorySender, (seed, run): (u64, RunId)) -> Parts {
    Parts {
        store: store.clone(),
        production: Route::single(Via::new("memory", Channel::Sms), Arc::new(sms.clone())),
        testing: Route::single(Via::new("memory", Channel::Sms), Arc::new(sms.clone())),
        clock: clock.clone(),
        random: Arc::new(SeededRandom::new(seed)),
        run,
        metrics: Metrics::new(),
        shared: None,
        outbox: Outbox::new(&webhooks(), Arc::new(SeededRandom::new(seed + 1))),
    }
}

fn start(parts: Parts, policy: Policy) -> (Arc<Auth>, Means) {
    let secret = Secret::new(SECRET);
    let keys = Arc::new(KeyRing::new(&secret, &[]));
    let means = Means { keys: keys.clone(), outbox: parts.outbox.clone() };
    (Auth::new(parts, settings(&secret, &keys, policy)), means)
}

impl Bed {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// No limit for addresses.
    async fn open() -> Self {
        Self::with(|policy| policy.limits.ip = 0).await
    }

    async fn with(change: impl FnOnce(&mut Policy)) -> Self {
        Self::of(|_| {}, change).await
    }

    /// Of other parts, too.
    async fn of(swap: impl FnOnce(&mut Parts), change: impl FnOnce(&mut Policy)) -> Self {
        let (dir, clock, sms) =
            (tempfile::tempdir().unwrap(), Arc::new(ManualClock::new()), MemorySender::new());
        let options = OpenOptions::new(dir.path().join("freshk.db"), clock.now());
        let inner = SqliteStore::open(options.with_read_wait(Duration::from_mins(1))).unwrap();
        let faults = faults::Faults::default();
        let store = Store::new(Arc::new(Intercepted { inner, writes: faults.clone() }));
        let mut policy = policy();
        change(&mut policy);
        let mut parts = parts(&store, &clock, &sms, (1, RunId::new([1; 8])));
        swap(&mut parts);
        let (auth, means) = start(parts, policy);
        auth.settle_after_restart().await.unwrap();
        Self { auth, store, clock, sms, means, faults, dir }
    }

    /// What the metrics of a name have counted, by their labels, in the order of those.
    fn counted(&self, name: &str) -> Vec<String> {
        let page = self.auth.parts.metrics.render(Format::Text);
        let lines = page.lines().filter_map(|line| line.strip_prefix("freshk_")?.strip_prefix(name));
        let mut counted: Vec<_> = lines.filter(|line| !line.ends_with(" 0")).map(str::to_owned).collect();
        counted.sort();
        counted
    }

    async fn ask(&self, request: CodeRequest) -> WithQuotas<Sent> {
        self.auth.request(request).await
    }

    async fn request(&self, number: u32) -> WithQuotas<Sent> {
        self.ask(code_request(number)).await
    }

    async fn verify(&self, number: u32, code: &Code) -> WithQuotas<LoggedIn> {
        self.auth.verify(verify_request(number, code)).await
    }

    /// The code of the latest message.
    fn code(&self) -> Code {
        self.sms.messages().last().unwrap().code.clone()
    }

    /// Any code but that.
    fn wrong(&self) -> Code {
        let right: u32 = self.code().digits().parse().unwrap();
        Code::from_number((right + 1) % 1_000_000, 6)
    }

    /// What is known of the latest message.
    async fn message(&self) -> Message {
        self.read(|view| view.messages_before(MessageId(i64::MAX), 1)).await.remove(0).0
    }

    /// A whole login.
    async fn log_in(&self, number: u32) -> LoggedIn {
        self.request(number).await.result.unwrap();
        self.verify(number, &self.code()).await.result.unwrap()
    }

    async fn bearer(&self, login: &LoggedIn) -> Authenticated {
        self.auth.authenticate(&login.tokens.access).await.unwrap()
    }

    async fn read<T: Send + 'static>(
        &self,
        closure: impl FnOnce(&dyn View) -> StoreResult<T> + Send + 'static,
    ) -> T {
        self.store.read(closure).await.unwrap()
    }

    /// What another process does to the database, without a word to the server.
    fn elsewhere(&self, sql: &str) {
        let stranger = rusqlite::Connection::open(self.dir.path().join("freshk.db")).unwrap();
        stranger.execute_batch(sql).unwrap();
    }

    async fn user(&self, number: u32) -> Option<User> {
        self.read(move |view| view.user_by_phone(&phone(number))).await
    }

    /// What the audit trail has of an event: the details, oldest first.
    async fn told(&self, event: AuditEvent) -> Vec<String> {
        let lines = self.read(|view| view.audit_after(&AuditOf::Everybody, 0, 1000)).await;
        let lines = lines.into_iter().filter(|line| line.event == event);
        lines.map(|line| line.detail.unwrap_or_default()).collect()
    }

    /// What the operator does to the user of a phone.
    async fn operate<T, F>(&self, number: u32, act: F) -> T
    where
        T: Send + 'static,
        F: Fn(&mut Operator<'_, '_>, &User) -> StoreResult<T> + Send + 'static,
    {
        let user = self.user(number).await.unwrap();
        let locks = Locks::none().phones(&user.phone).user(user.id);
        let means = self.means.clone();
        let acted =
            operator::act(&self.store, locks, self.clock.now(), means, move |operator| act(operator, &user));
        acted.await.unwrap()
    }

    /// Makes a number a test number for an hour, whoever has it; gives its code.
    async fn make_test_number(&self, number: u32) -> Code {
        let code = Code::parse("604927", 6).unwrap();
        let until = self.clock.now() + HOUR;
        let new = NewTestNumber::new(phone(number), code.clone(), until, true).unwrap();
        let act = move |operator: &mut Operator<'_, '_>| operator.add_test_number(&new);
        let locks = Locks::none().test_numbers().phone(&phone(number));
        operator::act(&self.store, locks, self.clock.now(), self.means.clone(), act).await.unwrap().unwrap();
        code
    }

    /// Brings a user from the system before, with foreign tokens.
    async fn import(&self, id: i64, number: u32) {
        let user = ImportedUser {
            id: Some(UserId(id)),
            username: None,
            phone: phone(number),
            role: "retailer".to_owned(),
            is_active: true,
            phone_verified: true,
            joined_at: self.clock.now(),
            attributes: Attributes::default(),
        };
        let locks = Locks::none().phone(&user.phone);
        let act = move |operator: &mut Operator<'_, '_>| operator.import(std::slice::from_ref(&user));
        operator::act(&self.store, locks, self.clock.now(), self.means.clone(), act).await.unwrap();
    }
}

fn code_request(number: u32) -> CodeRequest {
    CodeRequest {
        mode: Mode::Production,
        purpose: Purpose::Login,
        endpoint: Endpoint::Request,
        phone: phone(number),
        proven: None,
        channel: None,
        device_token: None,
        languages: Languages::default(),
        origin: origin(ADDRESS),
    }
}

fn verify_request(number: u32, code: &Code) -> VerifyRequest {
    VerifyRequest {
        mode: Mode::Production,
        phone: phone(number),
        code: Some(code.clone()),
        idempotency_key: None,
        device: "Pixel".to_owned(),
        device_token: None,
        origin: origin(ADDRESS),
    }
}
