//! The threads that read, each with a connection of its own.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use tokio::sync::oneshot;
use tracing::Span;

use super::connect::Connector;
use super::connection::Connection;
use super::fault::{Failure, fault};
use super::memory::Memory;
use super::queue::Queue;
use super::tx::PostgresTx;
use super::writer::unreachable;
use crate::domain::SessionId;
use crate::storage::{Principal, ReadJob, StoreError, StoreResult};

/// What is read.
pub(super) enum Task {
    /// A closure, on a snapshot.
    Closure(ReadJob, oneshot::Sender<StoreResult<()>>),
    /// A session and its user.
    Principal(SessionId, oneshot::Sender<StoreResult<Option<Principal>>>),
}

/// A reading, with the request that it belongs to.
pub(super) struct Queued {
    task: Task,
    span: Span,
}

impl Queued {
    /// Of the request that is at work.
    pub(super) fn new(task: Task) -> Self {
        Self { task, span: Span::current() }
    }
}

/// Begins a snapshot.
pub(super) const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// Starts a thread. It ends when the queue is closed and everything in it is answered.
pub(super) fn start(
    queue: Arc<Queue<Queued>>,
    connector: Connector,
    memory: Arc<Memory>,
    number: usize,
) -> std::io::Result<JoinHandle<()>> {
    let name = format!("freshk-reader-{number}");
    thread::Builder::new().name(name).spawn(move || {
        let mut conn = None;
        while let Some((Queued { task, span }, _running)) = queue.take() {
            span.in_scope(|| read(&mut conn, &connector, &memory, task));
        }
    })
}

/// Whoever asked may have gone away; then nobody hears the answer.
fn read(kept: &mut Option<Connection>, connector: &Connector, memory: &Memory, task: Task) {
    match task {
        Task::Closure(job, reply) => {
            let outcome = connected(kept, connector, |conn| conn.batch(BEGIN)).and_then(|conn| {
                // The panic has logged itself.
                let tx = PostgresTx::new(conn);
                catch_unwind(AssertUnwindSafe(|| job(&tx))).map_err(|_| StoreError::Broken)
            });
            // The answer needs no end of a transaction that only read.
            reply.send(outcome).ok();
            kept.take_if(|conn| conn.batch("ROLLBACK").is_err());
        }
        Task::Principal(id, reply) => {
            let look = |kept: &mut Option<Connection>| {
                let conn = connected(kept, connector, |_| Ok(()))?;
                memory.keep(&id, || PostgresTx::new(conn).principal(&id))
            };
            let mut found = look(kept);
            if matches!(found, Err(StoreError::Unavailable))
                && kept.take_if(|conn| conn.is_closed()).is_some()
            {
                // The connection was dead before it was asked.
                found = look(kept);
            }
            drop(reply.send(found));
        }
    }
}

/// The kept connection once `begin` succeeds on it, or a new one in its place.
fn connected<'c>(
    kept: &'c mut Option<Connection>,
    connector: &Connector,
    begin: impl Fn(&Connection) -> Result<(), Failure>,
) -> StoreResult<&'c Connection> {
    let usable = kept.take().filter(|conn| !conn.is_closed() && begin(conn).is_ok());
    let conn = if let Some(conn) = usable {
        conn
    } else {
        let conn = connector.connect().map_err(|refused| unreachable(&refused))?;
        begin(&conn).map_err(|failure| fault(&failure))?;
        conn
    };
    Ok(kept.insert(conn))
}
