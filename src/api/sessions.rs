//! Tokens and sessions: the refresh loop of the app, logging out, the list of devices.

use std::sync::Arc;

use poem_openapi::param::Path;
use poem_openapi::payload::Json;
use poem_openapi::{Object, OpenApi};

use crate::api::flows::origin;
use crate::api::otp::{Flow, Group, documented_errors};
use crate::auth::Auth;
use crate::domain::{Session, SessionId, Timestamp};
use crate::http::bearer::BearerToken;
use crate::http::body::JsonBody;
use crate::http::caller::Caller;
use crate::http::error::{ApiError, DocumentedErrors, ErrorCode, OperationError};

/// A refresh token.
#[derive(Object)]
struct RefreshToken {
    /// The `refresh` that `verify/` or the last refresh gave.
    refresh: String,
}

/// Any token.
#[derive(Object)]
struct AnyToken {
    /// An access or a refresh token.
    token: String,
}

/// The next pair.
#[derive(Object)]
struct Pair {
    /// The access token: goes into `Authorization: Bearer`.
    access: String,
    /// The refresh token: store it before using either.
    refresh: String,
}

/// The token is good.
#[derive(Object)]
struct Good {}

/// What was done.
#[derive(Object)]
struct Done {
    /// A sentence for a person.
    message: String,
}

/// One device that is logged in.
#[derive(Object)]
struct LiveSession {
    /// Names the session in `DELETE`.
    id: String,
    /// What the client called itself.
    device: String,
    /// The address of the login or of the last refresh.
    ip: String,
    /// When the login was, ISO 8601.
    created_at: String,
    /// When a token of it was last seen, to the minute, ISO 8601.
    last_used_at: String,
    /// When it ends unless it is refreshed, ISO 8601.
    expires_at: String,
    /// Whether it is the bearer's own.
    current: bool,
}

/// The bearer's sessions, the newest first.
#[derive(Object)]
struct Sessions {
    /// Those that are live.
    sessions: Vec<LiveSession>,
}

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
    /// Puts the endpoints before the flows.
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
    /// Django issued before the move is exchanged once, by the same rules.
    #[oai(path = "/token/refresh/", method = "post", tag = "Group::Sessions", operation_id = "refreshTokens")]
    async fn refresh(
        &self,
        caller: Caller,
        body: JsonBody<RefreshToken>,
    ) -> Result<Json<Pair>, OperationError<Refreshing>> {
        let body = body.fields()?;
        let token = body.required_string("refresh")?;
        let device = caller.device.clone().unwrap_or_default();
        let pair = self.flow.auth.refresh(token, device, origin(&caller)).await.map_err(ApiError::from)?;
        Ok(Json(Pair { access: pair.access, refresh: pair.refresh }))
    }

    /// Ask whether a token is good
    #[oai(path = "/token/verify/", method = "post", tag = "Group::Sessions", operation_id = "verifyToken")]
    async fn check(&self, body: JsonBody<AnyToken>) -> Result<Json<Good>, OperationError<Checking>> {
        let body = body.fields()?;
        self.flow.auth.check_token(body.required_string("token")?).await.map_err(ApiError::from)?;
        Ok(Json(Good {}))
    }

    /// End the session of a refresh token
    #[oai(path = "/logout/", method = "post", tag = "Group::Sessions", operation_id = "logout")]
    async fn log_out(
        &self,
        caller: Caller,
        body: JsonBody<RefreshToken>,
    ) -> Result<Json<Done>, OperationError<LoggingOut>> {
        let body = body.fields()?;
        let token = body.required_string("refresh")?;
        self.flow.auth.log_out(token, origin(&caller)).await.map_err(ApiError::from)?;
        Ok(done("Logged out"))
    }

    /// End all of the bearer's sessions
    #[oai(path = "/logout/all/", method = "post", tag = "Group::Sessions", operation_id = "logoutEverywhere")]
    async fn log_out_everywhere(
        &self,
        token: BearerToken,
        caller: Caller,
    ) -> Result<Json<Done>, OperationError<Bearing>> {
        let bearer = self.flow.authenticate_active(&token).await?;
        self.flow.auth.log_out_everywhere(&bearer, origin(&caller)).await.map_err(ApiError::from)?;
        Ok(done("Logged out everywhere"))
    }

    /// List the bearer's devices
    #[oai(path = "/sessions/", method = "get", tag = "Group::Sessions", operation_id = "listSessions")]
    async fn sessions(&self, token: BearerToken) -> Result<Json<Sessions>, OperationError<Bearing>> {
        let bearer = self.flow.authenticate_active(&token).await?;
        let sessions = self.flow.auth.sessions(&bearer).await.map_err(ApiError::from)?;
        let sessions =
            sessions.into_iter().map(|session| live_session(session, bearer.session.as_ref())).collect();
        Ok(Json(Sessions { sessions }))
    }

    /// End one of the bearer's sessions
    #[oai(path = "/sessions/:id/", method = "delete", tag = "Group::Sessions", operation_id = "endSession")]
    async fn end(
        &self,
        token: BearerToken,
        caller: Caller,
        /// As the list names it.
        id: Path<String>,
    ) -> Result<Json<Done>, OperationError<Ending>> {
        let bearer = self.flow.authenticate_active(&token).await?;
        self.flow.auth.end_session(&bearer, &id.0, origin(&caller)).await.map_err(ApiError::from)?;
        Ok(done("Session ended"))
    }
}

fn done(message: &str) -> Json<Done> {
    Json(Done { message: message.to_owned() })
}

fn live_session(session: Session, own: Option<&SessionId>) -> LiveSession {
    LiveSession {
        current: own == Some(&session.id),
        id: session.id.to_string(),
        device: session.device,
        ip: session.ip,
        created_at: iso(session.created_at),
        last_used_at: iso(session.last_used_at),
        expires_at: iso(session.refresh_expires_at),
    }
}

/// `2026-01-01T00:00:00Z`
fn iso(at: Timestamp) -> String {
    jiff::Timestamp::from_second(at.as_secs()).unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string()
}
