//! Readings, and the alarms over them.

use super::alarms::Alarms;
use super::history::History;

/// How it stands.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// The readings.
    pub history: History,
    /// The alarms.
    pub alarms: Alarms,
}
