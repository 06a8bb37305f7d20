//! Following a request for a code that another server leads: its challenge's row says what came of it.

use std::time::Duration;

use super::{Auth, AuthError, Sent};
use crate::clock::Stopwatch;
use crate::domain::ChallengeId;
use crate::domain::settled::{SendResult, Settled};

/// How long the row is let alone at first, and at most.
const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_millis(400);

impl Auth {
    /// Waits for the outcome of the challenge, at most `patience`; `sent` is the answer where the message was accepted.
    pub(super) async fn follow_elsewhere(
        &self,
        challenge: ChallengeId,
        sent: Sent,
        patience: Duration,
    ) -> Result<Sent, AuthError> {
        let (begun, mut pause) = (Stopwatch::start(), FIRST);
        loop {
            let found = self.parts.store.read(move |view| view.challenge(challenge)).await?;
            if let Some(settled) = found.and_then(|challenge| challenge.settled) {
                return outcome(settled, sent);
            }
            if begun.elapsed() > patience {
                return Err(AuthError::undelivered(None, sent.delivery));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST);
        }
    }
}

/// The leader's answer. Whom to text START to after a STOP, the leader alone knows.
fn outcome(settled: Settled, sent: Sent) -> Result<Sent, AuthError> {
    let retry_after = settled.retry_after;
    Err(match settled.result {
        SendResult::Accepted => return Ok(sent),
        SendResult::InvalidNumber => AuthError::InvalidPhone,
        SendResult::CountryNotAllowed => AuthError::CountryNotAllowed,
        SendResult::OptedOut => {
            AuthError::SmsDeliveryFailed { opted_out: Some(None), retry_after, delivery: None }
        }
        SendResult::Refused => AuthError::undelivered(retry_after, None),
        SendResult::Unknown => AuthError::undelivered(retry_after, sent.delivery),
    })
}
