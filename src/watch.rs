//! What the operator sees of a running server without a monitoring system: readings of the metrics of the last day, alarms over
//! them, whom they are told to, and the page that shows both.

pub mod alarms;
pub mod history;
pub mod notify;
pub mod page;
pub mod reading;
pub mod rules;
pub mod state;

use std::sync::Mutex;

use crate::domain::Timestamp;
use crate::sync::lock;
use alarms::Change;
use reading::Reading;
use rules::Severity;
use state::State;

/// What is known of the server's last day.
#[derive(Debug, Default)]
pub struct Watch(Mutex<State>);

impl Watch {
    /// Takes a reading from the page of metrics, and gives the alarms that it opens or closes.
    pub fn look(&self, metrics: &str, now: Timestamp) -> Vec<Change> {
        let mut state = lock(&self.0);
        let State { history, alarms } = &mut *state;
        history.add(now, Reading::parse(metrics, is_kept));
        alarms.step(history, now)
    }

    /// How it stands, with all metrics as they are now.
    pub fn state(&self, metrics: &str, now: Timestamp) -> State {
        let mut state = lock(&self.0).clone();
        state.history.add(now, Reading::parse(metrics, |_| true));
        state
    }

    /// Whether an alarm is open for which somebody must act now.
    pub fn is_paging(&self) -> bool {
        lock(&self.0).alarms.open().any(|(rule, _)| rule.severity == Severity::Page)
    }
}

/// What the rules and the courses of the page look back at; the rest of the page shows what is now.
fn is_kept(metric: &str) -> bool {
    rules::ASKED.contains(&metric) || page::COURSES.contains(&metric)
}
