//! Every path and its methods, read from the API's own description: so 404 and 405 are told before anything is read,
//! with `Allow`, and the log knows a path by its template.

use std::collections::HashMap;

use poem::endpoint::BoxEndpoint;
use poem::http::uri::PathAndQuery;
use poem::http::{Method, Uri};
use poem::{IntoEndpoint as _, Request};
use poem_openapi::registry::MetaOperation;
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
    endpoints: Vec<BoxEndpoint<'static>>,
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
    endpoint: usize,
}

/// The place of the API among the endpoints.
const API: usize = 0;

impl Routes {
    pub(super) fn new<T: OpenApi + 'static, C: OpenApi + 'static>(
        (api, callbacks): (T, C),
        readiness: Readiness,
        jwks: Option<Jwks>,
        metrics: &Metrics,
        settings: &EdgeSettings,
    ) -> Self {
        let service = OpenApiService::new((api, callbacks), "FreshK", env!("CARGO_PKG_VERSION"));
        let mut routes = Self {
            exact: HashMap::new(),
            patterns: Vec::new(),
            endpoints: vec![service.into_endpoint()],
            metrics: metrics.clone(),
        };
        for path in <(T, C)>::meta().into_iter().flat_map(|api| api.paths) {
            let path_text = without_slash(&path.path);
            let operations = path.operations.iter().map(operation).collect();
            routes.insert(path_text, &format!("{path_text}/"), operations);
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

    pub(super) fn endpoint(&self, operation: &Operation) -> &BoxEndpoint<'static> {
        &self.endpoints[operation.endpoint]
    }

    fn plain(&mut self, path: &str, endpoint: BoxEndpoint<'static>) {
        let operation = Operation { reads: Vec::new(), endpoint: self.endpoints.len() };
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

fn operation(meta: &MetaOperation) -> (Method, Operation) {
    let content = meta.request.iter().flat_map(|request| &request.content);
    let reads = content.map(|content| essence(content.content_type)).collect();
    (meta.method.clone(), Operation { reads, endpoint: API })
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
pub(super) fn trim_uri(request: &mut Request) {
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
        Self { reads: vec![media_type], endpoint: API }
    }
}
