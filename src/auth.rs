//! The flows of phone login: request, verify, resend, status, refresh, sessions, delivery reports, maintenance.
//!
//! They know the seams and the rules, and nothing of HTTP, SQL or Twilio. Time and chance come in as a [`Clock`] and a
//! [`Random`]; a flow that writes runs in a task of its own, so that a phone that hangs up cancels nothing.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use crate::clock::Clock;
use crate::domain::audit::Actor;
use crate::domain::{ClientAddress, Mode, PhoneNumber, RunId, Timestamp};
use crate::limits::lines::AttemptLines;
use crate::limits::refusals::RefusalCache;
use crate::limits::shared::SharedLimits;
use crate::metrics::Metrics;
use crate::random::Random;
use crate::sms::route::Route;
use crate::storage::Store;
use crate::sync::Live;

mod arrival;
mod asking;
mod attempt;
mod audited;
mod calls;
mod change_phone;
mod code_request;
mod deletion;
mod delivery;
mod devices;
mod dormant;
mod elsewhere;
mod ending;
mod erasure;
mod error;
mod exchange;
mod export;
mod feedback;
mod gate;
mod guard;
mod happened;
mod intent;
mod lookup;
mod maintenance;
mod names;
mod notice;
mod opening;
pub mod operator;
mod outbox;
mod phone_change;
mod presenter;
mod proof;
mod purchase;
mod quota;
mod recent;
mod refresh;
mod renumber;
mod repetition;
mod request;
mod resend;
mod second_send;
mod sending;
mod sessions;
mod settings;
mod settle;
mod single_flight;
mod status;
mod trail;
mod unsettled;
mod usual;
mod verify;

pub use asking::ASKED_AT_ONCE;
pub use audited::AuditedTx;
pub use change_phone::{NewPhone, PhoneCodes, PhoneProof};
pub use code_request::CodeRequest;
pub use erasure::Erased;
pub use error::AuthError;
pub use export::{AccountEvent, AccountExport};
pub use outbox::Outbox;
pub use phone_change::CancelRequest;
pub use presenter::TOKEN_REUSES;
pub use quota::{QuotaState, WithQuotas};
pub use refresh::RefreshedTokens;
pub use settings::Settings;
pub use single_flight::Sent;
pub use status::Authenticated;
pub use verify::{LoggedIn, VerifyRequest};

/// What the flows are made of; wiring fills it in.
pub struct Parts {
    /// The database.
    pub store: Store,
    /// Who sends the production mode's codes.
    pub production: Route,
    /// Who shows the testing mode's codes.
    pub testing: Route,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub random: Arc<dyn Random>,
    /// This run of the server.
    pub run: RunId,
    /// Counts.
    pub metrics: Metrics,
    /// What is counted together with other servers.
    pub shared: Option<Arc<dyn SharedLimits>>,
    /// Who is told of what.
    pub outbox: Outbox,
}

/// The flows.
pub struct Auth {
    parts: Parts,
    settings: Live<Settings>,
    /// How often those were replaced.
    adoptions: AtomicU64,
    refusals: RefusalCache,
    lines: AttemptLines,
    in_flight: Arc<single_flight::SingleFlight>,
    sends: recent::RecentSends,
    unsettled: unsettled::Unsettled,
    waiting: second_send::Waiting,
    questions: asking::Questions,
    touching: sessions::Touching,
    names_since: names::NamesSince,
    usual: usual::UsualTraffic,
    tasks: TaskTracker,
}

/// Where a request came from, for limits and audit.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The client's address.
    pub address: ClientAddress,
    /// The request's number, in every line about it.
    pub request_id: String,
}

impl Origin {
    /// Who acts from there, as audit rows tell it.
    fn actor(&self, at: Timestamp) -> Actor {
        Actor {
            ip: Some(self.address.to_string()),
            request_id: Some(self.request_id.clone()),
            ..Actor::system(at)
        }
    }
}

impl Auth {
    /// Puts the flows together.
    pub fn new(parts: Parts, settings: Settings) -> Arc<Self> {
        Arc::new(Self {
            parts,
            settings: Live::new(settings),
            adoptions: AtomicU64::new(0),
            refusals: RefusalCache::new(),
            lines: AttemptLines::default(),
            in_flight: Arc::default(),
            sends: recent::RecentSends::default(),
            unsettled: unsettled::Unsettled::default(),
            waiting: second_send::Waiting::default(),
            questions: asking::Questions::default(),
            touching: sessions::Touching::default(),
            names_since: names::NamesSince::default(),
            usual: usual::UsualTraffic::default(),
            tasks: TaskTracker::new(),
        })
    }

    /// This run of the server.
    pub fn run_id(&self) -> &RunId {
        &self.parts.run
    }

    /// Waits for the flows under way, at most `timeout`; true if none is left.
    pub async fn finish(&self, timeout: Duration) -> bool {
        self.tasks.close();
        tokio::time::timeout(timeout, self.tasks.wait()).await.is_ok()
    }

    /// Runs a flow in a task of its own: once begun, it ends, whether or not the phone still listens.
    async fn run<T: Send + 'static>(
        &self,
        flow: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, AuthError> {
        self.tasks.spawn(flow.in_current_span()).await.map_err(|error| {
            // A panic has logged itself.
            if !error.is_panic() {
                tracing::error!(%error, "a flow died");
            }
            AuthError::Internal
        })
    }

    fn senders(&self, mode: Mode) -> &Route {
        match mode {
            Mode::Production => &self.parts.production,
            Mode::Testing => &self.parts.testing,
        }
    }

    fn actor(&self, now: Timestamp, mode: Mode, phone: &PhoneNumber, origin: &Origin) -> Actor {
        origin.actor(now).in_mode(mode).with_phone(phone, self.settings().keys.current().audit_hash(phone))
    }
}

#[cfg(test)]
mod tests;
