//! A callback as it came; the description of the API shows it as Twilio's.

use poem::http::HeaderMap;
use poem::{FromRequest, Request, RequestBody};
use poem_openapi::registry::{
    MetaMediaType, MetaRequest, MetaSchema, MetaSchemaRef, MetaSecurityScheme, Registry,
};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use serde_json::json;

/// A callback as it came.
#[derive(Debug)]
pub struct Callback {
    /// The path with its query, as the request has it.
    pub path_and_query: String,
    /// All headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

/// The name of the signature in the description.
const SIGNATURE: &str = "TwilioSignature";

/// The name of the callback's fields in the description.
const FIELDS: &str = "TwilioStatusCallback";

impl<'a> ApiExtractor<'a> for Callback {
    const TYPES: &'static [ApiExtractorType] =
        &[ApiExtractorType::RequestObject, ApiExtractorType::SecurityScheme];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        registry.create_schema::<Self, _>(FIELDS.to_owned(), |_| fields());
        let description = "Twilio's signature over the public URL and the fields.";
        registry.create_security_scheme(SIGNATURE, signature("X-Twilio-Signature", description));
    }

    fn security_schemes() -> Vec<&'static str> {
        vec![SIGNATURE]
    }

    fn request_meta() -> Option<MetaRequest> {
        let read = |content_type| MetaMediaType {
            content_type,
            schema: MetaSchemaRef::Reference(FIELDS.to_owned()),
        };
        Some(MetaRequest {
            description: Some("As a form, or as JSON that the signed query covers by its hash, bodySHA256."),
            content: vec![read("application/x-www-form-urlencoded"), read("application/json")],
            required: true,
        })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _: ExtractParamOptions<Self::ParamType>,
    ) -> poem::Result<Self> {
        Self::read(request, body).await
    }
}

impl Callback {
    /// Takes a request as it came.
    ///
    /// # Errors
    /// Where the body cannot be read.
    pub(super) async fn read(request: &Request, body: &mut RequestBody) -> poem::Result<Self> {
        let body = <Vec<u8> as FromRequest>::from_request(request, body).await?;
        let path_and_query = request.original_uri().path_and_query();
        Ok(Self {
            path_and_query: path_and_query.map_or_else(String::new, ToString::to_string),
            headers: request.headers().clone(),
            body,
        })
    }
}

/// A signature in a header, as the description shows it.
pub(super) fn signature(header: &'static str, description: &'static str) -> MetaSecurityScheme {
    MetaSecurityScheme {
        ty: "apiKey",
        description: Some(description),
        name: Some(header),
        key_in: Some("header"),
        scheme: None,
        bearer_format: None,
        flows: None,
        openid_connect_url: None,
    }
}

/// A member of a callback of a basic type, as the description shows it.
pub(super) fn member(ty: &'static str, description: &'static str) -> MetaSchemaRef {
    MetaSchemaRef::Inline(Box::new(MetaSchema { description: Some(description), ..MetaSchema::new(ty) }))
}

/// The fields that are read; Twilio sends more.
fn fields() -> MetaSchema {
    let text = |description| member("string", description);
    MetaSchema {
        description: Some("What became of a message."),
        required: vec!["MessageSid", "MessageStatus"],
        properties: vec![
            ("MessageSid", text("Twilio's name of the message.")),
            ("MessageStatus", text("`queued`, `sent`, `delivered`, `undelivered`, `failed` and others.")),
            ("ErrorCode", text("Why it was not delivered, as a number of Twilio's.")),
        ],
        example: Some(json!({
            "MessageSid": "SM00112233445566778899aabbccddeeff",
            "MessageStatus": "delivered",
        })),
        ..MetaSchema::new("object")
    }
}
