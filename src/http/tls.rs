//! TLS of the listener: one certificate for every name, which may be replaced while connections come in.

use std::io;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use hyper::header::HeaderValue;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::{Ticketer, default_provider};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::certificate::Pair;
use crate::certificate::challenge::Challenges;
use crate::clock::Clock;
use crate::http::log_throttle::LogThrottle;
use crate::sync::{read, write};

/// What a client and the server agree to speak, the first in common (RFC 7301).
const PROTOCOLS: [&[u8]; 2] = [HTTP2, b"http/1.1"];

/// What an authority speaks that looks whether a name is ours (RFC 8737).
pub(super) const ACME: &[u8] = b"acme-tls/1";

/// HTTP/2, as it is called there.
pub(super) const HTTP2: &[u8] = b"h2";

/// Minimum time between two log lines about a certificate that is not there.
const QUIET: Duration = Duration::from_mins(1);

/// TLS with the certificate of the moment.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    shown: Arc<Shown>,
    hsts: Option<HeaderValue>,
}

/// Why the parts of TLS do not fit together.
#[derive(Debug, thiserror::Error)]
#[error("TLS cannot be set up: {0}")]
pub struct TlsError(#[from] rustls::Error);

/// What is shown to clients.
struct Shown {
    pair: RwLock<Option<Pair>>,
    challenges: Option<Arc<Challenges>>,
    absent: LogThrottle,
}

impl Tls {
    /// With a certificate; or without one for a start, when handshakes fail but for those of an authority that asks about
    /// `challenges`.
    ///
    /// # Errors
    /// [`TlsError`]
    pub fn new(
        pair: Option<Pair>,
        challenges: Option<Arc<Challenges>>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, TlsError> {
        let asks = challenges.is_some().then_some(ACME);
        let absent = LogThrottle::every(QUIET, clock);
        let shown = Arc::new(Shown { pair: RwLock::new(pair), challenges, absent });
        let resolver: Arc<dyn ResolvesServerCert> = shown.clone();
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        config.alpn_protocols = PROTOCOLS.into_iter().chain(asks).map(<[u8]>::to_vec).collect();
        config.ticketer = Ticketer::new()?;
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), shown, hsts: None })
    }

    /// The same, with answers that tell browsers for how long to use TLS alone.
    #[must_use]
    pub fn with_hsts(self, age: Option<Duration>) -> Self {
        let hsts = age.and_then(|age| HeaderValue::from_str(&format!("max-age={}", age.as_secs())).ok());
        Self { hsts, ..self }
    }

    /// Shows another certificate from the next handshake on; connections that are there go on.
    pub fn adopt(&self, pair: Pair) {
        *write(&self.shown.pair) = Some(pair);
    }

    /// The certificate of the moment.
    pub fn pair(&self) -> Option<Pair> {
        read(&self.shown.pair).clone()
    }

    /// The header that tells browsers to use TLS alone.
    pub(super) const fn hsts(&self) -> Option<&HeaderValue> {
        self.hsts.as_ref()
    }

    /// Takes a connection through the handshake.
    pub(super) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
    ) -> io::Result<TlsStream<S>> {
        self.acceptor.accept(stream).await
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if let Some(challenges) = &self.challenges
            && hello
                .alpn()
                .is_some_and(|mut offered| offered.next() == Some(ACME) && offered.next().is_none())
        {
            return challenges.key(&hello.server_name()?.to_ascii_lowercase());
        }
        let key = read(&self.pair).as_ref().map(Pair::key);
        if key.is_none() && self.absent.should_log() {
            tracing::warn!("a client was turned away: there is no certificate yet");
        }
        key
    }
}

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Shown").field(&*read(&self.pair)).finish()
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Tls").field(&self.shown).finish()
    }
}
