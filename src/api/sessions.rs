//! Tokens and sessions: the refresh loop of the app, logging out, the list of devices.

use std::sync::Arc;

use poem_openapi::OpenApi;
use poem_openapi::param::Path;

use crate::api::flows::origin;
use crate::api::otp::{Flow, Group, documented_errors};
use crate::api::schemas::{
    DeviceSession, LogoutRequest, MessageResponse, RefreshRequest, SessionListResponse, TokenPair,
    TokenVerifyRequest, TokenVerifyResponse,
};
use crate::auth::{Auth, RefreshedTokens};
use crate::http::bearer::BearerToken;
use crate::http::body::JsonBody;
use crate::http::caller::Caller;
use crate::http::device::DeviceName;
use crate::http::device_token::{DeviceToken, WithDeviceToken};
use crate::http::error::{ApiError, DocumentedErrors, ErrorCode, OperationError};
use crate::http::json::JsonAnswer;

documented_errors!(
    /// What a refresh can fail with.
    Refreshing: TokenInvalid, TokenExpired, TokenReused, AccountDisabled, Overloaded, Unavailable; READS_BODY
);
documented_errors!(
    /// What checking a token can fail with.
    Checking: TokenInvalid, TokenExpired, Overloaded, Unavailable; READS_BODY
);
documented_errors!(
    /// What logging out can fail with.
    LoggingOut: TokenInvalid, TokenExpired, AccountDisabled, Overloaded, Unavailable; READS_BODY
);
documented_errors!(
    /// What a bearer's own sessions can fail with.
    Bearing: NotAuthenticated, TokenInvalid, TokenExpired, AccountDisabled, Overloaded, Unavailable;
);
documented_errors!(
    /// What ending one session can fail with.
    Ending: NotAuthenticated, TokenInvalid, TokenExpired, AccountDisabled, NotFound, Overloaded, Unavailable;
);

/// Tokens and sessions.
pub struct SessionsApi {
    flow: Flow,
}

impl SessionsApi {
    /// Endpoints over `auth`.
    pub fn new(auth: Arc<Auth>) -> Self {
        Self { flow: Flow { auth } }
    }
}

#[OpenApi(prefix_path = "/api/mobile/auth")]
impl SessionsApi {
    /// Get the next pair of tokens
    ///
    /// A lost answer is forgiven: asking again with the same token gives the same pair's successor again. A token
    /// presented outside the rules ends the session (`token_reused`). With `tokens.accept_foreign`, a refresh token that
    /// Django issued before the move is exchanged once, by the same rules. A session that has no device yet is given one: then
    /// its token comes in the header `X-Device-Token`.
    #[oai(path = "/token/refresh/", method = "post", tag = "Group::Sessions", operation_id = "refreshTokens")]
    async fn refresh(
        &self,
        caller: Caller,
        /// Names the device in the list of sessions, where the refresh token is of the system before this one; else the
        /// name of the login stays. UTF-8, or percent-encoded UTF-8.
        #[oai(name = "X-Device-Name")]
        device: DeviceName,
        body: JsonBody<RefreshRequest>,
    ) -> Result<WithDeviceToken<JsonAnswer<TokenPair>>, OperationError<Refreshing>> {
        let body = body.fields()?;
        let token = body.required_string("refresh")?;
        let refreshed = self.flow.auth.refresh(token, device.into_text(), origin(&caller)).await;
        let RefreshedTokens { pair, device_token } = refreshed.map_err(ApiError::from)?;
        let pair = JsonAnswer(TokenPair { access: pair.access, refresh: pair.refresh });
        Ok(WithDeviceToken::new(pair, device_token))
    }

    /// Ask whether a token is good
    ///
    /// An access or a refresh token that is good now gets 200 and an empty object. Looking at a token uses nothing up.
    #[oai(path = "/token/verify/", method = "post", tag = "Group::Sessions", operation_id = "verifyToken")]
    async fn check(
        &self,
        body: JsonBody<TokenVerifyRequest>,
    ) -> Result<JsonAnswer<TokenVerifyResponse>, OperationError<Checking>> {
        let body = body.fields()?;
        self.flow.auth.check_token(body.required_string("token")?).await.map_err(ApiError::from)?;
        Ok(JsonAnswer(TokenVerifyResponse {}))
    }

    /// End the session of a refresh token
    ///
    /// Every token of the session is refused from then on.
    #[oai(path = "/logout/", method = "post", tag = "Group::Sessions", operation_id = "logout")]
    async fn log_out(
        &self,
        caller: Caller,
        body: JsonBody<LogoutRequest>,
    ) -> Result<JsonAnswer<MessageResponse>, OperationError<LoggingOut>> {
        let body = body.fields()?;
        let token = body.required_string("refresh")?;
        self.flow.auth.log_out(token, origin(&caller)).await.map_err(ApiError::from)?;
        Ok(done("Logged out"))
    }

    /// End all of the bearer's sessions
    ///
    /// Every token of the bearer is refused from then on, on every device, this one too. With the `X-Device-Token` of this
    /// device, those of all the others end as well; without one none does.
    #[oai(path = "/logout/all/", method = "post", tag = "Group::Sessions", operation_id = "logoutEverywhere")]
    async fn log_out_everywhere(
        &self,
        token: BearerToken,
        caller: Caller,
        /// The token of this device: those of all others end.
        #[oai(name = "X-Device-Token")]
        device_token: DeviceToken,
    ) -> Result<JsonAnswer<MessageResponse>, OperationError<Bearing>> {
        let bearer = self.flow.authenticate_active(&token).await?;
        let device_token = device_token.into_token();
        let ended = self.flow.auth.log_out_everywhere(&bearer, device_token, origin(&caller));
        ended.await.map_err(ApiError::from)?;
        Ok(done("Logged out everywhere"))
    }

    /// List the bearer's devices
    ///
    /// Each is a session: one login on one device. `current` marks the one that asks.
    #[oai(path = "/sessions/", method = "get", tag = "Group::Sessions", operation_id = "listSessions")]
    async fn sessions(
        &self,
        token: BearerToken,
    ) -> Result<JsonAnswer<SessionListResponse>, OperationError<Bearing>> {
        let bearer = self.flow.authenticate_active(&token).await?;
        let sessions = self.flow.auth.sessions(&bearer).await.map_err(ApiError::from)?;
        let sessions = sessions
            .into_iter()
            .map(|session| DeviceSession::new(session, bearer.session.as_ref()))
            .collect();
        Ok(JsonAnswer(SessionListResponse { sessions }))
    }

    /// End one of the bearer's sessions
    ///
    /// Every token of that session is refused from then on. A session that is not the bearer's is not found.
    #[oai(path = "/sessions/:id/", method = "delete", tag = "Group::Sessions", operation_id = "endSession")]
    async fn end(
        &self,
        token: BearerToken,
        caller: Caller,
        /// As the list names it.
        #[oai(example = "session_id")]
        id: Path<String>,
    ) -> Result<JsonAnswer<MessageResponse>, OperationError<Ending>> {
        let bearer = self.flow.authenticate_active(&token).await?;
        self.flow.auth.end_session(&bearer, &id.0, origin(&caller)).await.map_err(ApiError::from)?;
        Ok(done("Session ended"))
    }
}

fn done(message: &str) -> JsonAnswer<MessageResponse> {
    JsonAnswer(message.into())
}

/// The session in the description's example.
fn session_id() -> String {
    "0123456789abcdef0123456789abcdef".to_owned()
}
