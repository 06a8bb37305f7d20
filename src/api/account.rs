//! The bearer's own account: deletion, and all that is kept about it.

use std::sync::Arc;

use poem_openapi::OpenApi;

use crate::api::account_schemas::{DeletionRequest, DeletionResponse, ExportResponse};
use crate::api::flows::{origin, rates};
use crate::api::otp::{Flow, Group, documented_errors};
use crate::auth::Auth;
use crate::domain::Code;
use crate::http::bearer::BearerToken;
use crate::http::body::JsonBody;
use crate::http::caller::Caller;
use crate::http::device_token::DeviceToken;
use crate::http::error::{ApiError, DocumentedErrors, ErrorCode, OperationError};
use crate::http::rates::Limited;

documented_errors!(
    /// What deleting an account can fail with.
    Deleting: NotAuthenticated, TokenInvalid, TokenExpired, InvalidOtp, AccountDisabled, RateLimited, Overloaded,
        Unavailable;
        READS_BODY, LIMITED
);

documented_errors!(
    /// What an export can fail with.
    Exporting: NotAuthenticated, TokenInvalid, TokenExpired, AccountDisabled, RateLimited, Overloaded, Unavailable; LIMITED
);

/// The bearer's own account.
pub struct AccountApi {
    flow: Flow,
}

impl AccountApi {
    /// Endpoints over `auth`.
    pub fn new(auth: Arc<Auth>) -> Self {
        Self { flow: Flow { auth } }
    }
}

#[OpenApi(prefix_path = "/api/mobile/auth")]
impl AccountApi {
    /// Delete the bearer's account
    ///
    /// With a code from `resend/`: an access token alone deletes nothing. Where the server has `users.deletion_grace`, all sessions
    /// end at once, the answer says in `deletes_at` when the account is deleted, and a login before that restores it; else
    /// the account is gone with the answer.
    #[oai(path = "/account/delete/", method = "post", tag = "Group::Account", operation_id = "deleteAccount")]
    async fn delete(
        &self,
        token: BearerToken,
        caller: Caller,
        /// The token that this device was given at its last login. With it the call is judged by limits of its own, which nobody
        /// who only knows the number can use up; one that is not good is ignored.
        #[oai(name = "X-Device-Token")]
        device_token: DeviceToken,
        body: JsonBody<DeletionRequest>,
    ) -> Result<Limited<DeletionResponse>, OperationError<Deleting>> {
        let bearer = self.flow.authenticate(&token).await?;
        let body = body.fields()?;
        let auth = &self.flow.auth;
        let code = Code::typed(body.required_string("otp")?, auth.policy().otp.length);
        let outcome = auth.delete_account(&bearer, code, device_token.into_token(), origin(&caller)).await;
        let rates = rates(&outcome.quotas);
        match outcome.result {
            Ok(deletes_at) => Ok(Limited::new(DeletionResponse::new(deletes_at), rates)),
            Err(error) => Err(ApiError::from(error).with_rates(rates).into()),
        }
    }
    /// Get all that is kept about the bearer
    ///
    /// The user, its sessions and devices, the messages with codes for its number, and its lines of the audit trail, with the
    /// addresses that they came from. Once an hour.
    #[oai(path = "/account/export/", method = "get", tag = "Group::Account", operation_id = "exportAccount")]
    async fn export(
        &self,
        token: BearerToken,
        caller: Caller,
    ) -> Result<Limited<ExportResponse>, OperationError<Exporting>> {
        let bearer = self.flow.authenticate(&token).await?;
        let outcome = self.flow.auth.export(&bearer, origin(&caller)).await;
        let rates = rates(&outcome.quotas);
        match outcome.result {
            Ok(export) => Ok(Limited::new(export.into(), rates)),
            Err(error) => Err(ApiError::from(error).with_rates(rates).into()),
        }
    }
}
