//! The descriptions of the API, and a page to try it on.

use std::collections::HashMap;
use std::marker::PhantomData;

use hyper::body::Bytes;
use poem::endpoint::{BoxEndpoint, make_sync};
use poem::http::Method;
use poem::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use poem::{Body, EndpointExt, Response};
use poem_openapi::registry::{MetaApi, MetaOperation, Registry};
use poem_openapi::{LicenseObject, OpenApi, OpenApiService};
use serde_json::Value;

use crate::http::rates::document_header;

pub(super) mod answer;
mod finish;
mod page;

/// The API `T` as it is published: every path with the slash that the guide writes, every answer with its name.
/// poem-openapi takes that slash away, in routing and in its document.
struct Description<T>(PhantomData<fn() -> T>);

impl<T: OpenApi> OpenApi for Description<T> {
    fn meta() -> Vec<MetaApi> {
        let mut apis = T::meta();
        for path in apis.iter_mut().flat_map(|api| &mut api.paths) {
            if !path.path.ends_with('/') {
                path.path.push('/');
            }
            path.operations.iter_mut().for_each(complete);
        }
        apis
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    /// A description answers nothing.
    fn add_routes(self, _: &mut HashMap<String, HashMap<Method, BoxEndpoint<'static>>>) {}
}

/// Adds what is true of every operation.
fn complete(operation: &mut MetaOperation) {
    for response in &mut operation.responses.responses {
        let name =
            document_header("X-Request-Id", "The name of the request in the operator's log.", "string");
        response.headers.insert(0, name);
    }
}

/// The description of an API.
#[derive(Debug)]
pub struct Document(Value);

impl Document {
    /// What apps call.
    pub fn of_api<T: OpenApi>() -> Self {
        Self::new::<T>("FreshK", "Phone login: a code by SMS, tokens for it.")
    }

    /// What providers call: it has nothing for whoever writes an app.
    pub fn of_callbacks<T: OpenApi>() -> Self {
        Self::new::<T>("FreshK callbacks", "How the provider of SMS reports what became of a message.")
    }

    fn new<T: OpenApi>(title: &str, description: &str) -> Self {
        let service = OpenApiService::new(Description::<T>(PhantomData), title, env!("CARGO_PKG_VERSION"))
            .description(description)
            .license(LicenseObject::new("MIT").url("https://opensource.org/license/mit"))
            .server("/");
        // What was written just now can be read.
        let mut document = serde_json::from_str(&service.spec()).unwrap_or_default();
        finish::finish(&mut document);
        Self(document)
    }

    /// As YAML: the same bytes in every run.
    pub fn yaml(&self) -> String {
        serde_yaml::to_string(&self.0).unwrap_or_default()
    }

    /// As JSON.
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(&self.0).unwrap_or_default()
    }
}

/// The page, and the documents of what apps call (`T`) and of what providers call (`C`), each with its path.
pub(super) fn endpoints<T: OpenApi, C: OpenApi>() -> [(&'static str, BoxEndpoint<'static>); 4] {
    let (page, api) = (page::page(), Document::of_api::<T>());
    let (policy, callbacks) = (page::policy(&page), Document::of_callbacks::<C>());
    [
        ("/docs", document(page, "text/html; charset=utf-8", Some(policy))),
        ("/openapi.json", document(api.json(), "application/json; charset=utf-8", None)),
        ("/openapi.yaml", document(api.yaml(), "application/yaml", None)),
        ("/openapi-callbacks.json", document(callbacks.json(), "application/json; charset=utf-8", None)),
    ]
}

fn document(text: String, media_type: &'static str, policy: Option<String>) -> BoxEndpoint<'static> {
    let text = Bytes::from(text);
    make_sync(move |_| {
        let mut response =
            Response::builder().header(CONTENT_TYPE, media_type).header(CACHE_CONTROL, "no-cache");
        if let Some(policy) = &policy {
            response = response.header(CONTENT_SECURITY_POLICY, policy);
        }
        response.body(Body::from_bytes(text.clone()))
    })
    .boxed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::tests::demo::Demo;
    use serde_json::json;

    fn spec() -> serde_json::Value {
        serde_json::from_str(&Document::of_api::<Demo>().json()).unwrap()
    }

    #[test]
    fn paths_end_as_the_guide_writes_them_and_the_bytes_are_the_same_every_run() {
        let yaml = Document::of_api::<Demo>().yaml();
        assert!(yaml.contains("\n  /api/mobile/auth/echo/:\n"), "{yaml}");
        assert!(yaml.contains("\n  /api/mobile/auth/things/{id}/:\n"), "{yaml}");
        assert!((0..5).all(|_| Document::of_api::<Demo>().yaml() == yaml));
    }

    #[test]
    fn every_answer_is_documented_with_its_headers() {
        let spec = spec();
        let echo = &spec["paths"]["/api/mobile/auth/echo/"]["post"];
        let statuses: Vec<_> = echo["responses"].as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(statuses, ["200", "400", "401", "413", "415", "429", "500"]);
        let unauthorised = &echo["responses"]["401"];
        let header = |name: &str| json!({ "$ref": format!("#/components/headers/{name}") });
        assert_eq!(unauthorised["headers"]["WWW-Authenticate"], header("WWW-Authenticate"));
        assert_eq!(unauthorised["headers"]["X-Request-Id"], header("X-Request-Id"));
        assert_eq!(echo["responses"]["200"]["headers"]["RateLimit-Policy"], header("RateLimit-Policy"));
        for name in ["WWW-Authenticate", "X-Request-Id", "RateLimit-Policy", "RateLimit", "Retry-After"] {
            assert!(spec["components"]["headers"][name]["schema"]["type"].is_string(), "{name}");
        }
        assert_eq!(echo["requestBody"]["required"], true);
        assert_eq!(echo["security"], json!([{"BearerToken": []}]));
        assert_eq!(spec["components"]["securitySchemes"]["BearerToken"]["scheme"], "bearer");
    }

    #[test]
    fn failures_share_one_schema_and_each_has_its_words_and_an_example() {
        let spec = spec();
        let unauthorised = &spec["paths"]["/api/mobile/auth/echo/"]["post"]["responses"]["401"];
        assert_eq!(
            unauthorised["description"],
            "The token is missing, not valid or expired: `not_authenticated`, `token_invalid`"
        );
        for (media_type, schema) in
            [("application/json", "ErrorBody"), ("application/problem+json", "ProblemDetails")]
        {
            let content = &unauthorised["content"][media_type];
            assert_eq!(content["schema"], json!({ "$ref": format!("#/components/schemas/{schema}") }));
            let schema = &spec["components"]["schemas"][schema];
            if content["example"].is_object() {
                let members: Vec<_> = content["example"].as_object().unwrap().keys().collect();
                for required in schema["required"].as_array().unwrap() {
                    assert!(members.contains(&&required.as_str().unwrap().to_owned()), "{required}");
                }
            }
            assert_eq!(schema["properties"]["code"], json!({ "$ref": "#/components/schemas/ErrorCode" }));
        }
        assert_eq!(unauthorised["content"]["application/json"]["example"]["code"], "not_authenticated");
        let words = spec["components"]["schemas"]["ErrorCode"]["enum"].as_array().unwrap();
        assert_eq!(words.len(), crate::http::ErrorCode::ALL.len());
    }
}
