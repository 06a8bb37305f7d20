//! Deleting what is no longer needed, a slice at a time.

use rusqlite::{Connection, params};

use super::cache::Touched;
use super::columns::count;
use super::{audit, ledger, sessions, test_numbers, unsent};
use crate::storage::PurgeHorizon;

macro_rules! oldest {
    ($table:literal, $instant:literal) => {
        concat!(
            "DELETE FROM ",
            $table,
            " WHERE id IN (SELECT id FROM (SELECT id, ",
            $instant,
            " AS instant FROM ",
            $table,
            " ORDER BY id LIMIT ?2) WHERE instant < ?1)"
        )
    };
}

/// The rows of one quota: those of another are kept longer.
pub(super) const SPENDS: &str = "DELETE FROM spends WHERE id IN \
     (SELECT id FROM spends WHERE quota = ?1 AND at <= ?2 ORDER BY at LIMIT ?3)";

/// Their messages go with them.
const CHALLENGES: &str = oldest!("challenges", "created_at");

const AUDIT: &str = oldest!("audit", "at");

pub(super) const ROTATIONS: &str = "DELETE FROM rotations WHERE (session_id, generation) IN \
     (SELECT session_id, generation FROM rotations WHERE rotated_at < ?1 LIMIT ?2)";

pub(super) const EXCHANGES: &str = "DELETE FROM exchanges WHERE jti IN \
     (SELECT jti FROM exchanges WHERE expires_at < ?1 LIMIT ?2)";

/// Nobody who was imported: another system knows the person by that id. Nobody who could still log in with a code on its
/// way, or is logged in; and nobody whom the operator shut out, for the number would come back as a new user.
pub(super) const UNVERIFIED: &str = "DELETE FROM users WHERE id IN (SELECT id FROM users \
     WHERE phone_verified = 0 AND is_active = 1 AND imported_at IS NULL AND joined_at < ?1 \
     AND NOT EXISTS (SELECT 1 FROM sessions WHERE sessions.user_id = users.id) \
     AND NOT EXISTS (SELECT 1 FROM challenges WHERE challenges.phone = users.phone \
         AND state IN ('sending', 'live', 'unknown') AND expires_at > ?2) \
     LIMIT ?3) RETURNING id";

/// A row that fits into no page, of a quota that does not exist.
const ROOM: &str = "INSERT INTO refusals (quota, subject, first, until, count) \
     VALUES ('', printf('%.*c', 16384, '.'), 0, 0, 0)";

const ROOM_BACK: &str = "DELETE FROM refusals WHERE subject = printf('%.*c', 16384, '.') AND quota = ''";

/// Takes a few pages and gives them back. A transaction that writes nothing succeeds on the fullest disk.
pub(super) fn prove_room(conn: &Connection) -> rusqlite::Result<()> {
    conn.prepare_cached(ROOM)?.execute([])?;
    conn.prepare_cached(ROOM_BACK)?.execute([]).map(drop)
}

/// Deletes at most `rows` rows of each kind; true if there is more to delete.
pub(super) fn purge(
    conn: &Connection,
    horizon: &PurgeHorizon,
    rows: usize,
    touched: &mut Touched,
) -> rusqlite::Result<bool> {
    let limit = count(rows);
    let mut more = ledger::close_windows(conn, horizon.now, rows)? == rows;

    audit::retain_from(conn, horizon.audit)?;
    for (quota, before) in horizon.spends {
        more |= conn.prepare_cached(SPENDS)?.execute(params![quota, before, limit])? == rows;
    }
    for (sql, before) in [(CHALLENGES, horizon.challenges), (AUDIT, horizon.audit)] {
        let deleted = conn.prepare_cached(sql)?.execute(params![before, limit])?;
        // Only the oldest rows are looked at, so that a slice stays a slice. A few among them may be younger than their
        // number says (the clock was stepped), so most of a slice counts as a full one.
        more |= deleted > 0 && deleted >= rows / 2;
    }

    test_numbers::purge(conn, horizon.challenges)?;
    unsent::purge(conn, horizon.challenges)?;

    let ended = touched.sessions.len();
    for id in
        conn.prepare_cached(sessions::PURGE)?.query_map(params![horizon.sessions, limit], |row| row.get(0))?
    {
        touched.sessions.push(id?);
    }
    more |= touched.sessions.len() - ended == rows;
    for sql in [ROTATIONS, EXCHANGES] {
        more |= conn.prepare_cached(sql)?.execute(params![horizon.sessions, limit])? == rows;
    }

    let gone = touched.users.len();
    let unverified = params![horizon.unverified, horizon.now, limit];
    for id in conn.prepare_cached(UNVERIFIED)?.query_map(unverified, |row| row.get(0))? {
        touched.users.push(id?);
    }
    more |= touched.users.len() - gone == rows;
    Ok(more)
}
