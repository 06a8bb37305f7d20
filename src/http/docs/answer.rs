//! What the description tells of one answer and poem-openapi has no place for: an example, and a text put together from parts.
//! Both travel in an inline schema around the one that is meant, and [`super::finish`] puts them where they belong.

use poem_openapi::registry::{MetaSchema, MetaSchemaRef};
use serde_json::Value;

/// One answer.
pub(in crate::http) struct Answer {
    pub(in crate::http) description: String,
    pub(in crate::http) example: Option<Value>,
}

impl Answer {
    /// The answer, with a body of the schema `name`.
    pub(in crate::http) fn of(self, name: &str) -> MetaSchemaRef {
        MetaSchemaRef::Inline(Box::new(MetaSchema {
            all_of: vec![MetaSchemaRef::Reference(name.to_owned())],
            title: Some(self.description),
            example: self.example,
            ..MetaSchema::ANY
        }))
    }
}
