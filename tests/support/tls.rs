//! Certificates and a client for TLS.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use freshk::clock::{Clock as _, SystemClock};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// The host of these tests.
pub(crate) const HOST: &str = "api.example.com";

/// A certificate of its own authority, and its key.
pub(crate) struct Made {
    pub(crate) cert: String,
    pub(crate) key: String,
}

impl Made {
    /// For `host`, until so many days from now.
    pub(crate) fn until(host: &str, days: i64) -> Self {
        let mut params = rcgen::CertificateParams::new([host.to_owned()]).unwrap();
        let now = SystemClock::new().now().as_secs();
        let date = |days: i64| {
            let day = jiff::Timestamp::from_second(now + days * 86_400).unwrap();
            let day = day.to_zoned(jiff::tz::TimeZone::UTC).date();
            rcgen::date_time_ymd(
                i32::from(day.year()),
                day.month().cast_unsigned(),
                day.day().cast_unsigned(),
            )
        };
        (params.not_before, params.not_after) = (date(days - 90), date(days));
        let key = rcgen::KeyPair::generate().unwrap();
        let cert = params.self_signed(&key).unwrap();
        Self { cert: cert.pem(), key: key.serialize_pem() }
    }

    /// For the host of these tests.
    pub(crate) fn fresh() -> Self {
        Self::until(HOST, 80)
    }

    /// Writes both files as a deploy hook does: each at once, one after the other.
    pub(crate) fn write(&self, folder: &Path) {
        for (name, text) in [("key.pem", &self.key), ("cert.pem", &self.cert)] {
            let draft = folder.join("draft");
            fs::write(&draft, text).unwrap();
            fs::rename(draft, folder.join(name)).unwrap();
        }
    }
}

/// A client that believes these certificates.
pub(crate) fn client<'a>(believed: impl IntoIterator<Item = &'a Made>, protocol: &[u8]) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    for made in believed {
        roots.add(CertificateDer::from_pem_slice(made.cert.as_bytes()).unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    config.alpn_protocols =
        [protocol].into_iter().filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect();
    TlsConnector::from(Arc::new(config))
}

/// Makes one call on a connection of its own; gives what was answered.
pub(crate) async fn call(
    client: &TlsConnector,
    address: SocketAddr,
    head: &str,
    body: &str,
) -> io::Result<String> {
    let called = async {
        let stream = TcpStream::connect(address).await?;
        let mut stream = client.connect(ServerName::try_from(HOST).unwrap(), stream).await?;
        let length = body.len();
        let request = format!(
            "{head} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    };
    tokio::time::timeout(Duration::from_secs(30), called).await.map_err(|_| io::ErrorKind::TimedOut)?
}
