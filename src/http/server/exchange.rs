//! One request and its answer, as the endpoint takes and gives them.

use std::io;
use std::sync::Arc;

use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{HOST, HeaderValue, STRICT_TRANSPORT_SECURITY};
use poem::{Endpoint, IntoResponse as _, Request, Response};

use super::leaving::{self, Rest};
use super::listener::Ends;
use super::stalls::Turns;
use crate::http::edge::Abandoned;

/// The body of an answer.
pub(super) trait Answer: Body<Data = Bytes, Error = io::Error> + Send + 'static {}

impl<B: Body<Data = Bytes, Error = io::Error> + Send + 'static> Answer for B {}

/// What the requests of a connection have in common.
pub(super) struct Exchange<E> {
    pub(super) endpoint: Arc<E>,
    pub(super) ends: Ends,
    pub(super) turns: Turns,
    pub(super) hsts: Option<HeaderValue>,
}

impl<E> Clone for Exchange<E> {
    fn clone(&self) -> Self {
        Self {
            endpoint: self.endpoint.clone(),
            ends: self.ends.clone(),
            turns: self.turns.clone(),
            hsts: self.hsts.clone(),
        }
    }
}

impl<E: Endpoint + 'static> Exchange<E> {
    /// Answers one request; it is our turn until the answer is there.
    pub(super) fn answer(
        self,
        request: hyper::Request<Incoming>,
    ) -> impl Future<Output = Result<hyper::Response<impl Answer>, Abandoned>> + Send {
        let turn = self.turns.ours();
        let answer = answer(self, request);
        async move {
            let answer = answer.await;
            drop(turn);
            answer
        }
    }
}

/// One request; an error drops the connection, or in HTTP/2 the request alone, without an answer.
async fn answer<E: Endpoint>(
    exchange: Exchange<E>,
    request: hyper::Request<Incoming>,
) -> Result<hyper::Response<impl Answer>, Abandoned> {
    let Exchange { endpoint, ends, turns, hsts } = exchange;
    let (request, rest) = received(request, ends, &turns);
    let mut response: Response = match endpoint.call(request).await {
        Ok(answer) => answer.into_response(),
        Err(error) => match error.downcast::<Abandoned>() {
            Ok(abandoned) => return Err(abandoned),
            Err(error) => error.into_response(),
        },
    };
    if let Some(rest) = rest {
        rest.read().await;
    }
    if let Some(hsts) = hsts {
        response.headers_mut().insert(STRICT_TRANSPORT_SECURITY, hsts);
    }
    Ok(response.into())
}

/// A request as the endpoint takes it. In HTTP/1.1 it is noted for the end of the connection whether its body was read to the end;
/// in HTTP/2 what was not read of it is given.
fn received(mut request: hyper::Request<Incoming>, ends: Ends, turns: &Turns) -> (Request, Option<Rest>) {
    name_host(&mut request);
    let is_shared = request.version() == hyper::Version::HTTP_2;
    let has_body = !request.body().is_end_stream();
    turns.set_body_owed(has_body);
    let mut request = Request::from((request, ends.local, ends.remote, ends.scheme));
    if has_body && is_shared {
        let (body, rest) = Rest::of(request.take_body());
        request.set_body(body);
        return (request, Some(rest));
    }
    if has_body {
        let (body, turns) = (request.take_body(), turns.clone());
        request.set_body(leaving::watched(body, move || turns.set_body_owed(false)));
    }
    (request, None)
}

/// HTTP/2 has the host in the target (RFC 9113 §8.3.1): whoever asks for it reads `Host`, as in HTTP/1.1.
fn name_host<B>(request: &mut hyper::Request<B>) {
    if request.version() == hyper::Version::HTTP_2
        && !request.headers().contains_key(HOST)
        && let Some(authority) = request.uri().authority()
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        request.headers_mut().insert(HOST, host);
    }
}
