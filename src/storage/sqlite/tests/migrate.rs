use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::storage::sqlite::open;
use crate::storage::sqlite::tests::{Bed, users};

const GOOD: &[Migration] = &[
    Migration { version: 2, sql: "ALTER TABLE users ADD COLUMN nickname TEXT" },
    Migration { version: 3, sql: "UPDATE users SET nickname = username" },
];

const FAILING: &[Migration] = &[
    Migration { version: 2, sql: "ALTER TABLE users ADD COLUMN nickname TEXT" },
    Migration { version: 3, sql: "UPDATE users SET nickname = 'half'; DELETE FROM nowhere" },
];

const DANGLING: &[Migration] = &[Migration {
    version: 2,
    sql: "INSERT INTO messages (challenge_id, phone, state, segments, created_at, updated_at) \
          VALUES (99, '+1555', 'sent', 1, 0, 0)",
}];

/// A database of the first schema with one user.
fn first_schema() -> Bed {
    let bed = Bed::new();
    let user = "INSERT INTO users (username, phone, role, joined_at)
                VALUES ('user_15550000001', '+15550000001', 'retailer', 0)";
    bed.first_schema().execute_batch(user).unwrap();
    bed
}

fn migrate(bed: &Bed, steps: &'static [Migration]) -> Result<Connection, OpenError> {
    let mut options = bed.options();
    options.tuning.migrations = steps;
    open::open(&options).map(|(conn, _)| conn)
}

fn backups(bed: &Bed) -> Vec<PathBuf> {
    let names = fs::read_dir(bed.dir.path()).unwrap().map(|entry| entry.unwrap().path());
    names.filter(|path| path.extension().is_some_and(|extension| extension == "bak")).collect()
}

#[test]
fn s31_steps_are_taken_after_a_backup_that_opens() {
    let bed = first_schema();
    let conn = migrate(&bed, GOOD).unwrap();
    assert_eq!(version(&conn).unwrap(), 3);
    let name: String = conn.query_row("SELECT nickname FROM users", [], |row| row.get(0)).unwrap();
    assert_eq!(name, "user_15550000001");
    assert!(conn.pragma_query_value(None, "foreign_keys", |row| row.get::<_, bool>(0)).unwrap());

    let [backup] = &backups(&bed)[..] else { panic!("{:?}", backups(&bed)) };
    assert!(backup.ends_with("freshk.db.before-v2-20260101T000000Z.bak"), "{}", backup.display());
    assert_eq!(backup.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let copy = Connection::open(backup).unwrap();
    assert_eq!((version(&copy).unwrap(), users(&copy)), (1, 1));
}

/// Every column, index and trigger, without the order of columns and the layout of the SQL.
fn shape(conn: &Connection) -> Vec<String> {
    let sql = "SELECT 'column ' || t.name || '.' || c.name || ' ' || c.type || ' ' || c.\"notnull\" || ' '
                   || ifnull(c.dflt_value, 'none') || ' ' || c.pk
               FROM sqlite_schema t, pragma_table_xinfo(t.name) c WHERE t.type = 'table'
               UNION ALL
               SELECT type || ' ' || name || ' ' || sql FROM sqlite_schema
               WHERE type IN ('index', 'trigger') AND sql IS NOT NULL
               ORDER BY 1";
    let mut statement = conn.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| row.get::<_, String>(0)).unwrap();
    rows.map(|row| row.unwrap().split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn the_steps_lead_from_the_first_schema_to_the_current_one() {
    let old = first_schema();
    let migrated = migrate(&old, MIGRATIONS).unwrap();
    let bed = Bed::new();
    let (current, _) = open::open(&bed.options()).unwrap();
    assert_eq!(shape(&migrated), shape(&current));
    assert_eq!(version(&migrated).unwrap(), version(&current).unwrap());
}

/// `SQLite` builds a table in memory for such a list, at every write of a row.
#[test]
fn no_check_has_a_list_of_more_than_two_words() {
    let old = first_schema();
    let migrated = migrate(&old, MIGRATIONS).unwrap();
    let bed = Bed::new();
    let (current, _) = open::open(&bed.options()).unwrap();
    for conn in [migrated, current] {
        let mut tables =
            conn.prepare("SELECT sql FROM sqlite_schema WHERE type = 'table' AND sql IS NOT NULL").unwrap();
        for sql in tables.query_map([], |row| row.get::<_, String>(0)).unwrap() {
            let sql = sql.unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
            for list in sql.split(" IN (").skip(1) {
                let words = list.split(')').next().unwrap().split(',').count();
                assert!(words <= 2, "{words} words: {sql}");
            }
        }
    }
}

/// A session that stands at the migration holds a refresh token under the key of access tokens.
#[test]
fn sessions_that_stand_take_refresh_tokens_of_the_shared_key_up_to_their_generation() {
    let bed = first_schema();
    let session =
        "INSERT INTO sessions (id, user_id, generation, jti, generation_used, issued_at, refresh_expires_at,
                       created_at, expires_at, last_used_at, device, ip)
                   VALUES ('a', 1, 7, 'j', 1, 0, 9, 0, 9, 0, '', '')";
    bed.stranger().execute_batch(session).unwrap();
    let conn = migrate(&bed, MIGRATIONS).unwrap();
    let until: u32 = conn.query_row("SELECT shared_key_until FROM sessions", [], |row| row.get(0)).unwrap();
    assert_eq!(until, 7);
}

#[test]
fn s39_a_migrated_database_has_its_clock_from_the_newest_line_of_the_trail() {
    let bed = first_schema();
    let lines = "INSERT INTO audit (at, event) VALUES (1000, 'sys_startup'), (5000, 'sys_shutdown')";
    bed.stranger().execute_batch(lines).unwrap();
    let conn = migrate(&bed, MIGRATIONS).unwrap();
    let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    let clock = conn.query_row("SELECT wall, retention, quiet FROM clock", [], row).unwrap();
    assert_eq!(clock, (5000, 5000, 0));
}

/// Sessions that ended long ago are no longer there to tell.
#[test]
fn users_of_before_count_as_seen_at_the_migration() {
    let bed = first_schema();
    let conn = migrate(&bed, MIGRATIONS).unwrap();
    let (seen, now): (i64, i64) = conn
        .query_row("SELECT last_seen_at, unixepoch() * 1000 FROM users", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .unwrap();
    assert!((now - 60_000..=now).contains(&seen), "{seen}");
}

#[test]
fn s17_sessions_of_deactivated_users_end_for_good() {
    let bed = first_schema();
    let sessions = "INSERT INTO users (id, username, phone, role, is_active, joined_at)
                    VALUES (2, 'b', '+15550000002', 'retailer', 0, 0);
                    INSERT INTO sessions (id, user_id, generation, jti, generation_used, issued_at, refresh_expires_at,
                        created_at, expires_at, last_used_at, ended_at, end_reason, device, ip)
                    VALUES ('active', 1, 0, 'j', 1, 0, 9, 0, 9, 5, NULL, NULL, '', ''),
                           ('deactivated', 2, 0, 'j', 1, 0, 9, 0, 9, 5, NULL, NULL, '', ''),
                           ('over', 2, 0, 'j', 1, 0, 9, 0, 9, 5, 3, 'logout', '', '')";
    bed.stranger().execute_batch(sessions).unwrap();
    let conn = migrate(&bed, MIGRATIONS).unwrap();
    let ended = |id: &str| -> (Option<i64>, Option<String>) {
        let sql = "SELECT ended_at, end_reason FROM sessions WHERE id = ?1";
        conn.query_row(sql, [id], |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
    };
    assert_eq!(ended("active"), (None, None));
    assert_eq!(ended("deactivated"), (Some(5), Some("deactivated".into())));
    assert_eq!(ended("over"), (Some(3), Some("logout".into())));
}

#[test]
fn users_of_the_testing_mode_alone_are_known_by_the_trail() {
    let bed = first_schema();
    let rows = "INSERT INTO users (id, username, phone, role, phone_verified, joined_at)
                VALUES (2, 'b', '+15550000002', 'retailer', 1, 0), (3, 'c', '+15550000003', 'retailer', 1, 0);
                INSERT INTO audit (at, event, channel, user_id)
                VALUES (1, 'user_created', 'testing', 2), (2, 'authn_login_success', 'testing', 2),
                       (3, 'user_created', 'testing', 3), (4, 'authn_login_success', 'production', 3),
                       (5, 'authn_login_success', 'production', NULL)";
    bed.stranger().execute_batch(rows).unwrap();
    let conn = migrate(&bed, MIGRATIONS).unwrap();
    let mut statement = conn.prepare("SELECT id FROM users WHERE testing_only = 1").unwrap();
    let ids: Vec<i64> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert_eq!(ids, [2], "what the trail does not tell of counts as production");
}

/// Whether a code is still being sent is no longer told by its state alone.
#[test]
fn challenges_that_are_no_longer_sending_are_settled() {
    let bed = first_schema();
    let rows =
        "INSERT INTO challenges (id, channel, phone, key_number, code_hmac, state, created_at, expires_at)
                VALUES (1, 'production', '+1', 0, x'00', 'sending', 10, 20),
                       (2, 'production', '+1', 0, x'00', 'live', 11, 20),
                       (3, 'production', '+1', 0, x'00', 'unknown', 12, 20),
                       (4, 'production', '+1', 0, x'00', 'used', 13, 20),
                       (5, 'production', '+1', 0, x'00', 'void', 14, 20)";
    bed.stranger().execute_batch(rows).unwrap();
    let conn = migrate(&bed, MIGRATIONS).unwrap();
    let sql = "SELECT settled_at, result FROM challenges WHERE leader = '' AND version = 0 ORDER BY id";
    let mut statement = conn.prepare(sql).unwrap();
    let settled = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let settled: Vec<(Option<i64>, Option<String>)> = settled.map(Result::unwrap).collect();
    let of = |at, result: &str| (Some(at), Some(result.to_owned()));
    assert_eq!(
        settled,
        [(None, None), of(11, "accepted"), of(12, "unknown"), of(13, "accepted"), of(14, "unknown")]
    );
}

#[test]
fn nothing_missing_makes_no_backup() {
    let bed = first_schema();
    drop(migrate(&bed, GOOD).unwrap());
    for backup in backups(&bed) {
        fs::remove_file(backup).unwrap();
    }
    drop(migrate(&bed, GOOD).unwrap());
    assert_eq!(backups(&bed), Vec::<PathBuf>::new());
}

#[test]
fn a_step_that_fails_is_undone_and_those_before_it_stand() {
    let bed = first_schema();
    let refused = migrate(&bed, FAILING).map(drop).unwrap_err();
    assert!(matches!(refused, OpenError::Migration { version: 3, .. }), "{refused}");
    let stranger = bed.stranger();
    assert_eq!(version(&stranger).unwrap(), 2);
    let name: Option<String> =
        stranger.query_row("SELECT nickname FROM users", [], |row| row.get(0)).unwrap();
    assert_eq!(name, None);
}

#[test]
fn a_step_that_leaves_a_row_dangling_is_undone() {
    let bed = first_schema();
    let refused = migrate(&bed, DANGLING).map(drop).unwrap_err();
    assert!(matches!(refused, OpenError::Migration { version: 2, .. }), "{refused}");
    assert_eq!(version(&bed.stranger()).unwrap(), 1);
}

#[test]
fn without_a_backup_nothing_changes() {
    let bed = first_schema();
    // The name of the backup would be longer than a name can be.
    let mut options = bed.options();
    options.path = bed.dir.path().join("x".repeat(220));
    options.tuning.migrations = GOOD;
    fs::rename(bed.options().path, &options.path).unwrap();
    let refused = open::open(&options).map(drop).unwrap_err();
    assert!(matches!(refused, OpenError::Backup { .. }), "{refused}");
    assert_eq!(version(&Connection::open(&options.path).unwrap()).unwrap(), 1);
}

#[test]
fn s41_a_name_of_the_backup_that_is_taken_is_passed_over() {
    let bed = first_schema();
    let taken = bed.dir.path().join("freshk.db.before-v2-20260101T000000Z.bak");
    fs::write(&taken, "theirs").unwrap();
    drop(migrate(&bed, GOOD).unwrap());
    assert_eq!(fs::read_to_string(&taken).unwrap(), "theirs");
    let [made] = &backups(&bed).into_iter().filter(|path| *path != taken).collect::<Vec<_>>()[..] else {
        panic!("{:?}", backups(&bed))
    };
    assert_eq!(version(&Connection::open(made).unwrap()).unwrap(), 1);
    assert!(crate::storage::sqlite::verify(made).unwrap(), "it has a checksum");
}
