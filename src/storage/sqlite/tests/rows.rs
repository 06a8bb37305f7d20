use super::*;
use crate::domain::audit::{Actor, AuditDetail, AuditEvent};
use crate::domain::quota::Quota;
use crate::storage::sqlite::tx::SqliteTx;
use crate::storage::{PurgeHorizon, StoreError};

#[test]
fn an_impossible_row_is_broken_and_tells_nothing_of_itself() {
    let bed = Bed::new();
    let conn = bed.transaction();
    conn.execute_batch("INSERT INTO users (username, phone, role, joined_at) VALUES ('x', 'secret', 'r', 0)")
        .unwrap();
    let tx: &dyn Tx = &SqliteTx::new(&conn);
    assert_eq!(tx.user(UserId(1)), Err(StoreError::Broken));
    let error = crate::storage::sqlite::users::by_id(&conn, UserId(1)).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
}

#[test]
fn s35_the_trail_is_append_only_save_for_retention_and_erasure() {
    let bed = Bed::new();
    let conn = bed.transaction();
    let tx: &mut dyn Tx = &mut SqliteTx::new(&conn);
    let actor = Actor::system(START).with_phone(&phone(1), [7; 16]);
    let later = Arc::new(Actor { at: after(100), ..actor.clone() }).did(AuditEvent::LoginFail);
    let first = Arc::new(actor).did(AuditEvent::LoginSuccess).user(UserId(3)).detail(AuditDetail::TestNumber);
    tx.audit(&[first, later]).unwrap();
    for tampering in [
        "UPDATE audit SET detail = 'otherwise'",
        "UPDATE audit SET at = 0",
        "UPDATE audit SET phone_hash = NULL",
        "UPDATE audit SET phone_hash = NULL, phone = NULL, user_id = 4",
        "DELETE FROM audit",
    ] {
        let refused = conn.execute_batch(tampering).unwrap_err().to_string();
        assert!(refused.contains("audit trail"), "{tampering}: {refused}");
    }
    let horizon = PurgeHorizon {
        now: START,
        spends: Quota::ALL.map(|quota| (quota, START)),
        challenges: START,
        sessions: START,
        purchases: START,
        guard: START,
        events: START,
        audit: after(50),
    };
    assert!(tx.purge(&horizon, 10).is_ok_and(|more| !more));
    let left: i64 = conn.query_row("SELECT count(*) FROM audit", [], |row| row.get(0)).unwrap();
    assert_eq!(left, 1);
    conn.execute_batch("UPDATE audit SET phone_hash = NULL, phone = NULL").unwrap();
    assert!(conn.execute_batch("DELETE FROM audit").is_err());
}
