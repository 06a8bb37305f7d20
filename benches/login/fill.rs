//! What a file holds before the first call: users, live sessions, and an audit trail of ninety days, with the codes and messages that
//! maintenance would still have kept.

use std::path::Path;
use std::time::Duration;

use freshk::clock::{Clock as _, SystemClock};
use freshk::domain::audit::AuditEvent;
use freshk::domain::clock::Times;
use freshk::domain::session::{Lifetimes, Login};
use freshk::domain::{Attributes, PhoneNumber, Secret, Session, SessionId, Timestamp, User, UserId};
use freshk::tokens::Tokens;
use rusqlite::{Connection, Statement, Transaction, params};

const DAY: Duration = Duration::from_hours(24);

/// How long a line of the audit trail, the purchase of a message, and a code with its message are kept.
const KEPT: [Duration; 3] =
    [Duration::from_hours(24 * 90), Duration::from_hours(24 * 30), Duration::from_hours(24 * 7)];

/// Lines of one login: the code, its message, the session with its tokens, two refreshes, and one of what goes wrong.
const LINES: usize = 8;

/// How much of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Amounts {
    /// Who logged in long ago.
    pub(crate) users: usize,
    /// One of each of the first users.
    pub(crate) sessions: usize,
    /// Lines of the audit trail.
    pub(crate) audit: usize,
}

/// Writes all that into a database without users, which nobody serves.
pub(crate) fn fill(database: &Path, amounts: Amounts) {
    let mut connection = Connection::open(database).expect("the database opens");
    // What a crash leaves of it is of no use to anybody.
    connection
        .execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -262144")
        .expect("nobody else has it open");
    let now = SystemClock::new().now();
    let tx = connection.transaction().expect("a transaction");
    // Sorted once, they are made faster than kept in order row by row.
    let indexes = without_indexes(&tx);
    write_users(&tx, amounts.users);
    write_sessions(&tx, amounts.sessions, now);
    write_trail(&tx, amounts, now);
    for sql in &indexes {
        tx.execute_batch(sql).expect("it was there before");
    }
    tx.commit().expect("a commit");
    connection.execute_batch("PRAGMA journal_mode = WAL").expect("as the program has it");
}

/// Takes the indexes of the audit trail away; gives what makes them again.
fn without_indexes(tx: &Transaction<'_>) -> Vec<String> {
    let sql =
        "SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'audit' AND sql IS NOT NULL";
    let mut statement = tx.prepare(sql).expect("the schema is ours");
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("rows");
    let indexes: Vec<(String, String)> = rows.collect::<Result<_, _>>().expect("indexes");
    for (name, _) in &indexes {
        tx.execute_batch(&format!("DROP INDEX {name}")).expect("it is there");
    }
    indexes.into_iter().map(|(_, sql)| sql).collect()
}

fn write_users(tx: &Transaction<'_>, users: usize) {
    let sql = "INSERT INTO users (id, username, phone, role, phone_verified, joined_at) VALUES (?, ?, ?, 'retailer', 1, 0)";
    let mut insert = tx.prepare(sql).expect("the schema is ours");
    for n in 0..users {
        insert.execute((id(n).0, format!("user_1555{n:08}"), phone(n))).expect("a user");
    }
}

fn write_sessions(tx: &Transaction<'_>, sessions: usize, now: Timestamp) {
    let sql = "INSERT INTO sessions (id, user_id, generation, jti, generation_used, issued_at, refresh_expires_at, \
               created_at, expires_at, last_used_at, device, ip) VALUES (?, ?, 0, ?, 1, ?, ?, ?, ?, ?, ?, ?)";
    let mut insert = tx.prepare(sql).expect("the schema is ours");
    for n in 0..sessions {
        let session = session(n, now);
        let instants =
            [session.issued_at, session.refresh_expires_at, session.created_at, session.expires_at]
                .map(Timestamp::as_millis);
        let row = params![
            session.id.as_str(),
            session.user.0,
            session.jti,
            instants[0],
            instants[1],
            instants[2],
            instants[3],
            // Past the file's use, so that no use is news.
            (now + 30 * DAY).as_millis(),
            session.device,
            session.ip,
        ];
        insert.execute(row).expect("a session");
    }
}

/// The session of the `n`th user, opened at `now`.
fn session(n: usize, now: Timestamp) -> Session {
    let mut chance = [0; 10];
    chance[2..].copy_from_slice(&(n as u64).to_be_bytes());
    let login = Login { user: id(n), device: "benchmark".to_owned(), ip: "10.0.0.1".to_owned() };
    let times = Times::right(now);
    Session::open(SessionId::new(now, chance), format!("{n:032x}"), login, &times, &lifetimes())
}

fn lifetimes() -> Lifetimes {
    Lifetimes { access: DAY, refresh: 30 * DAY, session: 365 * DAY }
}

/// The id of the `n`th user of a new database.
fn id(n: usize) -> UserId {
    UserId(i64::try_from(n).expect("a number of users") + 1)
}

fn phone(n: usize) -> String {
    format!("+1555{n:08}")
}

/// What [`fill`] wrote.
pub(crate) fn amounts(database: &Path) -> Amounts {
    let connection = Connection::open(database).expect("the database opens");
    let count = |sql| {
        let count: i64 = connection.query_row(sql, [], |row| row.get(0)).expect("the schema is ours");
        usize::try_from(count).expect("a count")
    };
    Amounts {
        users: count("SELECT count(*) FROM users"),
        sessions: count("SELECT count(*) FROM sessions"),
        audit: count("SELECT coalesce(max(id), 0) FROM audit"),
    }
}

/// An access token of each session that [`fill`] wrote.
pub(crate) fn tokens(database: &Path, sessions: usize, secret: &str) -> Vec<String> {
    let connection = Connection::open(database).expect("the database opens");
    let sql = "SELECT coalesce(max(created_at), 0) FROM sessions";
    let opened_at = connection.query_row(sql, [], |row| row.get(0)).expect("the schema is ours");
    let signer = Tokens::new(&Secret::new(secret), &[], lifetimes().access);
    let (now, opened_at) = (SystemClock::new().now(), Timestamp::from_millis(opened_at));
    let token = |n| {
        let user = User {
            id: id(n),
            username: String::new(),
            phone: Some(PhoneNumber::parse(&phone(n), 10).expect("a phone number")),
            role: "retailer".to_owned(),
            is_active: true,
            phone_verified: true,
            joined_at: opened_at,
            has_foreign_tokens: false,
            is_testing_only: false,
            attributes: Attributes::default(),
            deletes_at: None,
            version: 0,
        };
        signer
            .pair(&session(n, opened_at), &user, format!("{n:032x}"), now)
            .expect("tokens are signed")
            .access
    };
    (0..sessions).map(token).collect()
}

/// Logins at an even pace over ninety days, each of another user, line by line; of the last days their codes, messages and purchases.
fn write_trail(tx: &Transaction<'_>, Amounts { users, audit, .. }: Amounts, now: Timestamp) {
    let mut trail = Trail::new(tx, now);
    let logins = audit.div_ceil(LINES);
    for n in 0..logins {
        let at = now - KEPT[0].mul_f64(share(logins - n, logins));
        // Neighbours in time are strangers to each other.
        let user = n.wrapping_mul(2_654_435_761) % users.max(1);
        trail.log_in((n, user), at, LINES.min(audit - n * LINES));
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn share(part: usize, whole: usize) -> f64 {
    part as f64 / whole as f64
}

/// What writes the rows of logins.
struct Trail<'t> {
    now: Timestamp,
    line: Statement<'t>,
    challenge: Statement<'t>,
    message: Statement<'t>,
    purchase: Statement<'t>,
}

impl<'t> Trail<'t> {
    fn new(tx: &'t Transaction<'_>, now: Timestamp) -> Self {
        let prepare = |sql| tx.prepare(sql).expect("the schema is ours");
        Self {
            now,
            line: prepare(
                "INSERT INTO audit (at, event, channel, user_id, phone, phone_hash, ip, session_id, request_id, detail) \
                 VALUES (?, ?, 'production', ?, ?, ?, ?, ?, ?, ?)",
            ),
            challenge: prepare(
                "INSERT INTO challenges (id, channel, phone, key_number, code_hmac, state, created_at, expires_at, used_at, \
                 session_id, settled_at, result) VALUES (?, 'production', ?, 1, zeroblob(32), ?, ?, ?, ?, ?, ?, 'accepted')",
            ),
            message: prepare(
                "INSERT INTO messages (challenge_id, phone, sid, state, segments, created_at, updated_at) \
                 VALUES (?, ?, ?, ?, 1, ?, ?)",
            ),
            purchase: prepare(
                "INSERT INTO purchases (challenge_id, at, country, standing, network, range, cost, charges) \
                 VALUES (?, ?, 'US', 'known', NULL, NULL, 7900, '')",
            ),
        }
    }

    /// The first `lines` lines of one login, which begins at `at`; one in sixteen never enters the code.
    fn log_in(&mut self, (n, user): (usize, usize), at: Timestamp, lines: usize) {
        let is_used = n % 16 != 0;
        let mut chance = [0; 10];
        chance[2..].copy_from_slice(&(n as u64).to_be_bytes());
        let session = SessionId::new(at, chance);
        let wrong = [
            (AuditEvent::LoginFail, "wrong".to_owned()),
            (AuditEvent::LimitExceeded, "user".to_owned()),
            (AuditEvent::LimitExceeded, format!("ip:request refused {} times", 2 + n % 40)),
            (AuditEvent::LoginFail, "expired".to_owned()),
        ];
        let (event, detail) = &wrong[n % wrong.len()];
        let success = if is_used { AuditEvent::LoginSuccess } else { AuditEvent::LoginFail };
        let all: [(AuditEvent, Option<&str>, bool); LINES] = [
            (AuditEvent::CodeRequested, None, false),
            (AuditEvent::SmsSent, None, false),
            (*event, Some(detail), false),
            (success, (!is_used).then_some("wrong"), is_used),
            (AuditEvent::SessionCreated, None, true),
            (AuditEvent::TokenCreated, None, true),
            (AuditEvent::TokenCreated, None, true),
            (AuditEvent::TokenCreated, None, true),
        ];
        let (mut hash, masked) = ([0; 16], format!("+15******{:02}", user % 100));
        hash[..8].copy_from_slice(&(user as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        let ip = format!("10.{}.{}.{}", (n >> 16) & 255, (n >> 8) & 255, n & 255);
        for (place, (event, detail, has_session)) in all.into_iter().enumerate().take(lines) {
            let at = (at + Duration::from_secs(place as u64)).min(self.now);
            let row = params![
                at.as_millis(),
                event.as_str(),
                id(user).0,
                masked,
                hash,
                ip,
                has_session.then(|| session.as_str()),
                format!("{:032x}", n * LINES + place),
                detail,
            ];
            self.line.execute(row).expect("a line");
        }
        self.send(n, user, at, is_used.then(|| session.as_str()));
    }

    /// The code of the `n`th login with its message, as far as they are kept; its session where it was used.
    fn send(&mut self, n: usize, user: usize, at: Timestamp, session: Option<&str>) {
        let (age, sent, number) = (at.until(self.now), at.as_millis(), id(n).0);
        if age < KEPT[1] {
            self.purchase.execute(params![number, sent]).expect("a purchase");
        }
        if age < KEPT[2] {
            let used_at = session.map(|_| sent + 20_000);
            let state = if session.is_some() { "used" } else { "live" };
            let code =
                params![number, phone(user), state, sent, sent + 600_000, used_at, session, sent + 500];
            self.challenge.execute(code).expect("a code");
            let state = if n.is_multiple_of(50) { "undelivered" } else { "delivered" };
            let message = params![number, phone(user), format!("SM{n:032x}"), state, sent, sent + 5_000];
            self.message.execute(message).expect("a message");
        }
    }
}
