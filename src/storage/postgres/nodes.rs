//! Rows of `nodes`. A node lives for as long as a connection of its holds the lock of its number.

use std::collections::BTreeMap;

use super::connection::Connection;
use super::fault::Failure;
use super::row::{Row, RowError};
use super::tx::PostgresTx;
use crate::domain::node::Node;
use crate::domain::{RunId, Timestamp};
use crate::storage::StoreResult;
use crate::storage::nodes::ReadNodes;

/// Whether a node lives; `pg_locks` shows a number in two halves.
macro_rules! lives {
    () => {
        "EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1 \
         AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
         AND classid::bigint = (node.lock >> 32 & 4294967295) AND objid::bigint = (node.lock & 4294967295))"
    };
}

const LIVE: &str = concat!(
    "SELECT run, host, version, started_at, keys, settings FROM nodes AS node WHERE ",
    lives!(),
    " ORDER BY started_at, run"
);

const ENTER: &str = "INSERT INTO nodes (run, lock, host, version, started_at, keys, settings) \
     VALUES ($1, $2, $3, $4, $5, $6, $7) \
     ON CONFLICT (run) DO UPDATE SET lock = excluded.lock, keys = excluded.keys, settings = excluded.settings";

const LEAVE: &str = "DELETE FROM nodes WHERE run = $1";

/// Rows of nodes that ended without leaving; one that has only lost its connection enters again.
const FORGET: &str = concat!("DELETE FROM nodes AS node WHERE NOT ", lives!());

impl ReadNodes for PostgresTx<'_> {
    fn nodes(&self) -> StoreResult<Vec<Node>> {
        self.rows(LIVE, &[], node)
    }
}

/// Those that live.
pub(super) fn live(conn: &Connection) -> Result<Vec<Node>, Failure> {
    conn.rows(LIVE, &[])?.iter().map(|row| node(row).map_err(Failure::Row)).collect()
}

/// Writes the row of a node whose lock is `lock`, and forgets those that have ended.
pub(super) fn enter(conn: &Connection, node: &Node, lock: i64) -> Result<(), Failure> {
    conn.execute(FORGET, &[])?;
    let keys: Vec<_> = node.keys.iter().map(u32::to_string).collect();
    let settings: Vec<_> = node.settings.iter().map(|(key, hash)| format!("{key}={hash}")).collect();
    let (keys, settings) = (keys.join(" "), settings.join(" "));
    conn.execute(ENTER, &[&node.run, &lock, &node.host, &node.version, &node.started_at, &keys, &settings])
        .map(drop)
}

/// Takes the row of a node away.
pub(super) fn leave(conn: &Connection, run: &RunId) -> Result<(), Failure> {
    conn.execute(LEAVE, &[run]).map(drop)
}

fn node(row: &Row) -> Result<Node, RowError> {
    let (keys, settings): (String, String) = (row.try_get(4)?, row.try_get(5)?);
    let pair = |word: &str| word.split_once('=').map(|(key, hash)| (key.to_owned(), hash.to_owned()));
    Ok(Node {
        run: row.try_get(0)?,
        host: row.try_get(1)?,
        version: row.try_get(2)?,
        started_at: row.try_get::<Timestamp>(3)?,
        keys: keys.split_whitespace().filter_map(|key| key.parse().ok()).collect(),
        settings: settings.split_whitespace().filter_map(pair).collect::<BTreeMap<_, _>>(),
    })
}
