//! The bodies of failures, as the published description of the API tells them: one schema for each form, and one for the
//! words. `render` writes the bodies.

use poem_openapi::registry::{MetaSchema, MetaSchemaRef, Registry};

use super::{ApiError, ErrorCode};

/// The name of the plain form.
pub(super) const ERROR: &str = "ErrorBody";
/// The name of RFC 9457's form.
pub(super) const PROBLEM: &str = "ProblemDetails";
const CODE: &str = "ErrorCode";

pub(super) fn register(registry: &mut Registry) {
    registry.create_schema::<ErrorCode, _>(CODE.to_owned(), |_| code());
    registry.create_schema::<ApiError, _>(ERROR.to_owned(), |_| plain());
    registry.create_schema::<ApiError, _>(PROBLEM.to_owned(), |_| problem());
}

fn code() -> MetaSchema {
    MetaSchema {
        description: Some(
            "A stable word to branch on. The list may grow: treat a word that is not in it as the status alone.",
        ),
        enum_items: ErrorCode::ALL.iter().map(|code| code.as_str().into()).collect(),
        ..MetaSchema::new("string")
    }
}

fn plain() -> MetaSchema {
    MetaSchema {
        description: Some("What went wrong."),
        required: vec!["error", "code", "request_id"],
        properties: members(),
        ..MetaSchema::new("object")
    }
}

fn problem() -> MetaSchema {
    let mut properties = members();
    properties.extend([
        ("type", text("`about:blank`: the status says it all.")),
        ("title", text("The status in words.")),
        ("status", number("int32", "The status.")),
        ("detail", text("The same sentence as `error`.")),
    ]);
    MetaSchema {
        description: Some("What went wrong, as RFC 9457 writes it."),
        required: vec!["error", "code", "request_id", "type", "title", "status", "detail"],
        properties,
        ..MetaSchema::new("object")
    }
}

/// The members of both forms.
fn members() -> Vec<(&'static str, MetaSchemaRef)> {
    vec![
        ("error", text("A sentence for a person.")),
        ("code", MetaSchemaRef::Reference(CODE.to_owned())),
        (
            "retry_after",
            number("int64", "Seconds after which the request may succeed; waiting just that long is enough."),
        ),
        ("request_id", text("The answer's `X-Request-Id`, for the operator's log.")),
    ]
}

fn text(description: &'static str) -> MetaSchemaRef {
    inline(MetaSchema { description: Some(description), ..MetaSchema::new("string") })
}

fn number(format: &'static str, description: &'static str) -> MetaSchemaRef {
    inline(MetaSchema { description: Some(description), ..MetaSchema::new_with_format("integer", format) })
}

fn inline(schema: MetaSchema) -> MetaSchemaRef {
    MetaSchemaRef::Inline(Box::new(schema))
}
