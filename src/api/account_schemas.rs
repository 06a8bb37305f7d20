//! The bodies of the account's requests and answers, each with an example.

use poem_openapi::Object;
use poem_openapi::types::Example;

use crate::api::date_time::DateTime;
use crate::domain::Timestamp;

/// The code that proves the bearer's number.
#[derive(Object)]
#[oai(example)]
pub(super) struct DeletionRequest {
    /// The digits of a code from `resend/`, in any script; white space does not count.
    otp: String,
}

impl Example for DeletionRequest {
    fn example() -> Self {
        Self { otp: "123456".to_owned() }
    }
}

/// The account is deleted, or will be.
#[derive(Object)]
#[oai(example)]
pub(super) struct DeletionResponse {
    /// A sentence for a person.
    message: String,
    /// When the account is deleted unless its owner logs in before; absent where it is deleted already.
    #[oai(skip_serializing_if_is_none)]
    deletes_at: Option<DateTime>,
}

impl DeletionResponse {
    /// At `deletes_at`, or already.
    pub(super) fn new(deletes_at: Option<Timestamp>) -> Self {
        let message = match deletes_at {
            Some(_) => "Your account will be deleted. Log in again before that to keep it.",
            None => "Your account is deleted.",
        };
        Self { message: message.to_owned(), deletes_at: deletes_at.map(DateTime::from) }
    }
}

impl Example for DeletionResponse {
    fn example() -> Self {
        Self::new(Some(Timestamp::from_millis(1_767_225_600_000)))
    }
}
