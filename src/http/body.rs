//! JSON bodies. Extracting one never fails, so that authentication is checked first; parsing it reports what is wrong in
//! plain words.

use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;

use hyper::body::Bytes;
use poem::{FromRequest, Request, RequestBody, Result};
use poem_openapi::registry::{MetaMediaType, MetaRequest, Registry};
use poem_openapi::types::Type;
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use crate::http::error::ApiError;

/// The body of a request, unread; the description of the API shows it as `T`. With `JsonBody<Option<T>>` it may be
/// missing.
pub struct JsonBody<T>(Bytes, PhantomData<fn() -> T>);

impl<T: Type> JsonBody<T> {
    /// Reads the body.
    ///
    /// # Errors
    /// `bad_request` where it is not one JSON object, or names a field twice.
    pub fn fields(&self) -> Result<Fields, ApiError> {
        if self.0.is_empty() && !T::IS_REQUIRED {
            return Ok(Fields(HashMap::new()));
        }
        Fields::read(&self.0)
    }
}

/// The fields of a JSON object. Unknown fields are ignored.
pub struct Fields(HashMap<String, Field>);

/// A JSON value; only texts and objects are kept.
enum Field {
    Text(String),
    Object(HashMap<String, Field>),
    Null,
    Other,
}

impl Fields {
    fn read(bytes: &[u8]) -> Result<Self, ApiError> {
        if bytes.is_empty() {
            return Err(ApiError::bad_request("The body is empty; it must be a JSON object."));
        }
        let text =
            std::str::from_utf8(bytes).map_err(|_| ApiError::bad_request("The body is not valid UTF-8."))?;
        match serde_json::from_str(text) {
            Ok(Field::Object(fields)) => Ok(Self(fields)),
            Ok(Field::Text(_) | Field::Null | Field::Other) => {
                Err(ApiError::bad_request("The body must be a JSON object."))
            }
            // The one rule that JSON does not have: no field twice.
            Err(error) if error.is_data() => Err(ApiError::bad_request("The body names a field twice.")),
            Err(_) => Err(ApiError::bad_request("The body is not valid JSON.")),
        }
    }

    /// The string in the field `name`.
    ///
    /// # Errors
    /// `bad_request` where it is missing or no string.
    pub fn required_string(&self, name: &str) -> Result<&str, ApiError> {
        match self.0.get(name) {
            Some(Field::Text(text)) => Ok(text),
            Some(Field::Object(_) | Field::Null | Field::Other) => {
                Err(ApiError::bad_request(format!("The field {name} must be a string.")))
            }
            None => Err(ApiError::bad_request(format!("The field {name} is missing."))),
        }
    }

    /// The string in the field `name`; none where it is missing or null.
    ///
    /// # Errors
    /// `bad_request` where it is anything else.
    pub fn optional_string(&self, name: &str) -> Result<Option<&str>, ApiError> {
        match self.0.get(name) {
            None | Some(Field::Null) => Ok(None),
            Some(_) => self.required_string(name).map(Some),
        }
    }

    /// Whether there is no field.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Reads the fields of a body that is there, for [`crate::fuzzing`].
#[cfg(any(test, fuzzing))]
pub(crate) fn read_fields(bytes: &[u8]) -> Result<Fields, ApiError> {
    Fields::read(bytes)
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fields(…)")
    }
}

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FieldVisitor)
    }
}

struct FieldVisitor;

impl<'de> Visitor<'de> for FieldVisitor {
    type Value = Field;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_str<E>(self, text: &str) -> Result<Field, E> {
        Ok(Field::Text(text.to_owned()))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Field, E> {
        Ok(Field::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Field, E> {
        Ok(Field::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Field, E> {
        Ok(Field::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Field, E> {
        Ok(Field::Other)
    }

    fn visit_unit<E>(self) -> Result<Field, E> {
        Ok(Field::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Field, A::Error> {
        while seq.next_element::<Field>()?.is_some() {}
        Ok(Field::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Field, A::Error> {
        let mut fields = HashMap::new();
        while let Some((name, value)) = map.next_entry::<String, Field>()? {
            if fields.insert(name, value).is_some() {
                return Err(A::Error::custom("a field appears twice"));
            }
        }
        Ok(Field::Object(fields))
    }
}

impl<'a, T: Type> ApiExtractor<'a> for JsonBody<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        Some(MetaRequest {
            description: None,
            content: vec![MetaMediaType { content_type: "application/json", schema: T::schema_ref() }],
            required: T::IS_REQUIRED,
        })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _: ExtractParamOptions<Self::ParamType>,
    ) -> Result<Self> {
        // The edge has read the whole body by now.
        let bytes = <Vec<u8> as FromRequest>::from_request(request, body).await?;
        Ok(Self(bytes.into(), PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::error::ErrorCode;
    use proptest::prelude::*;

    fn refusal(body: &[u8]) -> ApiError {
        Fields::read(body).map(|_| ()).unwrap_err()
    }

    #[test]
    fn s11_bodies_that_are_no_object_are_refused_in_plain_words() {
        let deep = "[".repeat(1000);
        for (body, words) in [
            (b"" as &[u8], "The body is empty; it must be a JSON object."),
            (b"{", "The body is not valid JSON."),
            (b"{} {}", "The body is not valid JSON."),
            (b"{'a':1}", "The body is not valid JSON."),
            (b"{\"a\":1e999}", "The body is not valid JSON."),
            (b"\xef\xbb\xbf{}", "The body is not valid JSON."),
            (b"{\"a\":\"\n\"}", "The body is not valid JSON."),
            (deep.as_bytes(), "The body is not valid JSON."),
            (b"\xff{}", "The body is not valid UTF-8."),
            (b"null", "The body must be a JSON object."),
            (b"[{}]", "The body must be a JSON object."),
            (b"\"{}\"", "The body must be a JSON object."),
            (b"{\"a\":1,\"a\":1}", "The body names a field twice."),
            (b"{\"a\":1,\"\\u0061\":1}", "The body names a field twice."),
            (b"{\"a\":{\"b\":[{\"c\":1,\"c\":2}]}}", "The body names a field twice."),
        ] {
            assert_eq!(refusal(body), ApiError::bad_request(words), "{}", String::from_utf8_lossy(body));
        }
    }

    #[test]
    fn s11_fields_are_named_and_unknown_ones_ignored() {
        let fields =
            Fields::read(br#"{"phone_number":"+1234567890","otp":123456,"more":[1,{"x":null}]}"#).unwrap();
        assert_eq!(fields.required_string("phone_number"), Ok("+1234567890"));
        let no_string = Err(ApiError::bad_request("The field otp must be a string."));
        assert_eq!(fields.required_string("otp"), no_string);
        assert_eq!(
            fields.required_string("token"),
            Err(ApiError::bad_request("The field token is missing."))
        );
        for value in ["null", "true", "-1", "1.5", "[]", "{}"] {
            let fields = Fields::read(format!("{{\"otp\":{value}}}").as_bytes()).unwrap();
            assert_eq!(fields.required_string("otp"), no_string, "{value}");
        }
    }

    #[test]
    fn s11_an_optional_field_may_be_missing_or_null_but_not_wrong() {
        let fields = Fields::read(br#"{"a":null,"b":"text","c":7}"#).unwrap();
        assert_eq!(fields.optional_string("a"), Ok(None));
        assert_eq!(fields.optional_string("b"), Ok(Some("text")));
        assert_eq!(fields.optional_string("c"), Err(ApiError::bad_request("The field c must be a string.")));
        assert_eq!(fields.optional_string("d"), Ok(None));
    }

    #[test]
    fn an_optional_body_may_be_missing_but_not_wrong() {
        let body = |bytes: &'static [u8]| JsonBody::<Option<String>>(bytes.into(), PhantomData).fields();
        assert!(body(b"").is_ok());
        assert!(body(b"{}").is_ok());
        assert!(body(b"nonsense").is_err());
        assert!(JsonBody::<String>(Bytes::new(), PhantomData).fields().is_err());
    }

    #[test]
    fn s34_fields_are_never_printed() {
        let fields = Fields::read(br#"{"otp":"123456"}"#).unwrap();
        assert!(!format!("{fields:?}").contains("123456"));
    }

    proptest! {
        #[test]
        fn s11_nothing_panics(body in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Err(error) = Fields::read(&body) {
                prop_assert_eq!(error.code(), ErrorCode::BadRequest);
            }
        }
    }
}
