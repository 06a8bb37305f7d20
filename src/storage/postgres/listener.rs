//! The thread that hears what takes rights away, wherever it was done: memory forgets it, and may be believed for as long as
//! this is known to work.

use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::connect::Connector;
use super::connection::Connection;
use super::fault::Failure;
use super::membership::PROMPT;
use super::memory::Memory;
use super::tx::first;
use super::wire::Notice;
use crate::clock::since_boot;
use crate::domain::{SessionId, UserId};
use crate::storage::cache::Touched;

/// How often a word is sent to itself, and how long is waited before the server is tried again.
const BEAT: Duration = Duration::from_millis(500);

/// The shortest time for which notices are waited for.
const LEAST: Duration = Duration::from_millis(1);

/// How long the server may be silent: without memory a connection that may be dead is worth nothing.
const PATIENCE: Duration = Duration::from_secs(2);

const OWN_PROCESS: &str = "SELECT pg_backend_pid()";

/// In which files the tables are: another file is another table, or one that was emptied at once, of which no row tells.
const FILES: &str = "SELECT concat(pg_relation_filenode(to_regclass('sessions')), ' ', \
     pg_relation_filenode(to_regclass('users')))";

/// Begins a word that a server sends to itself.
const ECHO: char = '=';

/// Starts the thread. It ends soon after the memory is gone.
pub(super) fn start(
    memory: &Arc<Memory>,
    connector: Connector,
    channel: String,
) -> std::io::Result<JoinHandle<()>> {
    let memory = Arc::downgrade(memory);
    thread::Builder::new().name("freshk-listener".to_owned()).spawn(move || {
        let mut is_lost = false;
        loop {
            let ended = listen(&memory, &connector, &channel, &mut is_lost);
            let Some(memory) = memory.upgrade() else { return };
            memory.lease().end();
            if let Err(failure) = ended
                && !std::mem::replace(&mut is_lost, true)
            {
                tracing::warn!(
                    error = failure,
                    "what other servers end is not heard: until it is, each call reads its session from the database"
                );
            }
            drop(memory);
            thread::sleep(BEAT);
        }
    })
}

/// Listens on a new connection until it fails, or the memory is gone.
fn listen(
    memory: &Weak<Memory>,
    connector: &Connector,
    channel: &str,
    is_lost: &mut bool,
) -> Result<(), String> {
    let told = |failure: Failure| failure.to_string();
    let conn = connector.connect().map_err(|refused| refused.to_string())?;
    conn.wait_at_most(PATIENCE).map_err(told)?;
    conn.rows(PROMPT, &[]).map_err(told)?;
    let rows = conn.rows(OWN_PROCESS, &[]).map_err(told)?;
    let own = rows.first().and_then(|row| first::<i32>(row).ok()).unwrap_or_default();
    // A name of the configuration's own alphabet.
    conn.batch(&format!("LISTEN {channel}")).map_err(told)?;
    let speak = format!("{FILES} FROM pg_notify('{channel}', $1)");
    let mut files = None;
    while let Some(memory) = memory.upgrade() {
        let sent = since_boot();
        let word = format!("{ECHO}{}", sent.as_millis());
        let found = beat(&conn, &speak, &word).map_err(told)?;
        if files.as_ref() != Some(&found) {
            // What was read before this connection listened may have ended unheard.
            memory.forget_all();
            files = Some(found);
        }
        loop {
            // Also where the word alone took as long as a beat: what has come is heard once at least.
            let rest = BEAT.saturating_sub(since_boot().saturating_sub(sent));
            for notice in conn.notices(rest.max(LEAST)).map_err(told)? {
                let Some(sent) = own_word(&notice, own) else {
                    hear(&memory, &notice);
                    continue;
                };
                memory.lease().renew(sent);
                if std::mem::take(is_lost) {
                    tracing::info!("what other servers end is heard again");
                }
            }
            if rest.is_zero() {
                break;
            }
        }
    }
    Ok(())
}

/// When a word of this connection's own was sent; `None` for any other notice.
fn own_word(notice: &Notice, own: i32) -> Option<Duration> {
    let sent = notice.word.strip_prefix(ECHO).filter(|_| notice.sender == own)?;
    sent.parse().ok().map(Duration::from_millis)
}

/// Sends a word on the channel; gives in which files the tables are.
fn beat(conn: &Connection, send: &str, word: &str) -> Result<String, Failure> {
    conn.wait_at_most(PATIENCE)?;
    let rows = conn.rows(send, &[&word])?;
    let row = rows.first().ok_or_else(|| Failure::Value("no answer".to_owned()))?;
    Ok(first::<String>(row)?)
}

/// Forgets what a notice names, and everything where it cannot be read.
fn hear(memory: &Memory, Notice { word, .. }: &Notice) {
    let mut touched = Touched::default();
    let rest = word.get(1..).unwrap_or_default();
    match word.chars().next() {
        Some(ECHO) => return,
        Some('s') => touched.sessions.extend(SessionId::parse(rest)),
        Some('u') => touched.users.extend(rest.parse().ok().map(UserId)),
        _ => {}
    }
    if touched.sessions.is_empty() && touched.users.is_empty() {
        memory.forget_all();
    }
    memory.learn(&touched);
}
