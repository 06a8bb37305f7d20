//! Every path and its methods, read from the API's own description: so 404 and 405 are told before anything is read,
//! with `Allow`, and the log knows a path by its template.

use std::collections::HashMap;
use std::marker::PhantomData;

use futures_util::future::BoxFuture;
use poem::endpoint::{BoxEndpoint, DynEndpoint};
use poem::http::uri::PathAndQuery;
use poem::http::{Method, Uri};
use poem::{IntoEndpoint as _, Request, Response, Result};
use poem_openapi::registry::{MetaApi, MetaOperation, MetaOperationParam, MetaParamIn, MetaPath, Registry};
use poem_openapi::{OpenApi, OpenApiService};

use super::EdgeSettings;
use crate::http::error::ApiError;
use crate::http::health::Readiness;
use crate::http::jwks::{self, Jwks};
use crate::http::{docs, health};
use crate::metrics::{Metrics, RouteMeter};

/// All that can be reached.
pub(super) struct Routes {
    exact: HashMap<String, Route>,
    patterns: Vec<Route>,
    /// Those that are called directly.
    endpoints: Vec<BoxEndpoint<'static>>,
    /// Poem's own, for operations that read something from their path, or behind its `?`.
    router: BoxEndpoint<'static>,
    metrics: Metrics,
}

/// One path.
pub(super) struct Route {
    /// As it is published, `/api/mobile/auth/sessions/{id}/`.
    pub(super) template: String,
    pub(super) meter: RouteMeter,
    operations: Vec<(Method, Operation)>,
    allow: String,
}

/// One method of a path.
#[derive(Clone, Debug)]
pub(super) struct Operation {
    /// The types of body that it reads; none if it reads no body.
    pub(super) reads: Vec<&'static str>,
    /// Its place among the endpoints; `None` where poem's router has it.
    endpoint: Option<usize>,
}

/// Endpoints by path and method.
type Table = HashMap<String, HashMap<Method, BoxEndpoint<'static>>>;

/// What poem's router serves of an API.
struct Routed<A> {
    table: Table,
    api: PhantomData<A>,
}

impl<A: OpenApi> OpenApi for Routed<A> {
    fn meta() -> Vec<MetaApi> {
        A::meta()
    }

    fn register(registry: &mut Registry) {
        A::register(registry);
    }

    fn add_routes(self, table: &mut Table) {
        table.extend(self.table);
    }
}

impl Routes {
    pub(super) fn new<T: OpenApi + 'static, C: OpenApi + 'static>(
        (api, callbacks): (T, C),
        readiness: Readiness,
        jwks: Option<Jwks>,
        metrics: &Metrics,
        settings: &EdgeSettings,
    ) -> Self {
        let (mut table, mut paths, mut endpoints) = (Table::new(), Vec::new(), Vec::new());
        (api, callbacks).add_routes(&mut table);
        for path in <(T, C)>::meta().into_iter().flat_map(|api| api.paths) {
            let methods = table.get_mut(&path.path);
            let operations = operations(&path, methods, &mut endpoints);
            paths.push((without_slash(&path.path).to_owned(), operations));
        }
        let rest = Routed { table, api: PhantomData::<(T, C)> };
        let mut routes = Self {
            exact: HashMap::new(),
            patterns: Vec::new(),
            endpoints,
            router: OpenApiService::new(rest, "FreshK", env!("CARGO_PKG_VERSION")).into_endpoint(),
            metrics: metrics.clone(),
        };
        for (path, operations) in paths {
            routes.insert(&path, &format!("{path}/"), operations);
        }
        routes.plain("/health/live", health::live());
        routes.plain("/health/ready", health::ready(readiness));
        if let Some(keys) = jwks {
            routes.plain("/.well-known/jwks.json", jwks::endpoint(keys));
        }
        if settings.docs {
            for (path, endpoint) in docs::endpoints::<T, C>() {
                routes.plain(path, endpoint);
            }
        }
        routes
    }

    /// The route of a path without its last slash.
    pub(super) fn find(&self, path: &str) -> Option<&Route> {
        self.exact.get(path).or_else(|| self.patterns.iter().find(|route| route.matches(path)))
    }

    /// What answers a request of an operation.
    pub(super) fn answer(
        &self,
        operation: &Operation,
        mut request: Request,
    ) -> BoxFuture<'_, Result<Response>> {
        let endpoint = if let Some(place) = operation.endpoint {
            &self.endpoints[place]
        } else {
            trim_uri(&mut request);
            &self.router
        };
        DynEndpoint::call(&**endpoint, request)
    }

    fn plain(&mut self, path: &str, endpoint: BoxEndpoint<'static>) {
        let operation = Operation { reads: Vec::new(), endpoint: Some(self.endpoints.len()) };
        self.endpoints.push(endpoint);
        self.insert(path, path, vec![(Method::GET, operation)]);
    }

    fn insert(&mut self, path: &str, template: &str, operations: Vec<(Method, Operation)>) {
        let mut allow: Vec<_> = operations.iter().map(|(method, _)| method.as_str()).collect();
        if allow.contains(&"GET") {
            allow.push("HEAD");
        }
        allow.sort_unstable();
        let meter = self.metrics.route(template);
        let route = Route { template: template.to_owned(), meter, allow: allow.join(", "), operations };
        if path.contains('{') {
            self.patterns.push(route);
        } else {
            self.exact.insert(path.to_owned(), route);
        }
    }
}

impl Route {
    /// The operation behind a method; HEAD is GET without its body.
    pub(super) fn operation(&self, method: &Method) -> Result<&Operation, ApiError> {
        let method = if *method == Method::HEAD { &Method::GET } else { method };
        self.operations
            .iter()
            .find_map(|(each, operation)| (each == method).then_some(operation))
            .ok_or_else(|| ApiError::method_not_allowed(self.allow.clone()))
    }

    fn matches(&self, path: &str) -> bool {
        let mut segments = path.split('/');
        let matched = without_slash(&self.template).split('/').all(|pattern| {
            segments.next().is_some_and(|segment| {
                if pattern.starts_with('{') { !segment.is_empty() } else { segment == pattern }
            })
        });
        matched && segments.next().is_none()
    }
}

/// The operations of a path. Those that read nothing from the path itself nor behind its `?` are taken out of `methods` and put to
/// `endpoints`: they are found here, and a second search would copy the request for each of its steps.
fn operations(
    path: &MetaPath,
    mut methods: Option<&mut HashMap<Method, BoxEndpoint<'static>>>,
    endpoints: &mut Vec<BoxEndpoint<'static>>,
) -> Vec<(Method, Operation)> {
    let operation = |meta: &MetaOperation| {
        let content = meta.request.iter().flat_map(|request| &request.content);
        let reads = content.map(|content| essence(content.content_type)).collect();
        let is_routed = |param: &MetaOperationParam| {
            matches!(param.in_type, MetaParamIn::Path | MetaParamIn::Query | MetaParamIn::Cookie)
        };
        let own = if meta.params.iter().any(is_routed) { None } else { methods.as_mut() };
        let endpoint = own.and_then(|methods| methods.remove(&meta.method)).map(|endpoint| {
            endpoints.push(endpoint);
            endpoints.len() - 1
        });
        (meta.method.clone(), Operation { reads, endpoint })
    };
    path.operations.iter().map(operation).collect()
}

/// A media type without its parameters.
fn essence(media_type: &'static str) -> &'static str {
    media_type.split(';').next().unwrap_or(media_type).trim_end()
}

/// A path without its last slash: both forms answer, and nothing redirects.
pub(super) fn without_slash(path: &str) -> &str {
    path.strip_suffix('/').unwrap_or(path)
}

/// Takes the last slash away from the request's target, for the framework routes without it.
fn trim_uri(request: &mut Request) {
    let uri = request.uri();
    if uri.path().len() < 2 || !uri.path().ends_with('/') {
        return;
    }
    let path = without_slash(uri.path());
    let target = uri.query().map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
    if let Ok(target) = PathAndQuery::try_from(target) {
        *request.uri_mut() = Uri::from(target);
    }
}

#[cfg(test)]
impl Operation {
    pub(super) fn reading(media_type: &'static str) -> Self {
        Self { reads: vec![media_type], endpoint: None }
    }
}
