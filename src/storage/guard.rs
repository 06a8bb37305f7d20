//! What is asked of the text messages as the guard counts them, of the attempts that it refused and of its blocks.

use super::error::{StoreError, StoreResult};
use crate::domain::budget::Charge;
use crate::domain::guard::{Block, Counts, Place, Scope, Sends, Standing};
use crate::domain::{ChallengeId, PhoneNumber, Timestamp};

/// A text message that carries a code, as it was bought.
#[derive(Clone, Debug)]
pub struct Purchase {
    /// Whose code.
    pub challenge: ChallengeId,
    /// When.
    pub at: Timestamp,
    /// What it has in common with others; network and range are kept only for a number that had never been verified.
    pub place: Place,
    /// How it stood.
    pub standing: Standing,
    /// What it costs, in millionths.
    pub cost: u64,
    /// From which budgets that was taken.
    pub charges: Vec<Charge>,
}

/// What a message was paid with, a second one of the same code included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payment {
    /// How the first one stood.
    pub standing: Standing,
    /// What they cost, in millionths.
    pub cost: u64,
    /// From which budgets that was taken.
    pub charges: Vec<Charge>,
}

impl Payment {
    /// Reads the columns of a row.
    ///
    /// # Errors
    /// [`StoreError::Broken`] where they say nothing that is ever written.
    pub fn of_row(standing: &str, cost: u64, charges: &str) -> StoreResult<Self> {
        let standing = Standing::parse(standing).ok_or(StoreError::Broken)?;
        let charges = Charge::parse_row(charges).ok_or(StoreError::Broken)?;
        Ok(Self { standing, cost, charges })
    }
}

/// Since when rows count, for each of the guard's counts, and until when.
#[derive(Clone, Copy, Debug)]
pub struct Horizons {
    /// First verifications that have a network trusted.
    pub known: Timestamp,
    /// Up to when they are older than a day.
    pub known_longer: Timestamp,
    /// The network's day.
    pub network: Timestamp,
    /// The range's day.
    pub range: Timestamp,
    /// The country's five minutes, hour and day.
    pub country: [Timestamp; 3],
    /// The five minutes and the hour of all.
    pub world: [Timestamp; 2],
    /// The latest that any may be of.
    pub until: Timestamp,
}

/// First verifications in five minutes of one country.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verifications {
    /// Where.
    pub country: String,
    /// Which five minutes: their number since 1970.
    pub bucket: i64,
    /// How many.
    pub count: u32,
}

/// What became of the messages to a country.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CountryFigures {
    /// Its ISO code.
    pub country: String,
    /// How many were bought.
    pub sent: u64,
    /// How many of them to numbers that had never been verified.
    pub new: u64,
    /// How many of those were answered by the first verification of the number.
    pub converted: u64,
    /// How many are known to have arrived.
    pub delivered: u64,
    /// What they cost, in millionths.
    pub cost: u64,
}

/// Reads what the guard judges by.
#[expect(clippy::missing_errors_doc, reason = "a read fails where the database does, and nowhere else")]
pub trait ReadGuard {
    /// The latest block of each scope that a place lies in, over or not.
    fn blocks_at(&self, place: &Place) -> StoreResult<Vec<Block>>;
    /// Blocks that end after `at`, the one that began first at the front.
    fn blocks_after(&self, at: Timestamp) -> StoreResult<Vec<Block>>;
    /// What the messages of a challenge were paid with; `None` where none is bought.
    fn payment(&self, challenge: ChallengeId) -> StoreResult<Option<Payment>>;
    /// What is known of a place, but for whether it was blocked.
    fn guard_counts(&self, place: &Place, horizons: &Horizons) -> StoreResult<Counts>;
    /// What strangers were sent after `since`, and not after `until`: in a country, or everywhere.
    fn sent_to_strangers(
        &self,
        country: Option<&str>,
        since: Timestamp,
        until: Timestamp,
    ) -> StoreResult<Sends>;
    /// When the latest message to a stranger counts as sent, of those no later than `until`: in a country, or everywhere.
    fn latest_to_strangers(&self, country: Option<&str>, until: Timestamp) -> StoreResult<Option<Timestamp>>;
    /// How many attempts a block has refused after `since`.
    fn refused_attempts(
        &self,
        scope: Scope,
        key: &str,
        since: Timestamp,
        until: Timestamp,
    ) -> StoreResult<u32>;
    /// First verifications after `since`.
    fn first_verifications(&self, since: Timestamp, until: Timestamp) -> StoreResult<Vec<Verifications>>;
    /// What became of the messages bought after `since`, by country.
    fn figures_by_country(&self, since: Timestamp) -> StoreResult<Vec<CountryFigures>>;
}

/// Writes what the guard judges by. Rows are only added, or replaced by comparison, so that no lock covers them.
#[expect(clippy::missing_errors_doc, reason = "a write fails where the database does, and nowhere else")]
pub trait WriteGuard: ReadGuard {
    /// Notes a message that is bought.
    fn insert_purchase(&mut self, purchase: &Purchase) -> StoreResult<()>;
    /// Takes back one that was surely not sent; gives from which budgets it was taken.
    fn delete_purchase(&mut self, challenge: ChallengeId) -> StoreResult<Vec<Charge>>;
    /// Replaces what the messages of a challenge cost, and from which budgets that was taken. The lock of its phone covers it.
    fn update_payment(&mut self, challenge: ChallengeId, payment: &Payment) -> StoreResult<()>;
    /// Notes that the code of `used` was the first to verify its number; what else that number was sent, with the other codes
    /// of `all`, counts no longer.
    fn convert(&mut self, used: ChallengeId, all: &[ChallengeId], at: Timestamp) -> StoreResult<()>;
    /// Notes an attempt that a block refused.
    fn note_refused_attempt(&mut self, scope: Scope, key: &str, at: Timestamp) -> StoreResult<()>;
    /// Puts a block in the place of the one that was read, or of none; false where another has come meanwhile.
    fn replace_block(&mut self, before: Option<&Block>, block: &Block) -> StoreResult<bool>;
    /// Forgets the digits of a number: with its messages, and the attempts that were refused in its range, and the block of that where
    /// it is over at `at`.
    fn forget_ranges_of(&mut self, phone: &PhoneNumber, at: Timestamp) -> StoreResult<()>;
    /// Ends a block; false where none holds anything back.
    fn end_block(&mut self, scope: Scope, key: &str, at: Timestamp) -> StoreResult<bool>;
}
