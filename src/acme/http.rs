//! Calls to the authority, by the client that makes all calls of this program. They block their thread.

use std::future::poll_fn;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Body as _;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use ureq::Agent;
use ureq::http::{Request, Response, header::RETRY_AFTER};

use crate::outgoing;
use crate::sync::lock;

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(10);

/// How long a whole call may take.
const WHOLE: Duration = Duration::from_secs(30);

/// No answer of an authority is longer, in bytes.
const ANSWER_CAP: u64 = 1024 * 1024;

/// Such a client.
#[derive(Clone)]
pub(super) struct Client {
    agent: Agent,
    /// What the latest refusal said about when to come again.
    wait: Arc<Mutex<Option<Duration>>>,
}

impl Client {
    /// One that believes the authorities in the file `root`, or those of the web.
    pub(super) fn new(root: Option<&Path>) -> Result<Self, String> {
        let settings = match root {
            None => outgoing::settings(CONNECT, WHOLE),
            Some(path) => outgoing::settings_with_root(path, CONNECT, WHOLE)
                .map_err(|error| format!("{}: {error}", path.display()))?,
        };
        Ok(Self { agent: outgoing::client(settings.build()), wait: Arc::default() })
    }

    /// How long the latest refusal asked to wait, if it did.
    pub(super) fn wait(&self) -> Option<Duration> {
        *lock(&self.wait)
    }

    async fn call(self, request: Request<BodyWrapper<Bytes>>) -> Result<BytesResponse, Error> {
        let (head, body) = request.into_parts();
        let body = collect(body).await;
        let failed = |error: ureq::Error| Error::Other(outgoing::words(&error).into());
        let answer = if body.is_empty() {
            self.agent.run(Request::from_parts(head, ()))
        } else {
            self.agent.run(Request::from_parts(head, body))
        };
        let answer = answer.map_err(failed)?;
        self.note(&answer);
        let (parts, mut body) = answer.into_parts();
        let bytes = body.with_config().limit(ANSWER_CAP).read_to_vec().map_err(failed)?;
        Ok(BytesResponse { parts, body: Box::new(Bytes::from(bytes)) })
    }

    fn note<B>(&self, answer: &Response<B>) {
        let asked = || answer.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok();
        let is_refusal = answer.status().is_client_error() || answer.status().is_server_error();
        *lock(&self.wait) = if is_refusal { asked().map(Duration::from_secs) } else { None };
    }
}

impl HttpClient for Client {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        Box::pin(self.clone().call(request))
    }
}

/// The bytes of a body that is there as a whole.
async fn collect(mut body: BodyWrapper<Bytes>) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        bytes.extend(frame.into_data().unwrap_or_default());
    }
    bytes
}
