//! What the server has acknowledged, as its clients remember it.

/// Everything acknowledged, over all rounds.
#[derive(Default)]
pub(crate) struct Ledger {
    pub(crate) phones: Vec<Phone>,
    /// How many of them were asked about after a restart.
    pub(crate) asked: usize,
    pub(crate) codes: u64,
    pub(crate) logins: u64,
    pub(crate) refreshes: u64,
    pub(crate) logouts: u64,
    pub(crate) in_doubt: u64,
    pub(crate) checks: u64,
}

/// One phone; its owner uses an address of its own.
#[derive(Default)]
pub(crate) struct Phone {
    pub(crate) number: String,
    pub(crate) address: String,
    /// Codes acknowledged as sent; each cost a unit.
    pub(crate) codes: i64,
    /// Calls of `verify/` that were answered; each cost the address a unit.
    pub(crate) guesses: i64,
    /// Wrong guesses that were answered while a code was alive.
    pub(crate) failures: i64,
    /// Codes acknowledged as used.
    pub(crate) used: Vec<String>,
    /// A code whose use was not answered.
    pub(crate) doubtful: Option<String>,
    pub(crate) sessions: Vec<Session>,
}

/// One login.
pub(crate) struct Session {
    pub(crate) access: String,
    /// Refresh tokens as they were acknowledged, oldest first.
    pub(crate) refresh: Vec<String>,
    pub(crate) state: State,
}

/// What became of a login, as far as its client knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Live,
    /// Its end was acknowledged.
    Ended,
    /// Its end was asked for and not answered.
    Doubtful,
}

/// The call was not answered: the server is gone.
pub(crate) struct Gone;

impl Ledger {
    /// One line for the person who reads the test's output.
    pub(crate) fn figures(&self) -> String {
        let Self { codes, logins, refreshes, logouts, in_doubt, checks, .. } = self;
        format!(
            "{} phones, {codes} codes sent, {logins} logins, {refreshes} refreshes and {logouts} logouts acknowledged, \
             {in_doubt} calls cut off; {checks} checks held",
            self.phones.len()
        )
    }
}
