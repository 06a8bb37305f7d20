//! Counts over several servers in Redis or Valkey.
//!
//! The answer to a call never waits for it longer than a few milliseconds, and while it is down not at all. Keys are keyed hashes,
//! which name nobody, and each has an end. What is read is believed only if a server can have written it.

use std::sync::Arc;
use std::time::Duration;

use ::redis::Cmd;
use data_encoding::HEXLOWER;
use futures_util::future::{BoxFuture, FutureExt as _};

use super::flood::Pace;
use super::shared::{GOOD_FOR, SharedLimits, SharedRefusal};
use crate::domain::keys::DerivedKeys;
use crate::domain::quota::{Limit, Quota};
use crate::domain::{ClientAddress, Timestamp};
use crate::metrics::Metrics;

mod circuit;
mod settings;
#[cfg(test)]
mod tests;

use circuit::Circuit;
pub use circuit::probe;
pub use settings::CacheSettings;

/// A cache that the servers of one database share.
pub struct RedisLimits {
    circuit: Arc<Circuit>,
    keys: DerivedKeys,
}

impl RedisLimits {
    /// Connects in the background, and again whenever the connection is lost; must be called within a runtime.
    pub fn start(settings: &CacheSettings, keys: DerivedKeys, metrics: Metrics) -> Arc<Self> {
        Arc::new(Self { circuit: Circuit::start(settings, metrics), keys })
    }

    /// The key under which something is kept of whomever `name` names.
    fn key(&self, kind: &str, name: &str) -> String {
        format!("freshk:{kind}:{}", HEXLOWER.encode(&self.keys.cache_hash(&format!("{kind} {name}"))))
    }
}

impl SharedLimits for RedisLimits {
    fn pace(&self, address: ClientAddress, pace: Pace) -> BoxFuture<'_, Option<Duration>> {
        let key = self.key("pace", &address.counted().to_string());
        async move {
            let micros = self.circuit.ask(&circuit::pace(&key, pace)).await?;
            let wait = circuit::wait(micros, pace);
            if wait.is_none() {
                self.circuit.lose(circuit::NONSENSE);
            }
            wait.filter(|wait| !wait.is_zero())
        }
        .boxed()
    }

    fn refusal<'a>(
        &'a self,
        quota: Quota,
        subject: &'a str,
        limit: Limit,
        now: Timestamp,
    ) -> BoxFuture<'a, Option<SharedRefusal>> {
        let key = self.key(quota.as_str(), subject);
        async move {
            let text: Option<Vec<u8>> = self.circuit.ask(Cmd::new().arg("GET").arg(key)).await?;
            parse(&text?).filter(|refusal| refusal.holds(limit, now))
        }
        .boxed()
    }

    fn tell(&self, quota: Quota, subject: &str, refusal: SharedRefusal) {
        let lives = refusal.asked.until(refusal.until).min(GOOD_FOR).as_millis().max(1);
        let mut set = Cmd::new();
        set.arg("SET").arg(self.key(quota.as_str(), subject)).arg(text(refusal));
        set.arg("PX").arg(lives.to_string());
        let circuit = Arc::clone(&self.circuit);
        tokio::spawn(async move {
            let _told: Option<String> = circuit.ask(&set).await;
        });
    }
}

fn text(refusal: SharedRefusal) -> String {
    format!("{} {}", refusal.until.as_millis(), refusal.asked.as_millis())
}

fn parse(text: &[u8]) -> Option<SharedRefusal> {
    /// Digits of an instant, for some thousand years.
    const DIGITS: usize = 14;
    let (until, asked) = std::str::from_utf8(text).ok()?.split_once(' ')?;
    let at = |digits: &str| {
        let is_number = digits.len() <= DIGITS && digits.bytes().all(|digit| digit.is_ascii_digit());
        is_number.then(|| digits.parse().ok().map(Timestamp::from_millis))?
    };
    Some(SharedRefusal { until: at(until)?, asked: at(asked)? })
}
