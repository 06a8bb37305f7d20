//! Twilio's status callback: believed only with its signature over the configured public address, never over the
//! request's own `Host`.

use std::sync::Arc;
use std::time::Duration;

use poem::http::header::CONTENT_TYPE;
use poem::{FromRequest, Request, RequestBody};
use poem_openapi::registry::{MetaMediaType, MetaRequest, MetaSchema, MetaSchemaRef, Registry};
use poem_openapi::{ApiExtractor, ApiExtractorType, ApiResponse, ExtractParamOptions, OpenApi};

use crate::api::otp::Group;
use crate::auth::{Auth, DeliveryReport};
use crate::clock::Clock;
use crate::domain::MessageId;
use crate::domain::message::MessageState;
use crate::http::caller::Caller;
use crate::http::error::{ApiError, DocumentedErrors, ErrorCode, OperationError};
use crate::http::log_throttle::LogThrottle;

/// What a callback brings, as far as its signature covers it.
#[derive(Debug)]
pub struct SignedCallback {
    /// The path with its query, as the request has it.
    pub path_and_query: String,
    /// The fields of a form, undecoded no more; empty for JSON.
    pub params: Vec<(String, String)>,
    /// The body of a JSON callback, which the query covers by its hash.
    pub json: Option<Vec<u8>>,
    /// `X-Twilio-Signature`; empty where it is missing.
    pub signature: String,
}

/// Judges the signature of a callback; handed in by wiring, since the key is the provider's.
pub type SignatureCheck = Arc<dyn Fn(&SignedCallback) -> bool + Send + Sync>;

/// The least time between two warnings that callbacks come unsigned: a forger must not fill the log.
const UNSIGNED: Duration = Duration::from_mins(1);

/// Where Twilio reports what became of a message.
pub struct WebhookApi {
    auth: Arc<Auth>,
    is_signed: SignatureCheck,
    unsigned: LogThrottle,
}

/// Noted, or nothing to note.
#[derive(ApiResponse)]
enum Noted {
    /// The report was noted, or there was nothing to note.
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
    /// Puts the endpoint before the flows.
    pub fn new(auth: Arc<Auth>, is_signed: SignatureCheck, clock: Arc<dyn Clock>) -> Self {
        Self { auth, is_signed, unsigned: LogThrottle::every(UNSIGNED, clock) }
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
        if !(self.is_signed)(&callback.0) {
            if self.unsigned.should_log() {
                tracing::warn!(
                    event = "authz_fail",
                    ip = %caller.address,
                    "status callbacks come without a good signature; if they are Twilio's, see server.public_url"
                );
            }
            return Err(ErrorCode::BadSignature.into());
        }
        if let Some(report) = callback.report(&caller) {
            self.auth.report(report).await.map_err(ApiError::from)?;
        }
        Ok(Noted::Nothing)
    }
}

/// A callback, unread.
struct Callback(SignedCallback);

impl Callback {
    /// What it says; `None` where that is nothing that can be noted.
    fn report(&self, caller: &Caller) -> Option<DeliveryReport> {
        let query = self.0.path_and_query.split_once('?').map_or("", |(_, query)| query);
        let message = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "message");
        Some(DeliveryReport {
            sid: self.field("MessageSid")?,
            message: message.and_then(|(_, id)| id.parse().ok()).map(MessageId),
            state: MessageState::from_twilio(&self.field("MessageStatus")?)?,
            error_code: self.field("ErrorCode").and_then(|code| code.parse().ok()),
            request_id: caller.request_id.to_string(),
        })
    }

    fn field(&self, name: &str) -> Option<String> {
        if let Some(json) = &self.0.json {
            let fields: serde_json::Value = serde_json::from_slice(json).ok()?;
            let field = fields.get(name)?;
            return field
                .as_str()
                .map(str::to_owned)
                .or_else(|| field.as_i64().map(|number| number.to_string()));
        }
        self.0.params.iter().find(|(field, _)| field == name).map(|(_, value)| value.clone())
    }
}

impl<'a> ApiExtractor<'a> for Callback {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];

    type ParamType = ();
    type ParamRawType = ();

    fn register(_: &mut Registry) {}

    fn request_meta() -> Option<MetaRequest> {
        let read = |content_type, description| MetaMediaType {
            content_type,
            schema: MetaSchemaRef::Inline(Box::new(MetaSchema {
                description: Some(description),
                ..MetaSchema::new("object")
            })),
        };
        Some(MetaRequest {
            description: None,
            content: vec![
                read("application/x-www-form-urlencoded", "At least MessageSid and MessageStatus."),
                read("application/json", "The same; the signed query covers it by bodySHA256."),
            ],
            required: true,
        })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _: ExtractParamOptions<Self::ParamType>,
    ) -> poem::Result<Self> {
        let body = <Vec<u8> as FromRequest>::from_request(request, body).await?;
        let header = |name: &str| {
            request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
        };
        let is_json = header(CONTENT_TYPE.as_str()).to_ascii_lowercase().starts_with("application/json");
        let uri = request.original_uri();
        Ok(Self(SignedCallback {
            path_and_query: uri.path_and_query().map_or_else(String::new, ToString::to_string),
            signature: header("x-twilio-signature").to_owned(),
            params: if is_json { Vec::new() } else { form_urlencoded::parse(&body).into_owned().collect() },
            json: is_json.then_some(body),
        }))
    }
}
