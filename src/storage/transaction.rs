//! What a closure holds: everything that can be read, and everything that can be written.

use super::ahead::ReadAhead;
use super::audit::{ReadAudit, WriteAudit};
use super::backups::ReadBackups;
use super::budgets::{ReadBudgets, WriteBudgets};
use super::challenges::{ReadChallenges, WriteChallenges};
use super::clock::{ReadClock, WriteClock};
use super::devices::{ReadDevices, WriteDevices};
use super::events::{ReadEvents, WriteEvents};
use super::exchanges::{ReadExchanges, WriteExchanges};
use super::guard::{ReadGuard, WriteGuard};
use super::ledger::{ReadLedger, WriteLedger};
use super::maintenance::Maintenance;
use super::messages::{ReadMessages, WriteMessages};
use super::nodes::ReadNodes;
use super::phone_changes::{ReadPhoneChanges, WritePhoneChanges};
use super::sessions::{ReadSessions, WriteSessions};
use super::test_numbers::{ReadTestNumbers, WriteTestNumbers};
use super::token_names::{ReadTokenNames, WriteTokenNames};
use super::users::{ReadUsers, WriteUsers};

/// What can be read.
pub trait View:
    ReadUsers
    + ReadChallenges
    + ReadSessions
    + ReadDevices
    + ReadExchanges
    + ReadEvents
    + ReadGuard
    + ReadBudgets
    + ReadLedger
    + ReadMessages
    + ReadNodes
    + ReadPhoneChanges
    + ReadTestNumbers
    + ReadTokenNames
    + ReadClock
    + ReadAudit
    + ReadBackups
{
}

impl<T> View for T where
    T: ReadUsers
        + ReadChallenges
        + ReadSessions
        + ReadDevices
        + ReadExchanges
        + ReadEvents
        + ReadGuard
        + ReadBudgets
        + ReadLedger
        + ReadMessages
        + ReadNodes
        + ReadPhoneChanges
        + ReadTestNumbers
        + ReadTokenNames
        + ReadClock
        + ReadAudit
        + ReadBackups
{
}

/// What can be written; everything in one closure happens or nothing does.
pub trait Tx:
    View
    + WriteUsers
    + WriteChallenges
    + WriteSessions
    + WriteDevices
    + WriteExchanges
    + WriteEvents
    + WriteGuard
    + WriteBudgets
    + WriteLedger
    + WriteMessages
    + WritePhoneChanges
    + WriteTestNumbers
    + WriteTokenNames
    + WriteClock
    + WriteAudit
    + Maintenance
    + ReadAhead
{
}

impl<T> Tx for T where
    T: View
        + WriteUsers
        + WriteChallenges
        + WriteSessions
        + WriteDevices
        + WriteExchanges
        + WriteEvents
        + WriteGuard
        + WriteBudgets
        + WriteLedger
        + WriteMessages
        + WritePhoneChanges
        + WriteTestNumbers
        + WriteTokenNames
        + WriteClock
        + WriteAudit
        + Maintenance
        + ReadAhead
{
}
