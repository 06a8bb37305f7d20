//! What an app's own people note about a user: a small JSON object, some members of which tokens carry.

use std::fmt;

use serde_json::{Map, Value};

/// The most bytes that a user's attributes have as JSON: tokens that carry them travel in a header.
pub const MAX_BYTES: usize = 1024;

/// The most bytes of a name.
const MAX_NAME: usize = 64;

/// The claims that tokens have of themselves, or that RFC 7519 §4.1 gives a meaning.
const RESERVED: [&str; 13] =
    ["token_type", "exp", "iat", "nbf", "jti", "iss", "aud", "sub", "kid", "user_id", "sid", "gen", "role"];

/// The attributes of a user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Compact JSON; empty where there are none, as with most users.
    json: Box<str>,
}

/// Why these cannot be attributes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttributesError {
    /// It is something else.
    #[error("not a JSON object, such as {{\"plan\":\"gold\"}}")]
    NoObject,
    /// A name that a token uses itself.
    #[error("the name {0} is reserved: tokens have a claim of that name")]
    Reserved(String),
    /// A name that no claim can have.
    #[error(
        "a name that is empty, longer than {MAX_NAME} bytes, or has other characters than visible ASCII ones"
    )]
    Name,
    /// They are too large.
    #[error("{0} bytes of JSON, and a user has {MAX_BYTES} at most")]
    TooLarge(usize),
}

impl Attributes {
    /// Reads a JSON object. Of a name that comes twice the last one counts.
    ///
    /// # Errors
    /// [`AttributesError`]
    pub fn parse(text: &str) -> Result<Self, AttributesError> {
        let members: Map<String, Value> =
            serde_json::from_str(text).map_err(|_| AttributesError::NoObject)?;
        Self::of(&members)
    }

    /// What a row holds, which was good when it was written.
    pub fn from_row(json: &str) -> Self {
        Self { json: json.into() }
    }

    fn of(members: &Map<String, Value>) -> Result<Self, AttributesError> {
        for name in members.keys() {
            check_name(name)?;
        }
        if members.is_empty() {
            return Ok(Self::default());
        }
        let json = Value::from(members.clone()).to_string();
        if json.len() > MAX_BYTES {
            return Err(AttributesError::TooLarge(json.len()));
        }
        Ok(Self { json: json.into() })
    }

    /// The same with `name` at another value; `null` takes it out.
    ///
    /// # Errors
    /// [`AttributesError`]
    pub fn with(&self, name: &str, value: Value) -> Result<Self, AttributesError> {
        check_name(name)?;
        let mut members = self.members();
        if value.is_null() {
            members.remove(name);
        } else {
            members.insert(name.to_owned(), value);
        }
        Self::of(&members)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.json.is_empty()
    }

    /// As compact JSON; `{}` where there are none.
    pub fn as_json(&self) -> &str {
        if self.is_empty() { "{}" } else { &self.json }
    }

    /// All of them.
    pub fn members(&self) -> Map<String, Value> {
        serde_json::from_str(&self.json).unwrap_or_default()
    }

    /// Those of these names that the user has.
    pub fn named(&self, names: &[String]) -> Map<String, Value> {
        if names.is_empty() || self.is_empty() {
            return Map::new();
        }
        let mut members = self.members();
        members.retain(|name, _| names.contains(name));
        members
    }
}

impl fmt::Display for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_json())
    }
}

/// Whether an attribute, and with it a claim, can have this name.
///
/// # Errors
/// [`AttributesError::Reserved`], [`AttributesError::Name`]
pub fn check_name(name: &str) -> Result<(), AttributesError> {
    if RESERVED.contains(&name) {
        return Err(AttributesError::Reserved(name.to_owned()));
    }
    let is_good = (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic());
    if is_good { Ok(()) } else { Err(AttributesError::Name) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn an_object_is_kept_as_compact_json_and_an_empty_one_as_nothing() {
        let good = Attributes::parse(" { \"plan\": \"gold\", \"seats\": 3 } ").unwrap();
        assert_eq!(good.as_json(), r#"{"plan":"gold","seats":3}"#);
        assert_eq!(Attributes::parse("{}").unwrap(), Attributes::default());
        assert_eq!(Attributes::default().as_json(), "{}");
    }

    #[test]
    fn what_is_no_object_or_too_large_or_would_be_taken_for_a_claim_is_refused() {
        for text in ["", "[]", "1", "\"a\"", "null", "{\"a\":", "{\"a\":1} x", "{'a':1}", "{\"a\":1e999}"] {
            assert_eq!(Attributes::parse(text), Err(AttributesError::NoObject), "{text}");
        }
        for name in RESERVED {
            let refused = Attributes::parse(&json!({ name: 1 }).to_string());
            assert_eq!(refused, Err(AttributesError::Reserved(name.to_owned())));
        }
        for name in ["", " ", "a b", "é", "a\n", &"n".repeat(65)] {
            assert_eq!(
                Attributes::parse(&json!({ name: 1 }).to_string()),
                Err(AttributesError::Name),
                "{name:?}"
            );
        }
        let of = |length: usize| json!({ "a": "x".repeat(length) }).to_string();
        assert!(Attributes::parse(&of(MAX_BYTES - 8)).is_ok());
        assert_eq!(Attributes::parse(&of(MAX_BYTES - 7)), Err(AttributesError::TooLarge(MAX_BYTES + 1)));
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(400), "]".repeat(400));
        assert_eq!(Attributes::parse(&deep), Err(AttributesError::NoObject));
    }

    #[test]
    fn a_value_is_set_replaced_and_taken_out() {
        let gold = Attributes::default().with("plan", json!("gold")).unwrap();
        let two = gold.with("seats", json!(3)).unwrap();
        assert_eq!(two.as_json(), r#"{"plan":"gold","seats":3}"#);
        assert_eq!(two.with("plan", json!("free")).unwrap().as_json(), r#"{"plan":"free","seats":3}"#);
        assert_eq!(two.with("seats", Value::Null).unwrap(), gold);
        assert_eq!(gold.with("plan", Value::Null).unwrap(), Attributes::default());
        assert!(two.with("exp", json!(1)).is_err() && two.with("exp", Value::Null).is_err());
        assert!(two.with("long", json!("x".repeat(MAX_BYTES))).is_err());
    }

    #[test]
    fn tokens_get_those_that_are_named_and_there() {
        let attributes = Attributes::parse(r#"{"plan":"gold","seats":3,"note":"late"}"#).unwrap();
        let names = ["seats".to_owned(), "plan".to_owned(), "none".to_owned()];
        assert_eq!(Value::from(attributes.named(&names)), json!({ "plan": "gold", "seats": 3 }));
        assert!(attributes.named(&[]).is_empty() && Attributes::default().named(&names).is_empty());
    }

    proptest! {
        #[test]
        fn what_was_read_is_read_again_as_the_same(text in "\\PC{0,60}", number: i64, name in "[a-z]{1,8}") {
            prop_assume!(check_name(&name).is_ok());
            let read = Attributes::parse(&json!({ name: [json!(text), json!(number)] }).to_string()).unwrap();
            prop_assert_eq!(Attributes::parse(read.as_json()).unwrap(), read.clone());
            prop_assert_eq!(Attributes::from_row(read.as_json()), read);
        }
    }
}
