//! One server serves a database: it holds an advisory lock on a connection of its own for as long as it does.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::watch;

use super::connect::{Connector, Refused};
use super::connection::Connection;
use super::open;
use super::open_error::PostgresError;
use super::settings::PostgresSettings;

/// How often the connection is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// How long a server that has just ended may still hold the lock.
const LOOKS: u32 = 20;
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// The right to serve a database; given back when dropped.
pub struct Serving {
    /// Dropped to end the thread.
    end: Option<Sender<()>>,
    holder: Option<JoinHandle<()>>,
    lost: watch::Receiver<bool>,
}

impl Serving {
    /// Takes the right, or says who has it.
    ///
    /// # Errors
    /// [`PostgresError::Served`] where another server has it, or why the database cannot be used.
    pub fn acquire(settings: &PostgresSettings) -> Result<Self, PostgresError> {
        let (told, outcome) = channel();
        let (end, ended) = channel();
        let (takeover, lost) = watch::channel(false);
        let settings = settings.clone();
        let failed = |reason: String| PostgresError::Failed { place: settings.to_string(), reason };
        let own = settings.clone();
        let holder = thread::Builder::new()
            .name("freshk-serving".into())
            .spawn(move || match acquire(&own) {
                Ok((conn, connector)) => {
                    drop(told.send(Ok(())));
                    hold(conn, &connector, &ended, &takeover);
                }
                Err(error) => drop(told.send(Err(error))),
            })
            .map_err(|error| failed(error.to_string()))?;
        outcome.recv().map_err(|_| failed("a thread ended".to_owned()))??;
        Ok(Self { end: Some(end), holder: Some(holder), lost })
    }

    /// Ends when another server has taken the right, after the connection was lost.
    pub async fn lost(&self) {
        let mut lost = self.lost.clone();
        if lost.wait_for(|lost| *lost).await.is_err() {
            // The thread ends with this value alone.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(holder) = self.holder.take() {
            drop(holder.join());
        }
    }
}

fn acquire(settings: &PostgresSettings) -> Result<(Connection, Connector), PostgresError> {
    let (conn, connector) = open::connect(settings)?;
    for _ in 0..LOOKS {
        let locked = try_lock(&conn);
        if locked.map_err(|refused| PostgresError::of_connection(settings, refused))? {
            return Ok((conn, connector));
        }
        thread::sleep(LOOK_AGAIN);
    }
    Err(PostgresError::Served { place: settings.to_string(), schema: settings.schema.clone() })
}

fn try_lock(conn: &Connection) -> Result<bool, Refused> {
    conn.try_lock(conn.keys().serving()).map_err(Refused::Server)
}

/// Keeps the connection, and takes the lock again on a new one where it was lost.
fn hold(conn: Connection, connector: &Connector, ended: &Receiver<()>, lose: &watch::Sender<bool>) {
    let mut held = Some(conn);
    while ended.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
        if held.as_ref().is_some_and(|conn| conn.batch("SELECT").is_ok()) {
            continue;
        }
        held = None;
        let Ok(conn) = connector.connect() else { continue };
        match try_lock(&conn) {
            Ok(true) => {
                tracing::info!("the database is back, and served by this server");
                held = Some(conn);
            }
            Ok(false) if *lose.borrow() => {}
            Ok(false) => {
                tracing::error!(
                    "another server took the database over while it could not be reached; this one stops"
                );
                lose.send(true).ok();
            }
            Err(_) => {}
        }
    }
}
