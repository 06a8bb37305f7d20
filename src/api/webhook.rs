//! Twilio's status callback: believed only with its signature over the configured public address, never over the
//! request's own `Host`.

use std::sync::Arc;
use std::time::Duration;

use poem::http::HeaderMap;
use poem::{FromRequest, Request, RequestBody};
use poem_openapi::registry::{MetaMediaType, MetaRequest, MetaSchema, MetaSchemaRef, Registry};
use poem_openapi::{ApiExtractor, ApiExtractorType, ApiResponse, ExtractParamOptions, OpenApi};

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

/// The least time between two warnings that callbacks come unsigned: a forger must not fill the log.
const UNSIGNED: Duration = Duration::from_mins(1);

/// Where Twilio reports what became of a message.
pub struct WebhookApi {
    auth: Arc<Auth>,
    read: CallbackReader,
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
        let path_and_query = request.original_uri().path_and_query();
        Ok(Self {
            path_and_query: path_and_query.map_or_else(String::new, ToString::to_string),
            headers: request.headers().clone(),
            body,
        })
    }
}
