//! How the domain's small types stand in columns. What cannot be read back is an impossible row.

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, Null, ToSql, ToSqlOutput, ValueRef};

use crate::domain::audit::{AuditDetail, AuditEvent};
use crate::domain::budget::{Budget, Share};
use crate::domain::guard::{Rule, Scope};
use crate::domain::message::{MessageState, Unsent};
use crate::domain::quota::Quota;
use crate::domain::session::EndReason;
use crate::domain::settled::SendResult;
use crate::domain::test_number::Source;
use crate::domain::{
    Attributes, ChallengeId, ChallengeState, Channel, DeliveryId, DeviceId, EventId, EventKind, EventNumber,
    MessageId, Mode, PhoneNumber, RunId, SessionId, SpendId, Timestamp, UserId,
};
use crate::storage::columns::Impossible;
use crate::storage::events::{DeliveryState, QueueId};

macro_rules! integers {
    ($($id:ident)+) => {$(
        impl ToSql for $id {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                Ok(self.0.into())
            }
        }

        impl FromSql for $id {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                value.as_i64().map(Self)
            }
        }
    )+};
}

macro_rules! words {
    ($($word:ident: $parse:expr;)+) => {$(
        impl ToSql for $word {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                Ok(self.as_str().into())
            }
        }

        impl FromSql for $word {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                value.as_str().and_then(|text| $parse(text).ok_or_else(|| FromSqlError::other(Impossible)))
            }
        }
    )+};
}

integers! { UserId ChallengeId MessageId SpendId EventNumber QueueId }

words! {
    Budget: Budget::parse;
    Share: Share::parse;
    Rule: Rule::parse;
    Scope: Scope::parse;
    AuditEvent: AuditEvent::parse;
    ChallengeState: ChallengeState::parse;
    Mode: Mode::parse;
    EndReason: EndReason::parse;
    MessageState: MessageState::parse;
    Quota: Quota::parse;
    DeliveryState: DeliveryState::parse;
    DeviceId: DeviceId::parse;
    DeliveryId: DeliveryId::parse;
    Channel: Channel::parse;
    EventId: EventId::parse;
    EventKind: EventKind::parse;
    SessionId: SessionId::parse;
    SendResult: SendResult::parse;
    Source: Source::parse;
    RunId: |text| Some(RunId::from_row(text));
    Unsent: Unsent::parse;
    PhoneNumber: |text| PhoneNumber::parse(text, 1).ok();
}

/// Nothing where there are none.
impl ToSql for Attributes {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(if self.is_empty() { Null.into() } else { self.as_json().into() })
    }
}

impl FromSql for Attributes {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Ok(value.as_str_or_null()?.map(Self::from_row).unwrap_or_default())
    }
}

impl ToSql for AuditDetail {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.to_string().into())
    }
}

impl ToSql for Timestamp {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.as_millis().into())
    }
}

impl FromSql for Timestamp {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_i64().map(Self::from_millis)
    }
}
