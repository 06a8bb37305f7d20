//! Twilio's status callback: believed only with its signature over the configured public address, never over the
//! request's own `Host`.

use std::sync::Arc;
use std::time::Duration;

use poem::http::HeaderMap;
use poem::{FromRequest, Request, RequestBody};
use poem_openapi::registry::{
    MetaMediaType, MetaRequest, MetaSchema, MetaSchemaRef, MetaSecurityScheme, Registry,
};
use poem_openapi::{ApiExtractor, ApiExtractorType, ApiResponse, ExtractParamOptions, OpenApi};
use serde_json::json;

use crate::api::otp::Group;
use crate::auth::Auth;
use crate::clock::Clock;
use crate::domain::message::DeliveryReport;
use crate::http::caller::Caller;
use crate::http::error::{ApiError, DocumentedErrors, ErrorCode, OperationError};
use crate::http::log_throttle::LogThrottle;

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

/// A callback's signature is missing or wrong.
#[derive(Clone, Copy, Debug)]
pub struct BadSignature;

/// Reads a signed callback: `None` where it reports nothing that can be noted. Handed in by wiring, since its form and its
/// key are the provider's.
pub type CallbackReader =
    Arc<dyn Fn(&Callback) -> Result<Option<DeliveryReport>, BadSignature> + Send + Sync>;

/// Minimum time between two warnings about unsigned callbacks, so that a forger cannot fill the log.
const UNSIGNED: Duration = Duration::from_mins(1);

/// Where Twilio reports what became of a message.
pub struct WebhookApi {
    auth: Arc<Auth>,
    read: CallbackReader,
    unsigned: LogThrottle,
}

/// The report was recorded, or there was nothing to record.
#[derive(ApiResponse)]
enum Noted {
    /// The report was recorded, or there was nothing to record.
    #[oai(status = 204)]
    Nothing,
}

/// What a callback can fail with.
enum Reporting {}

impl DocumentedErrors for Reporting {
    const CODES: &'static [ErrorCode] =
        &[ErrorCode::BadSignature, ErrorCode::Overloaded, ErrorCode::Unavailable];
    const READS_BODY: bool = true;
    const CHECKS_HOST: bool = false;
}

impl WebhookApi {
    /// The endpoint over `auth`.
    pub fn new(auth: Arc<Auth>, read: CallbackReader, clock: Arc<dyn Clock>) -> Self {
        Self { auth, read, unsigned: LogThrottle::every(UNSIGNED, clock) }
    }
}

#[OpenApi(prefix_path = "/api/mobile/auth")]
impl WebhookApi {
    /// Twilio reports what became of a message
    ///
    /// Signed with `X-Twilio-Signature`. A report that is late, repeated, or of a message that is not ours changes
    /// nothing.
    #[oai(
        path = "/sms/twilio/status/",
        method = "post",
        tag = "Group::Provider",
        operation_id = "twilioStatus"
    )]
    async fn status(&self, caller: Caller, callback: Callback) -> Result<Noted, OperationError<Reporting>> {
        let Ok(report) = (self.read)(&callback) else {
            if self.unsigned.should_log() {
                tracing::warn!(
                    event = "authz_fail",
                    ip = %caller.address,
                    "status callbacks come without a good signature; if they are Twilio's, see server.public_url"
                );
            }
            return Err(ErrorCode::BadSignature.into());
        };
        if let Some(report) = report {
            self.auth.report(report, caller.request_id.to_string()).await.map_err(ApiError::from)?;
        }
        Ok(Noted::Nothing)
    }
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
        let signature = MetaSecurityScheme {
            ty: "apiKey",
            description: Some("Twilio's signature over the public URL and the fields."),
            name: Some("X-Twilio-Signature"),
            key_in: Some("header"),
            scheme: None,
            bearer_format: None,
            flows: None,
            openid_connect_url: None,
        };
        registry.create_security_scheme(SIGNATURE, signature);
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
        let body = <Vec<u8> as FromRequest>::from_request(request, body).await?;
        let path_and_query = request.original_uri().path_and_query();
        Ok(Self {
            path_and_query: path_and_query.map_or_else(String::new, ToString::to_string),
            headers: request.headers().clone(),
            body,
        })
    }
}

/// The fields that are read; Twilio sends more.
fn fields() -> MetaSchema {
    let text = |description| {
        let schema = MetaSchema { description: Some(description), ..MetaSchema::new("string") };
        MetaSchemaRef::Inline(Box::new(schema))
    };
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
