//! What a closure is about to ask, said to the engine beforehand: one at the other end of a connection then answers all of it
//! at once.

use super::error::StoreResult;
use crate::domain::quota::Quota;
use crate::domain::{ChallengeId, MessageId, Mode, PhoneNumber, Purpose, Timestamp, UserId};

/// A question, as it will be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted<'w> {
    /// What subjects have spent of a quota since an instant.
    Spends {
        /// The quota.
        quota: Quota,
        /// Whose units, in the order in which they will be named.
        subjects: Vec<String>,
        /// Since when.
        since: Timestamp,
    },
    /// The newest challenges of a phone.
    Challenges {
        /// Production or testing.
        mode: Mode,
        /// The phone.
        phone: &'w PhoneNumber,
        /// What their codes are for.
        purpose: Purpose,
        /// How many at most.
        limit: usize,
    },
    /// The newest challenge of a phone from devices, or from elsewhere.
    NewestChallenge {
        /// Production or testing.
        mode: Mode,
        /// The phone.
        phone: &'w PhoneNumber,
        /// What its code is for.
        purpose: Purpose,
        /// Whether it was asked for with the token of a device.
        by_device: bool,
    },
    /// A challenge.
    Challenge(ChallengeId),
    /// A message.
    Message(MessageId),
    /// The test number with a phone.
    TestNumber(&'w PhoneNumber),
    /// The devices of a user.
    Devices(UserId),
    /// The sessions of a user that are live at an instant.
    LiveSessions(UserId, Timestamp),
    /// The changes that wait and that a number is part of.
    PhoneChangesAbout(&'w PhoneNumber),
    /// Nothing that is there: an id for the first line of the audit trail that will be written. One that is not used is lost.
    NewLine,
    /// Nothing that is there: ids for units that will be spent, and for a challenge with its message. Those that are not used are
    /// lost.
    NewIds {
        /// For how many units.
        units: usize,
        /// Whether there will be a challenge and a message.
        of_code: bool,
    },
}

/// Takes questions before they are asked: of writes alone, whose end forgets what was not asked again.
pub trait ReadAhead {
    /// Has the engine answer at once what this transaction will ask, whether or not it does; `wanted` is called by engines that gain
    /// by it. Each answer is that of the moment, and is given once; what this transaction writes meanwhile is asked anew.
    ///
    /// # Errors
    /// Those of the database alone.
    fn read_ahead<'w>(&self, wanted: &dyn Fn() -> Vec<Wanted<'w>>) -> StoreResult<()>;
}
