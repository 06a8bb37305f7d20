use rusqlite::StatementStatus;

use super::*;
use crate::domain::Purpose;
use crate::storage::sqlite::tx::SqliteTx;
use crate::storage::sqlite::{
    audit, challenges, devices, events, exchanges, ledger, messages, phone_changes, sessions, users,
};

/// How `SQLite` would go about a statement, a step a line.
fn plan(conn: &Connection, sql: &str) -> String {
    let mut statement = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    let mut rows = statement.raw_query();
    let mut plan = String::new();
    while let Some(row) = rows.next().unwrap() {
        plan += &row.get::<_, String>(3).unwrap();
        plan.push('\n');
    }
    plan
}

#[test]
fn every_frequent_query_goes_by_an_index() {
    let bed = Bed::new();
    let conn = bed.transaction();
    for (sql, index) in [
        (users::BY_PHONE, "SEARCH users USING INDEX sqlite_autoindex_users_2 (phone=?)"),
        (challenges::NEWEST, "SEARCH challenges USING INDEX challenges_phone (phone=? AND channel=?)"),
        (
            challenges::NEWEST_OF_SIDE,
            "SEARCH challenges USING INDEX challenges_phone (phone=? AND channel=?)",
        ),
        (
            phone_changes::TO_PHONE,
            "SEARCH phone_changes USING INDEX sqlite_autoindex_phone_changes_1 (phone=?)",
        ),
        (phone_changes::ABOUT, "SEARCH phone_changes USING INDEX sqlite_autoindex_phone_changes_1 (phone=?)"),
        (phone_changes::ABOUT, "SEARCH phone_changes USING INTEGER PRIMARY KEY (rowid=?)"),
        (phone_changes::DUE, "SEARCH phone_changes USING INDEX phone_changes_due"),
        (challenges::HAS_LIVE, "SEARCH challenges USING INDEX challenges_phone (phone=? AND channel=?)"),
        (devices::OF_USER, "SEARCH devices USING INDEX devices_user (user_id=?)"),
        (devices::PURGE, "SEARCH devices USING COVERING INDEX devices_over (expires_at<?)"),
        (challenges::UNSETTLED, "SEARCH challenges USING INDEX challenges_unsettled (created_at<?)"),
        (
            ledger::SPENT_SINCE,
            "SEARCH spends USING COVERING INDEX spends_subject (subject=? AND quota=? AND at>?)",
        ),
        (ledger::CLAMP, "SEARCH spends USING INDEX spends_subject (subject=? AND quota=? AND at>?)"),
        (ledger::CLOSE_ALL, "SEARCH refusals USING COVERING INDEX refusals_until (until<?)"),
        (messages::BY_SID, "SEARCH messages USING INDEX messages_sid (sid=?)"),
        (sessions::OF_USER, "SEARCH sessions USING INDEX sessions_user (user_id=?)"),
        (sessions::BY_ID, "SEARCH sessions USING PRIMARY KEY (id=?)"),
        (sessions::PRINCIPAL, "SEARCH s USING PRIMARY KEY (id=?)"),
        (sessions::PRINCIPAL, "SEARCH u USING INTEGER PRIMARY KEY (rowid=?)"),
        (ledger::PURGE, "SEARCH spends USING COVERING INDEX spends_at (quota=? AND at<?)"),
        (sessions::COUNT_LIVE, "SEARCH sessions USING COVERING INDEX sessions_over (<expr>>?)"),
        (sessions::PURGE, "SEARCH sessions USING COVERING INDEX sessions_over (<expr><?)"),
        (sessions::PURGE_ROTATIONS, "SEARCH rotations USING COVERING INDEX rotations_at (rotated_at<?)"),
        (exchanges::PURGE, "SEARCH exchanges USING COVERING INDEX exchanges_over (expires_at<?)"),
        (users::TO_DELETE, "SEARCH users USING INDEX users_to_delete (deletes_at<?)"),
        (audit::FORGET_MASKED, "SEARCH audit USING INDEX audit_masked (phone=?)"),
        (events::DUE, "SEARCH q USING INDEX delivery_queues_due (webhook=? AND due_at<?)"),
        (events::DUE, "SEARCH d USING COVERING INDEX deliveries_queue (webhook=? AND queue=?)"),
        (events::FAILED, "SEARCH q USING INDEX delivery_queues_tried (webhook=? AND tried_at<?)"),
        (events::NEXT, "SEARCH delivery_queues USING COVERING INDEX delivery_queues_due (webhook=?)"),
        (events::BEFORE_OF, "SEARCH events USING INDEX events_user (user_id=? AND id<?)"),
        (events::OLDEST, "SEARCH deliveries USING INDEX deliveries_since (webhook=? AND since<?)"),
        (events::SCRUB, "SEARCH events USING INDEX events_user (user_id=?)"),
        (events::PURGE, "SEARCH deliveries USING INDEX deliveries_over (settled_at<?)"),
        (users::REGISTRATIONS, "SEARCH users USING INDEX users_unverified (joined_at>? AND joined_at<?)"),
    ] {
        let plan = plan(&conn, sql);
        assert!(plan.contains(index), "{sql}\n{plan}");
        assert!(!plan.contains("SCAN") && !plan.contains("TEMP B-TREE"), "{sql}\n{plan}");
    }
}

#[test]
fn a_statement_is_planned_once() {
    let bed = Bed::new();
    let conn = bed.transaction();
    let tx: &dyn Tx = &SqliteTx::new(&conn);
    for number in 0..10 {
        tx.challenges(Mode::Production, &phone(number), Purpose::Login, 2).unwrap();
    }
    let newest = conn.prepare_cached(challenges::NEWEST).unwrap();
    assert_eq!(newest.get_status(StatementStatus::Run), 10);
    assert_eq!(newest.get_status(StatementStatus::RePrepare), 0);
}
