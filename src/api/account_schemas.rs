//! The bodies of the account's requests and answers, each with an example.

use poem_openapi::Object;
use poem_openapi::types::Example;

use serde::Serialize;
use serde_json::Value;

use crate::api::date_time::DateTime;
use crate::auth::{AccountEvent, AccountExport};
use crate::domain::message::Message;
use crate::domain::{Device, Session, Timestamp, User};

/// The code that proves the bearer's number.
#[derive(Object)]
#[oai(example)]
pub(super) struct DeletionRequest {
    /// The digits of a code from `resend/`, in any script; white space does not count.
    otp: String,
}

impl Example for DeletionRequest {
    fn example() -> Self {
        Self { otp: "123456".to_owned() }
    }
}

/// The account is deleted, or will be.
#[derive(Object, Serialize)]
#[oai(example)]
pub(super) struct DeletionResponse {
    /// A sentence for a person.
    message: String,
    /// When the account is deleted unless its owner logs in before; absent where it is deleted already.
    #[oai(skip_serializing_if_is_none)]
    #[serde(skip_serializing_if = "Option::is_none")]
    deletes_at: Option<DateTime>,
}

impl DeletionResponse {
    /// At `deletes_at`, or already.
    pub(super) fn new(deletes_at: Option<Timestamp>) -> Self {
        let message = match deletes_at {
            Some(_) => "Your account will be deleted. Log in again before that to keep it.",
            None => "Your account is deleted.",
        };
        Self { message: message.to_owned(), deletes_at: deletes_at.map(DateTime::from) }
    }
}

impl Example for DeletionResponse {
    fn example() -> Self {
        Self::new(Some(Timestamp::from_millis(1_767_225_600_000)))
    }
}

/// All that is kept about a user.
#[derive(Object, Serialize)]
#[oai(example)]
pub(super) struct ExportResponse {
    /// When it was put together.
    exported_at: DateTime,
    /// Whether it is all; false where the oldest of some kind are left out.
    complete: bool,
    /// The user.
    user: ExportedUser,
    /// Sessions, the newest first; one that has ended is kept for a day.
    sessions: Vec<ExportedSession>,
    /// Devices that have logged in, by the `jti` of their `X-Device-Token`.
    devices: Vec<ExportedDevice>,
    /// Text messages with codes for the number, the newest first.
    messages: Vec<ExportedMessage>,
    /// Lines of the audit trail about the user, the newest first.
    events: Vec<ExportedEvent>,
}

/// The user of an export.
#[derive(Object, Serialize)]
struct ExportedUser {
    /// Never reused; the `user_id` of the tokens.
    id: i64,
    /// Derived from the phone unless imported.
    username: String,
    /// International format.
    phone_number: String,
    /// The user's role.
    role: String,
    /// Whether the user may log in.
    is_active: bool,
    /// Whether the number was proven by a code.
    phone_verified: bool,
    /// When the user joined.
    date_joined: DateTime,
    /// What the app's own people have noted about the user: a JSON object.
    attributes: Value,
}

/// A session of an export.
#[derive(Object, Serialize)]
struct ExportedSession {
    /// As `sessions/` names it.
    id: String,
    /// What the client called itself.
    device: String,
    /// The device that it belongs to; absent where it has none.
    #[oai(skip_serializing_if_is_none)]
    #[serde(skip_serializing_if = "Option::is_none")]
    device_id: Option<String>,
    /// The address of the login or of the last refresh.
    ip: String,
    /// When the login was.
    created_at: DateTime,
    /// When a token of it was last seen, to the minute.
    last_used_at: DateTime,
    /// When it ends unless it is refreshed.
    expires_at: DateTime,
    /// When it ended; absent while it has not.
    #[oai(skip_serializing_if_is_none)]
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<DateTime>,
    /// Why it ended, in a word or two.
    #[oai(skip_serializing_if_is_none)]
    #[serde(skip_serializing_if = "Option::is_none")]
    end_reason: Option<String>,
}

/// A device of an export.
#[derive(Object, Serialize)]
struct ExportedDevice {
    /// The `jti` of its token.
    id: String,
    /// When its token was issued: at the latest login that brought it along.
    issued_at: DateTime,
    /// When that token expires.
    expires_at: DateTime,
}

/// A message of an export.
#[derive(Object, Serialize)]
struct ExportedMessage {
    /// How far it has come: `delivered` is the end.
    state: String,
    /// When it was about to be sent.
    created_at: DateTime,
    /// When its state changed last.
    updated_at: DateTime,
}

/// A line of the audit trail of an export.
#[derive(Object, Serialize)]
struct ExportedEvent {
    /// When.
    at: DateTime,
    /// What, in a stable word.
    event: String,
    /// The address that it came from; absent where it came from none.
    #[oai(skip_serializing_if_is_none)]
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<String>,
    /// The session that it concerns.
    #[oai(skip_serializing_if_is_none)]
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<String>,
    /// The `X-Request-Id` of the call that did it.
    #[oai(skip_serializing_if_is_none)]
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    /// More, in a few words.
    #[oai(skip_serializing_if_is_none)]
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

impl From<AccountExport> for ExportResponse {
    fn from(export: AccountExport) -> Self {
        Self {
            exported_at: export.at.into(),
            complete: export.is_complete,
            user: export.user.into(),
            sessions: export.sessions.into_iter().map(ExportedSession::from).collect(),
            devices: export.devices.iter().map(ExportedDevice::from).collect(),
            messages: export.messages.iter().map(ExportedMessage::from).collect(),
            events: export.events.into_iter().map(ExportedEvent::from).collect(),
        }
    }
}

impl From<User> for ExportedUser {
    fn from(user: User) -> Self {
        Self {
            id: user.id.0,
            phone_number: user.phone_text().to_owned(),
            is_active: user.is_active,
            phone_verified: user.phone_verified,
            date_joined: user.joined_at.into(),
            attributes: user.attributes.members().into(),
            username: user.username,
            role: user.role,
        }
    }
}

impl From<Session> for ExportedSession {
    fn from(session: Session) -> Self {
        let (ended_at, reason) = session.ended.unzip();
        Self {
            id: session.id.to_string(),
            device: session.device,
            device_id: session.device_id.map(|id| id.as_str().to_owned()),
            ip: session.ip,
            created_at: session.created_at.into(),
            last_used_at: session.last_used_at.into(),
            expires_at: session.refresh_expires_at.into(),
            ended_at: ended_at.map(DateTime::from),
            end_reason: reason.map(|reason| reason.as_str().to_owned()),
        }
    }
}

impl From<&Device> for ExportedDevice {
    fn from(device: &Device) -> Self {
        Self {
            id: device.id.as_str().to_owned(),
            issued_at: device.issued_at.into(),
            expires_at: device.expires_at.into(),
        }
    }
}

impl From<&Message> for ExportedMessage {
    fn from(message: &Message) -> Self {
        Self {
            state: message.state.as_str().to_owned(),
            created_at: message.created_at.into(),
            updated_at: message.updated_at.into(),
        }
    }
}

impl From<AccountEvent> for ExportedEvent {
    fn from(line: AccountEvent) -> Self {
        Self {
            at: line.at.into(),
            event: line.event.as_str().to_owned(),
            ip: line.ip,
            session_id: line.session,
            request_id: line.request_id,
            detail: line.detail,
        }
    }
}

impl Example for ExportResponse {
    fn example() -> Self {
        let at = |seconds: i64| DateTime::from(Timestamp::from_millis(seconds * 1000));
        let session = "0123456789abcdef0123456789abcdef".to_owned();
        Self {
            exported_at: at(1_767_229_200),
            complete: true,
            user: ExportedUser {
                id: 1_000_000_001,
                username: "user_1234567890".to_owned(),
                phone_number: "+1234567890".to_owned(),
                role: "retailer".to_owned(),
                is_active: true,
                phone_verified: true,
                date_joined: at(1_767_225_600),
                attributes: Value::Object(serde_json::Map::new()),
            },
            sessions: vec![ExportedSession {
                id: session.clone(),
                device: "Asha's Pixel 9".to_owned(),
                device_id: Some("fedcba9876543210fedcba9876543210".to_owned()),
                ip: "203.0.113.7".to_owned(),
                created_at: at(1_767_225_600),
                last_used_at: at(1_767_229_200),
                expires_at: at(1_769_817_600),
                ended_at: None,
                end_reason: None,
            }],
            devices: vec![ExportedDevice {
                id: "fedcba9876543210fedcba9876543210".to_owned(),
                issued_at: at(1_767_225_600),
                expires_at: at(1_801_785_600),
            }],
            messages: vec![ExportedMessage {
                state: "delivered".to_owned(),
                created_at: at(1_767_225_580),
                updated_at: at(1_767_225_584),
            }],
            events: vec![ExportedEvent {
                at: at(1_767_225_600),
                event: "session_created".to_owned(),
                ip: Some("203.0.113.7".to_owned()),
                session_id: Some(session),
                request_id: Some("00112233445566778899aabbccddeeff".to_owned()),
                detail: None,
            }],
        }
    }
}
