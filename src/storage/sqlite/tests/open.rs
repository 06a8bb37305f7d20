use super::*;
use crate::files::beside;
use crate::storage::sqlite::tests::{Bed, START, after, phone};
use crate::storage::sqlite::tx::SqliteTx;
use crate::storage::users::WriteUsers as _;

fn refusal(options: &OpenOptions) -> OpenError {
    open(options).map(drop).unwrap_err()
}

/// Writes a user and gives the id.
fn joined(conn: &Connection, number: u32) -> i64 {
    conn.execute_batch("BEGIN").unwrap();
    let user = SqliteTx::new(conn).insert_user(&phone(number), "retailer", START).unwrap();
    conn.execute_batch("COMMIT").unwrap();
    user.id.0
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

#[test]
fn the_bundled_sqlite_has_no_wal_reset_bug() {
    assert!(rusqlite::version_number() >= 3_051_003, "{}", rusqlite::version());
}

#[test]
fn s31_a_new_file_is_its_owners_alone() {
    let bed = Bed::new();
    let (conn, path) = open(&bed.options()).unwrap();
    conn.execute_batch("UPDATE audit_retention SET before = 0").unwrap();
    for file in [path.clone(), beside(&path, "-wal"), beside(&path, "-shm")] {
        assert_eq!(mode(&file), PRIVATE, "{}", file.display());
    }
    let header = header(&conn).unwrap();
    assert_eq!((header.application_id, header.version), (APPLICATION_ID, KNOWN_VERSION));
}

#[test]
fn s31_a_file_that_others_could_read_is_hidden() {
    let bed = Bed::new();
    let path = bed.options().path;
    drop(open(&bed.options()).unwrap());
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    drop(open(&bed.options()).unwrap());
    assert_eq!(mode(&path), PRIVATE);
}

#[test]
fn an_empty_file_is_taken_as_new() {
    let bed = Bed::new();
    fs::write(bed.options().path, "").unwrap();
    open(&bed.options()).unwrap();
    // As left by a crash between the first page and the schema.
    let bed = Bed::new();
    bed.stranger().execute_batch("PRAGMA journal_mode = WAL").unwrap();
    assert!(bed.options().path.metadata().unwrap().len() > 0);
    open(&bed.options()).unwrap();
    open(&bed.options()).unwrap();
}

#[test]
fn another_programs_database_is_refused_and_left_alone() {
    let bed = Bed::new();
    bed.stranger().execute_batch("CREATE TABLE theirs (x)").unwrap();
    let before = fs::read(bed.options().path).unwrap();
    let refused = refusal(&bed.options());
    assert!(matches!(refused, OpenError::Foreign { application_id: 0, .. }), "{refused}");
    assert_eq!(fs::read(bed.options().path).unwrap(), before);
}

#[test]
fn a_file_that_is_no_database_is_refused() {
    let bed = Bed::new();
    fs::write(bed.options().path, "SECRET_KEY=not-a-database\n".repeat(100)).unwrap();
    let refused = refusal(&bed.options());
    assert!(matches!(refused, OpenError::NotADatabase { .. }), "{refused}");
    let directory = OpenOptions { path: bed.dir.path().to_owned(), ..bed.options() };
    assert!(matches!(refusal(&directory), OpenError::NotADatabase { .. }));
}

#[test]
fn a_newer_schema_is_refused() {
    let bed = Bed::new();
    drop(open(&bed.options()).unwrap());
    bed.stranger().execute_batch("PRAGMA user_version = 1000").unwrap();
    let refused = refusal(&bed.options());
    assert!(matches!(refused, OpenError::Newer { found: 1000, known: KNOWN_VERSION, .. }), "{refused}");
}

#[test]
fn a_missing_directory_is_named() {
    let bed = Bed::new();
    let options = OpenOptions { path: bed.dir.path().join("nowhere/freshk.db"), ..bed.options() };
    let refused = refusal(&options);
    assert!(matches!(refused, OpenError::MissingDirectory { .. }), "{refused}");
    assert!(refused.to_string().contains("nowhere"), "{refused}");
}

#[test]
fn a_read_only_file_or_directory_is_refused() {
    let bed = Bed::new();
    let path = bed.options().path;
    drop(open(&bed.options()).unwrap());
    fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
    assert!(matches!(refusal(&bed.options()), OpenError::ReadOnly { path: named } if named == path));
    fs::set_permissions(&path, Permissions::from_mode(PRIVATE)).unwrap();
    fs::set_permissions(bed.dir.path(), Permissions::from_mode(0o500)).unwrap();
    assert!(matches!(refusal(&bed.options()), OpenError::ReadOnly { path } if path == bed.dir.path()));
    fs::set_permissions(bed.dir.path(), Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn a_file_that_stays_locked_is_told_of() {
    let bed = Bed::new();
    drop(open(&bed.options()).unwrap());
    let stranger = bed.stranger();
    stranger
        .execute_batch(
            "PRAGMA locking_mode = EXCLUSIVE; BEGIN IMMEDIATE; UPDATE audit_retention SET before = 0; COMMIT",
        )
        .unwrap();
    let mut options = bed.options();
    options.tuning.busy = Duration::ZERO;
    let refused = refusal(&options);
    assert!(matches!(refused, OpenError::Locked { .. }), "{refused}");
}

#[test]
fn s30_a_full_disk_is_told_of_and_room_mends_it() {
    let bed = Bed::new();
    let limit = PageLimit::default();
    limit.set(2);
    let options = OpenOptions { page_limit: Some(limit.clone()), ..bed.options() };
    let refused = refusal(&options);
    assert!(matches!(refused, OpenError::DiskFull { .. }), "{refused}");
    limit.set(0);
    open(&options).unwrap();
}

#[test]
fn a_damaged_file_is_told_of() {
    for page in [0, 1] {
        let bed = Bed::new();
        let path = bed.options().path;
        drop(open(&bed.options()).unwrap());
        let mut bytes = fs::read(&path).unwrap();
        // The header stays, so that it still looks like a database of ours.
        bytes[page * 4096 + 100 * usize::from(page == 0)..(page + 1) * 4096].fill(0xAA);
        fs::write(&path, bytes).unwrap();
        let refused = refusal(&bed.options());
        assert!(matches!(refused, OpenError::Corrupt { .. }), "page {page}: {refused}");
    }
}

#[test]
fn ids_start_where_they_should_and_are_never_reused() {
    let bed = Bed::new();
    let join = |first, number| {
        let options = OpenOptions { first_id: FirstId { id: first, raises: true }, ..bed.options() };
        let (conn, _) = open(&options).unwrap();
        let id = joined(&conn, number);
        conn.execute_batch("DELETE FROM users").unwrap();
        id
    };
    assert_eq!(join(1, 1), 1);
    assert_eq!(join(5000, 2), 5000);
    assert_eq!(join(5000, 3), 5001);
    assert_eq!(join(1, 4), 5002);
    assert_eq!(join(5010, 5), 5010);
}

#[test]
fn a_database_that_has_had_users_goes_on_counting_unless_it_is_told_otherwise() {
    let bed = Bed::new();
    let default = |id| OpenOptions { first_id: FirstId { id, raises: false }, ..bed.options() };
    let join = |options: &OpenOptions, number| {
        let (conn, _) = open(options).unwrap();
        joined(&conn, number)
    };
    assert_eq!(join(&default(5000), 1), 5000, "nobody was there");
    assert_eq!(join(&default(9000), 2), 5001);
    let chosen = OpenOptions { first_id: FirstId { id: 9000, raises: true }, ..bed.options() };
    assert_eq!(join(&chosen, 3), 9000);
}

#[test]
fn an_old_schema_is_refused_where_it_must_not_change() {
    const STEPS: &[Migration] = &[Migration { version: 2, sql: "" }];
    let bed = Bed::new();
    drop(bed.first_schema());
    let mut options = OpenOptions { migrate: false, now: after(1), ..bed.options() };
    options.tuning.migrations = STEPS;
    assert!(matches!(refusal(&options), OpenError::Older { found: 1, known: 2, .. }));
}
