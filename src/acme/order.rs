//! One order: the authority is asked for a certificate, asks back, and gives it.

use std::sync::Arc;
use std::time::Duration;

use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, ChallengeType, Error, Identifier, NewAccount, NewOrder,
    Order, OrderStatus, RetryPolicy, SuggestedWindow as Suggested,
};
use serde::{Deserialize, Serialize};

use super::Settings;
use super::cache::{ACCOUNT, Cache, CacheError};
use super::http::Client;
use super::window::{CertificateId, Window};
use crate::certificate::challenge::{Challenge, ChallengeError};
use crate::domain::Timestamp;

/// How long the authority has to look at the answers, and to make the certificate.
const PATIENCE: RetryPolicy =
    RetryPolicy::new().initial_delay(Duration::from_millis(500)).backoff(1.5).timeout(Duration::from_mins(2));

/// The type of the problem of an account that the authority does not know.
const UNKNOWN_ACCOUNT: &str = "urn:ietf:params:acme:error:accountDoesNotExist";

/// How the authority looks whether a name is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// In plain HTTP, on port 80.
    Http,
    /// In a handshake of TLS, on port 443.
    Tls,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// The authority refuses, cannot be reached, or answers nonsense.
    #[error("{reason}")]
    Authority {
        /// What it says.
        reason: String,
        /// How long it asks to wait.
        wait: Option<Duration>,
    },
    /// What is learned cannot be kept.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// An answer to the authority could not be made.
    #[error(transparent)]
    Challenge(#[from] ChallengeError),
}

/// An account, and with which authority.
#[derive(Serialize, Deserialize)]
struct Kept {
    directory: String,
    credentials: AccountCredentials,
}

/// Whoever orders.
pub(super) struct Orders {
    pub(super) settings: Settings,
    pub(super) cache: Arc<dyn Cache>,
}

impl Orders {
    /// Orders a certificate; `publish` makes the answers known to everybody who may be asked. Gives the key and the certificates
    /// in PEM.
    /// `replaced` is the certificate whose place it takes, where the authority wants to know: it may then count for no limit.
    pub(super) async fn order<P>(
        &self,
        kind: Kind,
        replaced: Option<&CertificateId>,
        publish: impl Fn(Vec<Challenge>) -> P,
    ) -> Result<String, OrderError>
    where
        P: Future<Output = Result<(), CacheError>>,
    {
        let http = Client::new(self.settings.root.as_deref())
            .map_err(|reason| OrderError::Authority { reason, wait: None })?;
        let told = |error: Error| OrderError::Authority { reason: words(&error), wait: http.wait() };
        let account = self.account(&http).await?;
        let names: Vec<_> = self.settings.domains.iter().cloned().map(Identifier::Dns).collect();
        let mut ordered = None;
        if let Some(replaced) = replaced.and_then(CertificateId::identifier) {
            // An authority that does not know it, or no longer, still makes a certificate.
            ordered = account.new_order(&NewOrder::new(&names).replaces(replaced)).await.ok();
        }
        let ordered = match ordered {
            Some(order) => Ok(order),
            None => account.new_order(&NewOrder::new(&names)).await,
        };
        if let Err(Error::Api(problem)) = &ordered
            && problem.r#type.as_deref() == Some(UNKNOWN_ACCOUNT)
        {
            // The next attempt makes another.
            self.cache.write(ACCOUNT, "")?;
        }
        let mut order = ordered.map_err(told)?;
        publish(asked(&mut order, kind).await?).await?;
        answer(&mut order, kind).await.map_err(told)?;
        if !matches!(order.poll_ready(&PATIENCE).await, Ok(OrderStatus::Ready)) {
            let reason = objection(&mut order).await;
            return Err(OrderError::Authority { reason, wait: http.wait() });
        }
        let key = order.finalize().await.map_err(told)?;
        let chain = order.poll_certificate(&PATIENCE).await.map_err(told)?;
        Ok(format!("{key}{chain}"))
    }

    /// When the authority wants a certificate renewed, and when to ask it again.
    pub(super) async fn look(&self, certificate: &CertificateId) -> Result<(Window, Duration), OrderError> {
        let http = Client::new(self.settings.root.as_deref())
            .map_err(|reason| OrderError::Authority { reason, wait: None })?;
        let told = |error: Error| OrderError::Authority { reason: words(&error), wait: http.wait() };
        let account = self.account(&http).await?;
        let Some(identifier) = certificate.identifier() else {
            return Err(told(Error::Str("no such certificate")));
        };
        let (info, wait) = account.renewal_info(&identifier).await.map_err(told)?;
        let instant = |seconds: i64| Timestamp::from_millis(seconds.saturating_mul(1000));
        let Suggested { start, end } = info.suggested_window;
        Ok((Window { start: instant(start.unix_timestamp()), end: instant(end.unix_timestamp()) }, wait))
    }

    /// The account that is kept, or a new one.
    async fn account(&self, http: &Client) -> Result<Account, OrderError> {
        let told = |error: Error| OrderError::Authority { reason: words(&error), wait: http.wait() };
        let directory = self.settings.directory.as_str();
        let kept = self.cache.read(ACCOUNT)?.and_then(|text| serde_json::from_str::<Kept>(&text).ok());
        let builder = Account::builder_with_http(Box::new(http.clone()));
        if let Some(kept) = kept.filter(|kept| kept.directory == directory) {
            return builder.from_credentials(kept.credentials).await.map_err(told);
        }
        let contact: Vec<_> =
            self.settings.contact.iter().map(|address| format!("mailto:{address}")).collect();
        let contact: Vec<_> = contact.iter().map(String::as_str).collect();
        let new =
            NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
        let (account, credentials) = builder.create(&new, directory.to_owned(), None).await.map_err(told)?;
        let kept = Kept { directory: directory.to_owned(), credentials };
        let text = serde_json::to_string(&kept)
            .map_err(|error| OrderError::Authority { reason: error.to_string(), wait: None })?;
        self.cache.write(ACCOUNT, &text)?;
        Ok(account)
    }
}

/// What the authority asks about each name that it does not know to be ours.
async fn asked(order: &mut Order, kind: Kind) -> Result<Vec<Challenge>, OrderError> {
    let told = |reason: String| OrderError::Authority { reason, wait: None };
    let mut open = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization.map_err(|error| told(words(&error)))?;
        if authorization.status != AuthorizationStatus::Pending {
            continue;
        }
        let Some(challenge) = authorization.challenge(kind.of_acme()) else {
            return Err(told(format!("the authority does not offer {}", kind.as_str())));
        };
        let domain = challenge.identifier().to_string();
        let answer = challenge.key_authorization();
        open.push(Challenge::new(&domain, &challenge.token, answer.as_str())?);
    }
    Ok(open)
}

/// Tells the authority that the answers are there.
async fn answer(order: &mut Order, kind: Kind) -> Result<(), Error> {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        if authorization.status == AuthorizationStatus::Pending
            && let Some(mut challenge) = authorization.challenge(kind.of_acme())
        {
            challenge.set_ready().await?;
        }
    }
    Ok(())
}

/// Why the authority does not think that the names are ours.
async fn objection(order: &mut Order) -> String {
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        let name = authorization.identifier().to_string();
        let Ok(state) = authorization.refresh().await else { continue };
        let problem = state.challenges.iter().find_map(|challenge| challenge.error.as_ref());
        if let Some(problem) = problem {
            let detail = problem.detail.as_deref().unwrap_or_default();
            return format!("{name} was not found to be ours: {detail}");
        }
    }
    "the authority did not make up its mind in time".to_owned()
}

fn words(error: &Error) -> String {
    match error {
        Error::Api(problem) => {
            let kind = problem.r#type.as_deref().unwrap_or_default();
            let kind = kind.rsplit(':').next().unwrap_or_default();
            format!("the authority refuses ({kind}): {}", problem.detail.as_deref().unwrap_or_default())
        }
        other => format!("the authority cannot be asked: {other}"),
    }
}

impl Kind {
    /// Its name in ACME.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http-01",
            Self::Tls => "tls-alpn-01",
        }
    }

    const fn of_acme(self) -> ChallengeType {
        match self {
            Self::Http => ChallengeType::Http01,
            Self::Tls => ChallengeType::TlsAlpn01,
        }
    }
}
