//! A connection over TLS that is kept for some calls. Whose certificate it is, `tools/soak` looks by itself.

use std::io;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// How many calls a connection is kept for: people come and go.
const CALLS: u32 = 200;

/// Believes every certificate.
#[derive(Debug)]
struct Credulous(Arc<CryptoProvider>);

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Makes connections.
pub(crate) fn connector() -> TlsConnector {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
    let config = config.expect("the provider's versions").dangerous();
    let config = config.with_custom_certificate_verifier(Arc::new(Credulous(provider)));
    TlsConnector::from(Arc::new(config.with_no_client_auth()))
}

/// One connection.
pub(crate) struct Line {
    stream: TlsStream<TcpStream>,
    buffer: Vec<u8>,
    left: u32,
}

impl Line {
    pub(crate) async fn open(connector: &TlsConnector, address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from("localhost").expect("a name");
        let stream = connector.connect(name, stream).await?;
        Ok(Self { stream, buffer: Vec::with_capacity(4096), left: CALLS })
    }

    /// Whether another call may be made on it.
    pub(crate) const fn is_good(&self) -> bool {
        self.left > 0
    }

    /// Writes one call and reads its answer: status and body.
    pub(crate) async fn exchange(&mut self, call: &[u8]) -> io::Result<(u16, Vec<u8>)> {
        self.left = self.left.saturating_sub(1);
        self.stream.write_all(call).await?;
        self.stream.flush().await?;
        let head = loop {
            if let Some(at) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            self.fill().await?;
        };
        let text = String::from_utf8_lossy(&self.buffer[..head]).to_ascii_lowercase();
        let status = text[9..12].parse().expect("a status");
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let length = field("content-length:").map_or(0, |length| length.parse().expect("a length"));
        if field("connection:") == Some("close") {
            self.left = 0;
        }
        while self.buffer.len() < head + length {
            self.fill().await?;
        }
        let body = self.buffer[head..head + length].to_vec();
        self.buffer.drain(..head + length);
        Ok((status, body))
    }

    async fn fill(&mut self) -> io::Result<()> {
        if self.stream.read_buf(&mut self.buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }
}
