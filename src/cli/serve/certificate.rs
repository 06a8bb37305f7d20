//! The certificate of the server's own TLS: taken over when it is replaced, and watched until its end.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use super::background::every;
use crate::certificate::Pair;
use crate::certificate::challenge::Challenges;
use crate::cli::error::WiringError;
use crate::clock::Clock;
use crate::config::Config;
use crate::config::tls::{Files, Source};
use crate::domain::Timestamp;
use crate::http::tls::Tls;
use crate::metrics::Metrics;
use crate::sync::lock;

mod files;
mod ordered;

use files::Watched;
use ordered::Ordered;

/// How often the files are looked at.
const ROUND: Duration = Duration::from_secs(3);

/// How often somebody is told that it was not.
const TOLD_EVERY: Duration = Duration::from_hours(24);

/// The certificate in force.
pub(super) struct Certificate {
    tls: Tls,
    challenges: Option<Arc<Challenges>>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    source: Mutex<Kept>,
    told: Mutex<Option<Timestamp>>,
}

/// Where it comes from.
enum Kept {
    Files(Watched),
    Ordered(Ordered),
}

impl Certificate {
    /// That of the configuration, if there is one.
    ///
    /// # Errors
    /// [`WiringError::Tls`]
    pub(super) fn of(
        config: &Config,
        clock: &Arc<dyn Clock>,
        metrics: &Metrics,
    ) -> Result<Option<Arc<Self>>, WiringError> {
        let (source, pair, challenges) = match &config.server.tls.source {
            None => return Ok(None),
            Some(Source::Files(files)) => (Kept::Files(files.clone().into()), Some(files.pair.clone()), None),
            Some(Source::Acme(acme)) => {
                let challenges = Arc::new(Challenges::default());
                (Kept::Ordered(Ordered::new(config, acme, challenges.clone())), None, Some(challenges))
            }
        };
        let tls = Tls::new(pair, challenges.clone(), clock.clone())?.with_hsts(config.server.tls.hsts);
        Ok(Some(Arc::new(Self {
            tls,
            challenges,
            clock: clock.clone(),
            metrics: metrics.clone(),
            source: Mutex::new(source),
            told: Mutex::default(),
        })))
    }

    /// What the listener shows it with.
    pub(super) fn tls(&self) -> Tls {
        self.tls.clone()
    }

    /// What an authority asks.
    pub(super) fn challenges(&self) -> Option<Arc<Challenges>> {
        self.challenges.clone()
    }

    /// Takes over what a reload of the configuration has read.
    pub(super) fn adopt(&self, files: &Files) {
        *lock(&self.source) = Kept::Files(files.clone().into());
        self.tls.adopt(files.pair.clone());
    }

    /// Looks whether it was replaced, until `stop`.
    pub(super) async fn keep(self: Arc<Self>, stop: CancellationToken) {
        let round = match &*lock(&self.source) {
            Kept::Files(_) => ROUND,
            Kept::Ordered(ordered) => ordered.round,
        };
        let mut rounds = every(round);
        while stop.run_until_cancelled(rounds.tick()).await.is_some() {
            let kept = self.clone();
            if let Err(error) = spawn_blocking(move || kept.look()).await {
                tracing::error!(%error, "the task that looks at the certificate failed");
            }
        }
    }

    fn look(&self) {
        let now = self.clock.wall();
        match &mut *lock(&self.source) {
            Kept::Files(files) => files.look(&self.tls),
            Kept::Ordered(ordered) => ordered.look(&self.tls, now),
        }
        let pair = self.tls.pair();
        let left = pair.as_ref().map_or(Duration::ZERO, |pair| now.until(pair.ends));
        self.metrics.set_certificate(left, pair.as_ref().map(Pair::lifetime));
        let mut told = lock(&self.told);
        let is_quiet = told.is_some_and(|told| told.until(now) < TOLD_EVERY);
        if !is_quiet && pair.is_some_and(|pair| warn(&pair, now)) {
            *told = Some(now);
        }
    }
}

/// Says that another certificate is in force.
fn told(pair: &Pair) {
    let (names, until) = (pair.names().join(", "), pair.ends.iso());
    tracing::info!(names, until, "the certificate was replaced");
}

/// Whether there is something to tell.
fn warn(pair: &Pair, now: Timestamp) -> bool {
    let left = now.until(pair.ends);
    let (names, until) = (pair.names().join(", "), pair.ends.iso());
    if left.is_zero() {
        tracing::error!(names, until, "the certificate has expired: apps refuse it; renew it");
    } else if pair.is_overdue(now) {
        tracing::warn!(
            names,
            until,
            days = left.as_secs() / 86_400,
            "the certificate should have been renewed by now"
        );
    } else {
        return false;
    }
    true
}
