//! Why the store did not do what it was asked.

/// Why the store did not do what it was asked. The cause is logged where it happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// More writes wait than the queue holds; nothing was done.
    #[error("the write queue is full")]
    Overloaded,
    /// The database failed (full disk, I/O, lock); nothing was done.
    #[error("the database is not available")]
    Unavailable,
    /// The answer to a commit was lost: what was written is there, or it is not. Whoever repeats the write must find out first.
    #[error("the database did not say whether it wrote; look at what is there before you try again")]
    InDoubt,
    /// A closure or a row broke a rule of ours; nothing was done.
    #[error("the database holds, or was asked, something impossible")]
    Broken,
}

/// What reading and writing closures give.
pub type StoreResult<T> = Result<T, StoreError>;
