//! Another code for a user who is logged in: the same flow as `request/`, for the number that the token proves.

use std::sync::Arc;

use super::quota::WithQuotas;
use super::{Auth, Authenticated, CodeRequest, Origin, Sent};
use crate::domain::quota::Endpoint;
use crate::domain::{Languages, Mode, Purpose, Secret};

impl Auth {
    /// Sends a code to the bearer's own number; `device_token` is that of the caller's device, if one came along.
    pub async fn resend(
        self: &Arc<Self>,
        bearer: &Authenticated,
        device_token: Option<Secret>,
        languages: Languages,
        origin: Origin,
    ) -> WithQuotas<Sent> {
        let phone = match bearer.phone() {
            Ok(phone) => phone.clone(),
            Err(error) => return WithQuotas::none(Err(error)),
        };
        self.request(CodeRequest {
            mode: Mode::Production,
            purpose: Purpose::Login,
            endpoint: Endpoint::Resend,
            phone,
            proven: Some(bearer.user.id),
            channel: None,
            device_token,
            languages,
            origin,
        })
        .await
    }
}
