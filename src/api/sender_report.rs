//! The callback of a sender of kind `http`, as the description of the API shows it.

use poem::{Request, RequestBody};
use poem_openapi::registry::{MetaMediaType, MetaRequest, MetaSchema, MetaSchemaRef, Registry};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use serde_json::json;

use crate::api::callback::{Callback, member, signature};

/// A report as it came.
pub(super) struct SenderReport(pub(super) Callback);

/// The name of the signature in the description.
const SIGNATURE: &str = "StandardWebhooks";

/// The name of the report in the description.
const REPORT: &str = "SenderReport";

impl<'a> ApiExtractor<'a> for SenderReport {
    const TYPES: &'static [ApiExtractorType] =
        &[ApiExtractorType::RequestObject, ApiExtractorType::SecurityScheme];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        registry.create_schema::<Self, _>(REPORT.to_owned(), |_| fields());
        let description = "Standard Webhooks: an HMAC over `webhook-id`, `webhook-timestamp` and the body, with the sender's secret.";
        registry.create_security_scheme(SIGNATURE, signature("webhook-signature", description));
    }

    fn security_schemes() -> Vec<&'static str> {
        vec![SIGNATURE]
    }

    fn request_meta() -> Option<MetaRequest> {
        let schema = MetaSchemaRef::Reference(REPORT.to_owned());
        Some(MetaRequest {
            description: Some("What became of a message."),
            content: vec![MetaMediaType { content_type: "application/json", schema }],
            required: true,
        })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _: ExtractParamOptions<Self::ParamType>,
    ) -> poem::Result<Self> {
        Ok(Self(Callback::read(request, body).await?))
    }
}

fn fields() -> MetaSchema {
    MetaSchema {
        description: Some("What became of a message."),
        required: vec!["message_id", "status"],
        properties: vec![
            ("message_id", member("string", "The `message_id` with which the message was posted.")),
            ("status", member("string", "`sent`, `delivered`, `undelivered` or `failed`.")),
            ("error_code", member("integer", "Why it was not delivered, as a number of the provider's.")),
        ],
        example: Some(json!({ "message_id": "4711", "status": "delivered" })),
        ..MetaSchema::new("object")
    }
}
