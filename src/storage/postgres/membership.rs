//! Serving a database beside others: a node holds the lock of its number on a connection of its own for as long as it lives,
//! and goes by the database's clock.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::connect::Connector;
use super::connection::Connection;
use super::fault::Failure;
use super::open::{self, told};
use super::open_error::PostgresError;
use super::settings::PostgresSettings;
use super::tx::first;
use super::{migrate, nodes};
use crate::clock::Correction;
use crate::domain::Timestamp;
use crate::domain::node::Node;

/// How often the connection is looked at, and the clock.
const LOOK: Duration = Duration::from_secs(1);

/// A clock that is off by more is told of.
const OFF: Duration = Duration::from_secs(1);

/// A machine that is gone, or a process that is halted, gives its lock back within some ten seconds, where the server knows
/// how. A socket of this machine has no need of the first three.
pub(super) const PROMPT: &str = "SELECT set_config(name, CASE name WHEN 'tcp_keepalives_idle' THEN '4' \
     WHEN 'tcp_keepalives_interval' THEN '2' WHEN 'tcp_keepalives_count' THEN '3' ELSE '10s' END, false) \
     FROM pg_settings WHERE name IN \
     ('tcp_keepalives_idle', 'tcp_keepalives_interval', 'tcp_keepalives_count', 'idle_session_timeout')";

const CLOCK: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint";

/// A node among those that serve a database; it leaves when this is dropped.
pub struct Membership {
    changes: Sender<Change>,
    holder: Option<JoinHandle<()>>,
    others: Vec<Node>,
}

/// What the thread of a membership is told.
enum Change {
    /// The node is like this now.
    Node(Box<Node>),
    /// It leaves.
    End,
}

impl Membership {
    /// Enters; `clock` goes by the database's from now on.
    ///
    /// # Errors
    /// [`PostgresError::OtherKeys`] where a live node has none of this one's keys, or why the database cannot be used.
    pub fn enter(settings: &PostgresSettings, node: Node, clock: Correction) -> Result<Self, PostgresError> {
        let (told, outcome) = channel();
        let (sender, changes) = channel();
        let failed = |reason: String| PostgresError::Failed { place: settings.to_string(), reason };
        let own = settings.clone();
        let holder = thread::Builder::new()
            .name("freshk-node".into())
            .spawn(move || match enter(&own, &node, &clock) {
                Ok((conn, connector, others)) => {
                    drop(told.send(Ok(others)));
                    hold((conn, &connector), node, &clock, &changes);
                }
                Err(error) => drop(told.send(Err(error))),
            })
            .map_err(|error| failed(error.to_string()))?;
        let others = outcome.recv().map_err(|_| failed("a thread ended".to_owned()))??;
        Ok(Self { changes: sender, holder: Some(holder), others })
    }

    /// Tells the other nodes how this one is from then on; later where the database cannot be reached.
    pub fn announcer(&self) -> impl Fn(Node) + Send + Sync + 'static {
        let changes = self.changes.clone();
        // The thread lives as long as this does.
        move |node| drop(changes.send(Change::Node(Box::new(node))))
    }

    /// The nodes that lived when this one entered.
    pub fn others(&self) -> &[Node] {
        &self.others
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        drop(self.changes.send(Change::End));
        if let Some(holder) = self.holder.take() {
            drop(holder.join());
        }
    }
}

fn enter(
    settings: &PostgresSettings,
    node: &Node,
    clock: &Correction,
) -> Result<(Connection, Connector, Vec<Node>), PostgresError> {
    let failed = |failure: Failure| told(settings, &failure);
    let (conn, connector) = open::connect(settings)?;
    conn.rows(PROMPT, &[]).and_then(|_| follow(&conn, clock)).map_err(failed)?;
    // One after the other, so that of two that begin at once one sees the other.
    let entrance = conn.keys().entrance();
    migrate::lock(&conn, settings, entrance)?;
    let others = nodes::live(&conn).map_err(failed)?;
    if let Some(stranger) = others.iter().find(|other| !other.shares_a_key_with(node)) {
        let (place, host) = (settings.to_string(), stranger.host.clone());
        return Err(PostgresError::OtherKeys { place, host });
    }
    live(&conn, node).map_err(failed)?;
    conn.unlock(entrance).map_err(failed)?;
    Ok((conn, connector, others))
}

/// Keeps the connection, and enters again on a new one where it was lost. Another node's keys are not looked at then: they
/// were when it began.
fn hold(
    (conn, connector): (Connection, &Connector),
    mut node: Node,
    clock: &Correction,
    changes: &Receiver<Change>,
) {
    let mut is_off = false;
    let mut held = Some(conn);
    // Where the connection was lost, the server may not know yet that the one before is gone, which has the lock.
    let mut lives = true;
    loop {
        match changes.recv_timeout(LOOK) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(Change::Node(now)) => {
                node = *now;
                // Where that fails the connection is made anew, and the node enters as it is now.
                held = held.filter(|conn| nodes::enter(conn, &node, conn.keys().node(&node.run)).is_ok());
            }
            Ok(Change::End) | Err(RecvTimeoutError::Disconnected) => break,
        }
        if let Some(Ok(by)) = held.as_ref().map(|conn| follow(conn, clock)) {
            if (by > OFF) != is_off {
                is_off = by > OFF;
                tell(is_off, by);
            }
            if !lives {
                lives = held.as_ref().is_some_and(|conn| live(conn, &node).unwrap_or(false));
            }
            continue;
        }
        held = connector.connect().ok().filter(|conn| conn.rows(PROMPT, &[]).is_ok());
        if let Some(conn) = &held {
            lives = live(conn, &node).unwrap_or(false);
            tracing::info!("the database is back");
        }
    }
    if let Some(conn) = held {
        drop(nodes::leave(&conn, &node.run));
    }
}

/// Takes the lock of a node and writes its row; false while another connection has the lock.
fn live(conn: &Connection, node: &Node) -> Result<bool, Failure> {
    let lock = conn.keys().node(&node.run);
    let is_locked = conn.try_lock(lock)?;
    if is_locked {
        nodes::enter(conn, node, lock)?;
    }
    Ok(is_locked)
}

/// Asks for the database's time; gives by how much this machine's is off.
fn follow(conn: &Connection, clock: &Correction) -> Result<Duration, Failure> {
    clock.follow(|| {
        let rows = conn.rows(CLOCK, &[])?;
        let row = rows.first().ok_or_else(|| Failure::Value("no time".to_owned()))?;
        first::<i64>(row).map(Timestamp::from_millis).map_err(Failure::Row)
    })
}

fn tell(is_off: bool, by: Duration) {
    if is_off {
        tracing::warn!(
            seconds = by.as_secs_f64(),
            "this machine's clock and the database's differ; the database's counts: see that a time service keeps both \
             right (timedatectl)"
        );
    } else {
        tracing::info!("this machine's clock and the database's agree again");
    }
}
