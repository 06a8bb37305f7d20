//! Events: what happened to users, as the receivers of webhooks are told.

use serde_json::{Value, json};

use crate::domain::budget::BudgetWarning;
use crate::domain::guard::{Block, GuardMode};
use crate::domain::message::Message;
use crate::domain::{PhoneNumber, Session, Timestamp, User, UserId};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// Somebody has verified a number for the first time, or a command wrote the user.
    UserCreated,
    /// The number was proven.
    UserVerified,
    /// Role or username changed.
    UserUpdated,
    /// The user has another number, and perhaps another username.
    UserPhoneChanged,
    /// The user may log in no longer.
    UserDeactivated,
    /// The user may log in again.
    UserActivated,
    /// The user is gone.
    UserDeleted,
    /// A login, or the exchange of a foreign token.
    SessionCreated,
    /// A logout, or another end.
    SessionEnded,
    /// A text message was accepted and did not arrive.
    SmsUndelivered,
    /// Most of a budget for text messages is spent.
    SmsBudgetWarning,
    /// Text messages are held back.
    SmsBlocked,
}

impl EventKind {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::UserCreated,
        Self::UserVerified,
        Self::UserUpdated,
        Self::UserPhoneChanged,
        Self::UserDeactivated,
        Self::UserActivated,
        Self::UserDeleted,
        Self::SessionCreated,
        Self::SessionEnded,
        Self::SmsUndelivered,
        Self::SmsBudgetWarning,
        Self::SmsBlocked,
    ];

    /// The word in bodies, rows and the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UserCreated => "user.created",
            Self::UserVerified => "user.verified",
            Self::UserUpdated => "user.updated",
            Self::UserPhoneChanged => "user.phone_changed",
            Self::UserDeactivated => "user.deactivated",
            Self::UserActivated => "user.activated",
            Self::UserDeleted => "user.deleted",
            Self::SessionCreated => "session.created",
            Self::SessionEnded => "session.ended",
            Self::SmsUndelivered => "sms.undelivered",
            Self::SmsBudgetWarning => "sms.budget_warning",
            Self::SmsBlocked => "sms.blocked",
        }
    }

    /// Reads the word back.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// The `webhook-id` of an event, in all attempts and replays: `evt_` and 40 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventId(String);

impl EventId {
    /// Names the event of this number among those of one write; `chance` comes from the system's generator.
    pub fn new(chance: [u8; 16], number: u32) -> Self {
        Self(format!("evt_{}{number:08x}", data_encoding::HEXLOWER.encode(&chance)))
    }

    /// Reads one from a row; `None` unless it has the form of one.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix("evt_")?;
        let is_one = digits.len() == 40 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        is_one.then(|| Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its name.
    pub id: EventId,
    /// What happened.
    pub kind: EventKind,
    /// When.
    pub at: Timestamp,
    /// Whom it concerns, if that is known.
    pub user: Option<UserId>,
    /// What is told of it, as JSON; `None` where nothing but the user's id is left, or ever was.
    pub data: Option<String>,
}

impl Event {
    /// What is sent: JSON.
    pub fn body(&self) -> String {
        let data = match (&self.data, self.user) {
            (Some(data), _) => data.clone(),
            (None, Some(UserId(id))) => format!(r#"{{"user":{{"id":{id}}}}}"#),
            (None, None) => "{}".to_owned(),
        };
        body(self.kind.as_str(), self.at, &data)
    }
}

/// What a webhook is sent: JSON, around `data`.
pub fn body(kind: &str, at: Timestamp, data: &str) -> String {
    format!(r#"{{"type":"{kind}","timestamp":"{}","data":{data}}}"#, at.iso())
}

/// What an event is about.
#[derive(Clone, Copy, Debug)]
pub enum About<'a> {
    /// A user, as it is now.
    User(&'a User),
    /// A user who is gone.
    Deleted(UserId),
    /// A session, and whose it is.
    Session(&'a User, &'a Session),
    /// A message, and the user who has its number.
    Message(Option<&'a User>, &'a Message),
    /// What the guard holds back, or would.
    Block(&'a Block, GuardMode),
    /// A budget of which most is spent.
    Budget(&'a BudgetWarning),
}

impl About<'_> {
    /// Whom it concerns.
    pub fn user(&self) -> Option<UserId> {
        match self {
            Self::User(user) | Self::Session(user, _) => Some(user.id),
            Self::Deleted(user) => Some(*user),
            Self::Message(user, _) => user.map(|user| user.id),
            Self::Block(..) | Self::Budget(_) => None,
        }
    }

    /// What is told, as JSON; `None` where that is the user's id alone. A number is told only as its user's: it goes with that
    /// user.
    pub fn data(&self) -> Option<String> {
        let data = match self {
            Self::User(user) => json!({ "user": of_user(user) }),
            Self::Deleted(_) => return None,
            Self::Session(user, session) => json!({ "user": of_user(user), "session": of_session(session) }),
            Self::Message(Some(user), message) => {
                json!({ "user": of_user(user), "message": of_message(message) })
            }
            Self::Message(None, message) => json!({ "message": of_message(message) }),
            Self::Block(block, mode) => json!({ "block": block.told(*mode) }),
            Self::Budget(warning) => json!({ "budget": warning.told() }),
        };
        Some(data.to_string())
    }
}

fn of_user(user: &User) -> Value {
    json!({
        "id": user.id.0,
        "username": user.username,
        "phone_number": user.phone.as_ref().map(PhoneNumber::as_str),
        "role": user.role,
        "is_active": user.is_active,
        "phone_verified": user.phone_verified,
        "date_joined": user.joined_at.iso(),
        "version": user.version,
    })
}

fn of_session(session: &Session) -> Value {
    let mut told = json!({
        "id": session.id.as_str(),
        "device": session.device,
        "ip": session.ip,
        "created_at": session.created_at.iso(),
    });
    if let Some((at, reason)) = session.ended {
        told["ended_at"] = at.iso().into();
        told["reason"] = reason.as_str().replace(' ', "_").into();
    }
    told
}

fn of_message(message: &Message) -> Value {
    json!({
        "id": message.sid,
        "state": message.state.as_str(),
        "error_code": message.error_code,
        "created_at": message.created_at.iso(),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::clock::Times;
    use crate::domain::message::MessageState;
    use crate::domain::session::{EndReason, Lifetimes, Login};
    use crate::domain::{ChallengeId, Channel, MessageId, SessionId, Via};

    const AT: Timestamp = Timestamp::from_millis(1_767_225_600_000);

    fn event(data: Option<String>, user: Option<UserId>) -> Event {
        Event { id: EventId::new([7; 16], 1), kind: EventKind::UserCreated, at: AT, user, data }
    }

    #[test]
    fn a_body_has_type_timestamp_and_the_user() {
        let phone = PhoneNumber::parse("+15550000001", 10).unwrap();
        let user = User { version: 3, ..User::new(UserId(7), "a \"b\"".into(), phone, "retailer", AT) };
        let about = About::User(&user);
        assert_eq!(
            event(about.data(), about.user()).body(),
            concat!(
                r#"{"type":"user.created","timestamp":"2026-01-01T00:00:00.000Z","data":{"user":{"id":7,"#,
                r#""username":"a \"b\"","phone_number":"+15550000001","role":"retailer","is_active":true,"#,
                r#""phone_verified":false,"date_joined":"2026-01-01T00:00:00.000Z","version":3}}}"#
            )
        );
    }

    #[test]
    fn of_a_deleted_user_the_id_alone_is_told() {
        let about = About::Deleted(UserId(7));
        assert_eq!((about.user(), about.data()), (Some(UserId(7)), None));
        let told = event(None, Some(UserId(7))).body();
        assert!(told.ends_with(r#""data":{"user":{"id":7}}}"#), "{told}");
        assert!(event(None, None).body().ends_with(r#""data":{}}"#));
    }

    #[test]
    fn words_and_ids_read_back() {
        for kind in EventKind::ALL {
            assert_eq!(EventKind::parse(kind.as_str()), Some(kind));
        }
        assert_eq!(EventKind::parse("user.gone"), None);
        let id = EventId::new([255; 16], u32::MAX);
        assert_eq!(EventId::parse(id.as_str()), Some(id.clone()));
        assert_ne!(EventId::new([255; 16], 0), id);
        for bad in ["", "evt_", "msg_0123", "evt_ffffffffffffffffffffffffffffffffffgg"] {
            assert_eq!(EventId::parse(bad), None, "{bad}");
        }
        assert_eq!(EventId::parse(&format!("evt_{}g", "f".repeat(39))), None);
    }

    #[test]
    fn a_session_and_a_message_are_told_with_what_became_of_them() {
        let phone = PhoneNumber::parse("+15550000001", 10).unwrap();
        let user = User::new(UserId(7), "a".into(), phone.clone(), "retailer", AT);
        let hours = |hours| Duration::from_hours(hours);
        let lifetimes = Lifetimes { access: hours(1), refresh: hours(2), session: hours(3) };
        let login = Login { user: user.id, device: "Pixel 9".into(), ip: "203.0.113.7".into() };
        let open =
            Session::open(SessionId::new(AT, [1; 10]), String::new(), login, &Times::right(AT), &lifetimes);
        let told = |about: About<'_>| serde_json::from_str::<Value>(&about.data().unwrap()).unwrap();
        let of = told(About::Session(&user, &open))["session"].clone();
        let expected = json!({ "id": open.id.as_str(), "device": "Pixel 9", "ip": "203.0.113.7", "created_at": open.created_at.iso() });
        assert_eq!(of, expected);
        let ended = open.ended(AT, EndReason::VerifiedInProduction);
        let of = told(About::Session(&user, &ended))["session"].clone();
        assert_eq!((&of["ended_at"], &of["reason"]), (&json!(AT.iso()), &json!("verified_in_production")));
        let message = Message {
            id: MessageId(1),
            challenge: ChallengeId(1),
            to: phone,
            via: Via::new("twilio", Channel::Sms),
            sid: Some("SM1".into()),
            state: MessageState::Undelivered,
            error_code: Some(30_003),
            segments: 1,
            created_at: AT,
            updated_at: AT,
            version: 0,
        };
        let expected =
            json!({ "id": "SM1", "state": "undelivered", "error_code": 30_003, "created_at": AT.iso() });
        assert_eq!(told(About::Message(None, &message)), json!({ "message": expected }));
        assert_eq!(told(About::Message(Some(&user), &message))["message"], expected);
    }
}
