//! What must hold after a kill, asked of the restarted server and of its rows.

use freshk::random::SeededRandom;
use rusqlite::Connection;
use serde_json::json;

use crate::burst::{Client, below, fresh_address, refresh};
use crate::ledger::{Gone, Ledger, Phone, Session, State};
use crate::process::{Place, Server};
use crate::twilio::{FakeTwilio, sms_code};

/// Phones of earlier rounds that are asked about again, drawn anew in each round.
const AGAIN: u64 = 20;

/// Holds the ledger against the server: all that the last burst acknowledged, and some of what came before.
pub(crate) async fn hold(
    ledger: &mut Ledger,
    server: &Server,
    place: &Place,
    twilio: &FakeTwilio,
    random: &SeededRandom,
) {
    hold_rows(ledger, place, twilio);
    let client = Client::new(server);
    let asked = ledger.asked;
    let mut again: Vec<_> = (0..AGAIN).filter(|_| asked > 0).map(|_| below(random, asked as u64)).collect();
    again.sort_unstable();
    again.dedup();
    let again = again.into_iter().map(|index| usize::try_from(index).unwrap());
    for index in again.chain(asked..ledger.phones.len()) {
        let checks = phone(&mut ledger.phones[index], &client, twilio, random).await;
        let Ok(checks) = checks else { panic!("the restarted server does not answer") };
        ledger.checks += checks;
    }
    ledger.asked = ledger.phones.len();
}

async fn phone(
    phone: &mut Phone,
    client: &Client,
    twilio: &FakeTwilio,
    random: &SeededRandom,
) -> Result<u64, Gone> {
    let mut checks = 0;
    for session in &mut phone.sessions {
        hold_session(session, &phone.address, client, random).await?;
        checks += 1;
    }
    // From an address of its own, whose quota none of this has touched.
    let address = fresh_address(random);
    // A code whose use was acknowledged is never used again.
    for used in &phone.used {
        let body = json!({ "phone_number": phone.number, "otp": used });
        let (status, answer) = client.post(&address, "/production/verify/", &body).await?;
        assert_eq!((status, &answer["code"]), (400, &json!("invalid_otp")), "a used code again: {answer}");
        checks += 1;
    }
    // One whose use was cut off was used or was not, and is used by now.
    let last =
        twilio.requests().iter().rev().find(|sms| sms.field("To") == Some(&phone.number)).map(sms_code);
    if let Some(doubtful) = phone.doubtful.take() {
        let body = json!({ "phone_number": phone.number, "otp": doubtful });
        for attempt in 0..2 {
            let address = fresh_address(random);
            let (status, answer) = client.post(&address, "/production/verify/", &body).await?;
            assert!(status == 400 || (attempt == 0 && status == 200), "used twice: {answer}");
            checks += 1;
        }
        phone.used.push(doubtful);
    } else if let Some(code) = last.filter(|code| !phone.used.contains(code)) {
        // Sent, acknowledged or not, and never given: it is good.
        let address = fresh_address(random);
        let body = json!({ "phone_number": phone.number, "otp": code });
        let (status, answer) = client.post(&address, "/production/verify/", &body).await?;
        assert_eq!(status, 200, "the code of an SMS that was sent is not good: {answer}");
        phone.used.push(code);
        checks += 1;
    }
    if phone.codes == 3 {
        let address = fresh_address(random);
        let body = json!({ "phone_number": phone.number });
        let (status, answer) = client.post(&address, "/production/request/", &body).await?;
        assert_eq!(status, 429, "a fourth code was sent: {answer}");
        checks += 1;
    }
    Ok(checks)
}

/// A live session is never lost; an ended one never returns; a token outside the rules ends its session for good.
async fn hold_session(
    session: &mut Session,
    address: &str,
    client: &Client,
    random: &SeededRandom,
) -> Result<(), Gone> {
    match session.state {
        State::Live => {
            assert_eq!(client.status(address, &session.access).await?, 200, "an acknowledged login is lost");
            refresh(session, address, client).await?;
            let latest = session.refresh.len() - 1;
            if latest >= 2 && below(random, 2) == 0 {
                let body = json!({ "refresh": session.refresh[latest - 2] });
                let (status, answer) = client.post(address, "/token/refresh/", &body).await?;
                assert_eq!((status, &answer["code"]), (401, &json!("token_reused")), "{answer}");
                session.state = State::Ended;
            }
        }
        State::Ended => {
            assert_eq!(client.status(address, &session.access).await?, 401, "an ended session has returned");
            let body = json!({ "refresh": session.refresh.last() });
            let (status, answer) = client.post(address, "/token/refresh/", &body).await?;
            assert_eq!(status, 401, "an ended session has returned: {answer}");
        }
        State::Doubtful => {
            let status = client.status(address, &session.access).await?;
            session.state = if status == 200 { State::Live } else { State::Ended };
        }
    }
    Ok(())
}

/// Holds the ledger against the rows: nothing acknowledged is missing, no SMS is without its challenge and user.
pub(crate) fn hold_rows(ledger: &Ledger, place: &Place, twilio: &FakeTwilio) {
    let sql = place.sql();
    let integrity: String = sql.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(integrity, "ok");
    let undecided = "SELECT count(*) FROM challenges WHERE state = 'sending'";
    assert_eq!(count(&sql, undecided, ""), 0, "start-up settles what the kill left");
    let messages = twilio.requests();
    for phone in &ledger.phones {
        let number = phone.number.as_str();
        let units = count(&sql, "SELECT count(*) FROM spends WHERE quota = 'user' AND subject = ?1", number);
        assert!((phone.codes..=3).contains(&units), "{units} units for {} codes", phone.codes);
        let failures =
            count(&sql, "SELECT count(*) FROM spends WHERE quota = 'failures' AND subject = ?1", number);
        assert!(failures >= phone.failures, "{failures} of {} failures are left", phone.failures);
        let sent = messages.iter().filter(|sms| sms.field("To") == Some(number)).count();
        let sent = i64::try_from(sent).unwrap();
        let challenges = count(&sql, "SELECT count(*) FROM challenges WHERE phone = ?1", number);
        assert!(challenges >= sent, "{sent} SMS, {challenges} challenges");
        let users = count(&sql, "SELECT count(*) FROM users WHERE phone = ?1", number);
        assert!(users == 1 || sent == 0, "an SMS without a user");
        let sessions = "SELECT count(*) FROM sessions s JOIN users u ON u.id = s.user_id WHERE u.phone = ?1";
        let used = "SELECT count(*) FROM challenges WHERE phone = ?1 AND state = 'used'";
        assert_eq!(
            count(&sql, sessions, number),
            count(&sql, used, number),
            "one session for each code used"
        );
        let verified = "SELECT count(*) FROM spends WHERE quota = 'ip:verify' AND subject = ?1";
        let answered = count(&sql, verified, &phone.address);
        assert!(answered >= phone.guesses, "{answered} units of an address for {} calls", phone.guesses);
    }
}

fn count(sql: &Connection, query: &str, subject: &str) -> i64 {
    let mut statement = sql.prepare_cached(query).unwrap();
    if subject.is_empty() {
        statement.query_row([], |row| row.get(0))
    } else {
        statement.query_row([subject], |row| row.get(0))
    }
    .unwrap()
}
