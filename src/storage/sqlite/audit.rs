//! Rows of `audit`.

use rusqlite::{Connection, params};

use crate::domain::audit::{AuditEvent, AuditRecord};
use crate::domain::quota::Quota;
use crate::domain::{PhoneNumber, Timestamp};

const INSERT: &str = "INSERT INTO audit (at, event, channel, user_id, phone, phone_hash, ip, session_id, \
     request_id, detail) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";

const INSERT_REFUSALS: &str =
    "INSERT INTO audit (at, event, channel, phone, ip, detail) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";

/// Rows at or after this instant cannot be deleted; the trigger reads it.
const RETAIN: &str = "UPDATE audit_retention SET before = ?1";

pub(super) fn append(conn: &Connection, record: &AuditRecord) -> rusqlite::Result<()> {
    let (phone, hash) = record.phone.as_ref().map(|(phone, hash)| (phone, hash)).unzip();
    conn.prepare_cached(INSERT)?
        .execute(params![
            record.at,
            record.event,
            record.mode,
            record.user,
            phone,
            hash,
            record.ip,
            record.session,
            record.request_id,
            record.detail
        ])
        .map(drop)
}

/// Sums a window of refusals up. The keys that hash phones are not here: the line of the window's first refusal has
/// the hash, this one only the masked phone.
pub(super) fn append_refusals(
    conn: &Connection,
    at: Timestamp,
    quota: Quota,
    subject: &str,
    count: i64,
) -> rusqlite::Result<()> {
    let phone = PhoneNumber::parse(subject, 1).ok().map(|phone| phone.masked());
    let ip = phone.is_none().then_some(subject);
    let mode = match quota {
        Quota::Ip(_) | Quota::IpShared => None,
        Quota::User(mode) | Quota::Failures(mode) | Quota::Refunds(mode) => Some(mode),
    };
    let detail = format!("{} refused {count} times", quota.as_str());
    conn.prepare_cached(INSERT_REFUSALS)?
        .execute(params![at, AuditEvent::LimitExceeded, mode, phone, ip, detail])
        .map(drop)
}

pub(super) fn retain_from(conn: &Connection, horizon: Timestamp) -> rusqlite::Result<()> {
    conn.prepare_cached(RETAIN)?.execute([horizon]).map(drop)
}
