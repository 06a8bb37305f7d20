//! Twilio's own description of the Messages API, and what breaks it: a light checker, as strict as the description is.

use std::sync::LazyLock;

use data_encoding::BASE64;
use serde_json::Value;

use super::Recorded;

static DESCRIPTION: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("../../twilio/messages.openapi.json")).unwrap());

const PATH: &str = "/2010-04-01/Accounts/{AccountSid}/Messages.json";

/// What Twilio's reference says and its description does not.
const LONGEST_BODY: usize = 1600;
const VALIDITY: std::ops::RangeInclusive<u32> = 1..=36_000;

fn operation() -> &'static Value {
    &DESCRIPTION["paths"][PATH]["post"]
}

/// One of the examples of a 201.
pub(crate) fn example(name: &str) -> Value {
    operation()["responses"]["201"]["content"]["application/json"]["examples"][name]["value"].clone()
}

/// Everything in which a request to create a message breaks the description.
pub(crate) fn violations(request: &Recorded) -> Vec<String> {
    let mut violations = Vec::new();
    if request.method != "POST" {
        violations.push(format!("method {}", request.method));
    }
    if request.path.ends_with("/Calls.json") {
        return call_violations(request);
    }
    if request.path.ends_with("/Feedback.json") {
        return feedback_violations(request);
    }
    let (before, after) = PATH.split_once("{AccountSid}").unwrap();
    let account = request.path.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
    match account {
        Some(sid) => {
            violations.extend(mismatch(&operation()["parameters"][0]["schema"], &sid.into(), "AccountSid"));
        }
        None => violations.push(format!("path {}", request.path)),
    }
    if !is_basic(request.header("authorization").unwrap_or_default()) {
        violations.push("no Basic authorization with a SID and a secret".to_owned());
    }
    if request.header("content-type") != Some("application/x-www-form-urlencoded") {
        violations.push(format!("content type {:?}", request.header("content-type")));
    }
    violations.extend(form_violations(request));
    violations
}

/// Everything in which a question after a message or a call breaks the description, or the reference of calls.
pub(crate) fn question_violations(request: &Recorded) -> Vec<String> {
    const ONE: &str = "/2010-04-01/Accounts/{AccountSid}/Messages/{Sid}.json";
    let pattern = &DESCRIPTION["paths"][ONE]["get"]["parameters"][1]["schema"];
    let words: Vec<_> = request.path.trim_start_matches('/').split('/').collect();
    let mut violations = Vec::new();
    match words[..] {
        ["2010-04-01", "Accounts", account, "Messages", sid] if account.starts_with("AC") => {
            violations.extend(mismatch(pattern, &sid.trim_end_matches(".json").into(), "Sid"));
        }
        ["2010-04-01", "Accounts", account, "Calls", sid]
            if is_sid("AC", account) && is_sid("CA", sid.trim_end_matches(".json")) => {}
        _ => violations.push(format!("path {}", request.path)),
    }
    if !is_basic(request.header("authorization").unwrap_or_default()) {
        violations.push("no Basic authorization with a SID and a secret".to_owned());
    }
    violations
}

/// A call, by Twilio's reference of the Calls resource: the description at hand is of messages alone.
fn call_violations(request: &Recorded) -> Vec<String> {
    let is_seconds = |text: &str, most: u32| text.parse().is_ok_and(|seconds| (1..=most).contains(&seconds));
    let mut violations = Vec::new();
    for (name, value) in &request.form {
        let fits = match name.as_str() {
            "To" | "From" => value.starts_with('+'),
            "Twiml" => (1..=4000).contains(&value.len()),
            "Timeout" => is_seconds(value, 600),
            "TimeLimit" => is_seconds(value, 14_400),
            "StatusCallback" => value.starts_with("http"),
            _ => false,
        };
        violations.extend((!fits).then(|| format!("{name} of a call cannot be {value}")));
    }
    let missing = ["To", "From", "Twiml"].into_iter().filter(|name| request.field(name).is_none());
    violations.extend(missing.map(|name| format!("{name} of a call is missing")));
    violations.extend(below_account(request, |words| words == ["Calls.json"]));
    violations
}

/// The feedback on a message, by Twilio's reference of it.
fn feedback_violations(request: &Recorded) -> Vec<String> {
    let is_feedback = |words: &[&str]| match words {
        ["Messages", sid, "Feedback.json"] => is_sid("SM", sid) || is_sid("MM", sid),
        _ => false,
    };
    let mut violations: Vec<_> = below_account(request, is_feedback).into_iter().collect();
    if request.form != [("Outcome".to_owned(), "confirmed".to_owned())] {
        violations.push(format!("{:?} is no feedback", request.form));
    }
    violations
}

/// What is wrong with address and credentials of a request whose path goes on so below the account.
fn below_account(request: &Recorded, is_known: impl Fn(&[&str]) -> bool) -> Option<String> {
    let words: Vec<_> = request.path.trim_start_matches('/').split('/').collect();
    let is_good = match &words[..] {
        ["2010-04-01", "Accounts", account, rest @ ..] => is_sid("AC", account) && is_known(rest),
        _ => false,
    };
    if !is_good {
        return Some(format!("path {}", request.path));
    }
    let is_form = request.header("content-type") == Some("application/x-www-form-urlencoded");
    let is_signed = is_basic(request.header("authorization").unwrap_or_default());
    (!is_form || !is_signed).then(|| "no form, or no Basic authorization with a SID and a secret".to_owned())
}

fn form_violations(request: &Recorded) -> Vec<String> {
    let mut violations = Vec::new();
    let schema = &operation()["requestBody"]["content"]["application/x-www-form-urlencoded"]["schema"];
    for required in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if request.field(required).is_none() {
            violations.push(format!("{required} is missing"));
        }
    }
    for (name, value) in &request.form {
        let schema = &schema["properties"][name];
        // In a form all values are text.
        let value = match (schema["type"].as_str(), value.parse::<i64>()) {
            (Some("integer"), Ok(number)) => Value::from(number),
            _ => Value::from(value.as_str()),
        };
        violations.extend(mismatch(schema, &value, name));
        if request.form.iter().filter(|(other, _)| other == name).count() > 1 {
            violations.push(format!("{name} comes twice"));
        }
    }
    if request.field("From").is_some() == request.field("MessagingServiceSid").is_some() {
        violations.push("either From or MessagingServiceSid".to_owned());
    }
    let length = request.field("Body").unwrap_or_default().chars().count();
    if request.field("ContentSid").is_none() && !(1..=LONGEST_BODY).contains(&length) {
        violations.push(format!("Body of {length} characters"));
    }
    let validity = request.field("ValidityPeriod");
    if validity.is_some_and(|text| !text.parse().is_ok_and(|seconds| VALIDITY.contains(&seconds))) {
        violations.push(format!("ValidityPeriod {validity:?}"));
    }
    violations
}

fn is_basic(header: &str) -> bool {
    let decoded = header.strip_prefix("Basic ").and_then(|text| BASE64.decode(text.as_bytes()).ok());
    let text = decoded.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
    text.split_once(':').is_some_and(|(user, secret)| {
        (user.starts_with("AC") || user.starts_with("SK")) && user.len() == 34 && !secret.is_empty()
    })
}

/// Everything in which a 201 body breaks the description.
pub(crate) fn message_violations(message: &Value) -> Vec<String> {
    let schema = &operation()["responses"]["201"]["content"]["application/json"]["schema"];
    let properties = &resolve(schema)["properties"];
    let Some(members) = message.as_object() else { return vec!["no object".to_owned()] };
    let missing = properties.as_object().unwrap().keys().filter(|name| !members.contains_key(*name));
    members
        .iter()
        .filter_map(|(name, value)| mismatch(&properties[name], value, name))
        .chain(missing.map(|name| format!("{name} is missing")))
        .collect()
}

/// In what `value` breaks `schema`, if in anything.
fn mismatch(schema: &'static Value, value: &Value, name: &str) -> Option<String> {
    let schema = resolve(schema);
    let text = value.as_str().unwrap_or_default();
    let fits = match schema["type"].as_str() {
        None => return Some(format!("{name} is unknown")),
        Some(_) if value.is_null() => return (schema["nullable"] != true).then(|| format!("{name} is null")),
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64(),
        Some("boolean") => value.is_boolean() || ["true", "false"].contains(&text),
        Some("object") => value.is_object(),
        Some(other) => panic!("the checker does not know the type {other}"),
    };
    let pattern = schema["pattern"].as_str();
    let allowed = schema["enum"].as_array();
    let good = fits
        && pattern.is_none_or(|pattern| matches_sid(pattern, text))
        && allowed.is_none_or(|allowed| allowed.contains(value));
    (!good).then(|| format!("{name} cannot be {value}"))
}

fn resolve(schema: &'static Value) -> &'static Value {
    match schema["$ref"].as_str() {
        Some(reference) => DESCRIPTION.pointer(&reference[1..]).unwrap(),
        None => schema,
    }
}

/// Matches the one kind of pattern that the description uses: `^AC[0-9a-fA-F]{32}$`, `^(SM|MM)[0-9a-fA-F]{32}$`.
fn matches_sid(pattern: &str, text: &str) -> bool {
    let prefixes = pattern.strip_prefix('^').and_then(|rest| rest.strip_suffix("[0-9a-fA-F]{32}$")).unwrap();
    prefixes.trim_matches(['(', ')']).split('|').any(|prefix| is_sid(prefix, text))
}

fn is_sid(prefix: &str, text: &str) -> bool {
    text.strip_prefix(prefix)
        .is_some_and(|hex| hex.len() == 32 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
}
