//! The last changes to the document that poem-openapi writes: what it cannot say, and what code generators stumble over. What
//! goes over the wire is not touched.

use serde_json::{Map, Value, json};

/// Finishes a document.
pub(super) fn finish(document: &mut Value) {
    let schemas = document["components"]["schemas"].clone();
    for operation in operations(document) {
        // Open to all, and said so: an operation that names no scheme might have forgotten to.
        operation.entry("security").or_insert_with(|| json!([]));
        if let Some(body) = operation.get_mut("requestBody") {
            finish_content(body);
        }
        for response in responses(operation) {
            finish_content(response);
            describe(response, &schemas);
        }
    }
    allow_null(document);
    share_headers(document);
    drop_unused_tags(document);
    tidy(document);
}

fn operations(document: &mut Value) -> impl Iterator<Item = &mut Map<String, Value>> {
    let paths = document.get_mut("paths").and_then(Value::as_object_mut);
    let methods = paths.into_iter().flat_map(Map::values_mut).filter_map(Value::as_object_mut);
    methods.flat_map(Map::values_mut).filter_map(Value::as_object_mut)
}

fn responses(operation: &mut Map<String, Value>) -> impl Iterator<Item = &mut Value> {
    let responses = operation.get_mut("responses").and_then(Value::as_object_mut);
    responses.into_iter().flat_map(Map::values_mut)
}

/// Media types without parameters, by which generators know JSON; what [`super::answer`] tells, beside the schema.
fn finish_content(holder: &mut Value) {
    let Some(content) = holder.get_mut("content").and_then(Value::as_object_mut) else { return };
    let mut description = None;
    let mut finished = Map::new();
    for (name, mut media_type) in std::mem::take(content) {
        if let Some(schema) = media_type.get_mut("schema").and_then(Value::as_object_mut)
            && schema.contains_key("allOf")
        {
            description = schema.shift_remove("title").or(description);
            if let Some(example) = schema.shift_remove("example") {
                media_type["example"] = example;
            }
        }
        let essence = name.split_once(';').map_or(name.as_str(), |(essence, _)| essence);
        finished.insert(essence.to_owned(), media_type);
    }
    *content = finished;
    if let Some(description) = description {
        holder["description"] = description;
    }
}

/// An answer that says nothing of itself says what its schema says.
fn describe(response: &mut Value, schemas: &Value) {
    if response["description"].as_str().is_some_and(|text| !text.is_empty()) {
        return;
    }
    let Some(content) = response.get("content").and_then(Value::as_object) else { return };
    let reference = content.values().find_map(|media_type| media_type["schema"]["$ref"].as_str());
    let name = reference.and_then(|reference| reference.rsplit('/').next()).unwrap_or_default();
    response["description"] = schemas[name]["description"].clone();
}

/// Members of answers that are always there, and null where there is nothing to tell.
const NULLABLE: [(&str, &str); 3] = [
    ("AccountUser", "phone_number"),
    ("PhoneChangeResponse", "effective_at"),
    ("DeviceSession", "device_id"),
];

/// Members of requests that may be left out, or null.
const OPTIONAL: [(&str, &str); 2] = [("OtpRequest", "channel"), ("PhoneVerifyRequest", "current_otp")];

fn allow_null(document: &mut Value) {
    let optional = OPTIONAL.map(|member| (member, false));
    for ((schema, member), is_required) in NULLABLE.map(|member| (member, true)).into_iter().chain(optional) {
        let Some(schema) = document["components"]["schemas"].get_mut(schema) else { continue };
        let Some(property) = schema["properties"].get_mut(member) else { continue };
        property["nullable"] = true.into();
        if let Some(required) = schema["required"].as_array_mut().filter(|_| is_required) {
            required.push(member.into());
        }
    }
}

/// Each header of an answer once, by reference.
fn share_headers(document: &mut Value) {
    let mut shared = Map::new();
    for operation in operations(document) {
        for response in responses(operation) {
            let headers = response.get_mut("headers").and_then(Value::as_object_mut);
            for (name, header) in headers.into_iter().flatten() {
                let known = shared.entry(name.clone()).or_insert_with(|| header.clone());
                if known == header {
                    *header = json!({ "$ref": format!("#/components/headers/{name}") });
                }
            }
        }
    }
    document["components"]["headers"] = shared.into();
}

fn drop_unused_tags(document: &mut Value) {
    let used: Vec<_> = operations(document)
        .filter_map(|operation| operation.get("tags")?.as_array().cloned())
        .flatten()
        .collect();
    if let Some(tags) = document.get_mut("tags").and_then(Value::as_array_mut) {
        tags.retain(|tag| used.contains(&tag["name"]));
    }
}

/// A reference without an `allOf` around it, formats that `OpenAPI` defines, and no member that says the default.
fn tidy(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.values_mut().for_each(tidy);
            if let Some(reference) = lone_reference(members) {
                *value = json!({ "$ref": reference });
                return;
            }
            let is = |name: &str, value: bool| members.get(name) == Some(&value.into());
            let idle: Vec<_> = [("deprecated", false), ("explode", true)]
                .into_iter()
                .filter(|(name, value)| is(name, *value))
                .collect();
            for (name, _) in idle {
                members.shift_remove(name);
            }
            let format = match members.get("format").and_then(Value::as_str) {
                Some("uint64") => "int64",
                Some("uint16" | "uint32") => "int32",
                _ => return,
            };
            members.insert("format".to_owned(), format.into());
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        _ => {}
    }
}

/// The reference of an `allOf` that adds nothing to it but a description, which the schema has itself.
fn lone_reference(members: &Map<String, Value>) -> Option<Value> {
    let all = members.get("allOf")?.as_array()?;
    let (reference, rest) = all.split_first()?;
    let only_describes =
        |part: &Value| part.as_object().is_some_and(|part| part.keys().all(|name| name == "description"));
    rest.iter().all(only_describes).then(|| reference.get("$ref").cloned())?
}
