//! Status callbacks of senders: believed only with their signature; Twilio's over the configured public address, never over the
//! request's own `Host`.

use std::sync::Arc;
use std::time::Duration;

use poem_openapi::param::Path;
use poem_openapi::{ApiResponse, OpenApi};

use crate::api::callback::Callback;
use crate::api::otp::Group;
use crate::api::sender_report::SenderReport;
use crate::auth::Auth;
use crate::clock::Clock;
use crate::domain::message::DeliveryReport;
use crate::http::caller::Caller;
use crate::http::error::{ApiError, DocumentedErrors, ErrorCode, OperationError};
use crate::http::log_throttle::LogThrottle;

/// A callback's signature is missing or wrong.
#[derive(Clone, Copy, Debug)]
pub struct BadSignature;

/// Reads a signed callback to the sender of this name: `None` where it reports nothing that can be noted. Handed in by wiring,
/// since its form and its key are the provider's.
pub type CallbackReader =
    Arc<dyn Fn(&str, &Callback) -> Result<Option<DeliveryReport>, BadSignature> + Send + Sync>;

/// Minimum time between two warnings about unsigned callbacks, so that a forger cannot fill the log.
const UNSIGNED: Duration = Duration::from_mins(1);

/// Where providers report what became of a message.
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
        self.note("twilio", &caller, &callback).await
    }

    /// A sender of kind `http` reports what became of a message
    ///
    /// Signed as Standard Webhooks with the sender's secret. `message_id` is that of the message as it was posted. A report that
    /// is late, repeated, or of a message that the sender did not get changes nothing.
    #[oai(
        path = "/sms/:sender/status/",
        method = "post",
        tag = "Group::Provider",
        operation_id = "senderStatus"
    )]
    async fn sender_status(
        &self,
        caller: Caller,
        /// The sender's name in the configuration.
        #[oai(example = "sender_name")]
        sender: Path<String>,
        report: SenderReport,
    ) -> Result<Noted, OperationError<Reporting>> {
        self.note(&sender.0, &caller, &report.0).await
    }
}

/// The name in the description's example.
fn sender_name() -> String {
    "local".to_owned()
}

impl WebhookApi {
    async fn note(
        &self,
        sender: &str,
        caller: &Caller,
        callback: &Callback,
    ) -> Result<Noted, OperationError<Reporting>> {
        let Ok(report) = (self.read)(sender, callback) else {
            if self.unsigned.should_log() {
                tracing::warn!(
                    event = "authz_fail",
                    ip = %caller.address,
                    "status callbacks come without a good signature; if they are Twilio's, see server.public_url, if a sender's, its secret"
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
