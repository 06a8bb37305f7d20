//! How the domain's small types stand in columns. What cannot be read back is an impossible row.

use std::error::Error;

use bytes::BytesMut;
use postgres_types::{FromSql, IsNull, ToSql, Type, accepts, to_sql_checked};

use crate::domain::audit::AuditEvent;
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

type BoxError = Box<dyn Error + Sync + Send>;

/// A whole number of any width, in a column of eight bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Number<T>(pub(super) T);

impl<T: Copy + std::fmt::Debug + TryInto<i64>> ToSql for Number<T> {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, BoxError> {
        self.0.try_into().map_err(|_| Impossible)?.to_sql(ty, out)
    }

    accepts!(INT8);
    to_sql_checked!();
}

impl<'a, T: TryFrom<i64>> FromSql<'a> for Number<T> {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, BoxError> {
        T::try_from(i64::from_sql(ty, raw)?).map(Self).map_err(|_| Impossible.into())
    }

    accepts!(INT8);
}

macro_rules! integers {
    ($($id:ident: $from:expr, $to:expr;)+) => {$(
        impl ToSql for $id {
            fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, BoxError> {
                $to(self).to_sql(ty, out)
            }

            accepts!(INT8);
            to_sql_checked!();
        }

        impl<'a> FromSql<'a> for $id {
            fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, BoxError> {
                i64::from_sql(ty, raw).map($from)
            }

            accepts!(INT8);
        }
    )+};
}

macro_rules! words {
    ($($word:ident: $parse:expr;)+) => {$(
        impl ToSql for $word {
            fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, BoxError> {
                self.as_str().to_sql(ty, out)
            }

            accepts!(TEXT);
            to_sql_checked!();
        }

        impl<'a> FromSql<'a> for $word {
            fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, BoxError> {
                let parse: fn(&str) -> Option<Self> = $parse;
                parse(<&str>::from_sql(ty, raw)?).ok_or_else(|| Impossible.into())
            }

            accepts!(TEXT);
        }
    )+};
}

/// Nothing where there are none.
impl ToSql for Attributes {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, BoxError> {
        (!self.is_empty()).then(|| self.as_json()).to_sql(ty, out)
    }

    accepts!(TEXT);
    to_sql_checked!();
}

impl<'a> FromSql<'a> for Attributes {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, BoxError> {
        Ok(Self::from_row(<&str>::from_sql(ty, raw)?))
    }

    accepts!(TEXT);
}

integers! {
    UserId: Self, |id: &Self| id.0;
    ChallengeId: Self, |id: &Self| id.0;
    MessageId: Self, |id: &Self| id.0;
    SpendId: Self, |id: &Self| id.0;
    EventNumber: Self, |number: &Self| number.0;
    QueueId: Self, |queue: &Self| queue.0;
    Timestamp: Self::from_millis, |at: &Self| at.as_millis();
}

words! {
    Budget: Budget::parse;
    Share: Share::parse;
    Rule: Rule::parse;
    Scope: Scope::parse;
    AuditEvent: AuditEvent::parse;
    ChallengeState: ChallengeState::parse;
    Mode: Mode::parse;
    DeliveryState: DeliveryState::parse;
    DeviceId: DeviceId::parse;
    DeliveryId: DeliveryId::parse;
    Channel: Channel::parse;
    EndReason: EndReason::parse;
    EventId: EventId::parse;
    EventKind: EventKind::parse;
    MessageState: MessageState::parse;
    Quota: Quota::parse;
    RunId: |text| Some(RunId::from_row(text));
    SendResult: SendResult::parse;
    SessionId: SessionId::parse;
    Source: Source::parse;
    Unsent: Unsent::parse;
    PhoneNumber: |text| PhoneNumber::parse(text, 1).ok();
}
