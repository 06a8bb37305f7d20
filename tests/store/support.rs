//! What the tests share.

use std::sync::Mutex;
use std::time::Duration;

use freshk::domain::clock::Times;
use freshk::domain::message::NewMessage;
use freshk::domain::session::{Lifetimes, Login};
use freshk::domain::{
    Challenge, ChallengeId, Channel, CodeHash, Mode, NewChallenge, PhoneNumber, Purpose, RunId, Session,
    SessionId, Timestamp, User, UserId, Via,
};
use freshk::storage::{Locks, Store, StoreError, StoreResult, Tx, View};

pub(crate) const START: Timestamp = Timestamp::from_millis(1_767_225_600_000);

/// Addresses, as the ledger names them.
pub(crate) const ADDRESS: &str = "203.0.113.7";
pub(crate) const OTHER: &str = "203.0.113.8";

/// An engine, and a place for one database of it.
pub(crate) trait Fixture: Send + Sync + Sized + 'static {
    /// Whether this machine has what the engine needs.
    fn is_here() -> bool {
        true
    }
    /// A place where no database is yet; it goes with the fixture.
    fn new() -> impl Future<Output = Self> + Send;
    /// Opens the database, made at the first time. Two stores are to each other what two processes are.
    fn open(&self) -> impl Future<Output = Store> + Send;
}

/// A store on a database of its own.
pub(crate) struct Bed<F> {
    pub(crate) fixture: F,
    pub(crate) store: Store,
}

impl<F: Fixture> Bed<F> {
    pub(crate) async fn new() -> Self {
        let fixture = F::new().await;
        let store = fixture.open().await;
        Self { fixture, store }
    }

    /// Writes under locks for all that these tests change.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        closure: impl FnOnce(&mut dyn Tx) -> StoreResult<T> + Send + 'static,
    ) -> T {
        self.try_write(closure).await.unwrap()
    }

    /// The same, where it may fail.
    pub(crate) async fn try_write<T: Send + 'static>(
        &self,
        closure: impl FnOnce(&mut dyn Tx) -> StoreResult<T> + Send + 'static,
    ) -> StoreResult<T> {
        // Nobody writes beside these, so that none is run again.
        let closure = Mutex::new(Some(closure));
        let once = move |tx: &mut dyn Tx| {
            // A write that is alone runs once.
            let closure = closure.lock().unwrap().take().unwrap();
            closure(tx)
        };
        self.store.write(everything(), once).await
    }

    /// Has the store refuse a write as one that breaks a rule.
    pub(crate) async fn broken<T: Send + 'static>(
        &self,
        closure: impl FnOnce(&mut dyn Tx) -> StoreResult<T> + Send + 'static,
    ) {
        assert_eq!(self.try_write(closure).await.err(), Some(StoreError::Broken));
    }

    pub(crate) async fn read<T: Send + 'static>(
        &self,
        closure: impl FnOnce(&dyn View) -> StoreResult<T> + Send + 'static,
    ) -> T {
        self.store.read(closure).await.unwrap()
    }

    /// A user with this phone.
    pub(crate) async fn user(&self, number: u32) -> User {
        self.write(move |tx| tx.insert_user(&phone(number), "retailer", START)).await
    }

    /// Users and a challenge for each number.
    pub(crate) async fn challenge(&self, number: u32) -> Challenge {
        self.write(move |tx| tx.insert_challenge(new_challenge(Mode::Production, number), &|_| some_hash()))
            .await
    }
}

/// Locks for the phones 1 to 9 with their users, the addresses and the test numbers.
pub(crate) fn everything() -> Locks {
    let locks = Locks::none().test_numbers().address(ADDRESS).address(OTHER);
    (1..10).fold(locks, |locks, number| locks.user_of(&phone(number)))
}

pub(crate) fn after(seconds: u64) -> Timestamp {
    START + Duration::from_secs(seconds)
}

pub(crate) fn phone(number: u32) -> PhoneNumber {
    PhoneNumber::parse(&format!("+1555{number:07}"), 10).unwrap()
}

/// A session that was opened at [`START`]; its refresh token lives a day.
pub(crate) fn session(chance: u8, user: UserId) -> Session {
    let day = Duration::from_hours(24);
    let lifetimes = Lifetimes { access: day, refresh: day, session: 10 * day };
    let login = Login { user, device: "Pixel".into(), ip: ADDRESS.into() };
    let times = Times::right(START);
    Session::open(SessionId::new(START, [chance; 10]), "0".repeat(32), login, &times, &lifetimes)
}

pub(crate) fn new_challenge(mode: Mode, number: u32) -> NewChallenge {
    NewChallenge {
        mode,
        purpose: Purpose::Login,
        phone: phone(number),
        created_at: START,
        expires_at: after(600),
        spend: None,
        device: None,
        leader: RunId::new([7; 8]),
        delivery: None,
        asked: None,
    }
}

/// A message to a phone, by the sender that is there without a configuration of its own.
pub(crate) fn new_message(
    challenge: ChallengeId,
    number: u32,
    segments: u32,
    created_at: Timestamp,
) -> NewMessage {
    let via = Via::new("twilio", Channel::Sms);
    NewMessage { challenge, to: phone(number), via, segments, created_at }
}

pub(crate) fn some_hash() -> CodeHash {
    CodeHash { key: 7, tag: vec![1; 32] }
}

/// Waits until something has become true, though not for ever.
pub(crate) async fn until<Fut: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> Fut) {
    for _ in 0..6000 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not within a minute: {what}");
}
