//! Imports that end half-way: whoever ends them, nothing of them stays, or the next run finishes it.
//!
//! The moment is chosen by what the import has written: once a part of it is there, the test takes the lock, so that the
//! import waits where it is.

use std::fmt::Write as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use freshk::cli::output::counted;
use freshk::storage::sqlite::ServeLock;
use rusqlite::Connection;

use crate::support::{Answer, Place, database, until};

/// Enough for many slices.
const LINES: u32 = 20_000;

/// A place with a file to import, and one user.
fn place(lines: u32) -> Place {
    let place = Place::new();
    place.good("user create +1234567890");
    let mut file = "phone_number,phone_verified\n".to_owned();
    for number in 0..lines {
        writeln!(file, "+1555{number:07},true").unwrap();
    }
    place.write("users.csv", file);
    place
}

fn imported(conn: &Connection) -> u32 {
    conn.query_row("SELECT count(*) FROM users WHERE phone LIKE '+1555%'", [], |row| row.get(0)).unwrap()
}

/// An import that has written something, and waits for the lock that the connection holds.
async fn begun(place: &Place) -> (Child, Connection) {
    // Beside a server, which the import lets write between its slices; so the test comes in between them too.
    let _served = ServeLock::acquire(&database(place)).unwrap();
    let mut command = place.command("user import users.csv");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let conn = Connection::open(database(place)).unwrap();
    conn.busy_timeout(Duration::from_secs(10)).unwrap();
    until(async || imported(&conn) > 0).await;
    conn.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert!(imported(&conn) < LINES && child.try_wait().unwrap().is_none(), "it was done too soon");
    (child, conn)
}

fn end(child: Child) -> Answer {
    Answer::of(&child.wait_with_output().unwrap())
}

/// Whether there is a file that holds room for taking an import back.
fn room(place: &Place) -> bool {
    let mut files = std::fs::read_dir(place.path(".")).unwrap().map(|file| file.unwrap().file_name());
    files.any(|name| name.to_str().unwrap().starts_with("freshk.db.import"))
}

fn signal(child: &Child, name: &str) {
    let pid = child.id().to_string();
    let sent = Command::new("sh").args(["-c", "kill -s \"$0\" \"$1\"", name, &pid]).status();
    assert!(sent.unwrap().success());
}

#[tokio::test]
async fn an_import_that_is_interrupted_takes_everything_back() {
    for name in ["INT", "TERM", "HUP"] {
        let place = place(LINES);
        let (child, other) = begun(&place).await;
        signal(&child, name);
        other.execute_batch("ROLLBACK").unwrap();
        let answer = end(child);
        assert_eq!((answer.code, answer.stdout.as_str()), (1, ""), "{name}: {}", answer.stderr);
        assert!(
            answer.stderr.contains("interrupted; nothing was imported\nhelp: run it again"),
            "{}",
            answer.stderr
        );
        assert_eq!(imported(&other), 0, "{name}");
        assert_eq!(place.count("SELECT count(*) FROM users"), 1, "{name}");
        let taken_back = "SELECT count(*) FROM audit WHERE detail LIKE '%users removed'";
        assert!(place.count(taken_back) > 0 && !room(&place), "{name}");
    }
}

#[tokio::test]
async fn a_phone_that_is_taken_meanwhile_undoes_the_import() {
    let place = place(LINES);
    let (child, other) = begun(&place).await;
    let last = format!("+1555{:07}", LINES - 1);
    let sql = "INSERT INTO users (username, phone, role, joined_at) VALUES ('quick', ?1, 'retailer', 0)";
    other.execute(sql, [&last]).unwrap();
    other.execute_batch("COMMIT").unwrap();
    let answer = end(child);
    assert_eq!(answer.code, 1, "{}", answer.stderr);
    assert!(answer.stderr.contains("nothing was imported\nhelp: run the import again"), "{}", answer.stderr);
    assert_eq!(imported(&other), 1, "whoever came first stays");
    let again = place.run("user import users.csv");
    assert_eq!(again.code, 1);
    assert!(
        again.stdout.starts_with(&format!("line {}: phone_number belongs", LINES + 1)),
        "{}",
        again.stdout
    );
}

#[tokio::test]
async fn an_import_that_is_killed_is_finished_by_the_next() {
    let place = place(LINES);
    let (mut child, other) = begun(&place).await;
    child.kill().unwrap();
    child.wait().unwrap();
    other.execute_batch("ROLLBACK").unwrap();
    let left = imported(&other);
    assert!(0 < left && left < LINES && !room(&place), "{left}");
    assert_eq!(place.json("db check")["ok"], true);
    let report = place.json("user import users.csv");
    assert_eq!((&report["unchanged"], &report["imported"]), (&left.into(), &(LINES - left).into()));
    assert_eq!(imported(&other), LINES);
    assert!(!room(&place));
    assert!(place.good("user import --help").contains("run it again"));
}

/// Imports where no file can grow beyond so many blocks of 512 bytes: as if the disk were full.
fn in_a_full_place(place: &Place, blocks: &str) -> Answer {
    let program = place.command("user import users.csv");
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"")]);
    shell.arg(program.get_program()).args(program.get_args()).env_clear();
    Answer::of(&shell.current_dir(place.path(".")).output().unwrap())
}

#[test]
fn a_fault_of_the_database_undoes_the_import() {
    let place = place(LINES);
    let conn = Connection::open(database(&place)).unwrap();
    conn.execute_batch(
        "CREATE TRIGGER full BEFORE INSERT ON users WHEN new.phone = '+15550015000'
         BEGIN SELECT raise(ABORT, 'no more'); END",
    )
    .unwrap();
    let answer = place.run("user import users.csv");
    assert_eq!(answer.code, 1, "{}", answer.stderr);
    for told in ["no more", "removing ", "imported so far", "nothing was changed\nhelp: the line above"] {
        assert!(answer.stderr.contains(told), "{told}: {}", answer.stderr);
    }
    assert_eq!((imported(&conn), place.count("SELECT count(*) FROM users")), (0, 1));
    assert!(!room(&place));
}

/// Deleting takes room as well, and this disk stays as full as it was: what stays is told, to the last user.
#[test]
fn a_disk_that_fills_up_undoes_the_import_or_says_what_stays() {
    let place = place(5 * LINES);
    let answer = in_a_full_place(&place, "10240");
    assert_eq!((answer.code, answer.stdout.as_str()), (1, ""), "{}", answer.stderr);
    assert!(
        answer.stderr.contains("removing ") && answer.stderr.contains("imported so far"),
        "{}",
        answer.stderr
    );
    let left = place.count("SELECT count(*) FROM users") - 1;
    let told = "that it wrote could not be removed";
    assert_eq!(answer.stderr.contains(told), left > 0, "{left}: {}", answer.stderr);
    assert_eq!(place.json("db check")["ok"], true);
    let report = place.json("user import users.csv");
    assert_eq!((&report["unchanged"], &report["lines"]), (&left.into(), &(5 * LINES).into()));
    assert_eq!(place.count("SELECT count(*) FROM users"), i64::from(5 * LINES) + 1);
}

#[test]
fn without_room_to_take_anything_back_nothing_is_begun() {
    let place = place(5);
    let answer = in_a_full_place(&place, "4096");
    assert_eq!((answer.code, answer.stdout.as_str()), (1, ""), "{}", answer.stderr);
    let told = "error: the disk of the database has no room: ";
    assert!(
        answer.stderr.starts_with(told) && answer.stderr.contains("free some and try again"),
        "{answer:?}"
    );
    assert_eq!(place.count("SELECT count(*) FROM users"), 1);
    assert!(!room(&place));
}

/// Where users cannot even be deleted, it says how many stay and how to go on.
#[tokio::test]
async fn what_cannot_be_taken_back_is_told() {
    let place = place(LINES);
    let (child, other) = begun(&place).await;
    let keep = "CREATE TRIGGER kept BEFORE DELETE ON users BEGIN SELECT raise(ABORT, 'kept'); END";
    other.execute_batch(&format!("{keep}; COMMIT")).unwrap();
    signal(&child, "INT");
    let answer = end(child);
    assert_eq!((answer.code, answer.stdout.as_str()), (1, ""), "{}", answer.stderr);
    let left = imported(&other);
    let told = format!(
        "error: the import failed, and {} that it wrote could not be removed\nhelp: correct what the lines above name \
         and run the import again: it skips those users and goes on\n",
        counted(left, "user")
    );
    assert!(left > 0 && answer.stderr.ends_with(&told), "{left}: {}", answer.stderr);
    let report = place.json("user import users.csv");
    assert_eq!((&report["unchanged"], &report["imported"]), (&left.into(), &(LINES - left).into()));
}
