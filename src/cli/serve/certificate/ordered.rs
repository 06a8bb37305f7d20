//! A certificate that an authority is asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;

use crate::acme::{CacheError, Kind, Renewal, Turn};
use crate::certificate::Pair;
use crate::certificate::challenge::Challenges;
use crate::cli::acme;
use crate::config::Config;
use crate::config::tls::Acme;
use crate::domain::Timestamp;
use crate::domain::time::humanize_wait;
use crate::http::tls::Tls;

/// How often a folder is looked at.
const ROUND: Duration = Duration::from_secs(3);

/// How often a database is.
const SHARED_ROUND: Duration = Duration::from_secs(12);

/// The certificate that was shown last, and how another comes about.
pub(super) struct Ordered {
    renewal: Arc<Renewal>,
    names: String,
    pub(super) round: Duration,
    /// The text of the certificate in force.
    text: Option<String>,
    /// Whether the last look failed.
    is_failing: bool,
    is_busy: Arc<AtomicBool>,
}

impl Ordered {
    pub(super) fn new(config: &Config, acme: &Acme, challenges: Arc<Challenges>) -> Self {
        let cache = acme::cache(config, acme);
        let round = if cache.is_shared() { SHARED_ROUND } else { ROUND };
        let plain = config.server.tls.redirect_listen.map(|_| Kind::Http);
        let kinds = plain.into_iter().chain([Kind::Tls]).collect();
        let names = acme.settings.domains.join(", ");
        let renewal = Arc::new(Renewal::new(acme.settings.clone(), cache, challenges, kinds));
        Self { renewal, names, round, text: None, is_failing: false, is_busy: Arc::default() }
    }

    /// Takes over what is kept, and orders another where that is due.
    pub(super) fn look(&mut self, tls: &Tls, now: Timestamp) {
        let looked = self.take(tls).and_then(|()| self.order(tls.pair().as_ref(), now));
        if let Err(error) = &looked
            && !self.is_failing
        {
            tracing::error!(%error, "the certificate that is kept cannot be looked at; the one in force stays");
        }
        self.is_failing = looked.is_err();
    }

    fn take(&mut self, tls: &Tls) -> Result<(), CacheError> {
        self.renewal.follow()?;
        let Some(text) = self.renewal.kept(self.text.as_deref())? else { return Ok(()) };
        match Renewal::parse(&text) {
            Ok(pair) => {
                super::told(&pair);
                tls.adopt(pair);
            }
            Err(error) => {
                tracing::error!(%error, "the certificate that is kept cannot be used; another is ordered");
            }
        }
        self.text = Some(text);
        Ok(())
    }

    fn order(&self, pair: Option<&Pair>, now: Timestamp) -> Result<(), CacheError> {
        let Some(busy) = Busy::begin(&self.is_busy) else { return Ok(()) };
        let (renewal, names, runtime) = (self.renewal.clone(), self.names.clone(), Handle::current());
        // Both call and wait, an order for minutes.
        match self.renewal.turn(pair, now)? {
            Turn::Rest => {}
            Turn::Look(certificate) => drop(Handle::current().spawn_blocking(move || {
                let _busy = busy;
                match runtime.block_on(renewal.look(&certificate, now)) {
                    Ok(Some(window)) => tracing::info!(
                        names,
                        from = window.start.iso(),
                        until = window.end.iso(),
                        "the authority has said when it wants the certificate renewed"
                    ),
                    Ok(None) => {}
                    Err(error) => {
                        tracing::debug!(names, %error, "the authority does not say when to renew the certificate");
                    }
                }
            })),
            Turn::Order(kind) => drop(Handle::current().spawn_blocking(move || {
                let _busy = busy;
                tracing::info!(names, by = kind.as_str(), "a certificate is being ordered");
                match runtime.block_on(renewal.order(kind, now)) {
                    Ok(()) => tracing::info!(names, "the authority has given a certificate"),
                    Err((error, wait)) => tracing::warn!(
                        names,
                        %error,
                        next = format!("in {}", humanize_wait(wait)),
                        "no certificate was given; what there is stays in force"
                    ),
                }
            })),
        }
        Ok(())
    }
}

/// The only one to call the authority, as long as it lives: it ends with its task, also with one that panics.
struct Busy(Arc<AtomicBool>);

impl Busy {
    /// Nothing while another one lives.
    fn begin(is_busy: &Arc<AtomicBool>) -> Option<Self> {
        (!is_busy.swap(true, Ordering::Relaxed)).then(|| Self(is_busy.clone()))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_that_panics_lets_the_next_one_begin() {
        let is_busy = Arc::<AtomicBool>::default();
        let busy = Busy::begin(&is_busy).unwrap();
        assert!(Busy::begin(&is_busy).is_none());
        let task = std::thread::spawn(move || {
            let _busy = busy;
            panic!("as an order may");
        });
        assert!(task.join().is_err());
        assert!(Busy::begin(&is_busy).is_some());
    }
}
