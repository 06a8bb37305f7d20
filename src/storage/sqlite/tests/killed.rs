//! A migration that is killed: the old schema stands or the new one, and the next start goes on from there.
//!
//! The test runs itself in a process of its own, which migrates until it is killed; the moment is chosen by what it has
//! written so far.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::*;
use crate::files::beside;
use crate::storage::sqlite::migrate::Migration;

/// Where the process that migrates finds the database.
const DATABASE: &str = "TEST_DATABASE";

const USERS: i64 = 20_000;

const SECOND: Migration = Migration {
    version: 2,
    sql: "ALTER TABLE users ADD COLUMN nickname TEXT; UPDATE users SET nickname = username",
};

/// A third step that never comes to its end while anybody waits for it.
const STUCK: &[Migration] = &[
    SECOND,
    Migration {
        version: 3,
        sql: "CREATE TABLE numbers (n INTEGER);
              WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 20000000)
              INSERT INTO numbers SELECT i FROM n",
    },
];

const GOOD: &[Migration] = &[SECOND, Migration { version: 3, sql: "CREATE TABLE numbers (n INTEGER)" }];

#[test]
#[ignore = "the child of s31_a_migration_that_is_killed_leaves_the_old_schema_or_the_new_one"]
fn migrates_until_it_is_killed() {
    // Asked for by name, it has nothing to do.
    let Some(path) = std::env::var_os(DATABASE) else { return };
    let mut options = OpenOptions::new(path, START);
    options.tuning.migrations = STUCK;
    open::open(&options).unwrap();
}

struct Migrating(Child);

impl Migrating {
    fn start(database: &Path) -> Self {
        let name = format!("{}::migrates_until_it_is_killed", module_path!().split_once("::").unwrap().1);
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", &name, "--ignored"]).env(DATABASE, database);
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    /// Kills it once `moment` has come.
    fn kill_at(mut self, moment: impl Fn() -> bool) {
        while !moment() {
            assert!(self.0.try_wait().unwrap().is_none(), "it ended before its moment");
            std::thread::yield_now();
        }
        self.0.kill().unwrap();
        assert_eq!(self.0.wait().unwrap().code(), None, "it ended by itself");
    }
}

impl Drop for Migrating {
    fn drop(&mut self) {
        // It is gone already where all went well.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn number(conn: &Connection, sql: &str) -> i64 {
    conn.query_row(sql, [], |row| row.get(0)).unwrap()
}

fn size(path: &Path) -> u64 {
    path.metadata().map_or(0, |file| file.len())
}

#[test]
fn s31_a_migration_that_is_killed_leaves_the_old_schema_or_the_new_one() {
    const MIB: u64 = 1024 * 1024;
    type Moment = fn(&Path) -> bool;
    fn backup(path: &Path) -> PathBuf {
        beside(path, ".before-v2-20260101T000000Z.bak")
    }
    /// The backup until it has its name.
    fn draft(path: &Path) -> Option<u64> {
        let mut files = path.parent().unwrap().read_dir().unwrap().map(|file| file.unwrap().path());
        files.find(|file| file.to_str().unwrap().contains(".bak.part-")).map(|file| size(&file))
    }
    let moments: [(Moment, i64); 4] = [
        (|path| draft(path).is_some(), 1),
        (|path| draft(path).is_some_and(|size| size > MIB), 1),
        // With the second step behind it, in the middle of the third.
        (|path| size(&beside(path, "-wal")) > 16 * MIB, 2),
        (|path| size(&beside(path, "-wal")) > 64 * MIB, 2),
    ];
    for (moment, schema) in moments {
        let bed = Bed::new();
        let path = bed.options().path;
        let conn = bed.first_schema();
        let fill = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
                    INSERT INTO users (username, phone, role, joined_at)
                    SELECT 'user_' || i, '+' || (15550000000 + i), 'retailer', 0 FROM n";
        conn.execute(fill, [USERS]).unwrap();
        drop(conn);
        Migrating::start(&path).kill_at(|| moment(&path));

        let stranger = bed.stranger();
        let reached = number(&stranger, "PRAGMA user_version");
        // On a busy machine the kill may come a step later than its moment.
        assert!((schema..=2).contains(&reached), "{reached}");
        assert_eq!(number(&stranger, "SELECT count(*) FROM users"), USERS);
        let columns = "SELECT count(*) FROM pragma_table_info('users') WHERE name = 'nickname'";
        assert_eq!(number(&stranger, columns), reached - 1);
        assert!(!stranger.table_exists(None, "numbers").unwrap(), "half of a step");
        assert!(reached == 1 || backup(&path).exists());
        if backup(&path).exists() {
            let copy = Connection::open(backup(&path)).unwrap();
            assert_eq!(number(&copy, "PRAGMA user_version"), 1);
            assert_eq!(number(&copy, "SELECT count(*) FROM users"), USERS);
        }
        drop(stranger);

        let mut options = OpenOptions { now: after(1), ..bed.options() };
        options.tuning.migrations = GOOD;
        let (conn, _) = open::open(&options).unwrap();
        assert_eq!(draft(&path), None, "what the kill left is gone");
        assert_eq!(number(&conn, "PRAGMA user_version"), 3);
        assert_eq!(number(&conn, "SELECT count(*) FROM users WHERE nickname = username"), USERS);
        let verdict: String = conn.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(verdict, "ok");
    }
}
