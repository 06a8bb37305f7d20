//! The descriptions of the API. `openapi.yaml` is held against the code: `UPDATE_GENERATED=1 cargo test --test generated`
//! rewrites it. What generators of clients need of a description is held here too.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::BTreeSet;
use std::fs;

use freshk::api::{CallbacksApi, DebugApi, ProductionApi};
use freshk::http::docs::Document;
use serde_json::Value;

#[test]
fn openapi_yaml_is_what_the_program_serves() {
    let generated = Document::of_api::<ProductionApi>().yaml();
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        fs::write("openapi.yaml", &generated).unwrap();
    }
    let committed = fs::read_to_string("openapi.yaml").unwrap_or_default();
    assert!(
        committed == generated,
        "openapi.yaml differs from the code: run UPDATE_GENERATED=1 cargo test --test generated"
    );
}

fn documents() -> [Value; 2] {
    let read = |document: Document| serde_json::from_str(&document.json()).unwrap();
    [read(Document::of_api::<DebugApi>()), read(Document::of_callbacks::<CallbacksApi>())]
}

/// Every operation, with its method and path.
fn operations(document: &Value) -> Vec<(String, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    paths
        .iter()
        .flat_map(|(path, methods)| {
            let methods = methods.as_object().unwrap().iter();
            methods.map(move |(method, operation)| (format!("{method} {path}"), operation))
        })
        .collect()
}

fn is_text(value: &Value) -> bool {
    value.as_str().is_some_and(|text| !text.is_empty())
}

#[test]
fn every_operation_and_answer_has_a_description_and_an_example() {
    for document in documents() {
        let has_example = |media_type: &Value| {
            let schema = media_type["schema"]["$ref"].as_str().unwrap().rsplit('/').next().unwrap();
            !media_type["example"].is_null()
                || !document["components"]["schemas"][schema]["example"].is_null()
        };
        for (name, operation) in operations(&document) {
            for text in ["summary", "description", "operationId"] {
                assert!(is_text(&operation[text]), "{name}: {text}");
            }
            assert!(operation["security"].is_array(), "{name}: who may call");
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                assert!(is_text(&parameter["description"]), "{name}: {parameter}");
                assert!(!parameter["schema"]["example"].is_null(), "{name}: {parameter}");
            }
            for media_type in operation["requestBody"]["content"].as_object().into_iter().flatten() {
                assert!(has_example(media_type.1), "{name}: {media_type:?}");
            }
            for (status, answer) in operation["responses"].as_object().unwrap() {
                assert!(is_text(&answer["description"]), "{name}: {status}");
                for (media_type, content) in answer["content"].as_object().into_iter().flatten() {
                    // It has the members of the plain form.
                    let is_problem = media_type == "application/problem+json";
                    assert!(is_problem || has_example(content), "{name}: {status}: {media_type}");
                }
            }
        }
    }
}

#[test]
fn schemas_stand_by_reference_under_names_that_clash_with_nothing() {
    // Types of languages and their libraries, and names that generators make of an operation and a property.
    const TAKEN: &[&str] = &[
        "Error",
        "Exception",
        "Object",
        "Pair",
        "Problem",
        "Request",
        "Response",
        "Result",
        "Session",
        "Status",
        "StatusUser",
        "LoginResponseUser",
        "StatusResponseUser",
        "Type",
        "Unit",
        "User",
    ];
    for document in documents() {
        let text = document.to_string();
        for inline in ["\"allOf\"", "\"anyOf\"", "\"oneOf\"", "; charset=", "uint"] {
            assert!(!text.contains(inline), "{inline}");
        }
        let schemas = document["components"]["schemas"].as_object().unwrap();
        for (name, schema) in schemas {
            assert!(!TAKEN.contains(&name.as_str()), "{name}");
            assert!(is_text(&schema["description"]), "{name}");
        }
        for (name, operation) in operations(&document) {
            let answers = operation["responses"].as_object().unwrap().values();
            for content in
                answers.chain([&operation["requestBody"]]).filter_map(|holder| holder["content"].as_object())
            {
                for media_type in content.values() {
                    assert!(is_text(&media_type["schema"]["$ref"]), "{name}: {media_type}");
                }
            }
        }
    }
}

#[test]
fn instants_are_date_times_and_headers_are_parameters() {
    let [api, _] = documents();
    let session = &api["components"]["schemas"]["DeviceSession"]["properties"];
    for instant in ["created_at", "last_used_at", "expires_at"] {
        assert_eq!(session[instant]["format"], "date-time", "{instant}");
    }
    let headers = |path: &str| -> BTreeSet<String> {
        let operation = &api["paths"][format!("/api/mobile/auth/{path}")]["post"];
        let parameters = operation["parameters"].as_array().unwrap().iter();
        let headers = parameters.filter(|parameter| parameter["in"] == "header");
        headers.map(|parameter| parameter["name"].as_str().unwrap().to_owned()).collect()
    };
    for path in ["production/verify/", "verify/"] {
        let expected = ["Idempotency-Key", "X-Device-Name", "X-Device-Token"];
        assert_eq!(headers(path), expected.map(str::to_owned).into(), "{path}");
    }
    assert_eq!(headers("token/refresh/"), ["X-Device-Name".to_owned()].into());
}

#[test]
fn callbacks_have_a_document_of_their_own() {
    let [api, callbacks] = documents();
    assert!(operations(&api).iter().all(|(name, _)| !name.contains("/sms/")));
    let names: Vec<_> = operations(&callbacks).into_iter().map(|(name, _)| name).collect();
    let base = "post /api/mobile/auth/sms";
    assert_eq!(names, [format!("{base}/twilio/status/"), format!("{base}/{{sender}}/status/")]);
    let (_, status) = operations(&callbacks)[0];
    assert_eq!(status["security"][0]["TwilioSignature"], serde_json::json!([]));
    let tags = |document: &Value| document["tags"].as_array().unwrap().len();
    assert_eq!((tags(&api), tags(&callbacks)), (4, 1), "no tag without an operation");
}
