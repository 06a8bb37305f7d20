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
    /// A closure or a row broke a rule of ours; nothing was done.
    #[error("the database holds, or was asked, something impossible")]
    Broken,
}

/// What reading and writing closures give.
pub type StoreResult<T> = Result<T, StoreError>;
