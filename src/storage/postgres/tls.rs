//! TLS to the server, by rustls: what `sslmode` asks it to prove.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme,
    StreamOwned,
};

use super::settings::{PostgresSettings, TlsMode};

/// An encrypted connection.
pub(super) type Encrypted = StreamOwned<ClientConnection, TcpStream>;

/// Encrypts connections.
#[derive(Clone)]
pub(super) struct Tls(Arc<ClientConfig>);

impl Tls {
    /// As the settings ask; a file of authorities is read now.
    ///
    /// # Errors
    /// What is wrong with that file.
    pub(super) fn new(settings: &PostgresSettings) -> Result<Self, String> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let roots = Arc::new(roots(settings.root_certificates.as_deref())?);
        let told = |error: &dyn Error| format!("TLS cannot be set up: {error}");
        let whole = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider))
            .build()
            .map_err(|error| told(&error))?;
        let verifier = Verifier { whole, mode: settings.tls };
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| told(&error))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        Ok(Self(Arc::new(config)))
    }

    /// Shakes hands with the server of a name or address.
    ///
    /// # Errors
    /// Why it is not to be believed, or does not answer.
    pub(super) fn encrypt(&self, host: &str, mut stream: TcpStream) -> io::Result<Encrypted> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let mut connection = ClientConnection::new(Arc::clone(&self.0), name).map_err(io::Error::other)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut stream)?;
        }
        Ok(StreamOwned::new(connection, stream))
    }
}

fn roots(file: Option<&Path>) -> Result<RootCertStore, String> {
    let Some(file) = file else {
        return Ok(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() });
    };
    let told = |error: &dyn Error| {
        format!("sslrootcert {}, a PEM file of authorities, cannot be used: {error}", file.display())
    };
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|error| told(&error))? {
        store.add(certificate.map_err(|error| told(&error))?).map_err(|error| told(&error))?;
    }
    if store.is_empty() {
        let none = io::Error::new(ErrorKind::InvalidData, "there is no certificate in it");
        return Err(told(&none));
    }
    Ok(store)
}

/// Demands as much of a certificate as libpq does in each mode. That the other end has its key is proven in all of them.
#[derive(Debug)]
struct Verifier {
    whole: Arc<WebPkiServerVerifier>,
    mode: TlsMode,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let judge = || self.whole.verify_server_cert(certificate, between, name, ocsp, now);
        match self.mode {
            TlsMode::Disable | TlsMode::Prefer | TlsMode::Require => Ok(ServerCertVerified::assertion()),
            TlsMode::VerifyCa => match judge() {
                // The chain is judged before the name.
                Err(rustls::Error::InvalidCertificate(
                    CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
                )) => Ok(ServerCertVerified::assertion()),
                judged => judged,
            },
            TlsMode::VerifyFull => judge(),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.whole.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.whole.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.whole.supported_verify_schemes()
    }
}
