//! The same listener with TLS, and HTTP/2 on it.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme, SupportedProtocolVersion, version,
};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::certificate::Pair;
use crate::certificate::challenge::{Challenge, Challenges};

/// A certificate for the host `a`, and a client that believes it alone.
fn made() -> (Pair, Arc<RootCertStore>) {
    let made = rcgen::generate_simple_self_signed(["a".to_owned()]).unwrap();
    let pair = Pair::parse(made.cert.pem().as_bytes(), made.signing_key.serialize_pem().as_bytes()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(made.cert.pem().as_bytes()).unwrap()).unwrap();
    (pair, Arc::new(roots))
}

fn tls(pair: Option<Pair>) -> Tls {
    let tls = Tls::new(pair, None, Arc::new(ManualClock::new())).unwrap();
    tls.with_hsts(Some(Duration::from_hours(1)))
}

async fn connect(
    server: &Running,
    roots: &Arc<RootCertStore>,
    version: &'static SupportedProtocolVersion,
    protocol: &[u8],
) -> io::Result<TlsStream<TcpStream>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[version]).unwrap();
    let mut config = config.with_root_certificates(roots.clone()).with_no_client_auth();
    config.alpn_protocols =
        [protocol].into_iter().filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect();
    let connector = TlsConnector::from(Arc::new(config));
    within(connector.connect(ServerName::try_from("a").unwrap(), server.connect().await)).await
}

/// A client of HTTP/2, and its connection.
async fn client<B>(
    server: &Running,
    roots: &Arc<RootCertStore>,
) -> (SendRequest<B>, JoinHandle<hyper::Result<()>>)
where
    B: Body<Data = Bytes, Error = Infallible> + Send + Unpin + 'static,
{
    let stream = connect(server, roots, &version::TLS13, b"h2").await.unwrap();
    let (client, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    (client, tokio::spawn(connection))
}

fn get(url: &str) -> Request<String> {
    Request::get(url).body(String::new()).unwrap()
}

fn slow() -> Request<String> {
    Request::post("https://a/api/mobile/auth/slow/").body(String::new()).unwrap()
}

fn status<B>(answer: &Response<B>) -> u16 {
    answer.status().as_u16()
}

/// A body that never comes.
struct Never;

impl Body for Never {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Pending
    }
}

#[tokio::test]
async fn s43_both_versions_of_tls_are_spoken_and_answers_tell_browsers_to_stay_with_it() {
    let (pair, roots) = made();
    let server = start_with(SETTINGS, Some(tls(Some(pair))));
    for version in [&version::TLS12, &version::TLS13] {
        for protocol in [b"" as &[u8], b"http/1.1"] {
            let mut stream = connect(&server, &roots, version, protocol).await.unwrap();
            for _ in 0..2 {
                stream.write_all(LIVE).await.unwrap();
                let (head, _) = answer(&mut stream).await;
                assert!(head.starts_with("HTTP/1.1 200"), "{head}");
                assert!(head.contains("strict-transport-security: max-age=3600\r\n"), "{head}");
            }
        }
    }
}

#[tokio::test]
async fn s43_http_2_is_answered_several_at_once_and_for_our_hosts_alone() {
    let (pair, roots) = made();
    let server = start_with(SETTINGS, Some(tls(Some(pair))));
    let (mut client, _connection) = client(&server, &roots).await;
    let answers: Vec<_> = (0..5).map(|_| client.send_request(slow())).collect();
    within(server.entered.acquire_many(5)).await.unwrap().forget();
    let live = within(client.send_request(get("https://a/health/live"))).await.unwrap();
    assert_eq!((status(&live), live.version()), (200, hyper::Version::HTTP_2));
    assert!(live.headers().contains_key("strict-transport-security"));
    server.gate.add_permits(5);
    for answer in answers {
        assert_eq!(status(&within(answer).await.unwrap()), 200);
    }
    let foreign = within(client.send_request(get("https://b/docs"))).await.unwrap();
    assert_eq!(status(&foreign), 400, "the host is in the target");
}

#[tokio::test]
async fn s40_a_handshake_has_its_time_and_counts_as_a_connection() {
    let (pair, roots) = made();
    let settings =
        ServerSettings { request_timeout: Duration::from_millis(300), max_connections: 1, ..SETTINGS };
    let server = start_with(settings, Some(tls(Some(pair))));
    let mut silent = server.connect().await;
    // It waits for the one place until the silent one is given up.
    let mut next = connect(&server, &roots, &version::TLS13, b"").await.unwrap();
    assert_eq!(rest(&mut silent).await, b"");
    next.write_all(LIVE).await.unwrap();
    assert!(answer(&mut next).await.0.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn s43_what_is_sent_in_clear_gets_no_answer_of_http() {
    let (pair, _) = made();
    let server = start_with(SETTINGS, Some(tls(Some(pair))));
    let mut stream = server.connect().await;
    stream.write_all(LIVE).await.unwrap();
    let told = rest(&mut stream).await;
    assert!(told.first() != Some(&b'H'), "{told:?}");
}

#[tokio::test]
async fn s43_without_a_certificate_nobody_is_served_and_with_one_everybody() {
    let (pair, roots) = made();
    let tls = tls(None);
    let server = start_with(SETTINGS, Some(tls.clone()));
    assert!(connect(&server, &roots, &version::TLS13, b"").await.is_err());
    tls.adopt(pair);
    assert!(connect(&server, &roots, &version::TLS13, b"").await.is_ok());
}

#[tokio::test]
async fn in_http_2_a_body_that_does_not_come_costs_its_own_request_alone() {
    let (pair, roots) = made();
    let settings = ServerSettings { request_timeout: Duration::from_millis(200), ..SETTINGS };
    let server = start_with(settings, Some(tls(Some(pair))));
    let (mut client, _connection) = client(&server, &roots).await;
    for _ in 0..2 {
        let request = Request::post("https://a/api/mobile/auth/echo/").header("authorization", "Bearer t");
        let request = request.header("content-type", "application/json").body(Never).unwrap();
        assert!(within(client.send_request(request)).await.is_err(), "the request is given up");
    }
    assert!(!client.is_closed(), "the connection goes on");
}

#[tokio::test]
async fn in_http_2_a_connection_that_rests_too_long_is_closed_also_after_a_withdrawn_request() {
    let (pair, roots) = made();
    let settings = ServerSettings { keepalive_timeout: Duration::from_millis(100), ..SETTINGS };
    let server = start_with(settings, Some(tls(Some(pair))));
    let (mut asked, connection) = client(&server, &roots).await;
    assert_eq!(status(&within(asked.send_request(get("https://a/health/live"))).await.unwrap()), 200);
    drop(within(connection).await.unwrap());
    assert!(asked.is_closed());

    let (mut withdrawn, connection) = client(&server, &roots).await;
    let request = withdrawn.send_request(slow());
    let request = tokio::spawn(request);
    within(server.entered.acquire()).await.unwrap().forget();
    request.abort();
    drop(within(connection).await.unwrap());
}

#[tokio::test]
async fn s32_shutdown_lets_requests_of_http_2_finish() {
    let (pair, roots) = made();
    let server = start_with(SETTINGS, Some(tls(Some(pair))));
    let (mut busy, connection) = client(&server, &roots).await;
    let request = tokio::spawn(busy.send_request(slow()));
    within(server.entered.acquire()).await.unwrap().forget();
    server.stop.send(()).unwrap();
    server.gate.add_permits(1);
    assert_eq!(status(&within(request).await.unwrap().unwrap()), 200);
    drop(within(connection).await.unwrap());
    within(server.served).await.unwrap();
}

#[tokio::test]
async fn s32_a_phone_that_is_asleep_on_http_2_does_not_hold_a_shutdown_up() {
    let (pair, roots) = made();
    let hour = Duration::from_hours(1);
    let settings = ServerSettings { keepalive_timeout: hour, shutdown_timeout: hour, ..SETTINGS };
    let server = start_with(settings, Some(tls(Some(pair))));
    let stream = connect(&server, &roots, &version::TLS13, b"h2").await.unwrap();
    let (mut client, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let mut connection = std::pin::pin!(connection);
    let answer = tokio::select! {
        answer = client.send_request(get("https://a/health/live")) => answer.unwrap(),
        _ = &mut connection => panic!("the connection ended"),
    };
    assert_eq!(status(&answer), 200);
    // From here on nothing of it is read or answered.
    server.stop.send(()).unwrap();
    within(server.served).await.unwrap();
    drop((client, connection));
}

#[tokio::test]
async fn s43_an_authority_sees_the_answer_to_its_question_and_gets_no_further() {
    let (pair, _) = made();
    let challenges = Arc::new(Challenges::default());
    let tls = Tls::new(Some(pair), Some(challenges.clone()), Arc::new(ManualClock::new())).unwrap();
    let server = start_with(SETTINGS, Some(tls));
    let asked = |domain: &'static str| {
        let config =
            ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
        let config = config.with_safe_default_protocol_versions().unwrap();
        let config = config.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
        let mut config = config;
        config.dangerous().set_certificate_verifier(Arc::new(Anybody));
        config.alpn_protocols = vec![b"acme-tls/1".to_vec()];
        let (connector, stream) = (TlsConnector::from(Arc::new(config)), server.connect());
        async move { within(connector.connect(ServerName::try_from(domain).unwrap(), stream.await)).await }
    };
    assert!(asked("a").await.is_err(), "nothing is asked now");
    let answer = "token.thumbprint";
    challenges.set(vec![Challenge::new("a", "token", answer).unwrap()]);
    assert_eq!(challenges.answer("token").as_deref(), Some(answer));
    assert_eq!(challenges.answer("other"), None);
    let mut stream = asked("a").await.unwrap();
    let shown = stream.get_ref().1.peer_certificates().unwrap()[0].clone();
    let digest = <sha2::Sha256 as sha2::Digest>::digest(answer);
    assert!(
        shown.windows(digest.len()).any(|bytes| bytes == &digest[..]),
        "the answer is in the certificate"
    );
    drop(stream.write_all(LIVE).await);
    assert_eq!(rest(&mut stream).await, b"");
    assert!(asked("b").await.is_err(), "of that name nothing is asked");
    challenges.set(Vec::new());
    assert!(asked("a").await.is_err(), "the question is over");
}

/// Whatever certificate is shown is good, as to an authority that looks for an answer in it.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
