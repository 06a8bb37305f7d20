//! When a certificate is ordered: when its authority wants it, else once a third of its time is left, and after a failure later
//! and later. How attempts went is kept: a server that is started again and again must not spend what the authority allows.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Settings;
use super::cache::{ATTEMPTS, AUTHORITY, CERTIFICATE, CHALLENGES, Cache, CacheError, WINDOW};
use super::order::{Kind, OrderError, Orders};
use super::window::{self, CertificateId, Kept, Window};
use crate::certificate::challenge::{Challenge, Challenges};
use crate::certificate::{Pair, PairError};
use crate::domain::Timestamp;

/// The wait after the first failure; each further one doubles it. Authorities allow a name some five failures an hour.
const FIRST_WAIT: Duration = Duration::from_mins(2);

/// The longest wait, unless the authority asks for more.
const LONGEST_WAIT: Duration = Duration::from_hours(6);

/// No authority is believed that asks for more.
const LONGEST_ASKED: Duration = Duration::from_hours(48);

/// How long other servers have to learn the answers before the authority may ask them.
const SPREAD: Duration = Duration::from_secs(25);

/// How the latest attempts went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Attempts {
    /// Failures since the last certificate.
    failures: u32,
    /// Unix milliseconds before which there is no other attempt.
    not_before: i64,
}

impl Attempts {
    /// With one more that failed, after which the authority `asked` for a time.
    fn failed(self, now: Timestamp, asked: Option<Duration>) -> Self {
        let not_before = (now + wait(self.failures, asked)).as_millis();
        Self { failures: self.failures.saturating_add(1), not_before }
    }
}

/// What there is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Nothing now.
    Rest,
    /// The authority is to be asked when it wants this certificate renewed.
    Look(CertificateId),
    /// A certificate is to be ordered, and the authority is to look in this way.
    Order(Kind),
}

/// Keeps a certificate fresh.
pub struct Renewal {
    orders: Orders,
    challenges: Arc<Challenges>,
    /// How the authority may look, the first one first.
    kinds: Vec<Kind>,
    /// The same as in [`Attempts`], for where nothing can be kept.
    held: AtomicI64,
}

impl Renewal {
    /// Orders by these settings, and answers with `challenges`; there is at least one of `kinds`.
    pub fn new(
        settings: Settings,
        cache: Arc<dyn Cache>,
        challenges: Arc<Challenges>,
        kinds: Vec<Kind>,
    ) -> Self {
        Self { orders: Orders { settings, cache }, challenges, kinds, held: AtomicI64::new(i64::MIN) }
    }

    /// The certificate that is kept there, as its text.
    ///
    /// # Errors
    /// [`CacheError`]
    pub fn kept_in(cache: &dyn Cache) -> Result<Option<String>, CacheError> {
        cache.read(CERTIFICATE)
    }

    /// The same; `before` is what was kept at the last look, of which nothing is given.
    ///
    /// # Errors
    /// [`CacheError`]
    pub fn kept(&self, before: Option<&str>) -> Result<Option<String>, CacheError> {
        Ok(Self::kept_in(self.cache())?.filter(|text| Some(text.as_str()) != before))
    }

    /// Reads a text that was kept.
    ///
    /// # Errors
    /// [`PairError`]
    pub fn parse(text: &str) -> Result<Pair, PairError> {
        Pair::parse(text.as_bytes(), text.as_bytes())
    }

    /// Takes over what another server has to answer the authority with.
    ///
    /// # Errors
    /// [`CacheError`]
    pub fn follow(&self) -> Result<(), CacheError> {
        if !self.cache().is_shared() {
            return Ok(());
        }
        let text = self.cache().read(CHALLENGES)?.unwrap_or_default();
        let open: Vec<[String; 3]> = serde_json::from_str(&text).unwrap_or_default();
        let is_new = |[_, token, _]: &[String; 3]| self.challenges.answer(token).is_none();
        if open.is_empty() || open.iter().any(is_new) {
            let made =
                open.iter().filter_map(|[domain, token, answer]| Challenge::new(domain, token, answer).ok());
            self.challenges.set(made.collect());
        }
        Ok(())
    }

    /// What is to be done, with the certificate of the moment.
    ///
    /// # Errors
    /// [`CacheError`]
    pub fn turn(&self, pair: Option<&Pair>, now: Timestamp) -> Result<Turn, CacheError> {
        let settings = &self.orders.settings;
        let is_ours = |pair: &&Pair| settings.domains.iter().all(|domain| pair.covers(domain));
        if let Some(pair) = pair.filter(is_ours)
            && self.cache().read(AUTHORITY)?.as_deref() == Some(settings.directory.as_str())
        {
            let certificate = CertificateId::of(pair);
            let kept = self.window(certificate.as_ref())?;
            if !window::is_due(pair, kept.as_ref(), now) {
                let is_stale = kept.is_none_or(|kept| kept.is_stale(now));
                return Ok(certificate.filter(|_| is_stale).map_or(Turn::Rest, Turn::Look));
            }
        }
        let attempts = self.attempts()?;
        let not_before = attempts.not_before.max(self.held.load(Ordering::Relaxed));
        if now.as_millis() < not_before || !self.cache().lease(now)? {
            return Ok(Turn::Rest);
        }
        // The way that has just failed is not the next one.
        let next = usize::try_from(attempts.failures).unwrap_or_default() % self.kinds.len().max(1);
        Ok(self.kinds.get(next).map_or(Turn::Rest, |kind| Turn::Order(*kind)))
    }

    /// Asks the authority when it wants a certificate renewed, and keeps that; gives what is new. Blocks its thread while it
    /// calls.
    ///
    /// # Errors
    /// [`OrderError`], also where the authority says nothing of the kind.
    pub async fn look(
        &self,
        certificate: &CertificateId,
        now: Timestamp,
    ) -> Result<Option<Window>, OrderError> {
        let before = self.window(Some(certificate))?;
        // Kept before it is asked, so that one who cannot be asked is not asked again and again.
        let next = Kept::untold(certificate.clone(), before.clone(), now);
        self.keep_window(&next)?;
        let (window, wait) = self.orders.look(certificate).await?;
        let kept = Kept::told(certificate.clone(), window, wait, now);
        self.keep_window(&kept)?;
        let known = before.and_then(|before| before.window());
        Ok(kept.window().filter(|window| Some(*window) != known))
    }

    /// What the authority has said of this certificate.
    fn window(&self, certificate: Option<&CertificateId>) -> Result<Option<Kept>, CacheError> {
        let Some(certificate) = certificate else { return Ok(None) };
        let kept = self.cache().read(WINDOW)?.and_then(|text| serde_json::from_str::<Kept>(&text).ok());
        Ok(kept.filter(|kept| kept.is_of(certificate)))
    }

    fn keep_window(&self, kept: &Kept) -> Result<(), CacheError> {
        self.cache().write(WINDOW, &serde_json::to_string(kept).unwrap_or_default())
    }

    /// The certificate that the next one replaces, if its authority speaks of renewals.
    fn replaced(&self) -> Option<CertificateId> {
        let pair = Self::parse(&self.cache().read(CERTIFICATE).ok()??).ok()?;
        let certificate = CertificateId::of(&pair)?;
        self.window(Some(&certificate)).ok()??.window().map(|_| certificate)
    }

    /// Orders a certificate and keeps it. Blocks its thread while it calls.
    ///
    /// # Errors
    /// [`OrderError`], and how long there is no other attempt.
    pub async fn order(&self, kind: Kind, now: Timestamp) -> Result<(), (OrderError, Duration)> {
        let attempts = self.attempts().unwrap_or_default();
        // It counts as a failure until it is none: what ends halfway, by a panic or a kill, must not be begun again and again,
        // and neither must what cannot be kept.
        let begun = attempts.failed(now, None);
        self.hold_until(Timestamp::from_millis(begun.not_before));
        if let Err(error) = self.note(&begun) {
            self.hold_until(now + FIRST_WAIT);
            return Err((error.into(), FIRST_WAIT));
        }
        let replaced = self.replaced();
        let ordered = self.orders.order(kind, replaced.as_ref(), |open| self.publish(open)).await;
        drop(self.publish(Vec::new()).await);
        let kept = match ordered {
            Ok(text) => self.keep(&text).map_err(OrderError::from),
            Err(error) => Err(error),
        };
        let (attempts, outcome) = match kept {
            Ok(()) => {
                self.held.store(i64::MIN, Ordering::Relaxed);
                (Attempts::default(), Ok(()))
            }
            Err(error) => {
                let asked = match &error {
                    OrderError::Authority { wait, .. } => *wait,
                    OrderError::Cache(_) | OrderError::Challenge(_) => None,
                };
                self.hold_until(now + wait(attempts.failures, asked));
                (attempts.failed(now, asked), Err((error, wait(attempts.failures, asked))))
            }
        };
        let noted = self.note(&attempts);
        // Another server that finds it taken waits for its end.
        drop(self.cache().release());
        if let (Err(error), Ok(())) = (noted, &outcome) {
            self.hold_until(now + FIRST_WAIT);
            return Err((error.into(), FIRST_WAIT));
        }
        outcome
    }

    /// Keeps a certificate, and whose it is.
    fn keep(&self, text: &str) -> Result<(), CacheError> {
        self.cache().write(CERTIFICATE, text)?;
        self.cache().write(AUTHORITY, self.orders.settings.directory.as_str())
    }

    fn note(&self, attempts: &Attempts) -> Result<(), CacheError> {
        self.cache().write(ATTEMPTS, &serde_json::to_string(attempts).unwrap_or_default())
    }

    /// Orders nothing before, even where that cannot be kept.
    fn hold_until(&self, instant: Timestamp) {
        self.held.store(instant.as_millis(), Ordering::Relaxed);
    }

    /// Makes the answers known, also to other servers.
    async fn publish(&self, open: Vec<Challenge>) -> Result<(), CacheError> {
        let is_over = open.is_empty();
        let parts: Vec<_> = open.iter().map(Challenge::parts).collect();
        let text = serde_json::to_string(&parts).unwrap_or_default();
        self.challenges.set(open);
        if !self.cache().is_shared() {
            return Ok(());
        }
        self.cache().write(CHALLENGES, &text)?;
        if !is_over {
            tokio::time::sleep(SPREAD).await;
        }
        Ok(())
    }

    fn attempts(&self) -> Result<Attempts, CacheError> {
        Ok(self.cache().read(ATTEMPTS)?.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
    }

    fn cache(&self) -> &dyn Cache {
        &*self.orders.cache
    }
}

/// How long to wait after so many failures and one more, if the authority `asked` for a time.
fn wait(failures: u32, asked: Option<Duration>) -> Duration {
    let own = FIRST_WAIT.saturating_mul(2_u32.saturating_pow(failures.min(16))).min(LONGEST_WAIT);
    own.max(asked.unwrap_or_default().min(LONGEST_ASKED))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acme::cache::{ACCOUNT, Folder};
    use crate::domain::HttpUrl;
    use std::fs;

    const DIRECTORY: &str = "https://acme.example.com/directory";

    fn renewal(path: &std::path::Path, domains: &[&str]) -> Renewal {
        let settings = Settings {
            domains: domains.iter().map(|&domain| domain.to_owned()).collect(),
            contact: Vec::new(),
            directory: HttpUrl::parse(DIRECTORY).unwrap(),
            root: None,
        };
        let cache = Arc::new(Folder::new(path.join("acme")));
        Renewal::new(settings, cache, Arc::default(), vec![Kind::Http, Kind::Tls])
    }

    fn pair(names: &[&str]) -> Pair {
        let names = names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        Renewal::parse(&format!("{}{}", made.signing_key.serialize_pem(), made.cert.pem())).unwrap()
    }

    #[test]
    fn attempts_come_later_and_later_and_as_late_as_the_authority_asks() {
        let minutes = |failures| wait(failures, None).as_secs() / 60;
        assert_eq!([0, 1, 2, 3, 4, 20].map(minutes), [2, 4, 8, 16, 32, 360]);
        let within_an_hour: u64 = (0..5).map(minutes).sum();
        assert!(within_an_hour >= 60, "five failures take more than an hour: {within_an_hour}");
        assert_eq!(wait(0, Some(Duration::from_hours(1))), Duration::from_hours(1));
        assert_eq!(wait(0, Some(Duration::from_hours(9999))), LONGEST_ASKED);
        assert_eq!(wait(20, Some(Duration::from_secs(1))), LONGEST_WAIT);
    }

    #[test]
    fn a_certificate_is_ordered_when_there_is_none_for_these_names_of_this_authority_that_holds_long_enough()
    {
        let dir = tempfile::tempdir().unwrap();
        let (renewal, good) =
            (renewal(dir.path(), &["a.example", "b.example"]), pair(&["a.example", "b.example"]));
        let now = good.begins;
        let order = Turn::Order(Kind::Http);
        assert_eq!(renewal.turn(None, now).unwrap(), order);
        assert_eq!(renewal.turn(Some(&good), now).unwrap(), order, "nobody knows of which authority it is");
        let account = |directory: &str| {
            let credentials = r#"{"id":"i","key_pkcs8":"AAAA","directory":"d"}"#;
            let text = format!(r#"{{"directory":"{directory}","credentials":{credentials}}}"#);
            renewal.cache().write(ACCOUNT, &text).unwrap();
        };
        account(DIRECTORY);
        assert_eq!(renewal.turn(Some(&good), now).unwrap(), order, "an account is no certificate");
        let authority = |directory: &str| renewal.cache().write(AUTHORITY, directory).unwrap();
        authority(DIRECTORY);
        assert_eq!(renewal.turn(Some(&good), now).unwrap(), Turn::Rest);
        assert_eq!(renewal.turn(Some(&pair(&["a.example"])), now).unwrap(), order, "a name is missing");
        let third = good.begins.until(good.ends) / 3;
        assert_eq!(renewal.turn(Some(&good), good.ends - third).unwrap(), order, "a third is left");
        authority("https://acme-staging.example.com/directory");
        assert_eq!(renewal.turn(Some(&good), now).unwrap(), order, "it is another authority's");
    }

    #[test]
    fn after_a_failure_the_other_way_is_tried_when_its_time_has_come() {
        let dir = tempfile::tempdir().unwrap();
        let renewal = renewal(dir.path(), &["a.example"]);
        let now = Timestamp::from_millis(1_767_225_600_000);
        let later = now + Duration::from_mins(2);
        renewal
            .cache()
            .write(ATTEMPTS, &format!(r#"{{"failures":1,"not_before":{}}}"#, later.as_millis()))
            .unwrap();
        assert_eq!(renewal.turn(None, now).unwrap(), Turn::Rest);
        assert_eq!(renewal.turn(None, later).unwrap(), Turn::Order(Kind::Tls));
        renewal.cache().write(ATTEMPTS, "nonsense").unwrap();
        assert_eq!(renewal.turn(None, now).unwrap(), Turn::Order(Kind::Http));
    }

    #[tokio::test]
    async fn where_nothing_can_be_kept_nobody_is_asked_again_and_again() {
        let dir = tempfile::tempdir().unwrap();
        let renewal = renewal(dir.path(), &["a.example"]);
        // A file has the name of the folder.
        fs::write(dir.path().join("acme"), "").unwrap();
        let now = Timestamp::from_millis(1_767_225_600_000);
        let (error, wait) = renewal.order(Kind::Http, now).await.unwrap_err();
        assert!(matches!(error, OrderError::Cache(_)) && wait == FIRST_WAIT, "{error}");
        fs::remove_file(dir.path().join("acme")).unwrap();
        assert_eq!(renewal.turn(None, now + Duration::from_secs(3)).unwrap(), Turn::Rest);
        assert_eq!(renewal.turn(None, now + FIRST_WAIT).unwrap(), Turn::Order(Kind::Http));
    }

    #[tokio::test]
    async fn an_authority_that_is_dead_for_twenty_days_is_asked_later_and_later() {
        let dir = tempfile::tempdir().unwrap();
        let mut renewal = renewal(dir.path(), &["a.example"]);
        // Nobody listens there.
        renewal.orders.settings.directory = HttpUrl::parse("https://127.0.0.1:9/directory").unwrap();
        let good = pair(&["a.example"]);
        let (mut now, mut asked) = (good.ends - Duration::from_hours(30 * 24), 0);
        while now < good.ends - Duration::from_hours(10 * 24) {
            if let Turn::Order(kind) = renewal.turn(Some(&good), now).unwrap() {
                let (error, _) = renewal.order(kind, now).await.unwrap_err();
                assert!(error.to_string().contains("cannot be asked"), "{error}");
                asked += 1;
            }
            now = now + Duration::from_mins(30);
        }
        assert!((80..100).contains(&asked), "{asked}");
    }
}
