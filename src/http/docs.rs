//! The description of the API, and a page to try it on.
//!
//! The page is Swagger UI, embedded whole: nothing comes from another host, and a policy of its own lets only its own
//! two scripts run.

use std::collections::HashMap;
use std::marker::PhantomData;

use data_encoding::BASE64;
use hyper::body::Bytes;
use poem::endpoint::{BoxEndpoint, make_sync};
use poem::http::Method;
use poem::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use poem::{Body, EndpointExt, Response};
use poem_openapi::registry::{MetaApi, MetaOperation, Registry};
use poem_openapi::{LicenseObject, OpenApi, OpenApiService};
use sha2::{Digest as _, Sha256};

use crate::http::rates::document_header;

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

/// Adds what is true of every operation, or of all that say nothing else.
fn complete(operation: &mut MetaOperation) {
    if operation.security.is_empty() {
        // Open to all, and said so: an operation that names no scheme might have forgotten to.
        operation.security.push(HashMap::new());
    }
    for response in &mut operation.responses.responses {
        let name =
            document_header("X-Request-Id", "The name of the request in the operator's log.", "string");
        response.headers.insert(0, name);
    }
}

fn service<T: OpenApi>() -> OpenApiService<Description<T>, ()> {
    OpenApiService::new(Description(PhantomData), "FreshK", env!("CARGO_PKG_VERSION"))
        .description("Phone login: a code by SMS, tokens for it.")
        .license(LicenseObject::new("MIT").url("https://opensource.org/license/mit"))
        .server("/")
}

/// The description of the API `T` as YAML: the same bytes in every run.
pub fn spec_yaml<T: OpenApi>() -> String {
    service::<T>().spec_yaml()
}

/// The description of the API `T` as JSON.
pub fn spec_json<T: OpenApi>() -> String {
    service::<T>().spec()
}

/// The three documents and their paths.
pub(super) fn endpoints<T: OpenApi>() -> [(&'static str, BoxEndpoint<'static>); 3] {
    let page = service::<T>().swagger_ui_html();
    let policy = policy(&page);
    [
        ("/docs", document(page, "text/html; charset=utf-8", Some(policy))),
        ("/openapi.json", document(spec_json::<T>(), "application/json; charset=utf-8", None)),
        ("/openapi.yaml", document(spec_yaml::<T>(), "application/yaml", None)),
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

/// The page's content security policy: its scripts by their hashes, calls to this host alone. Swagger UI writes styles
/// into the page as it goes, and its pictures are `data:` URLs.
fn policy(page: &str) -> String {
    let scripts: Vec<_> = scripts(page)
        .into_iter()
        .map(|script| format!("'sha256-{}'", BASE64.encode(&Sha256::digest(script.as_bytes()))))
        .collect();
    format!(
        "default-src 'none'; script-src {}; style-src 'unsafe-inline'; img-src 'self' data:; font-src data:; \
         connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        scripts.join(" ")
    )
}

/// The texts of the page's inline scripts.
fn scripts(page: &str) -> Vec<&str> {
    let (mut scripts, mut rest) = (Vec::new(), page);
    while let Some((_, tag)) = rest.split_once("<script")
        && let Some((_, text)) = tag.split_once('>')
        && let Some((script, after)) = text.split_once("</script>")
    {
        scripts.push(script);
        rest = after;
    }
    scripts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::tests::demo::Demo;

    #[test]
    fn paths_end_as_the_guide_writes_them_and_the_bytes_are_the_same_every_run() {
        let yaml = spec_yaml::<Demo>();
        assert!(yaml.contains("\n  /api/mobile/auth/echo/:\n"), "{yaml}");
        assert!(yaml.contains("\n  /api/mobile/auth/things/{id}/:\n"), "{yaml}");
        assert!((0..5).all(|_| spec_yaml::<Demo>() == yaml));
    }

    #[test]
    fn every_answer_is_documented_with_its_headers() {
        let spec: serde_json::Value = serde_json::from_str(&spec_json::<Demo>()).unwrap();
        let echo = &spec["paths"]["/api/mobile/auth/echo/"]["post"];
        let statuses: Vec<_> = echo["responses"].as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(statuses, ["200", "400", "401", "413", "415", "429", "500"]);
        let unauthorised = &echo["responses"]["401"];
        assert!(unauthorised["headers"]["WWW-Authenticate"].is_object());
        assert!(unauthorised["headers"]["X-Request-Id"].is_object());
        assert!(unauthorised["content"]["application/problem+json"].is_object());
        assert!(echo["responses"]["200"]["headers"]["RateLimit-Policy"].is_object());
        assert_eq!(
            unauthorised["content"]["application/json; charset=utf-8"]["schema"]["allOf"][1]["properties"]["code"]
                ["enum"],
            serde_json::json!(["not_authenticated", "token_invalid"])
        );
        assert_eq!(echo["requestBody"]["required"], true);
        assert_eq!(echo["security"], serde_json::json!([{"BearerToken": []}]));
        assert_eq!(spec["components"]["securitySchemes"]["BearerToken"]["scheme"], "bearer");
    }

    #[test]
    fn the_page_holds_two_scripts_and_nothing_from_elsewhere() {
        let page = service::<Demo>().swagger_ui_html();
        assert_eq!(scripts(&page).len(), 2);
        assert!(!page.contains("<link") && !page.contains(" src=\"http"));
        assert!(page.contains("/api/mobile/auth/echo/"));
        assert_eq!(policy(&page).matches("'sha256-").count(), 2);
    }
}
