//! The outermost layer of the API: what holds for every request and every response.
//!
//! Errors are checked in one order: flood, host, path and method, size, type; then the handler checks the token and parses
//! the body, and the flow applies its rules. Every error is JSON and carries the id of the request.

use std::mem;
use std::net::{IpAddr, Ipv4Addr};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use poem::http::{HeaderValue, Method};
use poem::{Endpoint, Request, Response, Result};
use poem_openapi::OpenApi;
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

use crate::clock::{Clock, Stopwatch};
use crate::domain::ClientAddress;
use crate::http::caller::RequestId;
use crate::http::client_ip::ClientIp;
use crate::http::error::{ApiError, ErrorCode, Form};
use crate::http::health::Readiness;
use crate::http::jwks::Jwks;
use crate::http::tally::Tally;
use crate::metrics::{Metrics, RouteMeter};
use crate::random::Random;

mod access;
mod cors;
mod fault;
pub(in crate::http) mod hosts;
mod intake;
mod proxy_id;
mod refusals;
mod routes;

use cors::Cors;
pub(super) use fault::Abandoned;
use fault::Fault;
pub(super) use hosts::Hosts;
use intake::Intake;
use refusals::Refusals;
use routes::{Operation, Routes};

/// Says how long an address that calls too fast has to wait; `None` lets it pass.
pub type FloodGuard = Arc<dyn Fn(ClientAddress) -> BoxFuture<'static, Option<Duration>> + Send + Sync>;

/// What the edge is told by the configuration.
#[derive(Clone, Debug)]
pub struct EdgeSettings {
    /// `debug`: this machine's own names are always allowed as hosts.
    pub debug: bool,
    /// `server.allowed_hosts`: names, `.example.com` for a domain and all below it, `*` for all; empty allows all.
    pub allowed_hosts: Vec<String>,
    /// `server.cors_origins`, as browsers send them.
    pub cors_origins: Vec<String>,
    /// `server.body_limit`, in bytes.
    pub body_limit: usize,
    /// `server.request_timeout`: a body that has not come by then never will.
    pub request_timeout: Duration,
    /// Bodies of one client that may be on their way at once.
    pub unfinished_bodies: usize,
    /// `docs.enabled`
    pub docs: bool,
    /// What stands before and behind the name in the paths of signed callbacks, without the last slash: a POST there is exempt
    /// from the host check, and from the flood guard once its signature was good, for its sender knows neither.
    pub callbacks: (&'static str, &'static str),
}

/// What the edge is handed by wiring.
pub struct EdgeParts {
    /// Draws the ids of requests.
    pub random: Arc<dyn Random>,
    /// The time, for counting refused requests by the minute.
    pub clock: Arc<dyn Clock>,
    /// Limits the requests per second of an address.
    pub flood: FloodGuard,
    /// Finds the client's address.
    pub client_ip: ClientIp,
    /// Answers `/health/ready`.
    pub readiness: Readiness,
    /// The public keys of tokens, where they are signed asymmetrically: served at `/.well-known/jwks.json`.
    pub jwks: Option<Jwks>,
    /// Counts.
    pub metrics: Metrics,
}

/// The peer's address, for requests that did not come through a socket.
#[derive(Clone, Copy, Debug)]
pub struct PeerAddress(pub IpAddr);

/// Puts the edge before what apps call (`api`) and what providers call (`callbacks`), and health and documents beside it.
/// Paths of both are whole (`prefix_path`), and the edge adds and removes the last slash. An error that the endpoint gives means: drop the connection.
pub fn assemble<T: OpenApi + 'static, C: OpenApi + 'static>(
    api: T,
    callbacks: C,
    parts: EdgeParts,
    settings: EdgeSettings,
) -> impl Endpoint<Output = Response> + 'static {
    Edge {
        routes: Routes::new((api, callbacks), parts.readiness, parts.jwks, &parts.metrics, &settings),
        unmatched: parts.metrics.route(access::UNKNOWN),
        metrics: parts.metrics,
        hosts: Hosts::new(&settings.allowed_hosts, settings.debug),
        cors: Cors::new(settings.cors_origins),
        intake: Intake {
            limit: settings.body_limit,
            timeout: settings.request_timeout,
            unfinished: Tally::new(settings.unfinished_bodies),
        },
        refusals: Refusals::new(parts.clock),
        callbacks: settings.callbacks,
        random: parts.random,
        flood: parts.flood,
        client_ip: parts.client_ip,
    }
}

struct Edge {
    routes: Routes,
    /// Counts what never reached a route.
    unmatched: RouteMeter,
    metrics: Metrics,
    hosts: Hosts,
    cors: Cors,
    intake: Intake,
    refusals: Refusals,
    callbacks: (&'static str, &'static str),
    random: Arc<dyn Random>,
    flood: FloodGuard,
    client_ip: ClientIp,
}

impl Endpoint for Edge {
    type Output = Response;

    async fn call(&self, mut request: Request) -> Result<Response> {
        let id = RequestId::draw(&*self.random);
        // At the highest level, so that whatever is logged is logged with the name.
        let span = tracing::error_span!("request", request_id = %id, proxy_request_id = Empty);
        self.answer(&mut request, id).instrument(span).await
    }
}

/// The request is handed on by reference: as a value it would have room in each future on its way, and all of them are on the heap
/// for every call.
impl Edge {
    async fn answer(&self, request: &mut Request, id: RequestId) -> Result<Response> {
        let watch = Stopwatch::start();
        let _in_flight = self.metrics.request_begins();
        self.refusals.sum_up();
        let form = Form::preferred(request.headers());
        let origin = self.cors.allowed(request.headers());
        let client = self.identify(request);
        let mut line = access::Line::new(request.method(), client, &self.unmatched);

        let passed = if origin.is_some() && cors::is_preflight(request) {
            // Before the flood guard: a page could not read its refusal, and would take it for a network that is down.
            Ok(cors::permission())
        } else {
            self.pass(request, &id, client, &mut line).await
        };
        let mut response = match passed {
            Ok(response) => response,
            Err(Fault::Told(error)) => {
                line.refuse(&error);
                error.render(&id, form)
            }
            Err(Fault::Abandoned) => {
                tracing::debug!(%client, route = line.route, "the body did not come; the connection is dropped");
                return Err(Abandoned.into());
            }
        };
        set_common_headers(&mut response, &id);
        self.cors.write(response.headers_mut(), origin);
        let (status, latency) = (response.status(), watch.elapsed());
        line.count(&self.metrics, status, latency);
        line.write(&self.refusals, status, latency);
        Ok(response)
    }

    /// Whose request it is; warns where a proxy does not say so as it should.
    fn identify(&self, request: &Request) -> ClientAddress {
        let (peer, headers) = (peer(request), request.headers());
        let client = self.client_ip.resolve(peer, headers);
        self.client_ip.watch(peer, client, headers, is_health(request.uri().path()));
        if self.client_ip.trusts(peer)
            && let Some(name) = proxy_id::read(headers)
        {
            Span::current().record("proxy_request_id", name);
        }
        client
    }

    /// Takes the request through every check to its handler.
    async fn pass<'a>(
        &'a self,
        request: &mut Request,
        id: &RequestId,
        client: ClientAddress,
        line: &mut access::Line<'a>,
    ) -> Result<Response, Fault> {
        let path = routes::without_slash(request.uri().path());
        if *request.method() == Method::POST && self.is_callback(path) {
            let answered = self.reach(request, id, client, line).await;
            return match answered {
                Ok(response) => Ok(response),
                Err(fault) => Err(self.charge(fault, client).await),
            };
        }
        if let Some(wait) = (self.flood)(client).await {
            return Err(ApiError::rate_limited(wait).into());
        }
        if !is_health(path) {
            self.hosts.admit(request.uri(), request.headers())?;
        }
        self.reach(request, id, client, line).await
    }

    /// Finds the handler, takes the body in, and calls.
    async fn reach<'a>(
        &'a self,
        request: &mut Request,
        id: &RequestId,
        client: ClientAddress,
        line: &mut access::Line<'a>,
    ) -> Result<Response, Fault> {
        let path = routes::without_slash(request.uri().path());
        let route = self.routes.find(path).ok_or(ErrorCode::NotFound)?;
        (line.route, line.meter) = (&route.template, &route.meter);
        let operation = route.operation(request.method())?;

        self.intake.take(request, operation, client).await?;
        request.set_data(id.clone());
        request.set_data(client);
        self.call(request, operation).await
    }

    fn is_callback(&self, path: &str) -> bool {
        let (before, behind) = self.callbacks;
        let name = path.strip_prefix(before).and_then(|rest| rest.strip_suffix(behind));
        name.is_some_and(|name| !name.contains('/'))
    }

    /// A callback is free of the flood guard only once its signature was good: what its sender did wrong counts like any
    /// other request, and is refused as one beyond the pace.
    async fn charge(&self, fault: Fault, client: ClientAddress) -> Fault {
        match &fault {
            Fault::Told(error) if error.code().status().is_client_error() => {
                (self.flood)(client).await.map_or(fault, |wait| ApiError::rate_limited(wait).into())
            }
            Fault::Told(_) | Fault::Abandoned => fault,
        }
    }

    /// Calls the handler; a panic ends the request, not the process (S32).
    async fn call(&self, request: &mut Request, operation: &Operation) -> Result<Response, Fault> {
        if request.method() == Method::HEAD {
            // The connection leaves the body out, and keeps its length (RFC 9110 §9.3.2).
            request.set_method(Method::GET);
        }
        let answering = self.routes.answer(operation, mem::take(request));
        match AssertUnwindSafe(answering).catch_unwind().await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(fault::read(&error)),
            // It has logged itself, with the request's name.
            Err(_) => Err(ErrorCode::InternalError.into()),
        }
    }
}

/// Headers common to every response.
fn set_common_headers(response: &mut Response, id: &RequestId) {
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(id.as_str()) {
        headers.insert("x-request-id", id);
    }
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    headers.entry("cache-control").or_insert(HeaderValue::from_static("no-store"));
}

/// Load balancers and the proxy itself ask there, without naming anybody and without our name.
fn is_health(path: &str) -> bool {
    path.starts_with("/health/")
}

fn peer(request: &Request) -> IpAddr {
    let injected = || request.data::<PeerAddress>().map(|peer| peer.0);
    request
        .remote_addr()
        .as_socket_addr()
        .map(std::net::SocketAddr::ip)
        .or_else(injected)
        .unwrap_or(Ipv4Addr::UNSPECIFIED.into())
}

#[cfg(test)]
mod tests;
